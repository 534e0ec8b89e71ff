"""The command `init`: what people bring, what it refuses, and that it changes everything or nothing."""

import json
import os
import re
import shutil
from pathlib import Path

import pytest
import srsly
from running import ROOT, run_command, write_lines

from ie.data.records import read_records
from ie.data.scheme import load_scheme
from ie.database import asking, guard, reading
from ie.llm import pipeline
from ie.setup import project_file

COPIED = ("project.yml", "configs", "assets", ".ci", ".github", "docs")
# with numbers instead of words they would be near-duplicates, all on one side
TEXTS = [f"Velto sold {a}{b}ats to Anker in Bergen." for a in "bcfhmr" for b in "aeiou"]


def annotated(text: str, n: int) -> dict:
    return {
        "text": text,
        "spans": [
            {"start": 0, "end": 5, "label": "SELLER"},
            {"start": text.index("Anker"), "end": text.index("Anker") + 5, "label": "BUYER"},
        ],
        "meta": {"desk": "north" if n % 2 else "south"},
    }


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A copy of what `init` changes, in which the test runs."""
    folder = tmp_path / "project"
    folder.mkdir()
    for name in COPIED:
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy2)(source, folder / name)
    (folder / "training").mkdir()
    (folder / "training/history.jsonl").write_text("{}\n")
    monkeypatch.chdir(folder)
    return folder


def init(capsys, **options: object):
    given = {"replaceable": project_file.md5(Path("assets/reviewed.jsonl").read_text("utf-8")), **options}
    arguments = [part for name, value in given.items() for part in (f"--{name.replace('_', '-')}", value)]
    return run_command("init", arguments, capsys)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def settings(folder: Path) -> dict:
    return srsly.read_yaml(folder / "project.yml")["vars"]


def test_annotations_make_a_project(project, tmp_path, capsys):
    path = write_lines(tmp_path / "sales.jsonl", (annotated(t, n) for n, t in enumerate(TEXTS)))
    before = (project / "project.yml").read_text("utf-8")
    done = init(capsys, annotations=path)
    assert done.status == 0, done.output
    scheme = load_scheme(Path("configs/llm.cfg"))
    assert scheme.span_labels == ("BUYER", "SELLER")
    assert not scheme.relation_labels
    assert not scheme.categories
    gold = read_records(Path("assets/reviewed.jsonl"), labels=scheme)
    assert [record.text for record in gold] == TEXTS
    assert len(read_records(Path("assets/texts.jsonl"))) == 30
    given = settings(project)
    assert (given["name"], given["config"], given["slice_by"]) == ("sales", "efficient", "desk")
    assert (given["gazetteer_label"], given["money_label"]) == ("", "")
    assert (given["database"], given["license"]) == ("sales", "")
    assert "'" not in given["sentence"]
    # comments and layout stay: a few lines differ, in place
    after = (project / "project.yml").read_text("utf-8")
    assert len(set(after.splitlines()) - set(before.splitlines())) < 22
    assert not (project / "training/history.jsonl").exists()
    assert "COMPANY" not in Path("configs/llm.cfg").read_text("utf-8")
    for sentence in ("define BUYER, SELLER", "write assets/model_card.md", "choose vars.license"):
        assert sentence in done.output
    rules = [json.loads(line) for line in Path("assets/patterns.jsonl").read_text("utf-8").splitlines()]
    assert ("SELLER", [{"LOWER": "velto"}]) in [(rule["label"], rule["pattern"]) for rule in rules]
    assert "right in texts held out" in rules[0]["id"]
    assert "undefined" not in done.output


def test_its_config_can_be_prompted_with(project, tmp_path, capsys):
    words = tmp_path / "words.cfg"
    words.write_text('[label_names]\nSELLER = "Sellers"\n[label_definitions]\nSELLER = "who sells"\n')
    path = write_lines(tmp_path / "sales.jsonl", (annotated(t, n) for n, t in enumerate(TEXTS)))
    assert init(capsys, annotations=path, definitions=words, lang="de", scheme="configs/llm.cfg").status == 0
    nlp = pipeline.assemble(pipeline.load_config(Path("configs/llm.cfg")), Path("configs/llm.cfg"))
    assert nlp.lang == "de"
    assert nlp.get_pipe("spans").task.names == {"BUYER": "Buyer", "SELLER": "Sellers"}
    assert load_scheme(Path("configs/llm.cfg")).definitions == {"BUYER": "", "SELLER": "who sells"}
    assert 'lang = "de"' in Path("configs/efficient.cfg").read_text("utf-8")
    assert settings(project)["lang"] == "de"
    checked = run_command("check", ["--lang", "de", "--config", "configs/efficient.cfg"], capsys)
    assert "no definition of BUYER;" in checked.output


@pytest.mark.parametrize(
    ("values", "config", "exclusive"),
    [({"A": 1, "B": 0}, "categories", True), ({"A": 0, "B": 0}, "multilabel", False)],
)
def test_categories_alone_choose_their_config(project, tmp_path, capsys, values, config, exclusive):
    lines = [{"text": t, "cats": values if n % 3 else {"A": 0, "B": 1}} for n, t in enumerate(TEXTS)]
    done = init(capsys, annotations=write_lines(tmp_path / "kinds.jsonl", lines))
    assert done.status == 0, done.output
    scheme = load_scheme(Path("configs/llm.cfg"))
    assert scheme.scored == ("category" if exclusive else "categories")
    assert settings(project)["config"] == config
    assert f"one_category = {str(exclusive).lower()}" in Path("configs/review.cfg").read_text("utf-8")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", "\ufeffOne text\r\n\r\nAnother text\r\nOne text\r\n"),
        ("a.csv", '\ufeffid,text\r\n1,One text\r\n2,\r\n3,Another text\r\n4,"One text"\r\n'),
        (
            "a.jsonl",
            '\ufeff{"text": "One text"}\r\n{"text": " "}\r\n{"text": "Another text"}\r\n'
            '{"text": "One text"}\r\n',
        ),
    ],
)
def test_texts_come_in_several_forms(project, tmp_path, capsys, name, content):
    (tmp_path / name).write_bytes(content.encode())
    done = init(capsys, texts=tmp_path / name, labels="PRODUCT,BRAND")
    assert done.status == 0, done.output
    assert "2 texts, 1 empty, 1 there twice left out" in done.output.replace(
        "1 empty left out, 1", "1 empty, 1"
    )
    assert {record.text for record in read_records(Path("assets/texts.jsonl"))} == {
        "One text",
        "Another text",
    }
    assert Path("assets/reviewed.jsonl").read_text() == ""
    assert 'then = "auto"' in Path("configs/review.cfg").read_text("utf-8")
    assert "weasel run review" in done.output


def test_a_folder_of_texts_and_a_single_one(project, tmp_path, capsys):
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts/one.txt").write_text("A text of\ntwo lines\n")
    done = init(capsys, texts=tmp_path / "texts", categories="GOOD,BAD")
    assert done.status == 0, done.output
    (record,) = read_records(Path("assets/texts.jsonl"))
    assert (record.text, record.id) == ("A text of\ntwo lines", "one")


def bad(tmp_path: Path) -> dict[str, tuple[dict, str]]:
    good = write_lines(tmp_path / "good.jsonl", (annotated(t, n) for n, t in enumerate(TEXTS)))
    texts = write_lines(tmp_path / "texts.jsonl", [{"text": "One text"}])
    (tmp_path / "empty.txt").write_text("\n\n")
    off = write_lines(
        tmp_path / "off.jsonl", [{"text": "Velto", "spans": [{"start": 0, "end": 3, "label": "A"}]}]
    )
    twice = write_lines(tmp_path / "twice.jsonl", [annotated(TEXTS[0], 0), annotated(TEXTS[0], 0)])
    bare = write_lines(tmp_path / "bare.jsonl", [{"text": "One text"}])
    odd = write_lines(
        tmp_path / "odd.jsonl", [{"text": "Velto", "spans": [{"start": 0, "end": 5, "label": "A=B"}]}]
    )
    (tmp_path / "words.cfg").write_text('[label_definitions]\nSELER = "who sells"\n')
    (tmp_path / "nocolumn.csv").write_text("title\nx\n")
    return {
        "nothing": ({}, "there are no texts; give --vars.init_texts"),
        "no file": ({"texts": tmp_path / "none.jsonl"}, "there is no such file"),
        "no text": ({"texts": tmp_path / "empty.txt", "labels": "A"}, "there is no text in it"),
        "no labels": ({"texts": texts}, "there are no labels"),
        "odd character": ({"texts": texts, "labels": "A, B:C"}, "'B:C' can't be a label"),
        "label twice": ({"texts": texts, "labels": "Brand,BRAND"}, "'brand' is there twice"),
        "reserved": ({"texts": texts, "labels": "ALL"}, "'ALL' can't be a label"),
        "odd in annotations": ({"annotations": odd}, "'A=B' can't be a label"),
        "label not in list": (
            {"annotations": good, "labels": "SELLER"},
            "aren't in the list given: BUYER (30)",
        ),
        "misaligned": ({"annotations": off}, "1 misaligned (first: line 1:"),
        "duplicates": ({"annotations": twice}, "1 duplicates (first: line 2 repeats line 1"),
        "no annotation": ({"annotations": bare}, "there are no labels: the annotations have none"),
        "unknown definition": (
            {"annotations": good, "definitions": tmp_path / "words.cfg"},
            "'SELER', which is no label",
        ),
        "no column": (
            {"texts": tmp_path / "nocolumn.csv", "labels": "A"},
            "no column is called text (there are title)",
        ),
        "existing gold": (
            {"annotations": good, "replaceable": "other"},
            "annotations that aren't the demo's",
        ),
    }


CASES = (
    "nothing",
    "no file",
    "no text",
    "no labels",
    "odd character",
    "label twice",
    "reserved",
    "odd in annotations",
    "label not in list",
    "misaligned",
    "duplicates",
    "no annotation",
    "unknown definition",
    "no column",
    "existing gold",
)


@pytest.mark.parametrize("case", CASES)
def test_mistakes_change_nothing(project, tmp_path, capsys, case):
    options, said = bad(tmp_path)[case]
    before = contents(project)
    done = init(capsys, **options)
    assert done.status == 1
    assert said in done.output
    assert "Traceback" not in done.output
    assert contents(project) == before


def test_gold_of_somebody_is_replaced_only_if_they_say_so(project, tmp_path, capsys):
    path = write_lines(tmp_path / "sales.jsonl", (annotated(t, n) for n, t in enumerate(TEXTS)))
    write_lines(Path("assets/reviewed.jsonl"), [annotated("Velto sold Anker", 0)])
    assert init(capsys, annotations=path, replaceable="other").status == 1
    assert init(capsys, annotations=path, replaceable="other", overwrite="yes").status == 0
    # what init itself wrote, and nobody has touched since, may go again
    assert init(capsys, annotations=path, replaceable=settings(project)["init_gold"]).status == 0


def test_the_shipped_gold_is_known():
    found = srsly.read_yaml(ROOT / "project.yml")["vars"]["init_gold"]
    assert found == project_file.md5((ROOT / "assets/reviewed.jsonl").read_text("utf-8"))


def test_known_names_need_their_label(project, tmp_path, capsys):
    path = write_lines(tmp_path / "sales.jsonl", (annotated(t, n) for n, t in enumerate(TEXTS)))
    names = tmp_path / "names.csv"
    names.write_text("id,name\n1,Velto\n")
    assert "of which label are these names?" in init(capsys, annotations=path, gazetteer=names).output
    assert init(capsys, annotations=path, gazetteer=names, gazetteer_label="SELLER").status == 0
    assert settings(project)["gazetteer_label"] == "SELLER"
    assert "Velto" in Path("assets/companies.csv").read_text()


def test_what_is_the_demos_own_goes(project, tmp_path, capsys):
    write_lines(tmp_path / "given.jsonl", [annotated(text, n) for n, text in enumerate(TEXTS)])
    outcome = init(capsys, annotations=tmp_path / "given.jsonl", name="trade")
    assert outcome.status == 0, outcome.output
    assert "To be written" in Path("assets/model_card.md").read_text("utf-8")
    assert Path("assets/questions.jsonl").read_text("utf-8") == ""
    commands = {command["name"]: command for command in srsly.read_yaml("project.yml")["commands"]}
    figures = [dep for dep in commands["package-pipeline"]["deps"] if dep.endswith("metrics.json")]
    assert figures == ["training/${vars.config}/metrics.json"]
    assert "\n[deals]\n" not in Path("configs/database.cfg").read_text("utf-8")
    # the database and its questions work without deals
    database = tmp_path / "found.db"
    options = ["--gold", "assets/reviewed.jsonl", "--output", database]
    filled = run_command("database", options, capsys)
    assert filled.status == 0, filled.output
    assert f"mentions 0 {2 * len(TEXTS)}" in filled.output
    with reading.open_readonly(database) as connection:
        _, known = asking.read_config(Path("configs/ask.cfg"))
        counted = guard.run(connection, "SELECT COUNT(*) FROM mentions WHERE label = 'BUYER'", known.bounds())
    assert counted.rows == [(len(TEXTS),)]


def test_without_gold_what_comes_next_works(project, tmp_path, capsys):
    (tmp_path / "texts.txt").write_text("".join(f"{text}\n" for text in TEXTS))
    assert init(capsys, texts=tmp_path / "texts.txt", labels="SELLER,BUYER").status == 0
    planned = run_command("llm-annotate", ["--dry-run"], capsys)
    assert planned.status == 0, planned.output
    assert "prompts 30 to ask" in planned.output
    for name, options, said in (
        ("check", [], "review some texts first (`weasel run review`)"),
        ("split", [], "review some texts first (`weasel run review`)"),
        ("suggest", ["--patterns", "assets/patterns.jsonl"], "none of its sources (llm, model, rules) has"),
    ):
        done = run_command(name, options, capsys)
        assert done.status == 1
        assert said in done.output
        assert "Warning" not in done.output
    # so CI has nothing to complain of
    checked = run_command("check", ["--gaps", "warn"], capsys)
    assert checked.status == 0, checked.output
    assert "no example falls to train; review more texts" in checked.output


@pytest.mark.parametrize("labels", ["spans", "categories"])
def test_ci_and_pages_call_what_is_there(project, tmp_path, capsys, labels):
    lines = [annotated(text, n) for n, text in enumerate(TEXTS)]
    if labels == "categories":
        lines = [{"text": text, "cats": {"A": n % 2, "B": 1 - n % 2}} for n, text in enumerate(TEXTS)]
    assert init(capsys, annotations=write_lines(tmp_path / "sales.jsonl", lines)).status == 0
    made = srsly.read_yaml("project.yml")
    assert made["workflows"]["components"] == ["assemble", "package-pipeline"]
    known = {command["name"] for command in made["commands"]} | set(made["workflows"])
    for path in (
        p for name in (".ci", ".github", "docs") for p in Path(name).rglob("*") if p.suffix != ".png"
    ):
        text = path.read_text("utf-8") if path.is_file() else ""
        assert set(re.findall(r"weasel run ([a-z][a-z0-9-]*)", text)) <= known, path
    ci = Path(".ci/run").read_text("utf-8")
    assert "pytest" not in ci
    assert "demo" not in ci
    assert ci.rstrip().endswith('weasel run check "$work/clone" --vars.gaps warn')
    assert os.access(".ci/run", os.X_OK)


def test_what_commands_made_of_the_demo_goes(project, tmp_path, capsys):
    gone = [
        "corpus/llm.jsonl",
        "corpus/applied/0.parquet",
        "training/efficient/pipeline/model-best/meta.json",
        "training/vectors/reviewed/model-best/meta.json",
        "training/money/metrics.json",
        "training/variants/table.json",
        "packages/en_deal_news-0.1.0-py3-none-any.whl",
        "database/deals.db",
    ]
    kept = ["corpus/.gitkeep", "corpus/imported.jsonl", "corpus/own.txt", "training/own/notes.md"]
    brought = write_lines(
        project / "corpus/llm-train.jsonl", (annotated(text, n) for n, text in enumerate(TEXTS))
    )
    elsewhere = tmp_path / "elsewhere/reviewed/meta.json"
    for path in (*map(Path, gone), *map(Path, kept), elsewhere):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    Path("training/linked").symlink_to(tmp_path / "elsewhere")
    done = init(capsys, annotations=brought, name="trade")
    assert done.status == 0, done.output
    assert [path for path in gone if Path(path).exists()] == []
    assert [path for path in (*kept, brought, elsewhere) if not Path(path).exists()] == []
    assert sorted(path.name for path in Path("training").iterdir()) == ["linked", "own"]
    assert "2 in corpus, 1 in database, 1 in packages, " in done.output
    for told in ("training/efficient/pipeline/model-best", "left there: training/linked/reviewed"):
        assert told in done.output


def test_a_log_of_earlier_reviewing_is_put_aside(project, tmp_path, capsys):
    Path("assets/review-log.jsonl").write_text("{}\n")
    path = write_lines(tmp_path / "sales.jsonl", (annotated(t, n) for n, t in enumerate(TEXTS)))
    assert init(capsys, annotations=path).status == 0
    (aside,) = Path("assets").glob("review-log*")
    assert aside.name != "review-log.jsonl"
    assert aside.read_text() == "{}\n"


def test_amounts_of_another_label_are_read(project, tmp_path, capsys):
    lines = [
        {
            "text": f"{text} It cost $5m.",
            "spans": [{"start": len(text) + 9, "end": len(text) + 12, "label": "PRICE"} | value],
        }
        for text in TEXTS
        for value in [{"value": "5000000 USD"}]
    ]
    assert init(capsys, annotations=write_lines(tmp_path / "a.jsonl", lines), money_label="PRICE").status == 0
    assert 'labels = ["PRICE"]' in Path("configs/money.cfg").read_text("utf-8")
    sides = [part for side in ("train", "dev", "test") for part in (f"--{side}", "assets/reviewed.jsonl")]
    scored = run_command("evaluate-money", ["--label", "PRICE", *sides], capsys)
    assert scored.status == 0, scored.output
    assert "(0 errors)" in scored.output
    assert "evaluate-money" in srsly.read_yaml("project.yml")["workflows"]["components"]
    # without values there is nothing to score them on
    bare = [{**line, "spans": [{**line["spans"][0], "value": None}]} for line in lines]
    path = write_lines(tmp_path / "b.jsonl", bare)
    given = settings(project)["init_gold"]
    assert init(capsys, annotations=path, money_label="PRICE", replaceable=given).status == 0
    assert "evaluate-money" not in srsly.read_yaml("project.yml")["workflows"]["components"]


def test_a_text_to_try_is_always_their_own(project, tmp_path, capsys):
    (tmp_path / "a.txt").write_text("Zara's coat is $90.\nA long one" + " for $5" * 40 + "\n")
    assert init(capsys, texts=tmp_path / "a.txt", labels="PRODUCT").status == 0
    tried = settings(project)["sentence"]
    assert tried.startswith("A long one for 5 for 5")
    assert len(tried) <= 200
