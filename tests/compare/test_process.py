"""A worker process: its events arrive, it is ended when late or stopped, and it never outlives its parent."""

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from compare.works import dies, fails, forks, raises, saves, tells
from variorum.compare import process
from variorum.compare.process import End, says_exit

TESTS = Path(__file__).parents[1]

PARENT = """
import sys, threading
from pathlib import Path
from compare.works import forks
from variorum.compare import process
folder = Path(sys.argv[1])
told = lambda event: print(event["pid"], flush=True)
process.run(forks, folder, log=folder / "log", seconds=60, told=told, stop=threading.Event())
"""


@pytest.fixture
def run(tmp_path: Path) -> Any:
    def run(
        work: process.Work, seconds: float = 60.0, told: Any = None, stop: threading.Event | None = None
    ) -> tuple[int, End]:
        told, stop = told or (lambda event: None), stop or threading.Event()
        return process.run(work, tmp_path, log=tmp_path / "log.txt", seconds=seconds, told=told, stop=stop)

    return run


def test_events_arrive_and_noise_goes_to_the_log(run: Any, tmp_path: Path) -> None:
    told: list[dict[str, Any]] = []
    assert run(tells, told=told.append) == (0, End.ITSELF)
    assert told == [{"step": 1}, {"step": 2}]
    assert (tmp_path / "log.txt").read_text().splitlines() == ["noise", "more noise"]


def test_how_it_ended_is_known(run: Any) -> None:
    assert run(fails) == (3, End.ITSELF)
    code, end = run(dies)
    assert (code, end) == (-9, End.ITSELF)
    assert "lack of memory" in says_exit(code)
    assert says_exit(3) == "ended with exit code 3"


def test_its_error_is_told(run: Any) -> None:
    told: dict[str, Any] = {}
    assert run(raises, told=told.update) == (1, End.ITSELF)
    assert "Give some" in told["error"]


def test_many_at_once_each_end_as_they_should(run: Any) -> None:
    with ThreadPoolExecutor(8) as pool:
        ends = list(pool.map(run, [fails, dies] * 12))
    assert ends == [(3, End.ITSELF), (-9, End.ITSELF)] * 12


def test_a_late_one_is_ended_with_all_that_it_started(run: Any) -> None:
    told: dict[str, int] = {}
    began = time.monotonic()
    code, end = run(forks, seconds=2.0, told=told.update)
    assert (code, end) == (-9, End.LATE)
    assert time.monotonic() - began < 10
    _gone(told["pid"])


def test_a_stopped_one_may_save_what_it_has(run: Any, tmp_path: Path) -> None:
    stop = threading.Event()
    code, end = run(saves, told=lambda event: stop.set(), stop=stop)
    assert (code, end) == (130, End.STOPPED)
    assert (tmp_path / "saved").exists()


def test_a_script_that_does_not_guard_itself_is_run_once(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    code = PARENT.replace("forks", "tells").replace('event["pid"]', 'event["step"]')
    script.write_text(f"import sys\nsys.argv.append({str(tmp_path)!r})\nprint('once')\n{code}")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60, check=True,
                          env={**os.environ, "PYTHONPATH": str(TESTS)})  # fmt: skip
    assert done.stdout.split() == ["once", "1", "2"]
    assert "once" not in (tmp_path / "log").read_text()


def test_a_child_ends_when_its_parent_is_killed(run: Any, tmp_path: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path)], stdout=subprocess.PIPE, text=True,
                              env={**os.environ, "PYTHONPATH": str(TESTS)})  # fmt: skip
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    _gone(child)


def _gone(pid: int) -> None:
    end = time.monotonic() + 10
    while time.monotonic() < end:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return
        time.sleep(0.05)
    raise AssertionError(f"process {pid} still runs")
