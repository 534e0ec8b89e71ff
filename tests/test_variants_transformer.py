"""configs/transformer.cfg: what can be seen without its packages, and with them a training on real texts."""

from copy import deepcopy
from importlib.util import find_spec
from pathlib import Path

import deals
import pytest
import spacy
from running import ROOT, write_docbin
from spacy.util import load_config, load_model_from_config

from ie.core.errors import UserError
from ie.data.records import Record, blank
from ie.training import loop

CONFIG = ROOT / "configs" / "transformer.cfg"
PACKAGE = load_config(CONFIG)["paths"]["transformer"]
SCHEDULE = "training.optimizer.learn_rate"
# Twenty steps would all be warm-up.
SHORT = {
    "training.max_steps": 20,
    "training.eval_frequency": 5,
    f"{SCHEDULE}.warmup_steps": 2,
    f"{SCHEDULE}.initial_rate": 3e-4,
}
needs_packages = pytest.mark.skipif(
    not (find_spec("spacy_transformers") and find_spec(PACKAGE)),
    reason=f"spacy-transformers or {PACKAGE} isn't installed; pip install -r requirements/transformer.txt",
)


def gold(n: int) -> list[Record]:
    return [record for record in deals.records(2 * n) if record.spans][:n]


def test_all_but_the_transformer_is_filled() -> None:
    """Its factory is known only where spacy-transformers is; where it is, test_project.py fills it whole."""
    config = load_config(CONFIG, interpolate=False)
    plain = load_config(ROOT / "configs" / "efficient.cfg", interpolate=True)
    assert config["components"]["transformer"]["model"]["name"] == "${paths.transformer}"
    assert config["system"]["gpu_allocator"] == "pytorch"
    stand_in = deepcopy(config)
    stand_in["components"]["transformer"] = plain["components"]["tok2vec"]
    stand_in["components"]["ner"]["model"]["tok2vec"] = plain["components"]["ner"]["model"]["tok2vec"]
    nlp = load_model_from_config(stand_in, auto_fill=True, validate=True)
    assert nlp.config == stand_in


def test_without_the_packages_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "find_spec", lambda name: None)
    corpus = tmp_path / "train.spacy"
    write_docbin(corpus, gold(2), blank("en"))
    with pytest.raises(UserError, match=r"transformer\.cfg: .*pip install -r requirements/transformer\.txt"):
        loop.train(CONFIG, train=corpus, dev=corpus, output=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_weights_may_come_from_a_package_a_folder_or_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in ("some_weights/model", "some_weights/model/1_pooling", "no_weights"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place.split("/")[0] / "__init__.py").touch()
        if place != "no_weights":
            (tmp_path / place / "config.json").write_text("{}")
    monkeypatch.syspath_prepend(tmp_path)
    assert loop.weights_folder("some_weights") == str(tmp_path / "some_weights" / "model")
    for name in ("no_weights", "roberta-base", "org/some-model", str(tmp_path / "some_weights" / "model")):
        assert loop.weights_folder(name) == name


def test_without_a_gpu_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(gpu_id: int) -> None:
        raise ValueError("No GPU devices detected")

    monkeypatch.setattr(spacy, "require_gpu", refuse)
    corpus = tmp_path / "train.spacy"
    write_docbin(corpus, gold(2), blank("en"))
    with pytest.raises(
        UserError, match=r"^GPU 0 can't be used \(No GPU devices detected\); .*--vars.gpu_id -1"
    ):
        loop.train(ROOT / "configs" / "efficient.cfg", train=corpus, dev=corpus, gpu_id=0)


@needs_packages
def test_it_is_scheduled_as_spacys_quickstart_has_it() -> None:
    from spacy.cli.init_config import init_config

    theirs = init_config(lang="en", pipeline=["ner"], optimize="efficiency", gpu=True)["training"]
    ours = load_config(CONFIG)["training"]
    for name in ("optimizer", "accumulate_gradient", "dropout", "patience", "max_steps", "eval_frequency"):
        assert ours[name] == theirs[name], name
    # Theirs would drop long texts without a word.
    assert ours["batcher"] == theirs["batcher"] | {"discard_oversize": False}


@needs_packages
@pytest.mark.slow
def test_it_learns_a_few_real_texts(tmp_path: Path) -> None:
    corpus = tmp_path / "train.spacy"
    write_docbin(corpus, gold(15), blank("en"))
    scores = loop.train(CONFIG, train=corpus, dev=corpus, output=tmp_path, overrides=SHORT)
    assert scores["history"][0]["score"] < 0.2
    assert scores["ents_f"] > 0.5
    folder = tmp_path / "model-best"
    # Where the weights were on this machine is in no file of it.
    here = loop.weights_folder(PACKAGE).encode()
    assert not [path for path in folder.rglob("*") if path.is_file() and here in path.read_bytes()]
    nlp = spacy.load(folder)
    assert nlp.pipe_names == ["transformer", "ner"]
    assert nlp.config["paths"]["transformer"] == PACKAGE
    found = [ent.label_ for doc in nlp.pipe(record.text for record in gold(15)) for ent in doc.ents]
    assert {"COMPANY", "MONEY"} <= set(found)
