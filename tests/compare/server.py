"""A PostgreSQL server of our own for a test, in a folder of its own."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))


class Server:
    """Runs as the user ``postgres`` where we are root, whom it refuses."""

    def __init__(self, folder: Path) -> None:
        if not PROGRAMS and shutil.which("initdb") is None:
            pytest.skip("PostgreSQL is not installed")
        self._bin = PROGRAMS[-1] if PROGRAMS else Path(shutil.which("initdb") or "").parent
        self._folder = folder / "postgres"
        self._folder.mkdir()
        self._user = "postgres" if os.getuid() == 0 else None
        if self._user:
            shutil.chown(self._folder, self._user)
            for above in self._folder.parents:  # pytest's folders are its user's alone
                if above.stat().st_uid == 0 and above.name.startswith(("pytest", "test", "popen")):
                    above.chmod(0o755)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._run("initdb", "-D", "data", "-A", "trust", "-U", "variorum", "-E", "UTF8", "--locale=C", "--no-sync")

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://variorum@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        self._run("pg_ctl", "-D", "data", "-w", "-l", "log", "-o", f"-p {self.port} -k {self._folder}", "start")

    def stop(self) -> None:
        """As a power cut would."""
        self._run("pg_ctl", "-D", "data", "-w", "-m", "immediate", "stop")

    def _run(self, program: str, *words: str) -> None:
        subprocess.run([self._bin / program, *words], cwd=self._folder, user=self._user, check=True,
                       stdout=subprocess.DEVNULL, env={"PATH": os.environ["PATH"], "LC_ALL": "C"})  # fmt: skip


@contextmanager
def running(folder: Path) -> Iterator[Server]:
    server = Server(folder)
    server.start()
    try:
        yield server
    finally:
        server.stop()
