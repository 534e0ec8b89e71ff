"""Perturbed texts: spans go where their strings go, whatever the text; new names are new."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from running import real_data

from ie.core.errors import UserError
from ie.data.records import Record, Span, read_records
from ie.evaluation import perturbations
from ie.evaluation.perturbations import Edit, NewNames, PerturbationSettings, apply, fits, perturb

LETTERS = "aB ß İ.\"'“’—–-3é\U0001f600\n"


@st.composite
def records(draw: st.DrawFn) -> Record:
    """A text with some disjoint spans without whitespace at their edges."""
    text = draw(st.text(LETTERS, max_size=40))
    edges = sorted(draw(st.sets(st.integers(0, len(text)), max_size=8)))
    pairs = zip(edges[::2], edges[1::2], strict=False)
    spans = [
        Span(start=start, end=end, label=draw(st.sampled_from("XY")))
        for start, end in pairs
        if text[start:end] == text[start:end].strip()
    ]
    return Record(text=text, spans=spans)


def strings(record: Record) -> list[str]:
    return [record.text[span.start : span.end] for span in record.spans]


def outside(record: Record) -> list[str]:
    """What stands before, between and after the spans, which are disjoint and in order."""
    edges = [0, *(edge for span in record.spans for edge in (span.start, span.end)), len(record.text)]
    return [record.text[start:end] for start, end in zip(edges[::2], edges[1::2], strict=True)]


@given(records(), st.lists(st.tuples(st.integers(0, 40), st.integers(0, 3), st.text("xy", max_size=3))))
def test_spans_and_what_is_around_them_get_just_their_own_edits(record, wanted):
    edits: list[Edit] = []
    for start, length, text in wanted:
        edit = Edit(min(start, len(record.text)), min(start + length, len(record.text)), text)
        free = all(edit.end <= e.start or edit.start >= e.end for e in edits)
        if (
            free
            and (edit.start, edit.end) not in {(e.start, e.end) for e in edits}
            and fits(edit, record.spans)
        ):
            edits.append(edit)

    def edited(start: int, end: int, *, inner: bool) -> str:
        """The stretch by itself, each edit being the stretch's own or its neighbour's."""
        own = []
        for e in edits:
            at_edge = e.start == e.end and e.start in (start, end)
            if start <= e.start and e.end <= end and not (inner and at_edge):
                own.append(e)
        text, last = "", start
        for e in sorted(own):
            text += record.text[last : e.start] + e.text
            last = e.end
        return text + record.text[last:end]

    done = apply(record, edits)
    assert strings(done) == [edited(s.start, s.end, inner=True) for s in record.spans]
    assert [s.label for s in done.spans] == [s.label for s in record.spans]
    edges = {edge for s in record.spans for edge in (s.start, s.end)}
    if not any(e.start == e.end and e.start in edges for e in edits):
        pieces = zip(outside(done), _gaps(record), strict=True)
        assert all(found == edited(*gap, inner=False) for found, gap in pieces)


def _gaps(record: Record) -> list[tuple[int, int]]:
    edges = [0, *(edge for span in record.spans for edge in (span.start, span.end)), len(record.text)]
    return list(zip(edges[::2], edges[1::2], strict=True))


def test_what_is_put_in_at_an_edge_is_outside():
    record = Record(text="a Hooli b", spans=[Span(start=2, end=7, label="X")])
    done = apply(record, [Edit(2, 2, "("), Edit(7, 7, ")"), Edit(0, 1, "")])
    assert done.text == " (Hooli) b"
    assert strings(done) == ["Hooli"]


@pytest.mark.parametrize("edits", [[Edit(1, 3, "x")], [Edit(0, 2, "x"), Edit(1, 2, "y")], [Edit(2, 7, "")]])
def test_edits_that_cross_an_edge_or_each_other_or_erase_a_span_are_refused(edits):
    record = Record(text="a Hooli b", spans=[Span(start=2, end=7, label="X")])
    with pytest.raises(ValueError, match="edit"):
        apply(record, edits)


@given(records())
def test_case_changes_each_span_by_itself(record):
    for case in (str.lower, str.upper):
        done = perturbations.recased(record, case)
        assert strings(done) == ["".join(map(case, string)) for string in strings(record)]
        assert done.text == "".join(map(case, record.text))


@given(records(), st.integers(0, 3))
def test_typos_and_punctuation_keep_every_span_and_leave_no_space_at_an_edge(record, seed):
    typos = perturbations.with_typos(record, 100, Random(seed))
    punctuation = perturbations.repunctuated(record)
    for done in (typos, punctuation):
        assert [s.label for s in done.spans] == [s.label for s in record.spans]
        assert all(string and string == string.strip() for string in strings(done))
    # blanks and punctuation aside, no letter of a span changes
    for old, new in zip(strings(record), strings(punctuation), strict=True):
        assert list(filter(str.isalnum, old)) == list(filter(str.isalnum, new))


def test_typos_change_each_chosen_word_once():
    record = Record(text="Velto bought a harbour", spans=[Span(start=0, end=5, label="X")])
    done = perturbations.with_typos(record, 100, Random(1))
    old, new = record.text.split(), done.text.split()
    assert [a == b for a, b in zip(old, new, strict=True)] == [False, False, True, False]
    assert all(a[0] == b[0] and abs(len(a) - len(b)) <= 1 for a, b in zip(old, new, strict=True))
    assert strings(done) == new[:1]
    assert perturbations.with_typos(record, 0, Random(1)).text == record.text


def test_punctuation_is_another_and_a_final_period_goes():
    text = 'He said "no" — it\'s 10–20 for Maison S.A. of Lyon - really.'
    done = perturbations.repunctuated(Record(text=text))
    assert done.text == "He said “no” - it’s 10-20 for Maison S.A. of Lyon – really"
    own = Record(text="Sold to Maison S.A.", spans=[Span(start=8, end=19, label="X")])
    assert perturbations.repunctuated(own) == own
    assert perturbations.repunctuated(Record(text="And so on...")).text == "And so on..."


def train_records() -> list[Record]:
    names = ["Velto Energy Ltd", "Hooli Labs Ltd", "Ankermann Boats Ltd", "Norrland of Umeå"]
    made = []
    for i, name in enumerate(names):
        text = f"{name} raised ${i + 2}m in spring."
        money = text.index("$")
        spans = [Span(start=0, end=len(name), label="C"), Span(start=money, end=money + 3, label="M")]
        made.append(Record(text=text, spans=spans))
    return made


def test_new_names_are_new_keep_their_form_and_agree_within_a_text():
    train = train_records()
    text = "HOOLI and Hooli Labs Ltd of Umeå took $5m; Hooli rose."
    at = [(0, 5, "C"), (10, 24, "C"), (38, 41, "M"), (43, 48, "C")]
    record = Record(text=text, spans=[Span(start=s, end=e, label=label) for s, e, label in at])
    done, kept = NewNames(train).renamed(record, Random(0))
    assert kept == 0
    upper, full, money, short = strings(done)
    seen = {word.casefold() for r in train for word in r.text.split()}
    assert upper.isupper()
    assert full.split()[0] == short
    assert full.endswith(" Ltd")
    assert not {upper.casefold(), *(w.casefold() for w in full.split()[:2])} & seen
    assert money[0] + money[-1] == "$m"
    assert money not in {"$2m", "$3m", "$4m", "$5m"}
    assert " of Umeå took " in done.text


def test_what_cannot_be_renamed_stays_and_is_counted():
    words = ["one", "two", "six", "ten"]
    train = [Record(text=f"{w} ${i}", spans=[Span(start=4, end=6, label="M")]) for i, w in enumerate(words)]
    gold = [Record(text="half a million", spans=[Span(start=0, end=14, label="M")])]
    done = perturb("names", gold, PerturbationSettings(train))
    assert done.records[0].text == "half a million"
    assert "1 of 1 spans could not be renamed" in done.notes[0]


def test_one_training_example_is_enough_to_make_names_of():
    record = train_records()[0]
    done, kept = NewNames([record]).renamed(record, Random(0))
    assert kept == 0
    assert not set(strings(done)) & set(strings(record))


def test_joined_texts_give_every_answer_back_to_its_text():
    gold = [Record(text=f"Text {i}", spans=[Span(start=5, end=6, label="N")]) for i in range(5)]
    joined = perturb("joined", gold, PerturbationSettings([], joined_texts=2))
    assert joined.texts() == ["Text 0\n\nText 1", "Text 2\n\nText 3", "Text 4"]
    assert joined.changed(gold) == 4
    answers = [
        Record(
            text=text, spans=[Span(start=i, end=i + 1, label="N") for i, c in enumerate(text) if c.isdigit()]
        )
        for text in joined.texts()
    ]
    assert joined.divided(answers) == [Record(text=r.text, spans=r.spans) for r in gold]
    # across two texts: a false alarm where it starts
    answers[0].spans = [Span(start=5, end=10, label="N")]
    assert joined.divided(answers)[0].spans[0].end > len(gold[0].text)
    assert joined.divided(answers)[1].spans == []


def test_texts_change_for_themselves_alone():
    gold = train_records()
    for name in perturbations.PERTURBATIONS:
        settings = PerturbationSettings(gold, typo_percent=50)
        forth, back = perturb(name, gold, settings), perturb(name, gold[::-1], settings)
        assert forth.records == back.records[::-1]
    assert (
        perturb("typos", gold, PerturbationSettings(gold, 50, seed=1)).records
        != perturb("typos", gold, PerturbationSettings(gold, 50)).records
    )


@pytest.mark.parametrize("text", ["", "lower,sideways", " , "])
def test_a_list_of_perturbations_must_name_some(text):
    with pytest.raises(UserError, match=r"--perturb.* lower, upper"):
        perturbations.parse(text)


def test_real_texts_keep_their_spans():
    gold = read_records(real_data("fashion_brands/train.jsonl"), duplicates="first")[:200]
    for name in perturbations.PERTURBATIONS:
        done = perturb(name, gold, PerturbationSettings(gold))
        assert [[s.label for s in r.spans] for r in done.records] == [
            [s.label for s in r.spans] for r in gold
        ]
        for record in done.records:
            assert all(string and string == string.strip() for string in strings(record))


CHINESE = Record(text="星河科技宣布以三亿元收购云帆软件。", spans=[Span(start=0, end=4, label="C")])


def test_a_script_without_case_has_no_other_case():
    names, left_out = perturbations.fitting(["lower", "typos", "upper"], [CHINESE])
    assert names == ["typos"]
    assert left_out == {"Case": "Upper and lower case are left out: the texts are in a script without case."}
    english = [Record(text="Velto buys Anker.")]
    assert perturbations.fitting(["lower", "typos"], english) == (["lower", "typos"], {})
    with pytest.raises(UserError, match="script without case"):
        perturbations.fitting(["upper"], [CHINESE])


def test_without_spaces_a_few_letters_are_changed_and_names_keep_their_length():
    done = perturbations.with_typos(CHINESE, 100, Random(0))
    assert done.text != CHINESE.text
    assert abs(len(done.text) - len(CHINESE.text)) <= 4, "one letter in each run of four"
    assert perturbations.repunctuated(CHINESE).text == CHINESE.text[:-1]
    names = ("星河科技", "云帆软件", "海棠医疗")
    train = [Record(text=f"{n}今天发布了公告。", spans=[Span(start=0, end=4, label="C")]) for n in names]
    renamed, unchanged = NewNames(train).renamed(CHINESE, Random(0))
    assert unchanged == 0
    assert strings(renamed)[0] not in names
    assert len(strings(renamed)[0]) == 4
