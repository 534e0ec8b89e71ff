import multiprocessing
import resource
import sqlite3
import threading

import pytest

from ie.core.errors import UserError
from ie.llm.cache import AnswerCache
from ie.llm.types import Answer


def test_an_answer_comes_back_whole_from_another_connection(tmp_path):
    path = tmp_path / "deep" / "answers.sqlite"
    answer = Answer(
        "Ünï 😀\n", key="k", prompt_tokens=3, completion_tokens=2, seconds=1.5, finish_reason="length"
    )
    AnswerCache(path).put([answer])
    found = AnswerCache(path).get("k")
    assert found == answer
    for name in Answer.__annotations__:
        assert getattr(found, name) == (name == "cached" or getattr(answer, name))
    assert AnswerCache(path).get("other") is None


def test_half_an_emoji_can_be_stored(tmp_path):
    cache = AnswerCache(tmp_path / "a.sqlite")
    cache.put([Answer("ok \ud83d", key="k")])
    assert cache.get("k").startswith("ok ")


def test_errors_are_never_stored(tmp_path):
    cache = AnswerCache(tmp_path / "a.sqlite")
    with pytest.raises(ValueError, match="empty"):
        cache.put([Answer("fine", key="a"), Answer(error="empty", key="b")])
    assert cache.count() == 0


def test_the_first_answer_to_a_call_stays(tmp_path):
    first, second = AnswerCache(tmp_path / "a.sqlite"), AnswerCache(tmp_path / "a.sqlite")
    assert first.put([Answer("one", key="k")]) == ["one"]
    assert second.put([Answer("two", key="k")]) == ["one"]
    assert first.get("k") == "one"


def _write(path, start, barrier):
    cache = AnswerCache(path)
    barrier.wait()
    for n in range(start, start + 60):
        cache.put([Answer(f"answer {n}", key=str(n))])


def test_processes_and_threads_share_it(tmp_path):
    path = tmp_path / "a.sqlite"
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(3)
    processes = [context.Process(target=_write, args=(path, n * 50, barrier)) for n in range(2)]
    for process in processes:
        process.start()
    cache = AnswerCache(path)
    barrier.wait()
    threads = [
        threading.Thread(target=lambda n=n: cache.put([Answer(f"answer {n}", key=str(n))]))
        for n in range(90, 120)
    ]
    for worker in [*threads, *processes]:
        worker.start() if worker in threads else worker.join()
    for thread in threads:
        thread.join()
    assert [p.exitcode for p in processes] == [0, 0]
    assert cache.count() == 120
    assert all(cache.get(str(n)) == f"answer {n}" for n in range(120))


@pytest.fixture
def small_disk():
    """No file may grow beyond 200 kB, as if the disk were full then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_one_sentence_and_keeps_what_was_stored(tmp_path, small_disk):
    cache = AnswerCache(tmp_path / "a.sqlite")
    cache.put([Answer("early", key="early")])
    small_disk()
    many = [Answer("x" * 10_000, key=str(n)) for n in range(50)]
    with pytest.raises(UserError, match=r"full or failing.*free some space"):
        cache.put(many)
    assert cache.get("49") is None
    assert cache.get("early") == "early"


def test_a_file_that_is_no_cache_is_left_alone(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("my notes, which are certainly no database " * 50)
    before = path.read_bytes()
    with pytest.raises(UserError, match=r"notes.txt: it is no usable store of answers"):
        AnswerCache(path).get("k")
    assert path.read_bytes() == before


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="can't be created"):
        AnswerCache(tmp_path / "file" / "a.sqlite").get("k")


@pytest.mark.parametrize(
    ("text", "about"),
    [
        ("fine", "{"),
        ("fine", "[" * 100_000),
        ("fine", "5"),
        ("fine", '{"prompt_tokens": "many"}'),
        ("fine", '{"completion_tokens": 1e999}'),
        ("fine", '{"seconds": NaN}'),
        ("fine", '{"error": "empty"}'),
        ("fine", '{"estimated": 1}'),
        ("fine", b"\xff"),
        (b"\xff\xfe", "{}"),
    ],
)
def test_a_broken_row_is_forgotten_and_counted(tmp_path, text, about):
    cache = AnswerCache(tmp_path / "a.sqlite")
    cache.put([Answer("good", key="other")])
    with cache._lock:
        row = ("k", "m", text, about)
        cache._open().execute("INSERT INTO answers VALUES (?, ?, CAST(? AS TEXT), CAST(? AS TEXT))", row)
    assert cache.get("k") is None
    assert (cache.broken, cache.count()) == (1, 1)
    assert cache.put([Answer("new", key="k")]) == ["new"]
    assert AnswerCache(cache.path).get("k") == "new"


def test_a_corrupt_file_is_called_that_and_not_a_full_disk(tmp_path):
    path = tmp_path / "a.sqlite"
    cache = AnswerCache(path)
    cache.put([Answer(f"answer {n} " * 50, key=str(n)) for n in range(200)])
    cache.close()
    raw = bytearray(path.read_bytes())
    raw[4096 : len(raw)] = b"\x07" * (len(raw) - 4096)
    path.write_bytes(raw)
    with pytest.raises(UserError, match=r"no usable store of answers .*move it away.*asked again") as caught:
        [AnswerCache(path).get(str(n)) for n in range(200)]
    assert "full" not in str(caught.value)


def test_another_programs_database_is_one_sentence(tmp_path):
    path = tmp_path / "a.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE answers (id INTEGER, note TEXT)")
    connection.close()
    with pytest.raises(UserError, match=r"a.sqlite: it can't be used as a store of answers .*move it away"):
        AnswerCache(path).get("k")
    with pytest.raises(UserError, match=r"can't be used as a store"):
        AnswerCache(path).put([Answer("new", key="k")])


def test_only_the_answer_that_was_seen_is_discarded(tmp_path):
    cache = AnswerCache(tmp_path / "a.sqlite")
    cache.put([Answer("one", key="k")])
    cache.discard(Answer("two", key="k"))
    assert cache.get("k") == "one"
    cache.discard(Answer("one", key="k"))
    assert cache.get("k") is None
