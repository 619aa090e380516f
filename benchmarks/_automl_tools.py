"""The tools beside one another: Variorum's own command, and peers in environments of their own.

Peers are installed for the comparison only, with exact pins, each into a virtual environment under a cache folder.
Every tool runs in a process of its own, on the processors that automl.py keeps to; nothing else runs meanwhile.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from variorum.core import VariorumError
from variorum.data.question import Question

HERE = Path(__file__).resolve().parent
PATIENCE = 3.0
"""A tool is ended after so many times its minutes, and ``GRACE`` seconds: starting and answering is not searching."""
GRACE = 600.0
OURS = "variorum"


@dataclass(frozen=True)
class Peer:
    """title: as tables name it.     package: whose version is told.     preset: how it is to search, in its words."""

    title: str
    environment: str
    package: str
    preset: str = ""

    @property
    def runner(self) -> Path:
        """The script that its environment's Python runs."""
        return HERE / f"_automl_{self.environment}.py"

    @property
    def pins(self) -> Path:
        """Every package of its environment, exactly."""
        return HERE / f"automl-{self.environment}.txt"

    @property
    def version(self) -> str:
        """The version that is pinned."""
        lines = [line.partition("==") for line in self.pins.read_text("utf-8").splitlines()]
        return next(version for name, _, version in lines if name == self.package)


PEERS = {
    "autogluon-best": Peer("AutoGluon, best_quality", "autogluon", "autogluon.tabular", "best_quality"),
    "autogluon-medium": Peer("AutoGluon, medium_quality", "autogluon", "autogluon.tabular", "medium_quality"),
    "flaml": Peer("FLAML", "flaml", "FLAML"),
}


@dataclass(frozen=True)
class Ended:
    """How a tool's process ended. failed: why there is nothing to score; None if all is well."""

    seconds: float
    failed: str | None


def python_of(peer: Peer, cache: Path) -> Path:
    """The Python of a peer's environment, which is made if it is missing or its pins have changed."""
    folder = cache / peer.environment
    python, stamp = folder / "bin" / "python", folder / peer.pins.name
    if stamp.exists() and stamp.read_bytes() == peer.pins.read_bytes():
        return python
    print(f"installing {peer.environment} into {folder}: some minutes and gigabytes", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    install = [str(python), "-m", "pip", "install", "--quiet", "--no-deps", "--requirement", str(peer.pins)]
    subprocess.run(install, check=True, env=surroundings())
    shutil.copyfile(peer.pins, stamp)
    return python


def search(peer: Peer, given: Path, folder: Path, *, seconds: float, threads: int, cache: Path) -> Ended:
    """Let a peer search and answer; ``Answer.read(folder)`` is what it found."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [str(python_of(peer, cache)), str(peer.runner), str(given), str(folder)]
    told = ["--seconds", str(seconds), "--threads", str(threads), "--preset", peer.preset]
    return _run([*command, *told], folder, seconds, env=surroundings())


def compare(source: str, question: Question, folder: Path, *, minutes: float, systems: str | None) -> Ended:
    """Variorum's own command, as a user would say it; ``folder/run/winner`` is what it found."""
    folder.mkdir(parents=True, exist_ok=True)
    asked = [word for name, value in question.asked.items() for word in (f"--{name}", str(value))]
    chosen = ["--systems", systems] if systems is not None else []
    command = [sys.executable, "-m", "variorum", "compare", source, *asked, *chosen, "--minutes", str(minutes)]
    return _run([*command, "--out", str(folder / "run")], folder, 60 * minutes, env=dict(os.environ))


def surroundings() -> dict[str, str]:
    """The environment of a peer: none of ours, and no hub to wait for in vain."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return {**kept, "HF_HUB_OFFLINE": "1"}


def _run(command: list[str], folder: Path, seconds: float, *, env: dict[str, str]) -> Ended:
    """Run to the end, or end it and all that it has started."""
    log, limit = folder / "log.txt", PATIENCE * seconds + GRACE
    began = time.monotonic()
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, cwd=folder, env=env,
                                   start_new_session=True)  # fmt: skip
        try:
            code = process.wait(limit)
            failed = None if code == 0 else f"ended with code {code}: {_last(log)}"
        except subprocess.TimeoutExpired:
            failed = f"had not ended after {limit:.0f} s"
        finally:
            _end(process)
    return Ended(time.monotonic() - began, failed)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End what is left of a process and of those that it has started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return  # all of them have ended by themselves
    process.wait()


def _last(log: Path) -> str:
    """What a log says last, if it can be an error, without the folders of this machine."""
    every = [line.strip() for line in log.read_text("utf-8", "replace").splitlines() if line.strip()]
    lines = [line for line in every if re.search(r"Error\b|^No candidate", line)] or every
    return re.sub(r"(?<!\w)/\S*/", "", lines[-1])[:200] if lines else "no word"


def keep_to(threads: int) -> None:
    """Keep this process, and all that it starts, to so many processors, where the system can."""
    if sys.platform == "linux":
        usable = sorted(os.sched_getaffinity(0))
        if len(usable) < threads:
            raise VariorumError("--threads", expected=f"at most {len(usable)}, the usable processors",
                                found=str(threads), do="Ask for fewer.")  # fmt: skip
        os.sched_setaffinity(0, usable[:threads])
