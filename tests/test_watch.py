"""The command from end to end: a pipeline of rules, its results on other texts, and every bad input."""

import json
import random
import runpy
import shutil
import time
import tracemalloc
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from running import ROOT, Outcome, run_command, scheme, write_lines
from serving import Server

from ie.core.files import hash_folder, sha256_file
from ie.data.records import Record, Span, write_records
from ie.deploy.watch.applied import open_results
from ie.deploy.watch.counters import KnownTexts
from ie.evaluation import history

NAMES = ("Hooli", "Velto", "Wayne")
FRAMES = (
    "{} raised $ {} million this week.",
    "On Monday {} said it lost $ {} million.",
    "Shares of {} fell by {}.",
)


def deal(i: int) -> Record:
    """A text that the rules annotate right, except for companies they don't know."""
    rng = random.Random(i)
    name = rng.choice([*NAMES, "Unlisted"])
    text = rng.choice(FRAMES).format(name, 1000 + i)
    start = text.index(name)
    spans = [Span(start=start, end=start + len(name), label="COMPANY")]
    if "$" in text:
        spans.append(Span(start=text.index("$"), end=text.index("million") + 7, label="MONEY"))
    return Record(text=text, spans=spans)


def foreign(i: int) -> Record:
    """A text of another domain, without a company."""
    words = ["".join(random.Random(i * 100 + k).choices("abcdefgh", k=6)) for k in range(14)]
    return Record(text=" ".join(words))


@pytest.fixture
def project(tmp_path: Path, rule_pipeline: Path) -> Path:
    parts = {"train": range(100), "dev": range(100, 140), "test": range(140, 260)}
    for part, numbers in parts.items():
        write_records(tmp_path / "corpus" / f"{part}.jsonl", map(deal, numbers))
    write_records(tmp_path / "reviewed.jsonl", map(deal, range(260)))
    (tmp_path / "llm.cfg").write_text(scheme("COMPANY", "MONEY"), encoding="utf-8")
    shutil.copytree(rule_pipeline, tmp_path / "training" / "reviewed" / "model-best")
    return tmp_path


def apply(project: Path, capsys: pytest.CaptureFixture, files: dict[str, list], **more: object) -> None:
    """Apply the pipeline to some files of rows."""
    for name, rows in files.items():
        write_lines(
            project / "in" / name, [row.model_dump() if isinstance(row, Record) else row for row in rows]
        )
    options = {"texts": project / "in", "output": project / "applied", "workers": 1, "shard": 100}
    options |= {"model": project / "training" / "reviewed" / "model-best"} | more
    flags = [part for name, value in options.items() for part in (f"--{name}", value)]
    assert run_command("apply", flags, capsys).status == 0


def watch(project: Path, capsys: pytest.CaptureFixture, *more: object) -> Outcome:
    paths = {"results": "applied", "model": "training/reviewed/model-best", "corpus": "corpus"}
    paths |= {"reviewed": "reviewed.jsonl", "scheme": "llm.cfg", "log": "training/production.jsonl"}
    paths |= {"output": "training/watch"}
    return run_command(
        "watch",
        [*(part for name, path in paths.items() for part in (f"--{name}", project / path)), *more],
        capsys,
    )


def test_texts_of_another_domain_are_named_with_the_file_that_began(project, capsys):
    apply(
        project,
        capsys,
        {"a.jsonl": [deal(i) for i in range(300, 400)], "b.jsonl": [foreign(i) for i in range(90)]},
    )
    done = watch(project, capsys)
    assert done.status == 0
    assert "These texts differ from the training data since b.jsonl: " in done.output
    assert "more unknown words (100 % against 0 %)" in done.output
    page = (project / "training" / "watch" / "watch.html").read_text(encoding="utf-8")
    assert page.index("differ from the training data") < page.index("<svg") < page.index("<details")
    figures = json.loads((project / "training" / "watch" / "watch.json").read_text(encoding="utf-8"))
    assert figures["drifted"]
    assert figures["manifest"] == sha256_file(project / "applied" / "manifest.json")
    assert [look["name"] for look in figures["looks"]] == ["a.jsonl", "b.jsonl", "all texts"]
    assert not any(one["alarm"] for one in figures["looks"][0]["measures"].values())


@pytest.mark.parametrize("format", ["parquet", "jsonl"])
def test_texts_of_the_same_domain_give_no_alarm_and_known_texts_do_not_count(project, capsys, format):
    apply(project, capsys, {"a.jsonl": [deal(i) for i in range(200, 400)], "none.jsonl": []}, format=format)
    done = watch(project, capsys)
    assert "No sign that these texts differ from the training data: 140 texts in 1 comparison." in done.output
    assert "60 texts of train, dev or test are left out." in done.output
    assert "1 input file without texts: none.jsonl." in done.output


def test_days_are_compared_in_their_order(project, capsys):
    rows = [{"text": deal(300 + i).text, "meta": {"day": f"2026-03-0{1 + i % 2}T10:00"}} for i in range(120)]
    rows += [{"text": foreign(i).text, "meta": {"day": "2026-03-03"}} for i in range(60)]
    apply(project, capsys, {"a.jsonl": list(reversed(rows))})
    done = watch(project, capsys, "--day-column", "meta.day")
    assert "since 2026-03-03" in done.output
    wrong = watch(project, capsys, "--day-column", "meta.date")
    assert wrong.status == 1
    assert "'meta.date' is 'None', no date such as 2026-03-31" in wrong.output


def test_the_sample_is_reviewed_and_scored_and_history_shows_it(project, capsys):
    apply(project, capsys, {"a.jsonl": [deal(i) for i in range(300, 500)]})
    assert (
        "weasel run review . --vars.review_select watch: 50 texts drawn at random"
        in watch(project, capsys).output
    )
    lines = (project / "training" / "watch" / "sample.jsonl").read_text(encoding="utf-8").splitlines()
    sample = [json.loads(line) for line in lines]
    assert len(sample) == 50
    assert sample[0]["meta"]["watch"].keys() == {"results", "file", "row"}
    by_text = {deal(i).text: deal(i) for i in range(300, 500)}
    # people find a company at the end of every text that the rules miss
    answers = [
        Record(text=row["text"], spans=[*by_text[row["text"]].spans, *extra(row["text"])]) for row in sample
    ]
    write_records(project / "reviewed.jsonl", [*map(deal, range(260)), *answers])
    done = watch(project, capsys)
    assert "F on 50 reviewed texts of these is" in done.output
    assert "worse beyond noise" in done.output
    assert "weasel run all: train with the corrected texts" in done.output
    watch(project, capsys)  # the same score is logged once
    (score,) = history.read_production(project / "training" / "production.jsonl")
    one = {"system": "reviewed", "counts": {"reviewed": score["counts"]}}
    assert history.production_of(one, [score]).endswith("(n=50) worse")
    assert history.production_of({"system": "x", "counts": {"x": "other"}}, [score]) == ""


def extra(text: str) -> list[Span]:
    return [Span(start=len(text) - 1, end=len(text), label="COMPANY")]


def test_bad_input_is_refused_in_a_sentence(project, capsys):
    assert "has no results; run `weasel run apply` first" in watch(project, capsys).output
    apply(project, capsys, {"a.jsonl": [deal(i) for i in range(300, 340)]})
    few = watch(project, capsys)
    assert few.status == 0
    assert "Too few texts to compare: 40 texts, and 50 are needed." in few.output
    model = project / "training" / "reviewed" / "model-best"
    meta = (model / "meta.json").read_text(encoding="utf-8")
    (model / "meta.json").write_text(meta.replace('"version":"0.0.0"', '"version":"0.0.1"'), encoding="utf-8")
    assert "was made by another pipeline, or another version of it" in watch(project, capsys).output
    (model / "meta.json").write_text(meta, encoding="utf-8")
    shutil.rmtree(project / "training" / "watch")
    shutil.copy(project / "corpus" / "dev.jsonl", project / "corpus" / "test.jsonl")
    write_records(project / "corpus" / "dev.jsonl", [])
    assert "dev and test have 40 texts, too few to compare with" in watch(project, capsys).output
    (project / "corpus" / "test.jsonl").unlink()
    assert "there is no such file, so there is nothing to compare with" in watch(project, capsys).output


def test_only_known_texts_are_refused(project, capsys):
    apply(project, capsys, {"a.jsonl": [deal(i) for i in range(100)]})
    assert "has no text that isn't in train, dev or test" in watch(project, capsys).output


def test_texts_that_were_edited_are_named(project, capsys):
    apply(project, capsys, {"a.jsonl": [deal(i) for i in range(300, 400)]}, format="jsonl")
    (shard,) = (project / "applied" / "rows" / "a.jsonl").iterdir()
    lines = shard.read_text(encoding="utf-8").splitlines()
    row = next(i for i, line in enumerate(lines) if json.loads(line)["spans"])
    edited = json.loads(lines[row]) | {"text": "Somebody wrote another text here."}
    write_lines(shard, [*lines[:row], edited, *lines[row + 1 :]])
    done = watch(project, capsys)
    assert done.status == 1
    assert f"{shard}:{row + 1}: a span isn't where it was found, so the text was edited" in done.output
    write_lines(shard, ["{}"])
    assert "isn't a row as `apply` writes it" in watch(project, capsys).output


def test_a_stored_reference_is_used_until_the_pipeline_changes(project, capsys):
    apply(project, capsys, {"a.jsonl": [deal(i) for i in range(300, 400)]})
    watch(project, capsys)
    stored = project / "training" / "watch" / "reviewed.json"
    before = stored.read_bytes()
    shutil.rmtree(project / "corpus")
    assert watch(project, capsys).status == 0
    assert stored.read_bytes() == before
    stored.write_text("{", encoding="utf-8")
    assert watch(project, capsys).status == 1


def test_a_large_file_takes_little_memory(project, capsys):
    apply(project, capsys, {"a.jsonl": [deal(i) for i in range(300, 400)]})
    (shard,) = (project / "applied" / "rows" / "a.jsonl").iterdir()
    table = pq.read_table(shard)
    with pq.ParquetWriter(shard, table.schema) as writer:
        for _ in range(60):
            writer.write_table(table)
    model = project / "training" / "reviewed" / "model-best"
    results = open_results(project / "applied", model, hash_folder(model))
    tracemalloc.start()
    assert sum(1 for _ in results.texts()) == 6000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6e6


def install(model: Path, site: Path, name: str) -> None:
    """Put a pipeline on the path as pip installs its wheel."""
    package, about = site / name, site / f"{name}-0.0.0.dist-info"
    shutil.copytree(model, package / f"{name}-0.0.0")
    shutil.copy(model / "meta.json", package)
    (package / "__init__.py").write_text(
        "from spacy.util import load_model_from_init_py\n\n\n"
        "def load(**overrides):\n    return load_model_from_init_py(__file__, **overrides)\n"
    )
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.0.0\n")


def test_what_an_installed_package_counted_is_compared(project, capsys, monkeypatch):
    model, training, corpus = (
        project / "training/reviewed/model-best",
        project / "training",
        project / "corpus",
    )
    meta = json.loads((model / "meta.json").read_text(encoding="utf-8"))
    (model / "meta.json").write_text(json.dumps(meta | {"name": "watched", "version": "0.0.0"}))
    name = f"{meta['lang']}_watched"
    install(model, project / "site", name)
    monkeypatch.syspath_prepend(project / "site")
    counters_of = runpy.run_path(str(ROOT / "scripts/serve.py"))["counters_of"]
    counting, known = counters_of(name, training, corpus), KnownTexts.read(corpus)
    counting.add(known.values(foreign(i)) for i in range(60))
    counting.write()
    served = training / "served"
    other = watch(project, capsys, "--results", served)
    assert other.status == 1
    assert "or --model for an installed package" in " ".join(other.output.split())
    done = watch(project, capsys, "--results", served, "--model", name)
    assert done.status == 0, done.output
    assert "more unknown words (100 % against 0 %)" in done.output
    assert (training / "watch" / f"{name}.json").exists()


@pytest.mark.slow
def test_what_a_service_counted_is_compared(project, capsys, tmp_path_factory):
    model, training = project / "training/reviewed/model-best", project / "training"
    texts = [foreign(i).text for i in range(60)] + [deal(200).text]
    options = {"training": training, "corpus": project / "corpus", "workers": 2, "counters": "true"}

    def counted() -> int:
        files = [json.loads(path.read_text("utf-8")) for path in (training / "served").glob("[!.]*")]
        return sum(day["texts"] for file in files for day in file["days"].values())

    killed = Server(model, tmp_path_factory.mktemp("killed"), interval=0.2, **options)
    try:
        killed.wait()
        for start in range(0, len(texts), 10):
            assert killed.annotate(*texts[start : start + 10]).status_code == 200
        deadline = time.monotonic() + 20
        while counted() < 60 and time.monotonic() < deadline:
            time.sleep(0.1)
        assert counted() == 60  # without the text of test
    finally:
        killed.process.kill()
        killed.stop()
    # what came before the kill is whole, and a run that ends writes at its end
    ended = Server(model, tmp_path_factory.mktemp("ended"), interval=1000, **options)
    try:
        ended.wait()
        ended.annotate(*(foreign(i).text for i in range(60, 100)))
        assert counted() == 60
    finally:
        assert ended.stop() == 0
    assert counted() == 100
    written = "".join(path.read_text("utf-8") for path in (training / "served").iterdir())
    assert not any(word in written for i in range(100) for word in foreign(i).text.split())

    (project / "training/watch").mkdir()
    (project / "training/watch/sample.jsonl").write_text("kept", encoding="utf-8")
    done = watch(project, capsys, "--results", training / "served")
    assert done.status == 0, done.output
    assert "more unknown words (100 % against 0 %)" in done.output
    assert "can't be measured: the service kept none of them" in " ".join(done.output.split())
    assert json.loads((project / "training/watch/watch.json").read_text("utf-8"))["texts"] == 100
    assert (project / "training/watch/sample.jsonl").read_text(encoding="utf-8") == "kept"
