"""What a bundle does before it serves: kernels are made, and memory is taken, at a first call, which is nobody's."""

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial

from variorum.core import Layout
from variorum.data.preprocess import Preprocess
from variorum.runtime.decoding.decoding import Limits
from variorum.runtime.generation.ticket import Request
from variorum.runtime.serve.desk import Desk
from variorum.runtime.serve.joined import Inputs, layout_of
from variorum.runtime.serve.rows_lane import Ask
from variorum.runtime.serve.scheduler import Lane
from variorum.runtime.serve.served import Served

ROWS, LONGEST, NEW = (1, 2), 64, 2
"""Rows of made-up requests, the length of those that may be of any, and the ids that are written."""
log = logging.getLogger("variorum.serve")


class Warming(Lane):
    """A made-up request of each kind that a bundle answers, of one row and of several, one a turn.

    ``done`` is set when all are answered. If one fails, that is logged and the rest are left: what clients send may be
    answered nevertheless.
    """

    def __init__(self, served: Served) -> None:
        self.done = threading.Event()
        self._name, self._left = served.name, deque(_made_up(served))

    @property
    def busy(self) -> bool:
        return bool(self._left)

    def turn(self) -> None:
        self._left.popleft()()
        if not self._left:
            self.done.set()

    def fail(self, error: Exception) -> None:
        log.warning("bundle %s did not answer a made-up request: %s", self._name, error)
        self._left.clear()
        self.done.set()


def _made_up(served: Served) -> Iterator[Callable[[], None]]:
    asks = [served.predicted, *([served.embedded] if served.embeds else [])]
    for rows in ROWS:
        for ask in asks:
            yield partial(_ask, ask, served.preprocess, rows)
        if served.writing is not None and served.language.length > NEW:
            yield partial(_write, served.writing.desk, served.preprocess, rows)


def _ask(ask: Ask, preprocess: Preprocess, rows: int) -> None:
    ask(_packed(preprocess, rows))


def _packed(preprocess: Preprocess, rows: int) -> Inputs:
    """Rows as clients' are: packed if they may be of any length; of a pair the source, as the other one is written."""
    sample = preprocess.sample(rows, LONGEST)
    name, tensor = next(iter(sample.items()))
    if 1 not in preprocess.axes[name]:
        return dict(sample)
    return {name: tensor.flatten(0, 1), layout_of(name): Layout.ragged([tensor.shape[1]] * rows)}


def _write(desk: Desk, preprocess: Preprocess, rows: int) -> None:
    """Have some ids written after each row, which makes room for them."""
    prompts = preprocess.sample(rows, LONGEST)["inputs"][:, NEW:]
    tickets = [desk.submit(Request(prompt, Limits(NEW))) for prompt in prompts]
    while any(desk.load.values()):
        desk.step()
    for error in (ticket.error for ticket in tickets if ticket.error is not None):
        raise error
