"""How suggestions of several sources become one."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ie.core.errors import UserError
from ie.data.records import Record
from ie.data.scheme import Scheme
from ie.training.distill import combined_suggestions
from ie.training.distill.combined_suggestions import CombinationRule, SuggestionSource

TEXT = "Acme Corp paid Hooli $5m on Friday"
SCHEME = Scheme(span_labels=("COMPANY", "MONEY"), path=Path("llm.cfg"))
SOURCES = ("rules", "model", "llm")


def record(*spans: tuple[str, str], **more) -> Record:
    found = [
        {"start": TEXT.index(string), "end": TEXT.index(string) + len(string), "label": label}
        for string, label in spans
    ]
    return Record(text=TEXT, spans=found, **more)


def source(name: str, *spans: tuple[str, str], **more) -> SuggestionSource:
    return SuggestionSource(name, {TEXT: record(*spans, **more)})


def combine(given_sources, **rule) -> tuple[list[tuple[str, str, str]], combined_suggestions.Combined]:
    rules = {
        label: CombinationRule(**{"sources": list(SOURCES), "combine": "vote"} | rule)
        for label in SCHEME.span_labels
    }
    combined = combined_suggestions.combine([Record(text=TEXT)], given_sources, rules)
    [found] = combined.records
    return [(TEXT[s.start : s.end], s.label, s.model_extra["source"]) for s in found.spans], combined


RULES = source("rules", ("Hooli", "COMPANY"), ("$5m", "MONEY"))
MODEL = source("model", ("Acme Corp", "COMPANY"), ("Hooli", "COMPANY"))
LLM = source("llm", ("Acme", "COMPANY"), ("$5m", "MONEY"), ("Friday", "COMPANY"))


def test_a_vote_keeps_what_enough_sources_give_with_the_same_edges():
    spans, combined = combine([RULES, MODEL, LLM], votes=2)
    assert spans == [("Hooli", "COMPANY", "rules+model"), ("$5m", "MONEY", "rules+llm")]
    assert combined.outvoted == 3


def test_a_union_keeps_all_and_settles_overlaps_by_the_order_of_the_sources():
    spans, combined = combine([RULES, MODEL, LLM], combine="union")
    assert spans == [
        ("Acme Corp", "COMPANY", "model"),
        ("Hooli", "COMPANY", "rules+model"),
        ("$5m", "MONEY", "rules+llm"),
        ("Friday", "COMPANY", "llm"),
    ]
    assert (combined.outvoted, combined.overlapped) == (0, 1)
    spans, _ = combine([RULES, MODEL, LLM], combine="union", sources=["llm", "model"])
    assert spans[0] == ("Acme", "COMPANY", "llm")


def test_precedence_takes_the_first_source_that_says_something_about_the_label():
    spans, _ = combine([RULES, MODEL, LLM], combine="precedence", sources=["model", "llm"])
    assert spans == [
        ("Acme Corp", "COMPANY", "model"),
        ("Hooli", "COMPANY", "model"),
        ("$5m", "MONEY", "llm"),  # the model said nothing of money
    ]


def test_each_label_has_a_rule_of_its_own():
    rules = {
        "COMPANY": CombinationRule(sources=["llm"], combine="union"),
        "MONEY": CombinationRule(sources=["rules"], combine="union"),
    }
    [found] = combined_suggestions.combine([Record(text=TEXT)], [RULES, MODEL, LLM], rules).records
    assert [(s.label, s.model_extra["source"]) for s in found.spans] == [
        ("COMPANY", "llm"),
        ("MONEY", "rules"),
        ("COMPANY", "llm"),
    ]


def test_a_missing_source_has_no_vote():
    spans, _ = combine([SuggestionSource("rules", missing="none"), MODEL, LLM], votes=3)
    assert spans == []
    alone, _ = combine(
        [SuggestionSource("rules", missing="none"), MODEL, SuggestionSource("llm", missing="none")], votes=2
    )
    assert [text for text, *_ in alone] == ["Acme Corp", "Hooli"]


def test_labels_outside_the_scheme_are_counted_and_left_out():
    spans, combined = combine([source("model", ("Friday", "DATE"))], combine="union")
    assert (spans, combined.unknown) == ([], 1)


def test_alignment_categories_and_relations_of_the_llm_stay_with_what_is_kept():
    llm = source(
        "llm",
        ("Acme Corp", "COMPANY"),
        ("Hooli", "COMPANY"),
        ("$5m", "MONEY"),
        relations=[
            {"head": 0, "child": 1, "label": "INVESTOR"},
            {"head": 1, "child": 2, "label": "RAISED"},
        ],
        cats={"FUNDING": 1.0},
    )
    llm.records[TEXT].spans[1].alignment = "fuzzy"
    rules = {label: CombinationRule(sources=list(SOURCES), combine="vote") for label in SCHEME.span_labels}
    [found] = combined_suggestions.combine([Record(text=TEXT, meta={"id": 3})], [RULES, llm], rules).records
    assert [span.label for span in found.spans] == ["COMPANY", "MONEY"]  # Hooli and $5m; Acme is outvoted
    assert found.spans[0].model_extra == {"source": "rules+llm", "alignment": "fuzzy"}
    assert [(r.head, r.child, r.label) for r in found.relations] == [(0, 1, "RAISED")]
    assert (found.cats, found.meta) == ({"FUNDING": 1.0}, {"id": 3})


WORDS = re.findall(r"\S+", TEXT)
ANSWERS = st.lists(st.tuples(st.sampled_from(WORDS), st.sampled_from(SCHEME.span_labels)), max_size=6)


@given(
    st.tuples(ANSWERS, ANSWERS, ANSWERS),
    st.sampled_from(["union", "vote", "precedence"]),
    st.permutations(SOURCES),
)
def test_suggestions_never_overlap_and_each_was_given_by_its_sources(answers, how, order):
    sources = [source(name, *said) for name, said in zip(SOURCES, answers, strict=True)]
    _, combined = combine(sources, combine=how, sources=list(order))
    [found] = combined.records
    ends = [0] + [span.end for span in found.spans]
    assert all(span.start >= end for span, end in zip(found.spans, ends, strict=False))
    said = dict(zip(SOURCES, answers, strict=True))
    for span in found.spans:
        for name in span.model_extra["source"].split("+"):
            assert (TEXT[span.start : span.end], span.label) in said[name]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[default]\nsources = []\ncombine = 'vote'", "default: sources: list should have at least 1 item"),
        ('[default]\nsources = ["magic"]\ncombine = "vote"', "default: sources.0: input should be 'rules'"),
        ('[default]\nsources = ["llm"]\ncombine = "mix"', "default: combine: input should be 'union'"),
        ('[default]\nsources = ["llm"]\ncombine = "vote"', "2 of the 1 sources of COMPANY can't agree"),
        ('[default]\nsources = ["llm", "llm"]\ncombine = "union"', "sources of COMPANY name one twice"),
        ('[default]\nsources = ["llm"]\ncombine = "union"\nvote = 1', "default: vote: extra inputs"),
        ("[defaults]\nsources = []", "[defaults] is no section of it"),
        ("[labels]\n[labels.CITY]\nvotes = 1", "[labels.CITY] is no span label of llm.cfg (COMPANY, MONEY)"),
        ("default", "can't be read as a config"),
    ],
)
def test_bad_settings_are_named(text, message, tmp_path):
    path = tmp_path / "suggest.cfg"
    path.write_text(text.replace("'", '"'))
    with pytest.raises(UserError, match=re.escape(message)) as error:
        combined_suggestions.load_rules(path, SCHEME)
    assert str(error.value).startswith(str(path))


def test_a_label_keeps_the_defaults_that_it_does_not_change(tmp_path):
    path = tmp_path / "suggest.cfg"
    path.write_text(
        '[default]\nsources = ["rules", "llm"]\ncombine = "vote"\n[labels]\n[labels.MONEY]\nvotes = 1'
    )
    rules = combined_suggestions.load_rules(path, SCHEME)
    assert rules["COMPANY"] == CombinationRule(sources=["rules", "llm"], combine="vote", votes=2)
    assert rules["MONEY"] == CombinationRule(sources=["rules", "llm"], combine="vote", votes=1)
