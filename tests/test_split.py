import json
import random
from pathlib import Path

import pytest
import spacy
from running import real_data, run_command, scheme, write_lines
from spacy.tokens import DocBin

OUTPUTS = {f"{side}.{kind}" for side in ("train", "dev", "test") for kind in ("spacy", "jsonl")} | {
    "reviewed.spacy",
    "both.spacy",
    "silver.spacy",
    "split.json",
}


class Project:
    """A folder with the least that `split` needs; its options are those of the command."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture):
        self.folder, self.capsys = folder, capsys
        self.corpus = folder / "corpus"
        rng = random.Random(0)
        words = ["".join(rng.choices("abcdefghij", k=6)) for _ in range(800)]
        self.texts = [f"Hooli {' '.join(rng.sample(words, 8))} $5m" for _ in range(80)]
        self.lines = [annotated(text, f"id{i}") for i, text in enumerate(self.texts)]
        self.write("assets/reviewed.jsonl", self.lines[:60])
        self.write("assets/texts.jsonl", [{"text": r["text"], "meta": r["meta"]} for r in self.lines])
        self.write("corpus/llm.jsonl", [r | {"llm": {"model": "m"}} for r in self.lines[60:]])
        self.scheme("COMPANY", "MONEY")

    def write(self, name: str, lines) -> None:
        write_lines(self.folder / name, lines)

    def scheme(self, *labels: str) -> None:
        (self.folder / "llm.cfg").write_text(scheme(*labels))

    def split(self, **options):
        given = {
            "reviewed": self.folder / "assets/reviewed.jsonl",
            "texts": self.folder / "assets/texts.jsonl",
            "silver": self.folder / "corpus/llm.jsonl",
            "scheme": self.folder / "llm.cfg",
            "output": self.corpus,
            "test-percent": 30,
            "dev-percent": 20,
            "train-on": "both",
        } | options
        return run_command("split", [part for k, v in given.items() for part in (f"--{k}", v)], self.capsys)

    def texts_of(self, name: str) -> set[str]:
        path = self.corpus / name
        if path.suffix == ".spacy":
            return {doc.text for doc in DocBin().from_disk(path).get_docs(spacy.blank("en").vocab)}
        return {json.loads(line)["text"] for line in path.read_text(encoding="utf-8").splitlines()}

    @property
    def summary(self) -> dict:
        return json.loads((self.corpus / "split.json").read_text(encoding="utf-8"))

    def bytes(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in sorted(self.corpus.iterdir())}


def annotated(text: str, id: str) -> dict:
    spans = [
        {"start": 0, "end": 5, "label": "COMPANY"},
        {"start": len(text) - 3, "end": len(text), "label": "MONEY"},
    ]
    return {"text": text, "spans": spans, "answer": "accept", "meta": {"id": id}}


@pytest.fixture
def project(tmp_path, capsys) -> Project:
    return Project(tmp_path, capsys)


def test_every_file_is_written_and_agrees_with_the_others(project):
    outcome = project.split()
    assert outcome.status == 0, outcome.output
    assert {path.name for path in project.corpus.iterdir()} == OUTPUTS | {"llm.jsonl"}
    reviewed, silver = project.texts_of("reviewed.spacy"), project.texts_of("silver.spacy")
    assert silver == set(project.texts[60:])
    assert project.texts_of("both.spacy") == reviewed | silver
    assert project.texts_of("train.spacy") == project.texts_of("train.jsonl") == reviewed | silver
    held_out = project.texts_of("dev.spacy") | project.texts_of("test.spacy")
    assert held_out == project.texts_of("dev.jsonl") | project.texts_of("test.jsonl")
    assert reviewed | held_out == set(project.texts[:60])
    assert not reviewed & held_out
    for name, counts in project.summary["splits"].items():
        n = len(project.texts_of(f"{name}.spacy"))
        assert (counts["documents"], counts["spans"]) == (n, 2 * n)
        assert counts["labels"]["span"] == {"COMPANY": n, "MONEY": n}
    for word in ("train", "COMPANY", "near-duplicates: 0", "set aside: none", "digit"):
        assert word in outcome.output


@pytest.mark.parametrize(
    ("train_on", "parts"),
    [("reviewed", {"reviewed"}), ("silver", {"silver"}), ("distilled", {"reviewed"})],
)
def test_what_is_trained_on_is_chosen(project, train_on, parts):
    assert project.split(**{"train-on": train_on}).status == 0
    expected = set.union(*(project.texts_of(f"{part}.spacy") for part in parts))
    assert project.texts_of("train.spacy") == project.texts_of("train.jsonl") == expected
    assert project.texts_of("reviewed.spacy")
    assert project.texts_of("silver.spacy")


def test_running_again_gives_the_same_bytes(project):
    project.split()
    before = project.bytes()
    project.split()
    assert project.bytes() == before


def test_more_examples_move_none(project):
    project.split()
    before = {side: project.texts_of(f"{side}.jsonl") for side in ("dev", "test")}
    project.write("assets/reviewed.jsonl", project.lines)
    assert project.split(**{"train-on": "reviewed"}).status == 0
    for side, texts in before.items():
        assert texts < project.texts_of(f"{side}.jsonl")


def test_reviewed_wins_and_all_that_is_left_out_is_counted(project):
    llm = [r | {"llm": {"model": "m"}} for r in project.lines]
    llm[79] |= {"llm": {"model": "m", "error": "empty"}}
    held_out = Project.split(project) and sorted(project.texts_of("test.jsonl"))[0]
    close = annotated(held_out.upper().replace("HOOLI", "Hooli").replace("$5M", "$5m"), "close")
    project.write("corpus/llm.jsonl", [*llm, close])
    project.write(
        "assets/texts.jsonl", [{"text": r["text"], "meta": r["meta"]} for r in [*project.lines, close]]
    )
    outcome = project.split()
    assert outcome.status == 0
    assert project.texts_of("silver.spacy") == set(project.texts[60:79])
    assert project.summary["silver_dropped"] == {"failed": 1, "near test": 1, "reviewed": 60}
    [aside] = project.summary["set_aside"]
    assert (aside["id"], aside["reason"]) == ("close", "near test")
    [pair] = project.summary["near_duplicates"]
    assert (pair["id"], pair["similarity"]) == ("close", 1.0)
    assert "1 near test" in outcome.output
    assert "60 reviewed" in outcome.output


def test_refused_examples_are_counted_and_not_used(project):
    lines = [line | {"answer": "reject"} if i < 2 else line for i, line in enumerate(project.lines[:60])]
    project.write("assets/reviewed.jsonl", lines)
    assert project.split().status == 0
    used = set.union(*(project.texts_of(f"{side}.jsonl") for side in ("train", "dev", "test")))
    assert not used & set(project.texts[:2])
    assert [aside["reason"] for aside in project.summary["set_aside"]] == ["reject", "reject"]


def test_snapped_spans_are_counted(project):
    project.lines[3]["spans"][0]["start"] = 1
    project.write("assets/reviewed.jsonl", project.lines[:60])
    outcome = project.split()
    assert outcome.status == 1
    assert "reviewed.jsonl:4: span 1-5 COMPANY 'ooli'" in outcome.output
    outcome = project.split(misaligned="snap")
    assert outcome.status == 0
    assert "snapped 1" in outcome.output
    assert project.summary["changed_on_reading"]["reviewed.jsonl"] == {"snapped": 1}


def test_a_label_without_a_test_example_is_reported(project):
    for line in project.lines[:60]:
        line["spans"].pop()
    project.write("assets/reviewed.jsonl", project.lines[:60])
    outcome = project.split()
    assert outcome.status == 0
    assert "test: no example of MONEY; that score can't be measured" in outcome.output


def break_reviewed(line: object):
    return lambda project: project.write("assets/reviewed.jsonl", [*project.lines[:60], line])


MISTAKES = {
    "malformed line": (break_reviewed('{"text": '), {}, "reviewed.jsonl:61: not valid JSON"),
    "empty line": (break_reviewed(""), {}, "reviewed.jsonl:61: the line is empty"),
    "wrong label": (
        lambda project: project.scheme("COMPANY"),
        {},
        "reviewed.jsonl:1: span label 'MONEY' isn't in the scheme (COMPANY)",
    ),
    "span out of range": (
        break_reviewed({"text": "x", "spans": [{"start": 0, "end": 9, "label": "MONEY"}]}),
        {},
        "reviewed.jsonl:61: span 0-9 'MONEY' is outside the text of 1 characters",
    ),
    "duplicate id": (
        break_reviewed({"text": "x", "meta": {"id": "id0"}}),
        {},
        "reviewed.jsonl:61: the id 'id0' is already used by line 1",
    ),
    "no reviewed example": (
        lambda project: project.write("assets/reviewed.jsonl", []),
        {},
        "reviewed.jsonl: nothing is reviewed yet; review some texts first (`weasel run review`)",
    ),
    "only refused examples": (
        lambda project: project.write("assets/reviewed.jsonl", [{"text": "x", "answer": "ignore"}]),
        {},
        "reviewed.jsonl: none of the 1 reviewed texts was accepted",
    ),
    "nothing for test": (
        lambda project: project.write("assets/reviewed.jsonl", project.lines[:1]),
        {},
        "reviewed.jsonl: no reviewed text is in",
    ),
    "not UTF-8": (
        lambda project: (project.folder / "assets/texts.jsonl").write_bytes(
            b'{"text": "a"}\n{"text": "\xe9"}'
        ),
        {},
        "texts.jsonl:2: not UTF-8",
    ),
    "missing file": (lambda project: (project.folder / "assets/texts.jsonl").unlink(), {}, "no such file"),
    "no suggestions": (
        lambda project: (project.folder / "corpus/llm.jsonl").unlink(),
        {},
        "llm.jsonl: there is no such file; run llm-annotate",
    ),
    "shares": (lambda project: None, {"test-percent": 90}, "together below 100"),
    "language": (lambda project: None, {"lang": "qq"}, "lang 'qq'"),
    "unwritable folder": (
        lambda project: (project.folder / "taken").write_text(""),
        {"output": "taken"},
        "can't be written",
    ),
}


@pytest.mark.parametrize(("break_it", "options", "message"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_one_sentence_and_leaves_the_old_files(project, break_it, options, message):
    project.split()
    before = {name: data for name, data in project.bytes().items() if name in OUTPUTS}
    assert set(before) == OUTPUTS
    break_it(project)
    options = {k: project.folder / v if k == "output" else v for k, v in options.items()}
    outcome = project.split(**options)
    assert outcome.status == 1
    assert message in outcome.output
    assert outcome.output.count("✘") == 1
    assert "Traceback" not in outcome.output
    after = {name: data for name, data in project.bytes().items() if name in OUTPUTS}
    assert after == before


def test_without_suggestions_reviewed_examples_will_do(project):
    (project.folder / "corpus/llm.jsonl").unlink()
    assert project.split(**{"train-on": "reviewed"}).status == 0
    assert project.texts_of("silver.spacy") == set()


def test_long_texts_and_signs_of_all_kinds(project):
    long = "Hooli " + "word " * 100_000 + "$5m"
    signs = "😀 e\u0301 👩\u200d👩\u200d👧 שלום raises $5m"
    start = signs.index("שלום")
    line = {"text": signs, "spans": [{"start": start, "end": start + 4, "label": "COMPANY"}]}
    project.write("assets/reviewed.jsonl", [*project.lines[:60], annotated(long, "long"), line])
    outcome = project.split()
    assert outcome.status == 0, outcome.output
    used = set.union(*(project.texts_of(f"{side}.spacy") for side in ("train", "dev", "test")))
    assert {long, signs} <= used


@pytest.mark.parametrize(
    ("name", "labels"),
    [("fashion_brands", ["FASHION_BRAND"]), ("crossner_politics", ["politician", "election", "misc"])],
)
def test_real_data_can_be_split(project, name, labels):
    lines = [json.loads(line) for line in real_data(f"{name}/test.jsonl").read_text("utf-8").splitlines()]
    for line in lines:
        line["spans"] = [span for span in line["spans"] if span["label"] in labels]
    project.scheme(*labels)
    project.write("assets/reviewed.jsonl", lines)
    (project.corpus / "llm.jsonl").unlink()
    outcome = project.split(**{"train-on": "reviewed", "misaligned": "snap"})
    assert outcome.status == 0, outcome.output
    counts = project.summary["splits"]
    used = sum(counts[side]["documents"] for side in ("train", "dev", "test"))
    assert used + len(project.summary["set_aside"]) == len(lines)
