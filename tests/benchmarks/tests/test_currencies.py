"""Currency data comes from CLDR and one TOML file, and what the component ships with is current."""

from pathlib import Path

import pytest
import srsly
from benchmarks import currencies
from running import ROOT, run_command

from ie.core.errors import UserError

ADDITIONS = ROOT / "assets" / "money.toml"


@pytest.fixture(scope="module")
def data() -> dict:
    return currencies.build(currencies.read_additions(ADDITIONS))


def test_what_ships_is_current(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    output = tmp_path / "money.json"
    assert run_command("make-currencies", ["--additions", ADDITIONS, "--output", output], capsys).status == 0
    shipped = ROOT / "scripts" / "components" / "money.json"
    assert output.read_bytes() == shipped.read_bytes(), "run `weasel run make-currencies tests/benchmarks`"


def test_a_shared_writing_stands_for_all_its_currencies(data: dict) -> None:
    writings = data["writings"]
    assert {"USD", "CAD", "AUD"} <= set(writings["dollar"])
    assert {"USD", "CAD", "MXN"} <= set(writings["$"])
    assert writings["canadian dollars"] == writings["cad"] == writings["c$"] == ["CAD"]
    assert writings["rm"] == ["MYR"]
    assert writings["lsl"] == ["LSL"]  # Lesotho has two


def test_a_past_currency_is_meant_only_where_none_in_use_is(data: dict) -> None:
    assert data["writings"]["markka"] == ["FIM"]
    assert "FRF" not in data["writings"]["franc"]
    assert data["writings"]["french francs"] == ["FRF"]


def test_what_is_no_money_by_itself_counts_by_its_whole_name_only(data: dict) -> None:
    assert data["writings"]["special drawing rights"] == ["XDR"]
    assert not {"rights", "account", "code", "funds", "silver"} & set(data["writings"])


def test_adjectives_of_names_stand_beside_amounts_and_their_first_words_do_not(data: dict) -> None:
    assert {"canadian", "hong kong", "new zealand"} <= set(data["adjectives"])
    assert not {"new", "east", "united", "us"} & set(data["adjectives"])
    assert "east" not in data["places"]


def test_scales_separators_and_places_come_from_cldr(data: dict) -> None:
    assert data["scales"]["de"]["mrd"] == 9
    assert data["scales"]["es"]["mil millones"] == 9
    assert data["separators"]["de"] == ","
    assert data["separators"]["de_CH"] == "."
    assert data["places"]["bogota"] == data["places"]["colombian"] == ["COP"]


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda s: "= broken", "not valid TOML"),
        (lambda s: s.replace("[firm]", "[other]"), "firm is missing"),
        (lambda s: s + "\n[other]\nx = 1\n", "there is no section other"),
        (lambda s: s.replace("filler = [", "filling = ["), "there is no role filling"),
        (lambda s: s.replace('minus = ["minus"]', 'minus = "minus"'), "roles.minus must be a list of words"),
        (lambda s: s.replace("[glued]\nk = 3", "[glued]\nk = '3'"), "glued.k must be a power of ten"),
        (lambda s: s.replace('"US$" = ["USD"]', '"US$" = ["usd"]'), "US$: 'usd' is no ISO 4217 code"),
        (lambda s: s.replace('digits = 3\ncurrencies = ["OMR"]', 'currencies = ["OMR"]'), "each [[minor]]"),
    ],
)
def test_bad_additions_are_one_sentence(tmp_path: Path, change, fault: str) -> None:
    path = tmp_path / "money.toml"
    before = ADDITIONS.read_text(encoding="utf-8")
    path.write_text(change(before), encoding="utf-8")
    assert path.read_text(encoding="utf-8") != before
    with pytest.raises(UserError) as error:
        currencies.read_additions(path)
    assert fault in str(error.value)


def test_missing_additions() -> None:
    with pytest.raises(UserError, match="there is no such file"):
        currencies.read_additions(Path("nope.toml"))


def test_data_is_plain_json(data: dict) -> None:
    assert srsly.json_loads(srsly.json_dumps(data)) == data
