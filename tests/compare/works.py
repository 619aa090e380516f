"""What processes are asked to do in the tests: functions of a module, which a process can import."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from variorum.compare.process import Tell
from variorum.core import VariorumError


def tells(folder: Path, tell: Tell) -> None:
    tell({"step": 1})
    tell({"step": 2})
    print("noise")
    print("more noise", file=sys.stderr)


def fails(folder: Path, tell: Tell) -> None:
    raise SystemExit(3)


def raises(folder: Path, tell: Tell) -> None:
    raise VariorumError("the data", expected="rows", found="none", do="Give some.")


def dies(folder: Path, tell: Tell) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def saves(folder: Path, tell: Tell) -> None:
    try:
        tell({"up": 1})
        time.sleep(60)
    except KeyboardInterrupt:
        (folder / "saved").touch()
        raise


def forks(folder: Path, tell: Tell) -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    tell({"pid": child.pid})
    time.sleep(60)
