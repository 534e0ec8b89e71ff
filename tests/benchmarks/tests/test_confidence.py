"""The benchmark of the confidence, on a small pipeline of rules."""

import json

import pytest
from benchmarks import confidence
from confidences import gold, name_pipeline

from ie.core.errors import UserError


def test_all_figures_of_a_set_are_there() -> None:
    parts = {"train": gold(100, 0), "dev": gold(100, 1), "test": gold(120, 2)}
    llm = {record.text: record for record in parts["test"]}
    result = confidence.measure("names", name_pipeline(), parts, llm=llm, draws=3)
    assert result.answers == 120
    assert result.error.value < 0.2
    assert result.better["seen"].value > 0
    # gold stands for the LLM here, so nothing is better
    assert result.better["llm"].value <= 0.01
    assert [promise.target for promise in result.promises] == list(confidence.TARGETS)
    assert json.loads(json.dumps(result.to_json()))["name"] == "names"


def test_a_set_whose_dev_is_too_small_has_a_reason_instead_of_figures() -> None:
    parts = {"train": gold(100, 0), "dev": gold(40, 1), "test": gold(120, 2)}
    result = confidence.measure("names", name_pipeline(), parts, llm={}, draws=2)
    assert result.error is result.area is None
    assert "uncertain by more than" in result.not_calibrated["COMPANY"]
    assert "NaN" not in json.dumps(result.to_json())


def test_kinds_of_a_pipeline_without_their_confidence_are_refused() -> None:
    with pytest.raises(UserError, match="no confidence of rows"):
        confidence.measure_kinds(name_pipeline(), gold(5, 0))
