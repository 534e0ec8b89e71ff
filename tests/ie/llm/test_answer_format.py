"""Whatever a model answers: it is read, or it is counted as not understood, and it never breaks a run."""

import json
import re
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ie.llm import answer_format

NAMES = {"Companies": "COMPANY", "Money": "MONEY"}
ONE = {"Companies": "COMPANY"}
ACME_5 = [("COMPANY", "Acme"), ("MONEY", "$5m")]

# What answers are made of, well formed or not.
# fmt: off
PARTS = st.sampled_from([
    "Companies:", "Money:", "Companies", "Acme", "Hooli, Inc.", "$5m", "none", " | ", "|", ", ", "\n", "\n\n",
    "- ", "1. ", "* ", "**", "```", "```json\n", "{", "}", "[", "]", ":", '"', '\\"', "\\", "\\ud83d", "'",
    '"Companies"', '"Money": ', "null", "true", "1e999", "-0", "Sure! Here it is", "\x00", "🦄", "\u2028",
])
# fmt: on
ANY = st.lists(PARTS, max_size=25).map("".join) | st.text()
WORDS = re.compile(r"\w+")


def lines(answer, names=NAMES):
    return answer_format.parse(answer, names, "lines", " | ", "none")


def parsed(answer, names=NAMES):
    return answer_format.parse(answer, names, "json", " | ", "none")


def words_of(said, malformed):
    return {word for piece in [value for _, value in said] + malformed for word in WORDS.findall(piece)}


@given(ANY, st.sampled_from(["lines", "json"]), st.sampled_from([NAMES, ONE]))
@example("[" * 100_000, "json", NAMES)
@example('{"Companies": ' * 900 + '"Acme"' + "}" * 900, "json", NAMES)
@example('{"a": ' * 100_000, "json", NAMES)
@example('{"Companies": [1' + "0" * 5000 + "]}", "json", NAMES)
@example('{"Companies": ["\\ud83d"]}', "json", NAMES)
@example("\ud83d", "lines", NAMES)
@settings(max_examples=400, deadline=None)
def test_no_answer_breaks_anything(answer, form, names):
    said, malformed = answer_format.parse(answer, names, form, " | ", "none")
    assert all(field in names.values() for field, _ in said)
    assert len(set(said)) == len(said)
    for piece in [value for _, value in said] + malformed:
        assert piece.strip()
        piece.encode("utf-8")  # or the output can't be written


@given(ANY)
@settings(max_examples=200, deadline=None)
def test_every_word_of_lines_is_used_or_returned(answer):
    said, malformed = lines(answer)
    kept = words_of(said, malformed) | {"Companies", "companies", "Money", "money", "json", "1"}
    fences = set(re.findall(r"```(\w+)", answer))
    # however it is written
    nothing = {word for word in WORDS.findall(answer) if word.casefold() == "none"}
    assert set(WORDS.findall(answer)) <= kept | fences | nothing


@given(
    st.dictionaries(
        st.sampled_from(["Companies", "money", "COMPANY", "Investors", "x"]),
        st.recursive(
            st.text("abc$ ,|", min_size=1) | st.integers() | st.booleans() | st.none(),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=2), inner),
            max_leaves=5,
        ),
    )
)
@settings(max_examples=200, deadline=None)
def test_every_string_and_number_of_an_object_is_used_or_returned(answer):
    said, malformed = parsed(json.dumps(answer))
    kept = {value for _, value in said} | set(malformed)

    def leaves(value):
        if isinstance(value, dict):
            return [leaf for inner in value.values() for leaf in leaves(inner)]
        if isinstance(value, list):
            return [leaf for inner in value for leaf in leaves(inner)]
        return [value]

    for leaf in leaves(answer):
        text = leaf.strip(" .") if isinstance(leaf, str) else json.dumps(leaf)
        if text not in ("", "null"):
            assert any(text in piece for piece in kept)


@given(st.dictionaries(st.sampled_from(list(NAMES)), st.lists(st.text("Acme &'\"\\{}[],:.\n|", min_size=1))))
@settings(max_examples=200, deadline=None)
def test_well_formed_json_is_read_to_the_letter(answer):
    """Commas before brackets, braces and quotes inside of strings are part of the name."""
    said, malformed = parsed(json.dumps(answer))
    wanted = [(NAMES[name], value.strip()) for name, values in answer.items() for value in values]
    assert said == list(dict.fromkeys(pair for pair in wanted if pair[1].strip(" .")))
    assert malformed == []


@pytest.mark.parametrize(
    "answer",
    [
        " Acme\nMoney: $5m",
        "Acme\nMoney: $5m\n",
        "Companies: Acme\nMoney: $5m",
        "companies: Acme\nMONEY: $5m",
        "**Companies:** Acme\n**Money:** $5m",
        "- Companies: Acme\n- Money: $5m",
        "* **Companies**: Acme\n* **Money**: $5m",
        "1. Companies: Acme\n2. Money: $5m",
        "Companies:\n- Acme\nMoney:\n- $5m",
        "Companies:\nAcme\nMoney:\n$5m",
        "Companies:\n1. Acme\n\nMoney:\n1) $5m",
        "```\nCompanies: Acme\nMoney: $5m\n```",
        "```text\nCompanies: Acme\nMoney: $5m```",
        "```Companies: Acme\nMoney: $5m```",
        "Companies: Acme | Acme\nMoney: $5m | none",
        "Companies: Acme\r\nMoney: $5m",
        "Companies: Acme |\nMoney: | $5m",
        "Companies: | Acme |  | |\nMoney: | |\t$5m",
    ],
)
def test_forms_of_lines(answer):
    assert lines(answer) == (ACME_5, [])


@pytest.mark.parametrize(
    ("separator", "values"),
    [
        (" | ", ["A|X Capital", "|Hooli|", "Acme"]),
        ("; ", ["a;b", "Acme", ";c"]),
        (", ", ["$1,000,000", "Acme"]),
        (" and ", ["Sandandson", "Anderson", "R"]),
        (";", ["A|X Capital", "Hooli, Inc."]),
    ],
)
def test_a_value_may_hold_the_sign_that_separates_without_its_spaces(separator, values):
    line = answer_format.example({"Companies": values}, separator, "none")["lines"]["Companies"]
    said, malformed = answer_format.parse(f"Companies: {line}", ONE, "lines", separator, "none")
    assert [value for _, value in said] == values
    assert malformed == []


@pytest.mark.parametrize("sign", "\u2028\x0b\x0c\x1c\x85")
def test_a_value_may_hold_what_looks_like_a_line_end(sign):
    value = f"Acme{sign}Capital"
    assert lines(f"Companies: {value}\nMoney: $5m")[0][0][1] == value


def test_empty_lines_mean_nothing_was_found():
    for answer in ("", "none", " none\nMoney: none", "None.\nMoney: NONE", "\nMoney:"):
        assert lines(answer) == ([], [])


def test_remarks_after_the_values_are_handed_back():
    said, malformed = lines("Acme\nMoney: $5m\nNote that Acme is a company.")
    assert said == ACME_5
    assert malformed == ["Note that Acme is a company."]


def test_a_field_that_was_not_asked_for_is_handed_back():
    assert lines("Acme\nProducts: Widget", ONE) == ([("COMPANY", "Acme")], ["Products: Widget"])


def test_the_longest_of_two_names_that_begin_alike():
    names = {"Company": "A", "Company > money": "B"}
    said, _ = lines("Acme\nCompany > money: Acme > $5m", names)
    assert said == [("A", "Acme"), ("B", "Acme > $5m")]


@pytest.mark.parametrize(
    "answer",
    [
        '{"Companies": ["Acme"], "Money": ["$5m"]}',
        '  {"Companies": ["Acme"], "Money": ["$5m"]}\nI hope this helps!',
        'Here is the {JSON} you "wanted":\n```json\n{"Companies": ["Acme"], "Money": ["$5m"]}\n```\nBye.',
        '{"Companies": ["Acme",], "Money": ["$5m",],}',
        '{"Companies": "Acme", "Money": "$5m"}',
        '{"companies": ["Acme"], "MONEY": ["$5m"]}',
        '{"COMPANY": ["Acme"], "Money": ["$5m"]}',
        '{"Companies": ["Acme", "Acme", "", "none"], "Money": ["$5m", null]}',
        '{"Companies": ["Acme"]}\n{"Money": ["$5m"]}',
        '[{"Companies": "Acme"}, {"Money": "$5m"}]',
        '{"answer": {"Companies": ["Acme"], "Money": ["$5m"]}}',
        '{"Companies": ["Acme"], "Money": ["$5m"]',
        '{"Companies": ["Acme"], "Money": ["$5m"',
        '{"Companies": ["Acme"], "Money": ["$5m", ',
        '{"Companies": [\n  "Acme"\n],\n"Money": [ "$5m" ,\n',
    ],
)
def test_forms_of_json(answer):
    assert parsed(answer) == (ACME_5, [])


@pytest.mark.parametrize(
    ("answer", "said", "malformed"),
    [
        ('{"Companies": ["Acme", "Hoo', ["Acme"], ['"Hoo']),
        ('{"Companies": ["Acme" "Hooli"]}', ["Acme"], ['"Hooli"']),
        ('{"Companies": ["Acme"]} {"Money": ["$5', ["Acme"], ['{"Money": ["$5']),
        ('{"it" is here} {"Companies": ["Acme"]}', ["Acme"], []),
        ('{"Companies": ["Acme"], "Companies": ["Hooli"]}', ["Acme", "Hooli"], []),
        ('{"Companies": ["Acme"], "Products": ["Widget"]}', ["Acme"], ['{"Products": "Widget"}']),
        ('{"Companies": ["Acme", 5, true]}', ["Acme"], ['{"Companies": 5}', '{"Companies": true}']),
        ('{"Companies": [{"name": "Acme"}]}', [], ['{"Companies": {"name": "Acme"}}']),
        ('{"Companies": [["Acme"]]}', [], ['{"Companies": ["Acme"]}']),
        ('["Acme"]', [], ['"Acme"']),
        ("Acme", [], ["Acme"]),
        ("I can't {do} that", [], ["I can't {do} that"]),
        ("{'Companies': ['Acme']}", ["Acme"], []),
        ('{"Companies": {"name": "Acme"}}', [], ['{"Companies": {"name": "Acme"}}']),
        ('"Companies"', [], ['"Companies"']),
        ("", [], []),
        ("{}", [], []),
    ],
)
def test_what_is_wrong_in_json_is_handed_back(answer, said, malformed):
    found, rest = parsed(answer)
    assert [value for _, value in found] == said
    assert rest == malformed


def test_a_plain_list_answers_the_only_field():
    assert parsed('["Acme", "Hooli"]', ONE) == ([("COMPANY", "Acme"), ("COMPANY", "Hooli")], [])
    assert parsed('["Acme", "Hoo', ONE) == ([("COMPANY", "Acme")], ['"Hoo'])


@pytest.mark.parametrize(
    "unit", ["{", "[", '{"', '["', '"', '\\"', '{"a":', '["x",[', '{"x"', "Acme | ", "- a\n"]
)
def test_enormous_answers_end_soon(unit):
    started = time.perf_counter()
    for form in ("lines", "json"):
        answer_format.parse(unit * (10_000 // len(unit)), NAMES, form, " | ", "none")
    assert time.perf_counter() - started < 20


def test_examples_are_read_back_as_what_they_say():
    values = {"Companies": ["Acme", 'Hooli "H" Inc.'], "Money": []}
    shown = answer_format.example(values, " | ", "none")
    wanted = [("COMPANY", "Acme"), ("COMPANY", 'Hooli "H" Inc.')]
    text = "\n".join(f"{name}: {line}" for name, line in shown["lines"].items())
    assert shown["lines"]["Money"] == "none"
    assert lines(text) == (wanted, [])
    assert parsed(shown["json"]) == (wanted, [])


def test_the_schema_admits_lists_of_strings_for_all_names_and_nothing_else():
    schema = answer_format.schema(["Companies", "Money"], None)
    assert list(schema["properties"]) == schema["required"] == ["Companies", "Money"]
    assert schema["additionalProperties"] is False
    item = answer_format.schema(["Category"], ["A", "B"])["properties"]["Category"]["items"]
    assert item == {"type": "string", "enum": ["A", "B"]}


DRAFT, REAL = '{"Companies": ["Draft"], "Money": []}', '{"Companies": ["Acme"], "Money": ["$5m"]}'


@pytest.mark.parametrize(
    "answer",
    [
        f"<think>Perhaps {DRAFT}?</think>\n{REAL}",
        f"Perhaps {DRAFT}? No.\n</think>\n{REAL}",
        f"<thinking>{DRAFT}</thinking>{REAL}",
        f"<think>{DRAFT}</think><think>{DRAFT}</think>{REAL}",
    ],
)
def test_what_stands_before_the_end_of_reasoning_is_no_answer(answer):
    assert parsed(answer) == (ACME_5, [])
    assert lines(answer.replace(DRAFT, "Draft").replace(REAL, " Acme\nMoney: $5m")) == (ACME_5, [])
    assert answer_format.is_readable(answer, NAMES, "json", " | ", "none")


@pytest.mark.parametrize("form", ["json", "lines"])
@pytest.mark.parametrize("answer", [f"<think>{DRAFT}", f"<think>{DRAFT}</think>", "</think>\n"])
def test_reasoning_without_an_answer_is_unreadable(answer, form):
    assert answer_format.parse(answer, NAMES, form, " | ", "none")[0] == []
    assert not answer_format.is_readable(answer, NAMES, form, " | ", "none")


@pytest.mark.parametrize(
    "answer",
    [
        "{'Companies': ['Acme'], 'Money': ['$5m']}",
        "```json\n{'Companies': ['Acme'], 'Money': ['$5m']}\n```",
        r'{"Companies": ["Acme"], "Money": ["\$5m"]}',
    ],
)
def test_slips_that_leave_one_reading_are_read(answer):
    assert parsed(answer) == (ACME_5, [])


def test_an_escaped_apostrophe_is_one():
    assert parsed(r'{"Companies": ["Macy\'s"], "Money": ["a\\b"]}') == (
        [("COMPANY", "Macy's"), ("MONEY", r"a\b")],
        [],
    )


UNREADABLE = {
    "a refusal": "I'm sorry, but I can't help with that.",
    "YAML": "Companies:\n  - Acme\nMoney:\n  - $5m",
    "YAML with an empty list": "Companies: []\nMoney:\n  - $5m",
    "a table": "| Companies | Money |\n|---|---|\n| Acme | $5m |",
    "unknown keys": '{"error": "no"}',
    "single quotes around an apostrophe": "{'Companies': ['Macy's'], 'Money': []}",
    "null": "null",
    "numbers": '{"Companies": [1]}',
    "deep nesting": "[" * 200_000,
    "deep nesting of Python's": "['a'," * 200_000,
}


@pytest.mark.parametrize("answer", UNREADABLE.values(), ids=UNREADABLE)
def test_what_says_nothing_of_the_text_is_unreadable(answer):
    said, malformed = parsed(answer)
    assert said == []
    assert malformed
    assert not answer_format.is_readable(answer, NAMES, "json", " | ", "none")


@pytest.mark.parametrize(
    "answer",
    ['{"Companies": [], "Money": []}', "{}", "[]", '{"Companies": ["none"]}', REAL, "{'Companies': []}", ""],
)
def test_nothing_found_is_readable(answer):
    assert answer_format.is_readable(answer, NAMES, "json", " | ", "none")


@given(ANY, st.sampled_from(["lines", "json"]))
@settings(max_examples=200, deadline=None)
def test_whether_an_answer_is_readable_is_always_known(answer, form):
    said, _ = answer_format.parse(answer, NAMES, form, " | ", "none")
    assert answer_format.is_readable(answer, NAMES, form, " | ", "none") or not said
