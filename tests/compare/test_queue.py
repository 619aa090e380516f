"""Tasks are taken once, done again when whoever took them is gone, and waited for while a database is away."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from variorum.compare import storage
from variorum.compare.queue import Queue
from variorum.compare.result import Result, State
from variorum.compare.storage import StorageLost, address, lasting, opened
from variorum.core import VariorumError

NAMES = [f"task {i}" for i in range(12)]


def queue(folder: Path) -> Queue:
    return Queue(address(folder, None), "one", shared=False)


def test_each_task_is_done_once_however_many_take_them(tmp_path: Path) -> None:
    tasks, done = queue(tmp_path), []
    tasks.need(NAMES)
    tasks.need(NAMES)

    def work() -> None:
        while tasks.take(NAMES, done.append):
            pass

    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(work) for _ in range(4)]:
            future.result()
    assert sorted(done) == sorted(NAMES)
    assert not queue(tmp_path).take(NAMES, done.append), "another process knows that they are done"


def test_a_task_that_was_not_ended_is_done_again(tmp_path: Path) -> None:
    def fails(name: str) -> None:
        raise KeyboardInterrupt

    tasks, done = queue(tmp_path), list[str]()
    tasks.need(["a", "b"])
    with pytest.raises(KeyboardInterrupt):
        tasks.take(["a", "b"], fails)
    again = queue(tmp_path)
    again.need(["a", "b"])
    while again.take(["a", "b"], done.append):
        pass
    assert sorted(done) == ["a", "b"]


def test_what_was_settled_stays_and_results_are_known_to_all(tmp_path: Path) -> None:
    first, second = queue(tmp_path), queue(tmp_path)
    assert first.settled("seconds", lambda: 3.5) == 3.5
    assert second.settled("seconds", lambda: 9.0) == 3.5
    result = Result("cct", "CCT", False, state=State.FINISHED, quality=0.5)
    first.put(result)
    assert second.results() == {"cct": result}


def test_a_database_is_waited_for_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def away(times: int) -> str:
        calls.append(1)
        if len(calls) <= times:
            raise OperationalError("select", None, Exception("connection refused"))
        return "there"

    assert lasting(lambda: away(2)) == "there"
    monkeypatch.setattr(storage, "PATIENCE", 0.05)
    with pytest.raises(StorageLost, match=r"connection refused.*repeat the command"):
        lasting(lambda: away(1000))


@pytest.mark.parametrize("url", ["nonsense", "nosuch://host/name"])
def test_an_address_that_names_no_database_is_refused(url: str) -> None:
    with pytest.raises(VariorumError, match="storage"):
        opened(url)
