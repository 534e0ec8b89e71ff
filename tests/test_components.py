"""The commands from end to end on a small corpus: train, score, assemble, count rows, package."""

import json
import zipfile
from pathlib import Path

import pytest
import spacy
from running import ROOT, Outcome, run_command, scheme, write_lines
from spacy.tokens import DocBin

from ie.core.files import hash_path
from ie.data import records
from ie.data.docs import to_doc
from ie.data.records import Record
from ie.training import assembly, loop

SCHEME = scheme("COMPANY", "MONEY", relations=["INVESTOR", "RAISED"], categories=["FUNDING", "OTHER"])
NAMES = ("Velto", "Hooli", "Anker", "Globex", "Initech", "Umbra", "Wayne")


def row(n: int) -> dict:
    one, other, money = NAMES[n % 7], NAMES[(n + 3) % 7], f"${n + 1}m"
    if n % 3:
        text, related = f"{one} invests {money} in {other} #{n}.", [(0, 2, "INVESTOR"), (2, 1, "RAISED")]
        names = [one, money, other]
    else:
        text, related = f"{one} competes with {other} #{n}.", []
        names = [one, other]
    spans = [
        {
            "start": text.index(x),
            "end": text.index(x) + len(x),
            "label": "MONEY" if x[0] == "$" else "COMPANY",
        }
        for x in names
    ]
    return {
        "text": text,
        "spans": spans,
        "relations": [{"head": h, "child": c, "label": label} for h, c, label in related],
        "cats": {"FUNDING": int(bool(n % 3)), "OTHER": int(not n % 3)},
        "answer": "accept",
        "meta": {"id": f"t{n}"},
    }


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data, a trained recogniser, and configs of small models."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "llm.cfg").write_text(SCHEME, encoding="utf-8")
    (folder / "assemble.cfg").write_text(
        '[sources]\ntextcat = "categories"\nrelations = "relations"\nlinker = "linker"\n', encoding="utf-8"
    )
    for side, numbers in {"train": range(48), "dev": range(100, 124), "test": range(200, 230)}.items():
        write_lines(folder / f"{side}.jsonl", [row(n) for n in numbers])
    for name in ("relations", "categories", "categories-shared"):
        text = (ROOT / "configs" / f"{name}.cfg").read_text(encoding="utf-8")
        for old, new in {
            "width = 64": "width = 16",
            "rows = [5000,1000,2500,2500]": "rows = [200,100,100,100]",
            "length = 65536": "length = 2048",
            "learn_rate = 0.001": "learn_rate = 0.01",
            "eval_frequency = 100": "eval_frequency = 20",
        }.items():
            text = text.replace(old, new)
        (folder / f"{name}.cfg").write_text(text, encoding="utf-8")
    nlp = records.blank("en")
    for side in ("train", "dev"):
        docs = [to_doc(Record(**row(n)), nlp) for n in range(48)]
        DocBin(docs=docs).to_disk(folder / f"{side}.spacy")
    small = {
        "training.max_steps": 60,
        "training.eval_frequency": 30,
        "components.tok2vec.model.encode.width": 16,
        "components.tok2vec.model.embed.rows": [200, 100, 100, 100],
        "training.optimizer.learn_rate": 0.01,
    }
    loop.train(
        ROOT / "configs" / "efficient.cfg",
        train=folder / "train.spacy",
        dev=folder / "dev.spacy",
        output=folder / "models" / "reviewed",
        overrides=small,
    )
    return folder


TRAINED = {"train-relations": "relations", "train-categories": "categories"}
SCORED = {"evaluate-relations": "relations", "evaluate-categories": "categories", "evaluate-rows": "rows"}


def command(project: Path, name: str, capsys: pytest.CaptureFixture, **more: object) -> Outcome:
    """One component trained or scored, or all assembled."""
    models = project / "models"
    options: dict[str, object]
    if name in TRAINED:
        script, part = "train-components", TRAINED[name]
        options = {
            "only": part,
            "scheme": project / "llm.cfg",
            "corpus": project,
            "table": project / "none.csv",
            part: more.pop("config", project / f"{part}.cfg"),
            "ner": models / "reviewed" / "model-best",
            "max-steps": 60,
            "output": models,
        }
    elif name in SCORED:
        script = "evaluate-components"
        options = {
            "only": SCORED[name],
            "scheme": project / "llm.cfg",
            "train": project / "train.jsonl",
            "test": project / "test.jsonl",
            "components": models,
            "pipeline": models / "pipeline" / "model-best",
            "output": models / "scores",
        }
    else:
        script = name
        options = {
            "config": project / "assemble.cfg",
            "components": models,
            "ner": models / "reviewed" / "model-best",
            "dev": project / "dev.jsonl",
            "output": models / "pipeline",
        }
    options |= {key.replace("_", "-"): value for key, value in more.items()}
    return run_command(script, [word for k, v in options.items() for word in (f"--{k}", v)], capsys)


@pytest.fixture(scope="module")
def trained(project: Path) -> Path:
    """The project after both trainings and the assembly."""

    class Quiet:
        def readouterr(self) -> object:
            return type("Told", (), {"out": "", "err": ""})

    for name in ("train-relations", "train-categories", "assemble"):
        assert command(project, name, Quiet()).status == 0, name
    return project


@pytest.mark.slow
def test_relations_are_scored_on_gold_and_predicted_entities(trained, capsys):
    outcome = command(trained, "evaluate-relations", capsys)
    assert outcome.status == 0, outcome.output
    metrics = json.loads((trained / "models/scores/relations.json").read_text())
    assert set(metrics["systems"]) == {"gold", "majority", "rule", "predicted", "rule predicted"}
    f = {name: found["all"]["f"][0] for name, found in metrics["systems"].items()}
    assert f["gold"] > 0.9
    assert f["gold"] > f["rule"] > 0
    assert f["predicted"] <= f["gold"]
    assert metrics["systems"]["gold"]["INVESTOR"]["correct"] <= 20
    assert "component, predicted" in " ".join(outcome.output.split())
    told = json.loads((trained / "models/relations/train.json").read_text())
    assert told["relations"] == {"INVESTOR": 32, "RAISED": 32}
    component = spacy.load(trained / "models/relations/model-best").get_pipe("relations")
    assert component.threshold == pytest.approx(told["threshold"])


@pytest.mark.slow
def test_training_again_gives_the_same_weights(trained, capsys, tmp_path):
    for name, kept in (("train-relations", "relations"), ("train-categories", "categories")):
        assert command(trained, name, capsys, output=tmp_path).status == 0
        one, other = (
            spacy.load(folder / kept / "model-best").to_bytes(exclude=["vocab"])
            for folder in (trained / "models", tmp_path)
        )
        assert one == other


@pytest.mark.slow
def test_categories_are_scored(trained, capsys):
    outcome = command(trained, "evaluate-categories", capsys)
    assert outcome.status == 0, outcome.output
    metrics = json.loads((trained / "models/scores/categories.json").read_text())["systems"]
    assert metrics["component"]["accuracy"]["f"][0] > metrics["majority"]["accuracy"]["f"][0]
    assert set(metrics["component"]) == {"FUNDING", "OTHER", "macro", "accuracy"}


@pytest.mark.slow
def test_texts_without_a_category_are_counted_and_left_out(trained, capsys, tmp_path):
    lines = [row(n) | ({"cats": {}} if n % 4 == 0 else {}) for n in range(48)]
    write_lines(tmp_path / "train.jsonl", lines)
    write_lines(tmp_path / "dev.jsonl", lines)
    more = {"corpus": tmp_path, "output": tmp_path / "out", "max_steps": 2}
    outcome = command(trained, "train-categories", capsys, **more)
    assert outcome.status == 0, outcome.output
    assert "12 of 48 texts don't have one category and aren't used" in outcome.output
    told = json.loads((tmp_path / "out/categories/train.json").read_text())
    assert told["without_category"] == 12
    assert sum(told["examples"].values()) == 36


def test_a_scheme_of_spans_alone_needs_no_component(project, capsys, tmp_path):
    (tmp_path / "assemble.cfg").write_text("[sources]\n", encoding="utf-8")
    outcome = command(project, "assemble", capsys, config=tmp_path / "assemble.cfg", output=tmp_path / "out")
    assert outcome.status == 0, outcome.output
    assert spacy.load(tmp_path / "out/model-best").pipe_names == ["tok2vec", "ner"]


@pytest.mark.slow
class TestAssembly:
    def test_one_pipeline_says_what_its_components_say(self, trained, capsys):
        told = json.loads((trained / "models/pipeline/assemble.json").read_text())
        assert told["pipeline"] == ["tok2vec", "ner", "textcat", "relations"]
        assert told["unchanged_on"] == 24
        assert list(told["left_out"]) == ["linker"]
        paths = {name: Path(source["path"]) for name, source in told["sources"].items()}
        assert list(paths) == ["ner", "textcat", "relations"]
        assert told["sources"]["relations"]["sha256"] == hash_path(paths["relations"])
        doc = spacy.load(trained / "models/pipeline/model-best")("Velto invests $5m in Hooli #7.")
        assert doc.cats["FUNDING"] > 0.5
        ends = {(doc.ents[r["head"]].text, doc.ents[r["child"]].text) for r in doc._.relations}
        assert ("Velto", "Hooli") in ends

    def test_shared_token_vectors_stay_shared(self, trained, capsys, tmp_path):
        models = trained / "models"
        outcome = command(
            trained,
            "train-categories",
            capsys,
            config=trained / "categories-shared.cfg",
            output=models / "shared",
        )
        assert outcome.status == 0, outcome.output
        config = tmp_path / "assemble.cfg"
        config.write_text(
            f'[sources]\ntextcat = "{models}/shared/categories/model-best"\nrelations = "relations"\n',
            encoding="utf-8",
        )
        assert command(trained, "assemble", capsys, config=config, output=tmp_path / "out").status == 0
        nlp = spacy.load(tmp_path / "out" / "model-best")
        assert nlp.get_pipe("tok2vec").listening_components == ["ner", "textcat"]

    def test_components_of_another_tok2vec_take_theirs_along(self, trained):
        models = trained / "models"
        parts = assembly.gather({"textcat": models / "shared/categories/model-best"})
        base = spacy.load(models / "reviewed" / "model-best")
        weights = parts.pipelines["textcat"].get_pipe("tok2vec").model
        for node in weights.walk():
            for name in node.param_names:
                node.set_param(name, node.get_param(name) * 0.5)
        text = "Velto invests $5m in Hooli #7."
        said = parts.pipelines["textcat"](text).cats
        nlp = assembly.assemble(base, parts.pipelines)
        assert nlp.get_pipe("tok2vec").listening_components == ["ner"]
        assert nlp(text).cats == pytest.approx(said)

    def test_rows_and_their_budget(self, trained, capsys):
        outcome = command(trained, "evaluate-rows", capsys)
        assert outcome.status == 0, outcome.output
        metrics = json.loads((trained / "models/scores/rows.json").read_text())
        assert set(metrics["rows"]) == {"pipeline", "ner", "relations"}
        found = metrics["rows"]
        assert all(entry["exact"] + entry["missing"] == 40 for entry in found.values())
        assert found["relations"]["exact"] >= found["pipeline"]["exact"] > 0
        assert found["relations"]["spurious"] == 0
        assert "40 rows of 30 test texts" in outcome.output

    def test_what_gold_lacks_is_left_out_of_the_scores(self, trained, capsys, tmp_path):
        lines = [row(n) | {"cats": {}} for n in range(200, 230)]
        test = write_lines(tmp_path / "test.jsonl", lines)
        outcome = command(trained, "evaluate-rows", capsys, only="", test=test, output=tmp_path / "scores")
        assert outcome.status == 0, outcome.output
        assert "categories are left out" in " ".join(outcome.output.split())
        assert {path.name for path in (tmp_path / "scores").glob("*.json")} == {"relations.json", "rows.json"}

    def test_each_component_is_timed(self, trained, capsys):
        options = ["--model", trained / "models/pipeline/model-best", "--texts", trained / "test.jsonl"]
        outcome = run_command("benchmark-pipeline", [*options, "--llm-texts", 0, "--repeats", 2], capsys)
        assert outcome.status == 0, outcome.output
        places = [outcome.output.index(name) for name in ("entities alone", "+ textcat", "+ relations")]
        assert places == sorted(places)
        words = sum(len(records.blank("en")(r.text)) for r in records.read_records(trained / "test.jsonl"))
        assert outcome.output.count(f" {words:,} ") == 3

    def test_the_wheel_has_the_code_of_its_components(self, trained, capsys, tmp_path):
        options = ["--model", trained / "models/pipeline/model-best", "--output", tmp_path, "--no-check"]
        outcome = run_command("package", [*options, "--name", "en_deals_pipeline"], capsys)
        assert outcome.status == 0, outcome.output
        with zipfile.ZipFile(tmp_path / "en_deals_pipeline-0.1.0-py3-none-any.whl") as wheel:
            assert "en_deals_pipeline/relations.py" in wheel.namelist()
            assert b"from . import relations" in wheel.read("en_deals_pipeline/__init__.py")

    def test_a_change_is_refused_and_writes_nothing(self, trained, capsys, tmp_path, monkeypatch):
        monkeypatch.setattr(assembly, "changed", lambda *_: {"ner": 0, "relations": 3})
        outcome = command(trained, "assemble", capsys, output=tmp_path / "out")
        assert outcome.status == 1
        assert "(relations on 3 of 24 dev texts)" in outcome.output
        assert not (tmp_path / "out").exists()


def test_what_changes_is_reported(project):
    """The check itself, on pipelines whose entities differ."""
    one, other = records.blank("en"), records.blank("en")
    for nlp, pattern in ((one, "Velto"), (other, "Hooli")):
        nlp.add_pipe("entity_ruler").add_patterns([{"label": "COMPANY", "pattern": pattern}])
    some = [Record(text="Velto sleeps"), Record(text="Nobody sleeps")]
    assert assembly.changed(one, {}, one, some) == {"ner": 0}
    assert assembly.changed(one, {}, other, some) == {"ner": 1}


@pytest.mark.parametrize(
    ("name", "options", "fault"),
    [
        ("train-relations", {"corpus": "lonely"}, "lonely/train.jsonl: no text has two spans"),
        ("train-relations", {"corpus": "one"}, "one/train.jsonl: no example of the relation 'RAISED'"),
        ("train-relations", {"scheme": "spans.cfg"}, "spans.cfg: the scheme has no relations"),
        ("train-categories", {"scheme": "spans.cfg"}, "spans.cfg: the scheme has no categories"),
        ("train-categories", {"corpus": "one"}, "one/train.jsonl: no example of the category 'FUNDING'"),
        ("train-relations", {"corpus": "none"}, "none/train.jsonl: there is no such file"),
        ("evaluate-relations", {"components": "none"}, "there is no trained pipeline; run `weasel"),
        ("evaluate-categories", {"components": "none"}, "there is no trained pipeline; run `weasel run tr"),
        ("assemble", {"config": "none.cfg"}, "none.cfg: there is no such file"),
        ("assemble", {"config": "llm.cfg"}, "llm.cfg: it must have [sources]"),
        ("assemble", {"config": "wrong.cfg"}, "has no component 'relations'; it has: tok2vec, ner"),
        ("assemble", {"ner": "none"}, "none: there is no trained pipeline; run `weasel run evaluate` first"),
        ("evaluate-rows", {"pipeline": "models/reviewed/model-best"}, "no relations, so there are no rows"),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence_and_writes_nothing(project, capsys, tmp_path, name, options, fault):
    lonely = {"text": "Velto", "spans": [{"start": 0, "end": 5, "label": "COMPANY"}]}
    one = row(0) | {"relations": [{"head": 0, "child": 1, "label": "INVESTOR"}]}
    write_lines(project / "lonely" / "train.jsonl", [lonely])
    write_lines(project / "one" / "train.jsonl", [one])
    (project / "spans.cfg").write_text(SCHEME.split("[components.relations]")[0], encoding="utf-8")
    (project / "wrong.cfg").write_text('[sources]\nrelations = "reviewed"\n', encoding="utf-8")
    given = {key: project / value for key, value in options.items()}
    outcome = command(project, name, capsys, output=tmp_path / "out", **given)
    assert outcome.status == 1
    assert fault in outcome.output
    assert "Traceback" not in outcome.output
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_losses_that_are_no_numbers(project, capsys, tmp_path):
    text = (project / "categories-shared.cfg").read_text(encoding="utf-8")
    config = tmp_path / "categories-shared.cfg"
    config.write_text(text.replace("learn_rate = 0.01", "learn_rate = 1e38"), encoding="utf-8")
    outcome = command(project, "train-categories", capsys, config=config, output=tmp_path / "out")
    assert outcome.status == 1
    assert "training diverged" in outcome.output
    assert not (tmp_path / "out/model-best").exists()
