"""Tables for the terminal."""

import pytest
from running import ROOT

from ie.core.text import count_words, joined, text_table


def test_parts_of_a_sentence():
    assert [joined(parts) for parts in ("a", "ab", "abc")] == ["a", "a and b", "a, b and c"]
    assert joined(["A", "B"], "or") == "A or B"


def test_columns_are_as_wide_as_their_cells():
    table = text_table([("a", 1), "across", ("bb", 20)], ("name", "n"), "lr")
    assert table.split("\n") == ["name    n", "----   --", "a       1", "across", "bb     20"]
    assert text_table([("a", "b")]) == "a   b"
    assert text_table([]) == ""


@pytest.mark.parametrize(("cell", "columns"), [("some words " * 20, 2), ("x" * 200, 2), ("1 234", 18)])
def test_a_table_fits_the_terminal_and_loses_nothing(cell, columns):
    table = text_table([[cell] * columns, "and " * 40], [f"column {i}" for i in range(columns)])
    assert max(map(len, table.split("\n"))) <= 80
    kept = "".join(table.split())
    assert sum(kept.count(letter) for letter in set(cell) - {" "}) >= columns * len("".join(cell.split()))


def test_only_the_widest_column_is_wrapped():
    lines = text_table([("short", "word " * 30)], ("", "text")).split("\n")
    assert [line[:5] for line in lines[2:]] == ["short", *[" " * 5] * (len(lines) - 3)]


def test_a_number_and_its_interval_stay_on_one_line():
    assert ".91 ±.02\n" in text_table([("word " * 30, "F is .91 ±.02")], width=40) + "\n"


def test_commands_print_no_other_tables():
    """wasabi's tables are as wide as their cells."""
    scripts = {path: path.read_text(encoding="utf-8") for path in (ROOT / "scripts").rglob("*.py")}
    assert len(scripts) > 100
    assert not [path for path, code in scripts.items() if "msg.table(" in code or "import msg, table" in code]


def test_words_are_counted_where_no_spaces_divide_them():
    assert count_words("Acme buys  Anker\nfor $5m.") == 5
    assert count_words("星河科技收购云帆 for 3 ドル") == 7
    assert count_words("") == 0
