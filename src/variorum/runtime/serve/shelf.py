"""The bundles that are served, by name; each can be read again while it answers."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from variorum.core import Part, VariorumError
from variorum.core.errors import nearest
from variorum.runtime.bundle import load
from variorum.runtime.serve.desk import Desk, engine_of
from variorum.runtime.serve.heard import hearing
from variorum.runtime.serve.joined import Inputs
from variorum.runtime.serve.limits import Limits
from variorum.runtime.serve.metrics import Metrics
from variorum.runtime.serve.refusal import Refusal
from variorum.runtime.serve.rows_lane import Ask
from variorum.runtime.serve.scheduler import Scheduler
from variorum.runtime.serve.served import Served, Visit
from variorum.runtime.serve.warming import Warming
from variorum.runtime.serve.writing_lane import Order

log = logging.getLogger("variorum.serve")


class Shelf:
    """Bundles under their names, and the thread that computes for all of them.

    folders: name -> folder of a bundle. Clients know names only. A bundle has answered made-up requests before it is
    served (:class:`~variorum.runtime.serve.warming.Warming`). A context: leaving it finishes what was accepted.
    """

    def __init__(
        self, folders: Mapping[str, Path], *, limits: Limits | None = None, threads: int | None = None,
        desk: Callable[[Part, Limits, int], Desk] = engine_of,
    ) -> None:  # fmt: skip
        self.folders, self.limits, self.metrics = dict(folders), limits or Limits(), Metrics()
        self._desk = desk
        self._bundles = {name: self._load(name) for name in self.folders}
        self._retired: set[Served] = set()
        self.scheduler = Scheduler(threads=threads)
        self._open = ExitStack()
        self._reading_again = asyncio.Lock()
        for served in self._bundles.values():
            self._put(self._warmed(served))

    def __enter__(self) -> Self:
        self._open.enter_context(hearing())
        return self

    def __exit__(self, *_: object) -> None:
        for served in (*self._bundles.values(), *self._retired):
            served.readers.shutdown()
        self.scheduler.close()
        self._open.close()

    @property
    def bundles(self) -> dict[str, Served]:
        """What is served now."""
        return dict(self._bundles)

    def find(self, name: str) -> Served:
        """The bundle of a name; a :class:`Refusal` if there is none."""
        if name not in self._bundles:
            raise Refusal(
                404, "model_not_found", f"No bundle is called {name[:80]!r}. {nearest(name[:80], self._bundles)}"
            )
        return self._bundles[name]

    def visit(self, name: str) -> Visit:
        """Hold a bundle for a request; a :class:`Refusal` if none is so called, or too many wait for it."""
        return Visit(self.find(name), self._closed)

    def ask(self, served: Served, ask: Ask, inputs: Inputs) -> "asyncio.Future[Any]":
        """What ``ask`` makes of the inputs; cancelling it gives its place up."""
        future: Future[Any] = served.rows.submit(ask, inputs)
        self.scheduler.ring()
        return asyncio.wrap_future(future)

    def write(self, served: Served, orders: list[Order]) -> None:
        """Have passages written."""
        assert served.writing is not None
        for order in orders:
            served.writing.submit(order)
        self.scheduler.ring()

    async def reload(self, name: str) -> bool:
        """Read a bundle again from its folder, and serve it in place of the old one, which answers who holds it.

        What cannot be read is logged, and the old one stays. Bundles are read one after another, in the order asked.
        """
        async with self._reading_again:
            return await self._replace(name)

    async def _replace(self, name: str) -> bool:
        try:
            served = await asyncio.get_running_loop().run_in_executor(None, lambda: self._warmed(self._load(name)))
        except Exception as error:  # whatever it was, the old one answers on
            log.error("bundle %s is not read again, the old one stays: %s", name, error)
            self.metrics.reloads.labels(name, "failed").inc()
            return False
        old, self._bundles[name] = self._bundles[name], served
        self._put(served)
        self._retired.add(old)
        self._closed(old)
        self.metrics.reloads.labels(name, "done").inc()
        log.info("bundle %s was read again", name)
        return True

    def _load(self, name: str) -> Served:
        return Served(name, load(self.folders[name], mapped=False), self.limits, self.metrics, desk=self._desk)

    def _warmed(self, served: Served) -> Served:
        """The same, after its first calls. They are made by the scheduler's thread, between the turns of others."""
        warming = Warming(served)
        self.scheduler.add(warming)
        warming.done.wait()
        self.scheduler.remove(warming)
        return served

    def _put(self, served: Served) -> None:
        for lane in served.lanes:
            self.scheduler.add(lane)

    def _closed(self, served: Served) -> None:
        """A retired bundle is let go after its last visit."""
        if served in self._retired and not served.visits:
            self._retired.remove(served)
            served.readers.shutdown(wait=False)
            for lane in served.lanes:
                self.scheduler.remove(lane)


def named(given: list[str]) -> dict[str, Path]:
    """Folders by the names they are served under: ``FOLDER``, whose last part is its name, or ``NAME=FOLDER``."""
    found: dict[str, Path] = {}
    for word in given:
        before, equals, after = word.partition("=")
        path = Path(after if equals else word)
        name = before if equals else path.resolve().name
        if name in found or not name or "/" in name:
            raise VariorumError(f"bundle {word}", expected="a name that no other bundle has", found=repr(name),
                                do="Say NAME=FOLDER.")  # fmt: skip
        found[name] = path
    return found
