"""The server's process: its socket, its signals, its end."""

import asyncio
import logging
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn

from variorum.core import VariorumError
from variorum.runtime.serve.app import application
from variorum.runtime.serve.connection import patient_for
from variorum.runtime.serve.shelf import Shelf

BACKLOG = 2048
IDLE = 15
"""Seconds that a connection stays open between requests."""
REFUSED = 128
"""Connections beyond the limit that are kept open to be told a 503; more are closed."""
FILES = 256
"""Files that the process itself may have open, beside connections."""
log = logging.getLogger("variorum.serve")


def server_of(shelf: Shelf) -> uvicorn.Server:
    """uvicorn, set up for a shelf. On SIGTERM it takes no new connections and answers what it has accepted."""
    limits = shelf.limits
    return uvicorn.Server(
        uvicorn.Config(
            application(shelf),
            http=patient_for(limits.slow, most=limits.connections + REFUSED),
            ws="none",
            lifespan="off",
            loop="asyncio",
            limit_concurrency=limits.connections,
            timeout_keep_alive=IDLE,
            timeout_graceful_shutdown=int(limits.seconds) + 5,
            backlog=BACKLOG,
            access_log=False,
            log_level="warning",
            server_header=False,
        )
    )


def bound(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0 takes a free one. :class:`VariorumError` if the address cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        found = error.strerror or str(error)
        raise VariorumError(
            f"{host}:{port}", expected="an address to listen on", found=found, do="Choose another --port or --host."
        ) from None


def allow_files(count: int) -> None:
    """Let this process have so many files and connections open, as far as the system allows; a warning says if not."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < count:
        log.warning("the system allows %d open files, %d are needed for as many connections: lower --connections, or "
                    "raise the limit (ulimit -n)", allowed, count)  # fmt: skip


def run(shelf: Shelf, *, host: str, port: int, say: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT; SIGHUP reads all bundles again. ``say`` is told where it listens."""
    listening = bound(host, port)
    allow_files(shelf.limits.connections + REFUSED + FILES)
    server = server_of(shelf)

    async def serve() -> None:
        if sys.platform != "win32":
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, again)
            if early:
                again()
        await server.serve(sockets=[listening])

    early: list[int] = []
    jobs: set[asyncio.Task[bool]] = set()

    def again() -> None:
        for name in shelf.folders:
            job = asyncio.ensure_future(shelf.reload(name))
            jobs.add(job)
            job.add_done_callback(jobs.discard)

    address, real_port = listening.getsockname()[:2]
    shown = f"[{address}]" if ":" in address else address
    with _meanwhile(early):
        say(f"Serving {', '.join(sorted(shelf.folders))} on http://{shown}:{real_port} (docs: /docs)")
        asyncio.run(serve())


@contextmanager
def _meanwhile(early: list[int]) -> Iterator[None]:
    """No signal ends the process by itself. uvicorn raises the one that ended it once more: by then everything is
    answered, and nothing is left to do. A SIGHUP that comes before there is a loop to hear it is put in ``early``.
    """
    handlers: dict[int, Callable[..., object]] = dict.fromkeys((signal.SIGINT, signal.SIGTERM), lambda *_: None)
    if sys.platform != "win32":
        handlers[signal.SIGHUP] = lambda which, _: early.append(which)
    before = {which: signal.signal(which, handler) for which, handler in handlers.items()}
    try:
        yield
    finally:
        for which, handler in before.items():
            signal.signal(which, handler)
