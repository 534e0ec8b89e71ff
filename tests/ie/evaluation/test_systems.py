import json
from pathlib import Path

import numpy as np
import pytest
import spacy
from running import write_lines

from ie.core import stats
from ie.core.errors import UserError
from ie.data.records import Record, Span, blank
from ie.evaluation import comparison, scoring, systems
from ie.evaluation.comparison import SystemComparison, compare_systems
from ie.evaluation.report import evaluation_page, overall_table, scores_notes
from ie.evaluation.systems import SystemResult

LABELS = ("COMPANY", "MONEY")


def example(n: int, spans: bool = True, **meta: object) -> Record:
    """`Velto raises $<n>m`, with both spans annotated or none."""
    text = f"Velto raises ${n}m"
    found = [Span(start=0, end=5, label="COMPANY"), Span(start=13, end=len(text), label="MONEY")]
    return Record(text=text, spans=found if spans else [], meta={"id": str(n), **meta})


def without(record: Record, label: str) -> Record:
    return Record(text=record.text, spans=[s for s in record.spans if s.label != label])


GOLD = [example(n, writer=f"w{n % 2}") for n in range(1, 61)]


def run(*answers: SystemResult, gold: list[Record] = GOLD) -> SystemComparison:
    return compare_systems(gold, gold[:5], answers, LABELS, words=[3] * len(gold), meta_key="writer")


PERFECT = SystemResult("perfect", "Perfect", GOLD, mb=1.25)
HALF = SystemResult("half", "Half", [without(r, "MONEY") if i % 2 else r for i, r in enumerate(GOLD)])
ABSENT = SystemResult("absent", "Absent", missing="run it first.")


def test_scores_by_label_and_all_together():
    result = run(PERFECT, HALF, ABSENT)
    p, r, f = result.scores["half"]["MONEY"]
    assert (p.value, r.value, f.value) == (1, 0.5, pytest.approx(2 / 3))
    assert result.scores["half"]["COMPANY"][2].value == 1
    assert result.scores["half"]["all"][1].value == 0.75
    assert [a.name for a in result.present] == ["perfect", "half"]


def test_two_systems_that_differ_are_in_no_common_group():
    result = run(PERFECT, HALF)
    assert result.letters("perfect") == "a"
    assert result.letters("half") == "b"
    assert result.closest is None
    assert "differ" in comparison.closest_sentence(result)


def test_two_systems_that_hardly_differ_say_what_it_takes():
    nearly = SystemResult(
        "nearly", "Nearly", [without(r, "MONEY") if i in (3, 9) else r for i, r in enumerate(GOLD)]
    )
    result = run(PERFECT, nearly)
    assert result.letters("perfect") == result.letters("nearly") == "a"
    assert 60 < result.closest["more"] < 600
    sentence = comparison.closest_sentence(result)
    assert f"about {result.closest['more']:,} more gold test texts would show it (80 % power)." in sentence
    assert "(n=60)" in sentence
    assert "anything from" not in sentence


def halves(n: int, right: int) -> SystemComparison:
    """All right against a system that finds no amount in all but the first `right` of `n` texts."""
    gold = GOLD[:n]
    worse = [r if i < right else without(r, "MONEY") for i, r in enumerate(gold)]
    return run(SystemResult("a", "A", gold), SystemResult("b", "B", worse), gold=gold)


@pytest.mark.parametrize(("n", "right"), [(1, 0), (5, 0), (10, 5), (49, 47)])
def test_too_few_texts_tell_no_number(n, right):
    result = halves(n, right)
    assert not result.pairs[0].differs()
    assert result.closest == {"first": "a", "second": "b", "more": None, "why": "few"}
    sentence = comparison.closest_sentence(result)
    few = "1 test text is" if n == 1 else f"{n} test texts are"
    assert sentence == f"{few} too few to compare A and B; review {50 - n} more."
    assert sentence in scores_notes(result)
    assert "too few to compare" in evaluation_page(result, inspected="b")


def test_few_texts_that_tell_two_systems_apart_are_enough():
    assert halves(6, 0).closest is None


def test_a_difference_that_many_times_the_texts_would_not_show_gets_no_number():
    # 30 texts are better with one system, 29 with the other: what is left is nearly nothing.
    gold = GOLD
    first = [without(r, "MONEY") if i < 30 else r for i, r in enumerate(gold)]
    second = [without(r, "MONEY") if i >= 31 else r for i, r in enumerate(gold)]
    result = run(SystemResult("a", "A", first), SystemResult("b", "B", second))
    assert result.closest == {"first": "a", "second": "b", "more": None, "why": "far"}
    sentence = comparison.closest_sentence(result)
    assert sentence.endswith("Showing so small a difference takes more than 10 times as many test texts.")


def test_equal_systems_never_get_a_number():
    result = run(PERFECT, SystemResult("twin", "Twin", GOLD))
    assert result.closest["more"] is None
    assert "score the same" in comparison.closest_sentence(result)
    json.dumps(comparison.analysis(result), allow_nan=False)


def test_a_single_system_is_compared_with_nothing():
    result = run(PERFECT, ABSENT)
    assert result.pairs == []
    assert "only one system" in comparison.closest_sentence(result)


def test_metrics_are_json_without_timings_and_name_what_is_missing():
    timed = SystemResult("half", "Half", HALF.predicted, seconds=[0.1, 0.3, 0.2])
    metrics = comparison.metrics(run(PERFECT, timed, ABSENT))
    assert metrics == comparison.metrics(run(PERFECT, HALF, ABSENT))
    assert metrics["missing"] == {"absent": "run it first."}
    assert metrics["test"] == {
        "documents": 60,
        "words": 180,
        "spans": {"COMPANY": 60, "MONEY": 60},
        "digits": 1,
    }
    money = metrics["systems"]["half"]["MONEY"]
    assert (money["gold"], money["predicted"], money["correct"]) == (60, 30, 30)
    assert money["f_low"] < money["f"] == 0.6667 < money["f_high"]
    assert metrics["systems"]["perfect"]["mb"] == 1.2


def test_a_score_that_is_not_defined_is_null():
    silent = SystemResult("silent", "Silent", [Record(text=r.text) for r in GOLD])
    metrics = comparison.metrics(run(silent))
    assert metrics["systems"]["silent"]["all"]["p"] is None
    assert metrics["systems"]["silent"]["all"]["f"] == 0
    json.dumps(metrics, allow_nan=False)


def test_speeds_are_median_slowest_and_fastest():
    timed = SystemResult("half", "Half", HALF.predicted, seconds=[0.1, 0.3, 0.2])
    assert comparison.speeds(run(timed, PERFECT)) == {
        "half": {"words_per_second": 900, "slowest": 600, "fastest": 1800, "runs": 3, "words": 180}
    }


def test_slices_cover_novelty_length_and_meta():
    parts = run(HALF).slices["half"]
    assert set(parts) == {"seen in training", "unseen in training", "3 words", "writer w0", "writer w1"}
    # the odd ones, all of one writer, lost their amounts
    assert parts["writer w1"]["f"].value == 1
    assert parts["writer w0"]["f"].value == pytest.approx(2 / 3)
    assert parts["seen in training"]["spans"] == 60 + 5
    assert parts["unseen in training"]["documents"] == 55


def test_labels_outside_the_scheme_count_as_wrong():
    odd = [Record(text=r.text, spans=[Span(start=0, end=5, label="CITY")]) for r in GOLD]
    result = run(SystemResult("odd", "Odd", odd))
    assert result.labels == ("COMPANY", "MONEY", "CITY")
    assert result.counts["odd"]["all"].sum(axis=0).tolist() == [0, 60, 120]


def stored(tmp_path: Path, **extra: object) -> Path:
    rows = [json.loads(r.to_line()) for r in GOLD]
    rows[0] |= extra
    return write_lines(tmp_path / "llm.jsonl", rows)


def test_the_llms_answers_are_found_by_text(tmp_path):
    found = systems.stored_llm(stored(tmp_path), GOLD[10:20])
    assert [r.text for r in found.predicted] == [r.text for r in GOLD[10:20]]
    assert not found.notes
    assert not found.seconds


def test_a_failed_answer_counts_as_empty_and_is_reported(tmp_path):
    found = systems.stored_llm(stored(tmp_path, llm={"error": "content_filter"}), GOLD)
    assert found.predicted[0].spans == []
    assert found.notes == ["1 of 60 texts got no usable answer and count as empty."]


def test_an_llm_that_has_not_seen_the_test_is_missing(tmp_path):
    new = [*GOLD, example(1000)]
    assert "1 of 61 test texts" in systems.stored_llm(stored(tmp_path), new).missing
    assert "weasel run llm-annotate" in systems.stored_llm(tmp_path / "none.jsonl", new).missing


def test_the_llms_speed_is_of_the_test_texts_it_was_timed_on(tmp_path):
    timings = write_lines(
        tmp_path / "t.jsonl",
        [
            {"parallel": 2, "mb": 253},
            {"id": "1", "seconds": [1, 2]},
            {"id": "2", "seconds": [0]},
            {"id": "x", "seconds": [9]},
        ],
    )
    found = systems.stored_llm(stored(tmp_path), GOLD, timings=timings, words=[3] * 60)
    assert (found.timed_words, found.seconds, found.mb) == (3, [1.5], 253)
    broken = write_lines(tmp_path / "b.jsonl", [{"id": "1"}])
    with pytest.raises(UserError, match=r"b.jsonl: is not what `llm-annotate` writes"):
        systems.stored_llm(stored(tmp_path), GOLD, timings=broken, words=[3] * 60)


def test_pipelines_that_can_not_be_used_are_missing_with_a_remedy(tmp_path):
    assert (
        "run `weasel run train`" in systems.run_pipeline("p", "P", tmp_path / "none", [], repeats=1).missing
    )
    (tmp_path / "meta.json").write_text("{}", encoding="utf-8")
    assert "can't be loaded" in systems.run_pipeline("p", "P", tmp_path, [], repeats=1).missing


def test_a_pipeline_is_run_timed_and_weighed(tmp_path):
    nlp = spacy.blank("en")
    nlp.add_pipe("entity_ruler").add_patterns([{"label": "COMPANY", "pattern": "Velto"}])
    nlp.to_disk(tmp_path / "model")
    found = systems.run_pipeline("p", "P", tmp_path / "model", [r.text for r in GOLD], repeats=2)
    assert [s.label for r in found.predicted for s in r.spans] == ["COMPANY"] * 60
    assert len(found.seconds) == 2
    files = [f for f in (tmp_path / "model").rglob("*") if f.is_file()]
    assert found.mb == pytest.approx(sum(f.stat().st_size for f in files) / 1e6)


def test_the_rules_tell_how_much_the_gazetteer_knows(tmp_path):
    names = tmp_path / "names.csv"
    names.write_text("id,name,aliases\n1,Velto,\n", encoding="utf-8")
    gold = [*GOLD[:3], Record(text="Hooli", spans=[Span(start=0, end=5, label="COMPANY")])]
    options = {"patterns": None, "label": "COMPANY", "repeats": 0}
    found = systems.run_rules(blank("en"), gold, gazetteer=names, **options)
    assert found.notes[0].startswith("75% of the 4 annotated COMPANY spans are names in names.csv")
    assert systems.run_rules(blank("en"), gold, gazetteer=None, **options).missing


def test_nothing_to_measure_is_reported(tmp_path):
    with pytest.raises(UserError, match="no accepted example"):
        scoring.require_scorable([], tmp_path)
    with pytest.raises(UserError, match="1 text without any span"):
        scoring.require_scorable([example(1, spans=False)], tmp_path)
    scoring.require_scorable(GOLD, tmp_path)


def test_results_do_not_depend_on_chance():
    first, second = run(PERFECT, HALF), run(PERFECT, HALF)
    assert json.dumps(comparison.analysis(first)) == json.dumps(comparison.analysis(second))
    assert np.array_equal(first.counts["half"]["all"], second.counts["half"]["all"])
    assert first.scores["half"]["all"][2] == stats.intervals(first.counts["half"]["all"])[2]


def test_categories_are_scored_beside_constant_answers():
    gold = [Record(text=f"text {n}", cats={"A": float(n % 4 == 0), "B": 0.0}) for n in range(40)]
    found = systems.constant_systems(gold, ("A", "B"), "categories", [record.text for record in gold])
    assert [(a.name, a.notes) for a in found] == [
        ("majority", ["predicts no category for every text."]),
        ("every", ["predicts A, B for every text."]),
    ]
    system = SystemResult(
        "model", "Model", [Record(text=r.text, cats={"A": 0.6 * r.cats["A"]}) for r in gold]
    )
    result = compare_systems(
        gold, gold, [system, *found], ("A", "B"), scored="categories", words=[2] * len(gold)
    )
    assert result.scores["model"]["A"][2].value == result.scores["model"]["all"][2].value == 1
    assert result.overall["model"]["accuracy"].value == 1
    assert result.overall["majority"]["accuracy"].value == 0.75
    assert result.scores["every"]["A"][0].value == 0.25
    assert comparison.metrics(result)["overall"]["majority"]["accuracy"][0] == 0.75
    page = evaluation_page(result, inspected="every", documents=3)
    assert "spurious: B" in page
    assert "annotated spans" not in page
    assert "Accuracy" in overall_table(result)


def test_silver_that_harms_is_named_with_the_interval() -> None:
    reviewed, both = (
        SystemResult(name, name, records) for name, records in (("reviewed", GOLD), ("both", HALF.predicted))
    )
    (note,) = [note for note in scores_notes(run(reviewed, both)) if "silver" in note]
    assert "higher than with silver (test, n=60): the silver harms; keep vars.train_on at reviewed." in note
    assert "95 % interval" in note
    better = SystemResult("both", "both", GOLD), SystemResult("reviewed", "reviewed", HALF.predicted)
    assert not [note for note in scores_notes(run(*better)) if "silver" in note]


def test_silver_that_may_be_noise_is_not_said_to_harm() -> None:
    sentence = comparison.silver_sentence(stats.Estimate(0.01, -0.02, 0.04), 100, "dev")
    assert "a gain by the silver isn't shown" in sentence
    for value in (-0.01, 0.0, float("nan")):
        assert comparison.silver_sentence(stats.Estimate(value, value, value), 100, "dev") == ""
