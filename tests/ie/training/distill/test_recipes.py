"""What is believed of silver, what is left open: nothing made up, gold untouched, the same every time."""

from itertools import pairwise
from pathlib import Path

import pytest
from benchmarks import distillation_report as report
from benchmarks.distillation_comparison import RecipeComparison, RecipeScore, quality, recommend
from hypothesis import given
from hypothesis import strategies as st
from running import ROOT
from spacy.tokens import DocBin
from spacy.training import Example

from ie.core.errors import UserError
from ie.core.stats import Estimate, Pair
from ie.data import records, splits
from ie.data.docs import docbin
from ie.data.records import Record, Span
from ie.training.distill import recipes
from ie.training.distill.recipes import SilverText, vote

NLP = records.blank("en")
TEXT = "Acme bought Foo Corp in Oslo for $5m today"
WORDS = [(token.idx, token.idx + len(token)) for token in NLP.make_doc(TEXT)]
LABELS = ("COMPANY", "MONEY")


def record(*spans: tuple[str, str] | Span, text: str = TEXT, **more) -> Record:
    found = [
        span
        if isinstance(span, Span)
        else Span(start=text.index(span[0]), end=text.index(span[0]) + len(span[0]), label=span[1])
        for span in spans
    ]
    return Record(text=text, spans=found, **more)


def source(*spans) -> dict[str, Record]:
    return {TEXT: record(*spans)}


def strings(draft: SilverText) -> list[str]:
    return [TEXT[span.start : span.end] for span in draft.record.spans]


def doubts(draft: SilverText) -> list[str]:
    return [TEXT[start:end] for start, end in draft.doubts]


@st.composite
def annotations(draw) -> Record:
    spans, at = [], 0
    while at < len(WORDS):
        length = draw(st.integers(0, 3))
        if length and at + length <= len(WORDS):
            start, end = WORDS[at][0], WORDS[at + length - 1][1]
            spans.append(Span(start=start, end=end, label=draw(st.sampled_from(LABELS))))
        at += max(1, length)
    return record(*spans)


@given(annotations(), st.lists(annotations(), max_size=4), st.lists(annotations(), max_size=2))
def test_no_span_is_made_up_and_no_doubt_is_within_a_span(mine, others, more):
    voters, helpers = [{TEXT: r} for r in others], [{TEXT: r} for r in more]
    given_by = {(s.start, s.end, s.label) for r in (mine, *others, *more) for s in r.spans}
    before = mine.model_copy(deep=True)
    for made in (
        vote(SilverText(mine), voters, helpers, sure=0.6, doubtful=0.3),
        recipes.contradicted(SilverText(mine), voters),
    ):
        spans = made.record.spans
        assert {(s.start, s.end, s.label) for s in spans} <= given_by
        assert all(one.end <= other.start for one, other in pairwise(spans))
        assert not any(s.start < end and start < s.end for s in spans for start, end in made.doubts)
        doc = recipes.to_training_doc(made, NLP)
        assert [(e.start_char, e.end_char, e.label_) for e in doc.ents] == [
            (s.start, s.end, s.label) for s in spans
        ]
    assert mine == before


def test_votes_make_spans_sure_doubtful_or_none():
    draft = SilverText(record(("Acme", "COMPANY"), ("Oslo", "COMPANY")))
    voters = [source(("Acme", "COMPANY"), ("Foo Corp", "COMPANY")), source(("Foo", "COMPANY")), source()]
    made = vote(draft, voters, [], sure=0.5, doubtful=0.25)
    assert strings(made) == ["Acme"]
    assert doubts(made) == ["Foo Corp", "Oslo"]
    assert vote(draft, voters, [], sure=0.5, doubtful=0.4).certain
    helped = vote(draft, voters, [source(("Foo Corp", "COMPANY"))], sure=0.5, doubtful=0.25)
    assert strings(helped) == ["Acme", "Foo Corp"]


def test_of_overlapping_spans_the_one_with_more_votes_stays_and_the_rest_of_the_other_is_open():
    draft = SilverText(record(("Foo Corp in", "COMPANY")))
    made = vote(draft, [source(("Foo Corp", "COMPANY"))] * 3, [], sure=0.5, doubtful=0.25)
    assert strings(made) == ["Foo Corp"]
    assert [word.strip() for word in doubts(made)] == ["in"]


def test_confidence_goes_by_how_spans_were_found_and_by_answers_that_were_not():
    sure = Span(start=0, end=4, label="COMPANY", alignment="exact")
    shaky = Span(start=12, end=20, label="COMPANY", alignment="fuzzy")
    settings = recipes.Confidence(alignments=["exact"], max_dropped=0)
    made = recipes.confidence(SilverText(record(sure, shaky, llm={"dropped": []})), settings)
    assert (strings(made), doubts(made), made.vague) == (["Acme"], ["Foo Corp"], False)
    dropped = record(sure, llm={"dropped": [{"reason": "not in the text"}]})
    assert recipes.confidence(SilverText(dropped), settings).vague


def test_teachers_must_be_of_one_voice():
    draft = SilverText(record(("Acme", "COMPANY"), ("Oslo", "COMPANY")))
    split = [source(("Oslo", "COMPANY"), ("$5m", "MONEY")), source(("$5m", "MONEY"), ("Foo", "COMPANY"))]
    made = recipes.contradicted(draft, split)
    assert strings(made) == ["Oslo"]
    assert doubts(made) == ["Acme", "$5m"]


def test_doubt_costs_the_text_or_the_tokens_or_the_spans():
    drafts = [
        SilverText(record(("Acme", "COMPANY")), ((12, 20),)),
        SilverText(record(("Acme", "COMPANY")), (), True),
    ]
    assert recipes.finish(drafts, ["drop-texts"]).dropped == 2
    plain = recipes.finish(drafts, []).drafts
    assert all(draft.certain for draft in plain)
    kept = recipes.finish(drafts, ["missing"]).drafts
    left = [[t.text for t in recipes.to_training_doc(d, NLP) if t.ent_iob == 0] for d in kept]
    assert left[0] == ["Foo", "Corp"]
    assert len(left[1]) == len(WORDS) - 1
    assert recipes.to_line(kept[0]).model_extra["missing"] == [[12, 20]]


def test_open_tokens_survive_the_file_and_a_change_of_case():
    from ie.data.augmentation import recased

    doc = recipes.to_training_doc(SilverText(record(("Acme", "COMPANY")), ((12, 20),)), NLP)
    (read,) = DocBin().from_bytes(docbin([doc]).to_bytes()).get_docs(NLP.vocab)
    example = Example(NLP.make_doc(read.text), read)
    wanted = ["U-COMPANY", "O", None, None, "O"]
    assert example.get_aligned_ner()[:5] == wanted
    assert recased(NLP, example, str.lower).get_aligned_ner()[:5] == wanted


def test_quality_takes_what_is_open_for_no_mistake():
    gold = source(("Acme", "COMPANY"), ("Foo Corp", "COMPANY"), ("$5m", "MONEY"))
    draft = SilverText(record(("Acme", "COMPANY"), ("Oslo", "COMPANY")), ((12, 20),))
    assert quality([draft], gold, LABELS).tolist() == [[1, 1, 1]]
    assert not len(quality([draft], {}, LABELS))


def test_texts_without_an_answer_are_reviewed_first_and_hidden_ones_have_one():
    texts = [record(("Acme", "COMPANY"), text=f"Acme sold {i} boats") for i in range(20)]
    answered = {r.text for r in texts[3:]}
    chosen, hidden = splits.choose(texts, answered, 8)
    assert len(chosen) == 8
    assert texts[:3] == chosen[:3]
    assert {r.text for r in hidden} == answered - {r.text for r in chosen}
    assert splits.choose(texts, answered, 8) == (chosen, hidden)
    assert splits.choose(texts, answered, 0) == (texts, [])
    with pytest.raises(UserError, match="-1 is no number of examples"):
        splits.choose(texts, answered, -1)


CONFIG = (ROOT / "configs" / "distill.cfg").read_text(encoding="utf-8")


def test_the_shipped_settings_are_good():
    settings = recipes.load(ROOT / "configs" / "distill.cfg")
    used = {method for recipe in settings.recipes.values() for method in recipe}
    assert used == set(recipes.Method.__args__)


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("pipelines = 2", "pipelines = 0", r"agreement.pipelines: input should be greater"),
        ("sure = 0.66", "sure = 0.2", r"doubtful is above sure"),
        ("rounds = 1", "round = 1", r"self-training.rounds?: "),
        ("[repeat]", "[repeats]", r"repeats?: "),
        ("both = []", 'both = ["magic"]', r"recipes.both.0: input should be"),
        ("both = []", 'both = ["missing"]', r"\[recipes\] both: nothing calls a span into question"),
        ("both = []", 'both = ["rules"]', r"rules takes part in a vote; add agreement"),
        ("both = []", 'both = ["repeat", "repeat"]', r"names a method twice"),
        ("both = []", 'both = ["confidence", "missing", "drop-texts"]', r"both missing and drop-texts"),
        ("rounds = 1", "rounds = ", r"distill.cfg"),
        ("both = []", "silver = []", r"\[recipes\] silver is what recipes are compared with"),
    ],
)
def test_bad_settings_are_one_sentence(tmp_path: Path, old, new, fault):
    assert old in CONFIG
    path = tmp_path / "distill.cfg"
    path.write_text(CONFIG.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(UserError, match=fault) as told:
        recipes.load(path)
    assert "\n" not in str(told.value)
    assert str(path) in str(told.value)


def test_no_settings_are_named(tmp_path: Path):
    with pytest.raises(UserError, match="there is no such file"):
        recipes.load(tmp_path / "none.cfg")


@pytest.mark.parametrize(
    ("n", "short", "long"),
    [
        (2, ".1 (.1 to .1)", ".1 (95 % interval .1 to .1)"),
        (80, ".07 (.05 to .10)", ".07 (95 % interval .05 to .10)"),
        (127, ".072 (.05 to .10)", ".072 (95 % interval .051 to .098)"),
    ],
)
def test_differences_have_no_more_digits_than_the_texts_allow(n, short, long):
    f, gain = Estimate(0.85, 0.82, 0.88), Estimate(0.0724, 0.0512, 0.0981)
    rows = {
        name: RecipeScore(name, (), 0, 0, 0, (), (0.85,), f, 0.0021, 20, 0) for name in ("reviewed", "all")
    }
    pairs = [Pair("all", "reviewed", gain, 0.01, 0.09)]
    found = RecipeComparison(rows, None, pairs, "all", [], {"all": (f, 0.0)}, pairs, n, n)
    row = report.cells(found, 0)[1]
    assert row[9] == short
    assert len(row[8].lstrip(".")) == {2: 1, 80: 2, 127: 3}[n]
    assert sum(long in sentence for sentence in report.answer(found).certainty) == 2


def test_a_gain_is_recommended_only_if_it_stands_the_correction_for_all_recipes():
    def pair(name: str, low: float, holm: float, other: str = "reviewed") -> Pair:
        return Pair(name, other, Estimate(low + 0.03, low, low + 0.06), 0.01, holm)

    # alone both would be beyond noise; of 13 recipes one such is likely by chance
    assert recommend([pair("both", 0.004, 0.13), pair("all", 0.006, 0.2)]) == "reviewed"
    assert recommend([pair("both", 0.004, 0.03), pair("all", 0.006, 0.2)]) == "both"
    assert recommend([pair("both", 0.004, 0.03), pair("all", 0.006, 0.02)]) == "all"
    # surely worse than the reviewed texts alone, or better than the LLM alone
    assert recommend([pair("both", -0.09, 0.001), pair("all", 0.2, 0.001, other="llm")]) == "reviewed"
