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
