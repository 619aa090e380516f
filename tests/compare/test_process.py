"""A worker process: its events arrive, it is ended when late or stopped, and it never outlives its parent."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from variorum.compare import process
from variorum.compare.process import End, says_exit

CHILDREN = {
    "tells": """
import json, sys
print(json.dumps({"step": 1}), flush=True)
print(json.dumps({"step": 2}), flush=True)
print("noise", file=sys.stderr)
""",
    "fails": "import sys; sys.exit(3)",
    "dies": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    "saves": """
import sys, time
from pathlib import Path
print('{"up": 1}', flush=True)
try:
    time.sleep(60)
except KeyboardInterrupt:
    (Path(sys.argv[1]) / "saved").touch()
    sys.exit(130)
""",
    "forks": """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print('{"child": %d}' % child.pid, flush=True)
time.sleep(60)
""",
    "tied": """
import os, time
from variorum.compare.process import end_with_parent
end_with_parent()
print('{"pid": %d}' % os.getpid(), flush=True)
time.sleep(60)
""",
}

PARENT = """
import sys, threading
from pathlib import Path
from variorum.compare import process
folder = Path(sys.argv[1])
told = lambda event: print(event["pid"], flush=True)
process.run("child_tied", folder, log=folder / "log", seconds=60, told=told, stop=threading.Event())
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    for name, code in CHILDREN.items():
        (tmp_path / f"child_{name}.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def run(name: str, seconds: float = 20.0, told: Any = None, stop: threading.Event | None = None) -> tuple[int, End]:
        told, stop = told or (lambda event: None), stop or threading.Event()
        return process.run(f"child_{name}", tmp_path, log=tmp_path / "log.txt", seconds=seconds, told=told, stop=stop)

    return run


def test_events_arrive_and_noise_goes_to_the_log(run: Any, tmp_path: Path) -> None:
    told: list[dict[str, Any]] = []
    assert run("tells", told=told.append) == (0, End.ITSELF)
    assert told == [{"step": 1}, {"step": 2}]
    assert (tmp_path / "log.txt").read_text().strip() == "noise"


def test_how_it_ended_is_known(run: Any) -> None:
    assert run("fails") == (3, End.ITSELF)
    code, end = run("dies")
    assert (code, end) == (-9, End.ITSELF)
    assert "lack of memory" in says_exit(code)
    assert says_exit(3) == "ended with exit code 3"


def test_a_late_one_is_ended_with_all_that_it_started(run: Any) -> None:
    told: dict[str, int] = {}
    began = time.monotonic()
    code, end = run("forks", seconds=2.0, told=told.update)
    assert (code, end) == (-9, End.LATE)
    assert time.monotonic() - began < 10
    _gone(told["child"])


def test_a_stopped_one_may_save_what_it_has(run: Any, tmp_path: Path) -> None:
    stop = threading.Event()
    code, end = run("saves", told=lambda event: stop.set(), stop=stop)
    assert (code, end) == (130, End.STOPPED)
    assert (tmp_path / "saved").exists()


def test_a_child_ends_when_its_parent_is_killed(run: Any, tmp_path: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path)], stdout=subprocess.PIPE, text=True)
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
