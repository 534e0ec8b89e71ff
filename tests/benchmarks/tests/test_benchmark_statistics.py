"""The command runs the parts that are asked for and writes what it prints."""

import json

import pytest
from benchmarks.simulations import power
from benchmarks.simulations.parts import PARTS
from running import run_command


@pytest.mark.parametrize("name", PARTS)
def test_each_part_prints_a_table_and_writes_it(tmp_path, capsys, monkeypatch, name):
    # enough for a table, though not for the truth
    monkeypatch.setattr(power, "SEEN", 2000)
    monkeypatch.setattr(power, "EXCHANGES", 99)
    output = tmp_path / "statistics.json"
    options = ("--parts", name, "--repeats", 2, "--output", output)
    done = run_command("benchmark-statistics", options, capsys)
    assert done.status == 0, done.output
    parts = json.loads(output.read_text())["parts"]
    assert list(parts) == [name]
    assert parts[name]["repeats"] == 2
    header = list(parts[name]["rows"][0])
    assert all(list(row) == header for row in parts[name]["rows"])
    assert all(column in done.output for column in header)
    assert parts[name]["note"] in done.output


def test_an_unknown_part_is_a_sentence(tmp_path, capsys):
    options = ("--parts", "interval", "--output", tmp_path / "x.json")
    done = run_command("benchmark-statistics", options, capsys)
    assert done.status == 1
    assert "--parts: there is no part 'interval'; there are intervals" in done.output
    assert not list(tmp_path.iterdir())
