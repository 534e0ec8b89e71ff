import pytest

from ie.data.guidelines import GuidelineIndex
from ie.data.records import Record, blank
from ie.review import agreement, disagreements

NLP = blank("en")
NAMES = ("anna", "ben")


def record(text: str, *said: tuple[str, str], **more) -> Record:
    spans = [{"start": text.index(s), "end": text.index(s) + len(s), "label": label} for s, label in said]
    return Record(text=text, spans=spans, **more)


def find(first: Record, second: Record) -> list[disagreements.Difference]:
    return disagreements.find(agreement.Matched([first], [second], 0, 0, 0, 0), NAMES, NLP)


def patterns(pairs: list[tuple[Record, Record]], tmp_path, **more) -> list[tuple[str, str, str, int]]:
    first, second = map(list, zip(*pairs, strict=True))
    found = disagreements.find(agreement.Matched(first, second, 0, 0, 0, 0), NAMES, NLP)
    path = tmp_path / "guidelines.md"
    path.write_text("- **C**: the suffix GmbH belongs to it.\n- **M**: an amount of $.\n", encoding="utf-8")
    groups = disagreements.group(found, GuidelineIndex(path, NLP), ("C", "M"), **more)
    return [(g.kind, g.label, g.pattern, len(g.differences)) for g in groups]


@pytest.mark.parametrize(
    ("text", "first", "second", "kind", "pattern"),
    [
        ("Velto GmbH rose", "Velto GmbH", "Velto", "boundary", "anna has capitalised word at the end"),
        ("Velto's boats", "Velto", "Velto's", "boundary", "ben has possessive at the end"),
        ("The Velto rose", "The Velto", "Velto", "boundary", "anna has function word at the start"),
        ("about $5 million", "about $5", "$5 million", "boundary",
         "anna has function word at the start, ben has number at the end"),
        ("paid $5 (net)", "$5", "$5 (net)", "boundary",
         "ben has punctuation + lower-case word + punctuation at the end"),
        ("Velto rose", "Velto", None, "missing", "capitalised word"),
        ("paid 12 euros", None, "12 euros", "spurious", "number + lower-case word"),
    ],
)  # fmt: skip
def test_what_the_difference_is_made_of(tmp_path, text, first, second, kind, pattern):
    one, two = (record(text, *([(said, "C")] if said else [])) for said in (first, second))
    assert patterns([(one, two)], tmp_path) == [(kind, "C", pattern, 1)]


def test_labels(tmp_path):
    one, two = record("Velto GmbH rose", ("Velto", "C")), record("Velto GmbH rose", ("Velto", "M"))
    assert patterns([(one, two)], tmp_path) == [("label", "C or M", "capitalised word", 1)]
    wider = record("Velto GmbH rose", ("Velto GmbH", "M"))
    assert patterns([(one, wider)], tmp_path) == [
        ("both", "C or M", "ben has capitalised word at the end", 1)
    ]


def test_a_string_that_recurs_is_a_pattern_and_the_worst_comes_first(tmp_path):
    pairs = [
        (record(f"V{n} GmbH rose", (f"V{n} GmbH", "C")), record(f"V{n} GmbH rose", (f"V{n}", "C")))
        for n in range(3)
    ]
    pairs += [(record("Velto AG rose", ("Velto AG", "C")), record("Velto AG rose", ("Velto", "C")))]
    pairs += [(record("Velto {} rose", ("Velto", "C")), record("Velto {} rose"))] * 2
    assert patterns(pairs, tmp_path) == [
        ("boundary", "C", "anna has “gmbh” at the end", 3),
        ("boundary", "C", "anna has capitalised word at the end", 1),
        ("missing", "C", "capitalised word", 2),
    ]
    assert patterns(pairs, tmp_path, repeats=4)[0][2:] == ("anna has capitalised word at the end", 4)


def test_relations_follow_from_spans_unless_both_marked_them():
    text = "Velto raises $5"
    edge = [{"head": 0, "child": 1, "label": "RAISED"}]
    both = (("Velto", "C"), ("$5", "M"))
    with_edge = record(text, *both, relations=edge)
    # the second text makes both sides ones that were asked for relations
    matched = agreement.Matched([with_edge, with_edge], [record(text, *both), with_edge], 0, 0, 0, 0)
    [difference] = disagreements.find(matched, NAMES, NLP)
    assert (difference.kind, difference.first, difference.second) == (
        "relation",
        "Velto → RAISED → $5",
        None,
    )
    assert difference.about == ("ben has none from C to M",)
    lone = agreement.Matched([with_edge, with_edge], [record(text, ("Velto", "C")), with_edge], 0, 0, 0, 0)
    assert [d.kind for d in disagreements.find(lone, NAMES, NLP)] == ["missing"]


def test_categories():
    one, two = record("Velto", cats={"A": 1, "B": 0}), record("Velto", cats={"A": 0, "B": 1})
    [difference] = find(one, two)
    assert (difference.kind, difference.first, difference.second) == ("category", "A", "B")
    assert not find(one, record("Velto"))


def test_what_review_loads(tmp_path):
    text = "Velto GmbH pays $5"
    edge = {"head": 1, "child": 0, "label": "R"}
    one = record(
        text, ("$5", "M"), ("Velto GmbH", "C"), meta={"id": "t1", "annotator": "anna"}, relations=[edge]
    )
    two = record(text, ("Velto", "C"), ("$5", "M"))
    matched = agreement.Matched([one], [two], 0, 0, 0, 0)
    path = tmp_path / "guidelines.md"
    path.write_text("- **C**: the suffix GmbH belongs to it.\n", encoding="utf-8")
    rules = GuidelineIndex(path, NLP)
    groups = disagreements.group(disagreements.find(matched, NAMES, NLP), rules, ("C", "M"))
    [found] = disagreements.to_records(matched, groups, NAMES, rules.version)
    assert [(s.start, s.end, s.label) for s in found.spans] == [(16, 18, "M")]
    assert (found.answer, found.meta) == ("ignore", {"id": "t1", "guidelines": rules.version})
    answers = found.model_extra["answers"]
    assert answers["anna"]["spans"][1] == {"start": 0, "end": 10, "label": "C"}
    assert answers["anna"]["relations"] == [edge]
    assert answers["ben"]["spans"][0]["end"] == 5
    assert found.model_extra["disagreements"] == [
        {
            "kind": "boundary",
            "label": "C",
            "pattern": "anna has capitalised word at the end",
            "said": {"anna": "C Velto GmbH", "ben": "C Velto"},
            "guideline": "the suffix GmbH belongs to it.",
        }
    ]
