"""Training in process: the same result each time, nothing half-written, one sentence for what is wrong."""

import hashlib
from pathlib import Path

import pytest
import spacy
from corpora import TEXTS, write_corpus
from running import ROOT
from spacy.tokens import Span
from spacy.util import load_config

from components.span_classifier import set_spans
from ie.core.errors import UserError
from ie.data.docs import docbin
from ie.training import loop

CONFIG = ROOT / "configs" / "efficient.cfg"
SHORT = {"training.max_steps": 12, "training.eval_frequency": 4, "components.tok2vec.model.encode.width": 16}


def bytes_of(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.md5(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return write_corpus(tmp_path / "train.spacy", TEXTS * 3)


SPANCAT = ROOT / "configs" / "spancat.cfg"
# as fast as possible
TINY = {
    "components.ner.model.tok2vec.encode.width": 16,
    "components.ner.model.hidden_width": 16,
    "training.max_steps": 80,
    "training.eval_frequency": 40,
    "training.optimizer.learn_rate": 0.01,
}


def nested_corpus(path: Path) -> Path:
    """Phrases with a company and an amount inside."""
    nlp = spacy.blank("en")
    docs = []
    for text, _ in TEXTS * 6:
        doc = nlp(text)
        names = [span for span in (doc[0:1], doc[len(doc) - 2 :]) if span.text.strip()]
        set_spans(
            doc,
            [Span(doc, s.start, s.end, "PART") for s in names] + [Span(doc, 0, len(doc), "WHOLE")],
            overlapping=True,
        )
        docs.append(doc)
    docbin(docs).to_disk(path)
    return path


class TestOverlappingSpans:
    def test_they_are_learned_and_the_threshold_is_chosen(self, tmp_path: Path) -> None:
        corpus = nested_corpus(tmp_path / "train.spacy")
        options = {"train": corpus, "dev": corpus, "overrides": TINY}
        scores = loop.train(SPANCAT, output=tmp_path / "out", **options)
        assert scores["ents_f"] > 0.8
        assert set(scores["ents_per_type"]) == {"PART", "WHOLE"}
        nlp = spacy.load(tmp_path / "out" / "model-best")
        assert nlp.get_pipe("ner").cfg["overlapping"]
        doc = nlp(TEXTS[0][0])
        assert [span.label_ for span in doc.spans["sc"]][:2] == ["WHOLE", "PART"]

    def test_components_for_entities_are_refused(self, tmp_path: Path) -> None:
        corpus = nested_corpus(tmp_path / "train.spacy")
        for config in ("efficient", "crf"):
            path = ROOT / "configs" / f"{config}.cfg"
            with pytest.raises(
                UserError, match=r"entities, which can't overlap, .* with --vars.config spancat"
            ):
                loop.train(path, train=corpus, dev=corpus)


@pytest.mark.parametrize(("config", "updates"), [("efficient", True), ("spancat", True), ("crf", False)])
def test_what_learns_by_updates(config: str, updates: bool) -> None:
    assert loop.learns_by_updates(ROOT / "configs" / f"{config}.cfg", {}) is updates


class TestTrain:
    def test_learns_what_it_sees(self, corpus: Path, tmp_path: Path) -> None:
        more = SHORT | {"training.max_steps": 60, "training.eval_frequency": 20}
        scores = loop.train(CONFIG, train=corpus, dev=corpus, output=tmp_path / "out", overrides=more)
        assert scores["ents_f"] > 0.9
        assert scores["score"] == pytest.approx(scores["ents_f"])
        assert scores["examples"] == 12
        assert set(scores["ents_per_type"]) == {"COMPANY", "MONEY"}
        nlp = spacy.load(tmp_path / "out" / "model-best")
        assert [ent.label_ for ent in nlp("Hooli raises $5m").ents] == ["COMPANY", "MONEY"]

    def test_is_the_same_each_time_quiet_or_not(
        self, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture
    ) -> None:
        options = {"train": corpus, "dev": corpus, "overrides": SHORT}
        quiet = loop.train(CONFIG, output=tmp_path / "a", **options)
        assert capsys.readouterr().out == ""
        loud = loop.train(CONFIG, output=tmp_path / "b", quiet=False, **options)
        assert "LOSS NER" in capsys.readouterr().out
        assert quiet == loud
        again = loop.train(CONFIG, output=tmp_path / "c", **options)
        assert again == quiet
        assert bytes_of(tmp_path / "a") == bytes_of(tmp_path / "c")
        # read once, fewer other cases of words are drawn; they are no part of the model
        strings = "model-best/vocab/strings.json"
        found, other = bytes_of(tmp_path / "a"), bytes_of(tmp_path / "b")
        assert found.pop(strings)
        assert other.pop(strings)
        assert found == other

    def test_another_seed_is_another_training(self, corpus: Path, tmp_path: Path) -> None:
        options = {"train": corpus, "dev": corpus, "overrides": SHORT}
        losses = [loop.train(CONFIG, seed=seed, **options)["history"][-1]["losses"] for seed in (0, 1)]
        assert losses[0] != losses[1]

    def test_best_step_is_that_of_the_best_score(self, corpus: Path) -> None:
        scores = loop.train(CONFIG, train=corpus, dev=corpus, overrides=SHORT)
        assert [entry["step"] for entry in scores["history"]] == [0, 4, 8, 12]
        best = max(scores["history"], key=lambda entry: (entry["score"], entry["step"]))
        assert (scores["score"], scores["step"]) == (best["score"], best["step"])

    def test_config_of_the_result_is_the_users(self, corpus: Path, tmp_path: Path) -> None:
        loop.train(CONFIG, train=corpus, dev=corpus, output=tmp_path / "out", overrides=SHORT)
        saved = load_config(tmp_path / "out" / "model-best" / "config.cfg")
        assert saved["training"]["logger"] == load_config(CONFIG)["training"]["logger"]

    def test_replaces_an_older_pipeline_and_leaves_nothing_else(self, corpus: Path, tmp_path: Path) -> None:
        older = tmp_path / "out" / "model-best" / "stale.txt"
        older.parent.mkdir(parents=True)
        older.write_text("")
        loop.train(CONFIG, train=corpus, dev=corpus, output=tmp_path / "out", overrides=SHORT)
        assert not older.exists()
        assert [path.name for path in (tmp_path / "out").iterdir()] == ["model-best"]

    @pytest.mark.filterwarnings("ignore::RuntimeWarning")
    def test_a_failure_keeps_the_older_pipeline(self, corpus: Path, tmp_path: Path) -> None:
        older = tmp_path / "out" / "model-best" / "older.txt"
        older.parent.mkdir(parents=True)
        older.write_text("")
        wild = SHORT | {"training.optimizer.learn_rate": 1e9, "training.optimizer.grad_clip": 0.0}
        with pytest.raises(UserError, match=r"loss is NaN.*learn_rate"):
            loop.train(CONFIG, train=corpus, dev=corpus, output=tmp_path / "out", overrides=wild)
        assert older.exists()
        assert [path.name for path in (tmp_path / "out").iterdir()] == ["model-best"]


class TestBadInput:
    def test_missing_corpus(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match=r"nope\.spacy: there is no such corpus; run `weasel run split`"):
            loop.train(CONFIG, train=tmp_path / "nope.spacy", dev=tmp_path / "nope.spacy")

    def test_corpus_without_examples(self, corpus: Path, tmp_path: Path) -> None:
        empty = write_corpus(tmp_path / "empty.spacy", [])
        with pytest.raises(UserError, match=r"empty\.spacy: holds no examples"):
            loop.train(CONFIG, train=corpus, dev=empty)

    def test_file_of_another_kind(self, corpus: Path, tmp_path: Path) -> None:
        other = tmp_path / "other.spacy"
        other.write_bytes(b"hello")
        with pytest.raises(UserError, match=r"other\.spacy: is no spaCy corpus"):
            loop.train(CONFIG, train=other, dev=corpus)

    def test_no_annotation_at_all(self, tmp_path: Path) -> None:
        bare = write_corpus(tmp_path / "bare.spacy", [("Nothing here", [])])
        with pytest.raises(UserError, match=r"bare\.spacy: no example has an annotation .* 'ner'"):
            loop.train(CONFIG, train=bare, dev=bare, overrides=SHORT)

    @pytest.mark.parametrize(
        ("old", "new", "said"),
        [
            ("depth = 3", 'depth = "x"', "depth"),
            ("MaxoutWindowEncoder.v2", "Nope.v2", "spacy.Nope.v2"),
            ("[nlp]\n", "[nlp\n", "correct the config"),
            ('"ner"]', '"nar"]', "nar"),
        ],
    )
    def test_broken_config(self, old: str, new: str, said: str, corpus: Path, tmp_path: Path) -> None:
        text = CONFIG.read_text(encoding="utf-8")
        assert old in text
        broken = tmp_path / "broken.cfg"
        broken.write_text(text.replace(old, new), encoding="utf-8")
        with pytest.raises(UserError, match=rf"broken\.cfg: .*{said}") as caught:
            loop.train(broken, train=corpus, dev=corpus)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 500

    def test_missing_config(self, corpus: Path, tmp_path: Path) -> None:
        with pytest.raises(UserError, match=r"none\.cfg"):
            loop.train(tmp_path / "none.cfg", train=corpus, dev=corpus)

    def test_override_of_nothing(self, corpus: Path) -> None:
        with pytest.raises(UserError, match=r"training\.optimiser\.learn_rate"):
            loop.train(CONFIG, train=corpus, dev=corpus, overrides={"training.optimiser.learn_rate": 1})


def test_without_wandb_the_console_keeps_its_logger(monkeypatch: pytest.MonkeyPatch) -> None:
    node = {
        "@loggers": "spacy.ChainLogger.v1",
        "logger1": {"@loggers": "spacy.ConsoleLogger.v3"},
        "logger2": {"@loggers": "spacy.WandbLogger.v5", "project_name": "x"},
    }
    monkeypatch.setattr(loop.tracking, "prepare", lambda: False)
    assert loop._guard_wandb(node) == node | {"logger2": None}
