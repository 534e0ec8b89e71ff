from pathlib import Path

import deals
import pytest
from running import write_lines

from ie.core.errors import UserError
from ie.data.records import Record, Span, blank
from ie.evaluation import baselines


def record(text: str, *strings: str, label: str = "COMPANY") -> Record:
    """A record with every occurrence of the strings annotated."""
    spans = [
        Span(start=at, end=at + len(string), label=label)
        for string in strings
        for at in range(len(text))
        if text.startswith(string, at)
    ]
    return Record(text=text, spans=spans)


def found(records: list[Record]) -> list[list[tuple[str, str]]]:
    """(string, label) of the spans of each record."""
    return [[(r.text[s.start : s.end], s.label) for s in r.spans] for r in records]


def rules(*lines: object, tmp_path: Path, gazetteer: str = "") -> baselines.Predict:
    patterns = write_lines(tmp_path / "patterns.jsonl", lines)
    names = tmp_path / "names.csv"
    names.write_text(gazetteer, encoding="utf-8")
    nlp = baselines.rules(
        blank("en"), patterns=patterns, gazetteer=names if gazetteer else None, label="COMPANY"
    )
    return baselines.predict_with(nlp)


EURO = {"label": "MONEY", "pattern": [{"TEXT": "€"}, {"LIKE_NUM": True}]}


def test_rules_mark_patterns_phrases_and_names(tmp_path):
    predict = rules(
        EURO,
        {"label": "CITY", "pattern": "New York"},
        tmp_path=tmp_path,
        gazetteer="id,name,aliases\n1,Velto GmbH,Velto|VLT\n2,York,\n",
    )
    assert found(predict(["Velto GmbH of New York and VLT paid € 5.", "Nothing."])) == [
        [("Velto GmbH", "COMPANY"), ("New York", "CITY"), ("VLT", "COMPANY"), ("€ 5", "MONEY")],
        [],
    ]


def test_rules_work_without_a_gazetteer_and_with_an_empty_line(tmp_path):
    assert found(rules(EURO, "", tmp_path=tmp_path)(["€ 5"])) == [[("€ 5", "MONEY")]]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("{broken", "not a pattern"),
        ({"label": "MONEY"}, "not a pattern"),
        ({"label": "MONEY", "pattern": []}, "not a pattern"),
        ({"pattern": "x"}, "not a pattern"),
        ([1], "not a pattern"),
        ({"label": "MONEY", "pattern": [{"NONSENSE": 1}]}, "not a pattern .*NONSENSE"),
    ],
)
def test_a_bad_pattern_is_named_by_its_line(line, fault, tmp_path):
    with pytest.raises(UserError, match=rf"patterns.jsonl:2: .*{fault}"):
        rules(EURO, line, tmp_path=tmp_path)


def test_missing_pattern_file(tmp_path):
    with pytest.raises(UserError, match=r"nowhere.jsonl: there is no such file"):
        baselines.rules(blank("en"), patterns=tmp_path / "nowhere.jsonl")


def test_a_text_longer_than_spacys_limit_is_read(tmp_path):
    nlp = baselines.rules(blank("en"), patterns=write_lines(tmp_path / "patterns.jsonl", [EURO]))
    nlp.max_length = 1000
    assert found(baselines.predict_with(nlp)(["word " * 250 + "€ 5"])) == [[("€ 5", "MONEY")]]


def dictionary(*train: Record, **options: object) -> baselines.Dictionary:
    return baselines.build_dictionary(train, blank("en").make_doc, **options)


def test_the_dictionary_marks_what_it_saw_longest_first():
    names = dictionary(
        *[record(f"{day}: Atlas Growth Fund buys Velto", "Atlas Growth Fund", "Velto") for day in "abcdefgh"],
        *[record(f"{day}: Atlas sells", "Atlas") for day in "ijkl"],
    )
    assert found(names(["Velto, Atlas Growth Fund and Atlas; Veltox."])) == [
        [("Velto", "COMPANY"), ("Atlas Growth Fund", "COMPANY"), ("Atlas", "COMPANY")]
    ]


def test_rules_and_dictionary_mark_spans_in_others_where_they_may_overlap(tmp_path):
    patterns = write_lines(
        tmp_path / "patterns.jsonl",
        [{"label": "COMPANY", "pattern": "Bank of York"}, {"label": "CITY", "pattern": "York"}],
    )
    expected = [[("Bank of York", "COMPANY"), ("York", "CITY")]]
    nlp = baselines.rules(blank("en"), patterns=patterns, overlapping=True)
    assert found(baselines.predict_with(nlp)(["The Bank of York"])) == expected
    spans = [Span(start=4, end=16, label="COMPANY"), Span(start=12, end=16, label="CITY")]
    train = [Record(text="The Bank of York", spans=spans)]
    known = baselines.build_dictionary(train * 3, blank("en").make_doc, overlapping=True)
    assert found([*known(["The Bank of York"])]) == expected
    flat = baselines.build_dictionary(train * 3, blank("en").make_doc)
    assert found([*flat(["The Bank of York"])]) == [expected[0][:1]]


def test_the_dictionary_takes_the_label_seen_most_often():
    train = [record(f"{day} Orchard", "Orchard", label="COMPANY") for day in "abcde"]
    train += [record(f"{day} Orchard", "Orchard", label="FUND") for day in "fgh"]
    assert found(dictionary(*train)(["Orchard"])) == [[("Orchard", "COMPANY")]]


def test_the_dictionary_forgets_what_is_mostly_something_else():
    train = [record(f"Text {n}: the orchard Apple grows", *(["Apple"] if n < 10 else [])) for n in range(60)]
    train += [record(f"Text {n}: Velto sells", "Velto") for n in range(60)]
    names = dictionary(*train)
    assert names.min_precision > 10 / 60
    assert found(names(["Apple and Velto"])) == [[("Velto", "COMPANY")]]


def test_thresholds_are_not_chosen_by_recalling_the_same_text():
    # Every string occurs once: recall on its own text would be perfect, on others it is nothing.
    train = [record(f"Name{n} is here", f"Name{n}") for n in range(40)]
    names = dictionary(*train)
    assert found(names(["Name3 is Name41"])) == [[("Name3", "COMPANY")]]
    noisy = [record(f"{'ABCD'[n % 4]} was {n} here", *("ABCD"[n % 4] if n < 4 else "")) for n in range(80)]
    assert dictionary(*noisy).min_precision > 4 / 80


def test_the_dictionary_without_examples_says_nothing():
    assert found(dictionary()(["Velto"])) == [[]]


def test_spans_inside_a_token_are_no_memory():
    text = "Veltoxyz is here"
    assert found(dictionary(Record(text=text, spans=[Span(start=0, end=5, label="COMPANY")]))([text])) == [[]]


def test_the_dictionary_recalls_names_of_texts_alike():
    gold = deals.records(300)
    names = dictionary(*gold[:200])
    assert sum(len(record.spans) for record in names([record.text for record in gold[200:]])) > 50
