import multiprocessing
import resource
import threading

import pytest

from ie.errors import UserError
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
    assert vars(found) == {**vars(answer), "cached": True}
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
    with pytest.raises(UserError, match="can't be made"):
        AnswerCache(tmp_path / "file" / "a.sqlite").get("k")
