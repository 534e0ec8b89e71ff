"""The counters of a service, and adding them up."""

import json
import re
from pathlib import Path

import pytest

from ie.core.errors import UserError
from ie.core.files import write_json
from ie.data.records import Record, Span, write_records
from ie.deploy.watch import counters
from ie.deploy.watch.counters import DayCounts, KnownTexts, ServedCounters
from ie.deploy.watch.measures import Tally, measures_of, values_of

KNOWN = frozenset({"hooli", "raised"})
MEASURES = measures_of(["COMPANY", "MONEY"], ["FUNDING"], confidence=True)
MODEL = Path("training/x/reviewed/model-best")


def found(i: int) -> Record:
    text = "Hooli raised " + " ".join(["many"] * (i % 7))
    spans = [Span(start=0, end=5, label="COMPANY", **({"confidence": i % 10 / 10} if i % 3 else {}))]
    return Record(text=text, spans=spans if i % 4 else [], cats={"FUNDING": i % 2})


def served(folder: Path, model: str, numbers: range, day: str = "2026-03-01") -> ServedCounters:
    counted = ServedCounters(folder, model)
    counted.path = folder / f"served-{model}-{numbers.start}.json"
    counted.add(values_of(found(i), KNOWN) for i in numbers)
    (counts,) = counted.days.values()
    counted.days = {day: counts}
    counted.write()
    return counted


def same(one: Tally, other: Tally) -> bool:
    """Sums may differ in their last bits."""
    bins = all(one.bins[m.name].tolist() == other.bins[m.name].tolist() for m in MEASURES)
    sums = all(one.sums[m.name] == pytest.approx(other.sums[m.name]) for m in MEASURES)
    return one.texts == other.texts and bins and sums


def test_they_are_what_watch_counts_itself():
    itself = Tally(MEASURES)
    for i in range(100):
        itself.add(values_of(found(i), KNOWN))
    counts = DayCounts()
    for i in range(100):
        counts.add(values_of(found(i), KNOWN))
    assert same(counts.tally(MEASURES), itself)
    assert same(DayCounts.from_json(json.loads(json.dumps(counts.to_json()))).tally(MEASURES), itself)


def test_runs_of_a_service_are_added_up_by_day(tmp_path: Path):
    served(tmp_path, "m", range(30))
    served(tmp_path, "m", range(30, 50))
    served(tmp_path, "m", range(50, 60), "2026-02-28")
    served(tmp_path, "other", range(60, 70))
    days, others = counters.read(tmp_path, MODEL, "m", MEASURES)
    assert ({day: tally.texts for day, tally in days.items()}, others) == (
        {"2026-02-28": 10, "2026-03-01": 50},
        1,
    )
    assert list(days) == sorted(days)
    both = DayCounts()
    for i in range(50):
        both.add(values_of(found(i), KNOWN))
    assert same(days["2026-03-01"], both.tally(MEASURES))
    with pytest.raises(UserError, match="was counted with other pipelines"):
        counters.read(tmp_path, MODEL, "third", MEASURES)


def test_nothing_new_is_not_written_and_texts_of_the_split_do_not_count(tmp_path: Path):
    write_records(tmp_path / "corpus/train.jsonl", [Record(text="Hooli raised")])
    write_records(tmp_path / "corpus/dev.jsonl", [Record(text="In dev")])
    known = KnownTexts.read(tmp_path / "corpus")
    assert known.words == {"hooli", "raised"}
    counted = ServedCounters(tmp_path / "served", "m")
    counted.add(map(known.values, [Record(text="Hooli raised"), Record(text="In dev")]))
    counted.write()
    assert not (tmp_path / "served").exists()
    counted.add([known.values(Record(text="Hooli fell"))])
    counted.write()
    before = counted.path.stat().st_mtime_ns
    counted.write()
    assert counted.path.stat().st_mtime_ns == before
    (tmp_path / "corpus/train.jsonl").unlink()
    with pytest.raises(UserError, match="there is no such file; run `weasel run split`"):
        KnownTexts.read(tmp_path / "corpus")


def test_no_word_of_a_text_is_in_the_file(tmp_path: Path):
    written = served(tmp_path, "m", range(60)).path.read_text(encoding="utf-8")
    text_words = {word for i in range(60) for word in re.findall(r"\w+", found(i).text.lower())}
    assert text_words & set(re.findall(r"[a-z]+", written.lower())) == set()
    # nor the measures of a text together: each measure has its counts alone
    content = json.loads(written)
    assert set(content) == {"version", "model", "days"}
    assert set(content["days"]["2026-03-01"]) == {"texts", "measures", "shares"}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda c: c.update(version=0), "was counted by another version of `serve`; move it away"),
        (lambda c: c.pop("days"), "isn't what `serve` writes; move it away"),
        (lambda c: c["days"].update(today={}), "isn't what `serve` writes"),
        (lambda c: c["days"]["2026-03-01"]["shares"].update(x=10**6), "isn't what `serve` writes"),
        (lambda c: c["days"]["2026-03-01"]["shares"].update(x=-1), "isn't what `serve` writes"),
        (lambda c: c["days"]["2026-03-01"].pop("measures"), "isn't what `serve` writes"),
        (lambda c: c["days"].update({"2026-03-01": None}), "isn't what `serve` writes"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, change, reason: str):
    path = served(tmp_path, "m", range(5)).path
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    write_json(path, content)
    with pytest.raises(UserError, match=reason) as error:
        counters.read(tmp_path, MODEL, "m", MEASURES)
    assert str(path) in str(error.value)


def test_a_day_without_texts_is_left_out(tmp_path: Path):
    counted = served(tmp_path, "m", range(5))
    counted.days["2026-03-02"] = DayCounts()
    counted.add([values_of(found(0), KNOWN)])
    counted.write()
    days, _ = counters.read(tmp_path, MODEL, "m", MEASURES)
    assert "2026-03-01" in days
    assert "2026-03-02" not in days


def test_services_that_begin_together_have_files_of_their_own(tmp_path: Path):
    assert len({ServedCounters(tmp_path, "m").path for _ in range(20)}) == 20


def test_a_cut_file_is_named(tmp_path: Path):
    path = served(tmp_path, "m", range(5)).path
    path.write_text(path.read_text(encoding="utf-8")[:40], encoding="utf-8")
    with pytest.raises(UserError, match="isn't what `serve` writes; move it away"):
        counters.read(tmp_path, MODEL, "m", MEASURES)
