"""What a set is divided into before it goes through the workflow."""

import pytest
from benchmarks import retarget
from benchmarks.retarget import Size
from running import ROOT

from ie.core.errors import UserError
from ie.data.records import read_records


def test_a_set_in_one_file_keeps_all_its_annotations_if_the_llm_is_asked_about_all():
    source = ROOT / "tests/languages/de.jsonl"
    reviewed, raw = retarget.divide(source, Size(reviewed=60, llm=60))
    assert {record.text for record in reviewed} == {record.text for record in read_records(source)}
    assert not raw
    assert [len(part) for part in retarget.divide(source, Size(reviewed=60, llm=40))] == [45, 15]


def test_a_set_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match=r"nothing: there is no train\.jsonl"):
        retarget.divide(tmp_path / "nothing", Size())


def test_without_the_llm_its_files_hold_no_answer(tmp_path, monkeypatch):
    source = ROOT / "tests/languages/de.jsonl"
    words = ROOT / "tests/languages/words.cfg"
    ran = []
    monkeypatch.setattr(retarget, "set_up", lambda *args, **more: tmp_path)
    monkeypatch.setattr(retarget, "edits", lambda copy: (0, 0))
    monkeypatch.setattr(
        retarget, "scores", lambda copy: {"kind": "spans", "labels": 1, "test": 0, "f": {}, "speed": None}
    )
    monkeypatch.setattr(
        retarget,
        "run",
        lambda copy, command, overrides: ran.append((command, (copy / "corpus/llm.jsonl").read_text())),
    )
    retarget.retarget(
        "de",
        source,
        words,
        ROOT,
        tmp_path,
        size=Size(reviewed=60, llm=40),
        overrides={},
        commands=retarget.WITHOUT_LLM,
        without_llm=True,
    )
    assert ran == [(command, "") for command in retarget.WITHOUT_LLM]
    assert (tmp_path / "corpus/llm.json").read_text() == "{}\n"
