"""The journal and the gold file, with what can go wrong between and within two writes."""

import errno
import json
import os
from pathlib import Path

import pytest
from running import write_lines

from ie.core.errors import UserError
from ie.data.records import Record, read_records
from ie.review import answer_files
from ie.review.answer_files import Changed, Gold, Journal, line_hash, repair


def entry(n: int = 0, **more: object) -> dict:
    return {
        "text": f"k{n}", "unit": "spans", "parts": ["spans:A"], "entry": f"e{n}", "annotator": "ann",
        "answer": "accept", "round": 1, "seconds": 1.0,
    } | more  # fmt: skip


def test_answers_come_back_in_order(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "sub" / "log.jsonl")
    written = [entry(n, note="Größe \u2028 👍") for n in range(3)]
    for one in written:
        journal.append(one)
    assert list(journal.read()) == written
    # one line each, whatever a tool takes for the end of a line
    assert len((tmp_path / "sub" / "log.jsonl").read_text("utf-8").splitlines()) == 3


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_half_a_line_was_never_acknowledged(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "log.jsonl"
    journal = Journal(path)
    journal.append(entry(0))
    journal.append(entry(1))
    journal.close()
    os.truncate(path, path.stat().st_size - cut)
    again = Journal(path)
    assert [e["entry"] for e in again.read()] == ["e0"]
    again.append(entry(2))
    assert [e["entry"] for e in again.read()] == ["e0", "e2"]


def test_one_server_at_a_time(tmp_path: Path) -> None:
    first = Journal(tmp_path / "log.jsonl")
    with pytest.raises(UserError, match="another review of this project is running"):
        Journal(tmp_path / "log.jsonl")
    first.close()
    Journal(tmp_path / "log.jsonl").close()


def test_a_full_disk_leaves_whole_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path / "log.jsonl")
    journal.append(entry(0))
    real = os.write

    def write(file: int, data: bytes) -> int:
        if len(data) > 20:
            return real(file, bytes(data[:20]))
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(
        answer_files.os,
        "write",
        lambda file, data: write(file, data[: len(data) // 2] if len(data) > 60 else data[:10]),
    )
    with pytest.raises(OSError, match="No space"):
        journal.append(entry(1))
    monkeypatch.undo()
    journal.append(entry(2))
    assert [e["entry"] for e in journal.read()] == ["e0", "e2"]


@pytest.mark.parametrize(
    "line",
    ["{broken", "[]", "{}", '{"text": "k"}', json.dumps(entry(1) | {"seconds": float("inf")})],
)
def test_what_no_journal_has_is_named(tmp_path: Path, line: str) -> None:
    write_lines(tmp_path / "log.jsonl", [json.dumps(entry(0)), line])
    with pytest.raises(UserError, match=r"log\.jsonl:2: no answer of a review"):
        list(Journal(tmp_path / "log.jsonl").read())


def gold(path: Path) -> Gold:
    return Gold(path, read_records(path, allow_empty=True) if path.exists() else [])


def test_a_record_is_added_or_replaced_where_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "gold.jsonl"
    # spacing and key order of others are their business
    lines = ['{"meta": {},  "text": "a"}', '{"text":"b","mine":1}', '{"text": "c"}']
    path.write_text("\n".join(lines), encoding="utf-8")  # the last line without its end
    found = gold(path)
    found.put(Record(text="d"))
    found.put(Record(text="b", answer="reject"))
    found.put(Record(text="d", answer="ignore"))
    assert path.read_text("utf-8").split("\n") == [
        lines[0], '{"text": "b", "answer": "reject"}', lines[2], '{"text": "d", "answer": "ignore"}', "",
    ]  # fmt: skip


def test_an_edit_by_somebody_else_is_not_overwritten(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "gold.jsonl", ['{"text": "a"}'])
    found = gold(path)
    with open(path, "a", encoding="utf-8") as file:
        file.write('{"text": "b"}\n')
    with pytest.raises(Changed, match="changed by another program"):
        found.put(Record(text="c"))
    assert path.read_text("utf-8") == '{"text": "a"}\n{"text": "b"}\n'


@pytest.mark.parametrize(("before", "now", "written"), [
    (None, None, True),  # the crash came before the gold file
    (None, "new", False),  # after it
    ("old", "old", True),
    ("old", "new", False),
    ("old", "edited", False),  # by hand, later
    (None, "edited", False),
])  # fmt: skip
def test_a_crash_between_the_two_files_is_repaired(
    tmp_path: Path, before: str, now: str, written: bool
) -> None:
    states = {name: Record(text="a", meta={"is": name}) for name in ("old", "new", "edited")}
    path = write_lines(tmp_path / "gold.jsonl", [states[now].to_line()] if now else [])
    told = entry(0, before=line_hash(states.get(before)), record=states["new"].model_dump(exclude_unset=True))
    assert repair([told], gold(path)) == written
    (found,) = read_records(path)
    assert found.meta["is"] == ("new" if written else now)
    assert repair([told], gold(path)) == 0


def test_only_the_last_of_several_versions_is_repaired(tmp_path: Path) -> None:
    versions = [Record(text="a", meta={"v": v}) for v in range(3)]
    entries = [
        entry(0, before=line_hash(versions[v - 1] if v else None), record=versions[v].model_dump())
        for v in range(3)
    ]
    path = write_lines(tmp_path / "gold.jsonl", [versions[1].to_line()])
    assert repair(entries, gold(path)) == 1
    assert read_records(path)[0].meta == {"v": 2}


def test_the_hash_survives_reading_and_writing() -> None:
    record = Record(
        text="a", cats={"X": 1, "Y": 0}, spans=[{"start": 0, "end": 1, "label": "L", "kb_id": "7"}]
    )
    assert line_hash(record) == line_hash(Record.model_validate_json(record.to_line()))
    assert line_hash(record) != line_hash(Record(text="a", cats={"X": 0, "Y": 1}))
