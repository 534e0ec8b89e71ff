import json
from pathlib import Path

import numpy as np
import pytest
from benchmarks import curve
from benchmarks.curve import ALL, CurveDataset, ProjectionCase

from ie.data.records import Record, Span, write_records
from ie.training.curve.projection import ProjectionSettings

TRUE = {ALL: lambda n: 0.92 - 1.5 * n**-0.5, "A": lambda n: 0.9 - 20 / n, "RARE": lambda n: 0.5}


def measured(sd: float = 0.004) -> dict:
    """Scores of a set whose true curves are known."""
    rng = np.random.default_rng(0)
    cells = []
    for n in (92, 184, 368, 736):
        for size in {n // 4, n // 2, 3 * n // 4, n} if n < 736 else {n}:
            for seed in range(3):
                f = {label: float(true(size) + rng.normal(0, sd)) for label, true in TRUE.items()}
                cells.append({"of": n, "examples": size, "seed": seed, "f": f})
    return {"demo": {"dev": 200, "spans": {ALL: 400, "A": 390, "RARE": 10}, "cells": cells}}


def test_every_start_and_label_is_a_case_if_its_answer_is_known():
    found = curve.cases(measured())
    assert [(case.label, case.sizes[-1]) for case in found] == [
        (label, n) for n in (92, 184, 368) for label in (ALL, "A", "RARE")
    ]
    case = found[0]
    assert case.sizes == (23, 46, 69, 92)
    assert case.answer == pytest.approx(TRUE[ALL](184), abs=0.01)
    assert case.last == pytest.approx(TRUE[ALL](92), abs=0.01)
    partial = measured()
    partial["demo"]["cells"] = [cell for cell in partial["demo"]["cells"] if cell["of"] < 736]
    assert {case.sizes[-1] for case in curve.cases(partial)} == {92, 184}


def test_the_only_label_of_a_set_is_no_case_of_its_own():
    alone = measured()
    alone["demo"]["spans"] = {ALL: 400, "A": 400}
    assert {case.label for case in curve.cases(alone)} == {ALL}


def test_the_projection_is_judged_beside_naive_predictors():
    cases = [case for case in curve.cases(measured()) if case.label != "RARE"]
    ours, last, line = curve.judge(cases)
    assert (ours.name, last.name, line.name) == ("projection", "last value", "line through the last two")
    assert ours.n + ours.refused == len(cases)
    assert last.n == ours.n
    assert ours.error < last.error
    assert ours.error < line.error
    # twice the data is better by about .05 on these curves, so the last value is too low
    assert last.bias < -0.02
    assert 0 <= ours.coverage <= 1
    assert last.coverage is None


def test_an_interval_is_not_right_by_being_refused():
    noisy = ProjectionCase("demo", ALL, (25, 50, 75, 100), ((0.1, 0.6),) * 4, (0.5, 0.5), 400, False)
    assert curve.judge([noisy]) == []
    forced, *_ = curve.judge([noisy], ProjectionSettings(widest=float("inf")))
    assert (forced.n, forced.refused, forced.coverage) == (1, 0, 1)


def test_the_projection_holds_on_curves_of_real_sets():
    """Scores as `benchmark-curve` wrote them: a change of the method shows its effect on real curves."""
    scores = json.loads((Path(__file__).parent / "golden" / "curve_scores.json").read_text(encoding="utf-8"))
    cases = [case for case in curve.cases(scores) if case.spans >= curve.SPANS]
    ours, last, line = curve.judge(cases)
    assert ours.n >= 32
    assert ours.error <= 0.016
    assert ours.error < min(last.error, line.error)
    assert ours.coverage >= 0.9
    # wide enough to hold, and not so wide as to say nothing
    assert ours.half <= 0.06
    unseen, *_ = curve.judge([case for case in cases if not case.tuning])
    assert unseen.error <= 0.02
    assert unseen.coverage >= 0.85


def test_signals_are_judged_by_what_came():
    flat = ProjectionCase(
        "demo",
        ALL,
        (25, 50, 75, 100),
        ((0.8, 0.801), (0.8, 0.802), (0.8, 0.8), (0.801, 0.8)),
        (0.8, 0.8),
        1,
        True,
    )
    found = curve.signals([flat])
    assert found["the last segment rose"] == (0, 1)
    assert found["projection"] == (1, 1)


def test_no_text_is_trained_and_scored_on(tmp_path):
    def texts(start: int, n: int) -> list[Record]:
        return [
            Record(text=f"Velto {i}", spans=[Span(start=0, end=5, label="A")])
            for i in range(start, start + n)
        ]

    for name, (start, n) in {"train": (0, 20), "dev": (15, 10), "test": (22, 10)}.items():
        write_records(tmp_path / "fire" / f"{name}.jsonl", texts(start, n))
    fire = CurveDataset("fire", (5,), True, dev=8)
    train, dev = curve.load(fire, tmp_path, tmp_path / "none.jsonl")
    assert len(dev) == 8
    assert {doc.text for doc in train} == {f"Velto {i}" for i in range(22)}
    again, _ = curve.load(fire, tmp_path, tmp_path / "none.jsonl")
    assert [doc.text for doc in train] == [doc.text for doc in again]
