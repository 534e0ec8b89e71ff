"""Settings, guidelines, order, suggestions, selection and progress."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from reviewing import NLP, NONE_FIRST, SCHEME, texts
from running import ROOT, write_lines

from ie.core.errors import UserError
from ie.core.settings import load_settings
from ie.data.guidelines import GuidelineIndex as SearchableGuidelines
from ie.data.guidelines import version as guidelines_version
from ie.data.records import Record, RecordFile
from ie.data.scheme import Scheme
from ie.data.splits import SIDES
from ie.review import agreement, selection
from ie.review import disagreements as disagreement_kinds
from ie.review.guidelines_panel import read_guidelines
from ie.review.progress import progress, read_closest
from ie.review.queue import PartCounts, ReviewQueue
from ie.review.settings import BeginSection, OrderSection, ReviewSettings, units
from ie.review.suggestion_sources import (
    SuggestionSources,
    TextSuggestions,
    add,
    disagreement,
    uncertainty,
)


class TestSettings:
    def test_the_shipped_file_says_what_the_defaults_are(self) -> None:
        found = load_settings(ROOT / "configs" / "review.cfg", ReviewSettings)
        sources = {"suggest": "corpus/suggest.jsonl", "llm": "corpus/llm.jsonl"}
        assert found == ReviewSettings(sources=sources)

    @pytest.mark.parametrize(("content", "fault"), [
        ("[review]\nmode = \"slow\"\n", "review.mode: input should be 'one label' or 'all labels'"),
        ("[review]\nbatch = 0\n", "review.batch: input should be greater than or equal to 1"),
        ("[revue]\nbatch = 1\n", "revue: extra inputs are not permitted"),
        ("[order]\nthen = \"best\"\n", "order.then"),
        ("batch", "can't be read as a config"),
    ])  # fmt: skip
    def test_mistakes_are_named(self, tmp_path: Path, content: str, fault: str) -> None:
        path = tmp_path / "review.cfg"
        path.write_text(content, encoding="utf-8")
        with pytest.raises(UserError) as error:
            load_settings(path, ReviewSettings)
        assert fault in str(error.value)

    def test_no_file(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="there is no such file"):
            load_settings(tmp_path / "none.cfg", ReviewSettings)

    def test_a_kind_without_labels_is_not_asked(self) -> None:
        assert [
            unit.name
            for unit in units(ReviewSettings(review={"mode": "one label"}), Scheme(span_labels=("A", "B")))
        ] == [
            "spans:A",
            "spans:B",
        ]
        with pytest.raises(UserError, match="no label for any of the tasks spans"):
            units(ReviewSettings(review={"tasks": ["spans"]}), Scheme(categories=("C",)))


class TestGuidelines:
    def read(self, tmp_path: Path, content: str, labels: list[str]) -> object:
        path = tmp_path / "guidelines.md"
        path.write_text(content, encoding="utf-8")
        return read_guidelines(path, labels)

    def test_blocks_know_their_labels(self, tmp_path: Path) -> None:
        found = self.read(
            tmp_path,
            "# Of ORG\n\n- **ORG_X**: all\n- ORGs and\n  ORG_X\n\n3. PER\n4. none\n",
            ["ORG", "ORG_X", "PER"],
        )
        assert [named for _, named in found.blocks] == [("ORG",), ("ORG_X",), ("ORG", "ORG_X"), ("PER",), ()]
        assert found.blocks[3][0] == '<ol start="3"><li>PER</li>\n</ol>'

    def test_nothing_in_them_can_run(self, tmp_path: Path) -> None:
        hostile = "<script>alert(1)</script>\n\n[x](javascript:alert(1)) <img src=x onerror=alert(1)>\n"
        html = "".join(block for block, _ in self.read(tmp_path, hostile, []).blocks)
        assert "<script" not in html
        assert "<img" not in html
        assert 'href="javascript' not in html

    def test_the_version_follows_the_content(self, tmp_path: Path) -> None:
        versions = [self.read(tmp_path, text, []).version for text in ("one", "two", "one")]
        assert versions[0] == versions[2] != versions[1]
        # the same that `agreement` names
        assert versions[2] == guidelines_version(tmp_path / "guidelines.md")


SHARES = {"train": 60, "dev": 10, "test": 30}


def part_by_name(text: str) -> str:
    return "test" if "Velto" in text else "dev" if "Rode" in text else "train"


class Reviewing:
    """A queue over some texts, and the counts of what was drawn from it."""

    def __init__(
        self,
        found: list[str],
        then: str = "file",
        part: Callable[[str], str] = part_by_name,
        labelled: Callable[[str], bool] = lambda text: True,
        more: dict[str, Callable] | None = None,
        **order: object,
    ) -> None:
        self.texts, self.part, self.labelled = found, part, labelled
        self.counts = PartCounts()
        self.drawn: list[int] = []
        self.reasons: list[str] = []
        settings = OrderSection(then=then, **{"first": "", "begin": NONE_FIRST, **order})
        self.queue = ReviewQueue(
            found, settings, part=part, counts=lambda: self.counts, shares=SHARES, **(more or {})
        )

    def draw(self, n: int = 10_000) -> list[int]:
        """Draw and accept up to so many texts; all that were drawn so far."""
        for _ in range(n):
            one = self.queue.draw(lambda i: i not in self.drawn)
            if one is None:
                break
            text = self.texts[one[0]]
            self.drawn.append(one[0])
            self.reasons.append(one[1])
            self.counts.texts[self.part(text)] += 1
            self.counts.labelled[self.part(text)] += self.labelled(text)
            self.queue.learn(text)
        return self.drawn

    def parts(self) -> list[str]:
        return [self.part(self.texts[i]) for i in self.drawn]


class TestOrdering:
    @pytest.mark.parametrize("then", ["file", "random", "diversity", "disagreement", "uncertainty"])
    @pytest.mark.parametrize("begin", [NONE_FIRST, {"train": 6, "dev": 3, "test": 3}])
    def test_every_text_comes_once(self, then: str, begin: dict[str, int]) -> None:
        assert sorted(Reviewing(texts(40), then, begin=begin).draw()) == list(range(40))
        assert sorted(Reviewing(texts(40), then, first="test", until=5, begin=begin).draw()) == list(
            range(40)
        )

    @pytest.mark.parametrize("then", ["file", "diversity", "uncertainty"])
    def test_all_parts_come_in_turns_until_a_first_model_can_be_trained(self, then: str) -> None:
        reviewing = Reviewing(texts(80), then, begin={"train": 6, "dev": 3, "test": 3})
        reviewing.draw(12)
        assert Counter(reviewing.parts()) == {"train": 6, "dev": 3, "test": 3}
        assert reviewing.parts()[:3] == ["train", "dev", "test"]
        assert set(reviewing.reasons) == {f"{part} texts are needed for a first model" for part in SIDES}

    def test_a_part_without_a_label_needs_more_texts(self) -> None:
        empty = Reviewing(
            texts(80), labelled=lambda text: "Rode" not in text, begin={"train": 2, "dev": 1, "test": 1}
        )
        empty.draw(20)
        assert Counter(empty.parts()) == {"train": 10, "dev": 5, "test": 5}

    def test_a_part_that_has_no_texts_stops_nothing(self) -> None:
        reviewing = Reviewing(texts(10), part=lambda text: "train", begin={"train": 6, "dev": 3, "test": 3})
        assert sorted(reviewing.draw()) == list(range(10))

    def test_a_first_model_learns_from_texts_with_suggestions(self) -> None:
        found = texts(80)
        hopeful = {found[i] for i in (31, 37, 41, 42, 46)}
        reviewing = Reviewing(found, "uncertainty", more={"suggested": lambda text: text in hopeful},
                              begin={"train": 5, "dev": 1, "test": 1})  # fmt: skip
        drawn = reviewing.draw(7)
        assert {found[i] for i in drawn if part_by_name(found[i]) == "train"} == hopeful

    def test_dev_and_test_are_drawn_at_random_whatever_the_scores(self) -> None:
        found = texts(80)
        one = Reviewing(found, "uncertainty", more={"score": lambda text: float(len(text))})
        other = Reviewing(found, "uncertainty", more={"score": lambda text: -float(len(text))})
        for part in ("dev", "test"):
            drawn = [[i for i in r.draw() if part_by_name(found[i]) == part] for r in (one, other)]
            assert drawn[0] == drawn[1] != sorted(drawn[0])
        train = [[i for i in r.drawn if part_by_name(found[i]) == "train"] for r in (one, other)]
        assert train[0] != train[1]

    def test_parts_get_their_shares(self) -> None:
        reviewing = Reviewing(texts(200), "uncertainty")
        reviewing.draw(50)
        assert Counter(reviewing.parts()) == {"train": 30, "dev": 5, "test": 15}

    def test_test_is_filled_first(self) -> None:
        drawn = Reviewing(texts(40), first="test", until=3).draw()
        assert drawn == [0, 5, 10, *(i for i in range(40) if i not in (0, 5, 10))]

    def test_a_text_that_resembles_a_new_one_changes_its_part(self) -> None:
        parts = dict.fromkeys(texts(40), "train")
        reviewing = Reviewing(
            texts(40), part=lambda text: parts[text], begin={"train": 3, "dev": 1, "test": 1}
        )
        reviewing.draw(1)
        parts[texts(40)[1]] = "test"
        reviewing.draw(3)
        assert "test" in reviewing.parts()

    def test_many_that_are_answered_hide_none_that_is_not(self) -> None:
        many = [f"text {i}" for i in range(5000)]
        queue = Reviewing(many, part=lambda _: "test", first="test", until=9).queue
        assert queue.draw(lambda i: i == 4990) == (4990, "test is filled first")

    def test_what_the_sources_disagree_on_comes_first(self) -> None:
        found = texts(40)
        scores = {found[7]: 0.5, found[32]: 1.0}
        reviewing = Reviewing(found, "disagreement", more={"score": lambda text: scores.get(text, 0.0)})
        assert [i for i in reviewing.draw(10) if part_by_name(found[i]) == "train"][:2] == [32, 7]

    def test_a_seed_gives_another_order(self) -> None:
        one, same, other = (Reviewing(texts(40), "random", seed=seed).draw() for seed in (0, 0, 1))
        assert one == same != other

    def test_diversity_prefers_new_words(self) -> None:
        words = ["a b c d", "a b c e", "a b c f", "x y z w"]
        assert 3 in Reviewing(words, "diversity", part=lambda _: "train").draw(2)

    def test_diversity_is_the_same_in_every_process(self) -> None:
        """The order of a set's words, and with it that of a sum, is another one in every process."""
        code = (
            "import random\n"
            "from ie.review.queue import PartCounts, ReviewQueue\n"
            "from ie.review.settings import BeginSection, OrderSection\n"
            "rng = random.Random(0)\n"
            "texts = [' '.join(rng.choices('abcdefghijklmnopqrst', k=9)) for _ in range(120)]\n"
            "settings = OrderSection(then='diversity', first='', begin={'train': 6})\n"
            "more = {'part': lambda _: 'train', 'shares': {'train': 60, 'dev': 10, 'test': 30}}\n"
            "ordering = ReviewQueue(texts, settings, counts=PartCounts, **more)\n"
            "drawn = set()\n"
            "while one := ordering.draw(lambda i: i not in drawn):\n"
            "    drawn.add(one[0]); ordering.learn(texts[one[0]]); print(one[0])\n"
        )
        orders = {
            subprocess.run(
                [sys.executable, "-c", code],
                env=os.environ | {"PYTHONPATH": str(ROOT / "scripts"), "PYTHONHASHSEED": seed},
                capture_output=True,
                check=True,
            ).stdout
            for seed in "0123"
        }
        assert len(orders) == 1
        assert len(orders.pop().split()) == 120

    def test_a_large_corpus_is_scored_in_pieces(self) -> None:
        asked: list[str] = []
        big = [f"text {i}" for i in range(1000)]
        queue = Reviewing(
            big, "disagreement", part=lambda _: "train",
            more={"score": lambda text: float(bool(asked.append(text)))},
        ).queue  # fmt: skip
        queue.draw(lambda i: True)
        assert len(asked) == 200  # no more than the first draw needs
        while queue.score_some():
            pass
        assert len(asked) == 1000


def suggested(*spans: tuple, source: str = "llm", **llm: object) -> TextSuggestions:
    found = TextSuggestions()
    marks = [{"start": s, "end": e, "label": label, **more} for s, e, label, more in spans]
    add(found, Record(text="x" * 50, spans=marks, llm=llm), source)
    return found


class TestSuggestions:
    def test_the_first_source_wins_where_they_overlap(self) -> None:
        found = suggested((0, 5, "A", {}), (10, 12, "A", {}))
        add(
            found,
            Record(
                text="x" * 50,
                spans=[{"start": 0, "end": 7, "label": "A"}, {"start": 20, "end": 22, "label": "B"}],
            ),
            "rules",
        )
        assert [(s.key, s.source) for s in found.preset()] == [
            ((0, 5, "A"), "llm"),
            ((10, 12, "A"), "llm"),
            ((20, 22, "B"), "rules"),
        ]

    def test_disagreement_is_one_minus_f(self) -> None:
        found = suggested(
            (0, 5, "A", {"source": "a"}), (6, 7, "A", {"source": "a"}), (8, 9, "A", {"source": "b"})
        )
        assert disagreement(found) == 1
        found = suggested((0, 5, "A", {"source": "a"}))
        add(
            found,
            Record(
                text="x" * 50,
                spans=[{"start": 0, "end": 5, "label": "A"}, {"start": 6, "end": 7, "label": "A"}],
            ),
            "b",
        )
        assert disagreement(found) == pytest.approx(1 / 3)
        add(found, Record(text="x" * 50), "silent")
        assert disagreement(found) == pytest.approx((1 / 3 + 1 + 1) / 3)
        assert disagreement(TextSuggestions()) == 0

    def test_uncertainty(self) -> None:
        assert uncertainty(
            suggested((0, 5, "A", {"score": 0.9}), (6, 7, "A", {"score": 0.4}))
        ) == pytest.approx(0.6)
        assert (
            uncertainty(suggested((0, 5, "A", {"alignment": "exact"}), (6, 7, "A", {"alignment": "fuzzy"})))
            == 0.5
        )
        assert uncertainty(suggested((0, 5, "A", {"alignment": "exact"}), dropped=[1, 2, 3])) == 0.75
        assert uncertainty(suggested(error="no answer")) == 1
        assert uncertainty(TextSuggestions()) == 0

    def test_the_order_follows_what_exists(self, tmp_path: Path) -> None:
        def best(*names: str) -> str:
            """With a file of suggestions, in which these say something, and one that is empty."""
            files = {}
            for name, told in {"one": names, "none": ()}.items():
                extra = [{"source": n} if n else {} for n in told]
                lines = [
                    {"text": f"Hooli {i}", "spans": [{"start": 0, "end": 5, "label": "COMPANY", **more}]}
                    for i, more in enumerate(extra)
                ]
                path = write_lines(tmp_path / f"{name}.jsonl", lines)
                files[name] = RecordFile(path, labels=SCHEME, tokenizer=NLP.tokenizer)
            return SuggestionSources(files).best_order()

        assert best() == "diversity"
        assert best("") == best("llm", "llm") == "uncertainty"
        assert best("llm", "rules") == best("llm", "") == best("rules+llm") == "disagreement"

    def test_a_broken_record_is_reported_and_left_out(self, tmp_path: Path) -> None:
        path = write_lines(
            tmp_path / "llm.jsonl",
            [{"text": "Hooli", "spans": [{"start": 0, "end": 99, "label": "COMPANY"}]}],
        )
        told: list[str] = []
        sources = SuggestionSources(
            {"llm": RecordFile(path, labels=SCHEME, tokenizer=NLP.tokenizer)}, report=told.append
        )
        assert sources.get("Hooli").spans == []
        assert "llm.jsonl:1: span 0-99" in told[0]

    def test_one_span_of_two_sources(self) -> None:
        found = suggested((0, 5, "A", {"source": "rules+llm"}))
        add(found, Record(text="x" * 50, spans=[{"start": 0, "end": 5, "label": "A"}]), "llm")
        assert [span.source for span in found.spans] == ["rules", "llm"]
        assert found.sources == {"rules", "llm"}


class TestSelection:
    def test_label_errors_of_a_diagnosis(self, tmp_path: Path) -> None:
        path = tmp_path / "label-errors.jsonl"
        gold = [Record(text="a", meta={"id": "w1"}), Record(text="b", meta={"id": "w2"})]
        assert selection.label_errors(path, gold) == []
        error = {"id": "w2", "start": 0, "end": 1, "string": "b", "label": "A", "likelier": "B", "score": 0.9}
        lines = [error, error | {"id": "w1", "string": "a", "label": None}, error | {"id": "gone"}]
        lines.append(error | {"likelier": None})
        path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        assert [(found.text, found.why) for found in selection.label_errors(path, gold)] == [
            ("b", "diagnosis: 'b' is A; B is likelier"),
            ("a", "diagnosis: 'a' is unmarked; B is likelier"),
            ("b", "diagnosis: 'b' is A; no span is likelier"),
        ]
        path.write_text(
            json.dumps(error | {"string": "b\u2028"}, ensure_ascii=False) + "\n", encoding="utf-8"
        )
        assert len(selection.label_errors(path, gold)) == 1  # U+2028 ends no line
        path.write_text("", encoding="utf-8")
        assert selection.label_errors(path, gold) == []
        path.write_text("{}\n", encoding="utf-8")
        with pytest.raises(UserError, match=r"label-errors\.jsonl:1: not a line of label errors"):
            selection.label_errors(path, gold)

    def test_the_sample_of_watch(self, tmp_path: Path) -> None:
        path = tmp_path / "sample.jsonl"
        with pytest.raises(UserError, match=r"there is no such file; run `weasel run watch` first"):
            selection.applied_sample(path)
        origin = {"watch": {"results": "corpus/applied", "file": "b.jsonl", "row": 3}}
        path.write_text(json.dumps({"text": "a", "spans": [], "meta": origin}) + "\n", encoding="utf-8")
        (chosen,) = selection.applied_sample(path)
        assert (chosen.text, chosen.why, chosen.origin) == ("a", "random sample of b.jsonl", origin)
        path.write_text('{"text": "a"}\n', encoding="utf-8")
        with pytest.raises(UserError, match=r"sample\.jsonl:1: isn't a text that `watch` drew"):
            selection.applied_sample(path)

    def test_the_worst_texts_come_first(self) -> None:
        gold = [Record(text=t, spans=[{"start": 0, "end": 1, "label": "A"}]) for t in ("a a", "b b", "c c")]
        answers = [
            gold[0],
            Record(text="b b"),
            Record(text="c c", spans=[{"start": 2, "end": 3, "label": "A"}]),
        ]
        found = selection.model_errors(gold, lambda _: answers, "model")
        assert [(c.text, c.why) for c in found] == [
            ("c c", "the pipeline differs in 2 spans"),
            ("b b", "the pipeline differs in a span"),
        ]
        assert found[0].suggested.spans[0].source == "model"

    def test_disagreements(self, tmp_path: Path) -> None:
        span, other = {"start": 0, "end": 1, "label": "A"}, {"start": 2, "end": 3, "label": "A"}
        sides = [Record(text="a b", spans=[span]), Record(text="a b", spans=[span, other])]
        # as `agreement` writes them
        matched = agreement.match(
            *(agreement.Side(name, Path(name), {r.text: r}) for name, r in zip("ab", sides, strict=True))
        )
        differences = disagreement_kinds.find(matched, ("ann", "bob"), NLP)
        rules = tmp_path / "guidelines.md"
        rules.write_text("- A: letters\n", encoding="utf-8")
        groups = disagreement_kinds.group(differences, SearchableGuidelines(rules, NLP), {"A"})
        records = disagreement_kinds.to_records(matched, groups, ("ann", "bob"), "v")
        (found,) = selection.disagreements(Path("d.jsonl"), records)
        assert found.why == "spurious A (lower-case word)"
        assert [s.start for s in found.agreed()] == [0]
        assert found.suggested.sources == {"ann", "bob"}

    @pytest.mark.parametrize(
        "answers", [None, [1], {"ann": {"spans": [{"start": 0, "end": 9, "label": "A"}]}}]
    )
    def test_what_is_no_disagreement_is_named(self, answers: object) -> None:
        more = {"answers": answers} if answers else {}
        with pytest.raises(UserError, match=r"d\.jsonl: the record 'x'"):
            selection.disagreements(Path("d.jsonl"), [Record(text="a b", meta={"id": "x"}, **more)])


class TestProgress:
    @pytest.mark.parametrize(("n", "sentence"), [
        (0, "10 more test examples make the first digit hold"),
        (56, "44 more test examples make the second digit hold"),
        (99, "1 more test example makes the second digit hold"),
        (100, "1,725 more test examples make the third digit hold (about ±.010 at .95)"),
        (1000, "825 more test examples make the third digit hold (about ±.010 at .95)"),
    ])  # fmt: skip
    def test_the_next_digit(self, n: int, sentence: str) -> None:
        aim = progress({"test": n})["aims"][0]
        assert aim["sentence"].startswith(sentence)
        assert aim["have"] == n

    def test_the_closest_pair(self, tmp_path: Path) -> None:
        path = tmp_path / "analysis.json"
        assert read_closest(path) is None
        path.write_text(
            json.dumps({"closest": {"first": "a", "second": "b", "more": 1200}}), encoding="utf-8"
        )
        aims = progress({"test": 532}, read_closest(path))["aims"]
        assert aims[1]["sentence"].startswith("About 1,200 more test examples would tell a from b")

    def test_a_closest_pair_without_a_number(self, tmp_path: Path) -> None:
        path = tmp_path / "analysis.json"
        closest = {"first": "a", "second": "b", "more": None, "why": "few"}
        path.write_text(json.dumps({"closest": closest}), encoding="utf-8")
        assert progress({"test": 2}, read_closest(path)) == progress({"test": 2})
        aim = progress({"test": 12}, closest | {"more": 1})["aims"][1]
        assert aim["sentence"].startswith("About 1 more test example would")

    def test_a_first_model_is_the_first_aim(self) -> None:
        begin = BeginSection(train=6, dev=3, test=3)
        left = {"train": 50, "dev": 10, "test": 40}
        aim = progress({"train": 5, "test": 3}, begin=begin, left=left)["aims"][0]
        assert aim == {"sentence": "A first model needs 1 train and 3 dev texts more.", "have": 8, "goal": 12}
        aim = progress({"train": 5, "test": 3}, begin=begin, left=left | {"dev": 0})["aims"][0]
        assert "No unreviewed text is in dev: `weasel run check` says what to do." in aim["sentence"]
        aim = progress({"train": 9, "dev": 3, "test": 3}, begin=begin, left=left)["aims"][0]
        assert aim["sentence"].endswith("enough texts for a first model: run `weasel run all`.")
        assert aim["have"] == aim["goal"]

    def test_no_aim_asks_for_more_texts_than_there_are(self) -> None:
        left = {"train": 0, "dev": 0, "test": 20}
        closest = {"first": "a", "second": "b", "more": 21}
        aims = progress({"test": 30, "dev": 4}, closest, left=left)["aims"]
        assert [(aim["have"], aim["goal"]) for aim in aims] == [(30, 50), (4, 4)]
        assert aims[0]["sentence"] == "20 unreviewed test texts left: with all of them about ±.061 at .95."
        assert "add texts to assets/texts.jsonl" in aims[1]["sentence"]
        # nothing at all is no division by zero on the page
        assert progress({}, left=dict.fromkeys(SIDES, 0))["aims"][0]["goal"] == 1
