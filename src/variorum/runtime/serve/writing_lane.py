"""Requests that are written token by token: they join and leave the desk between any two tokens."""

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

from variorum.runtime.decoding.decoding import End
from variorum.runtime.generation.ticket import Request, Stage, Ticket
from variorum.runtime.serve.desk import Desk
from variorum.runtime.serve.scheduler import Lane


class News(NamedTuple):
    """What has been written since the last one. place: which of the client's texts it is of.

    ended: why nothing more comes, ``stop`` or ``length``.
    """

    place: int
    text: str
    tokens: int
    ended: str | None = None
    error: Exception | None = None


@dataclass(eq=False)
class Order:
    """A request that somebody waits for. place: which of the client's texts it is.    send: takes its news, any thread.

    pieces: are there news of every token, or only of the whole text?
    cancelled: nobody waits any more; it loses its place before the next token is written.
    """

    place: int
    request: Request
    send: Callable[[News], None]
    pieces: bool = True
    cancelled: bool = False
    told: int = 0
    """Characters that were sent."""
    sent: int = 0
    """Tokens that were sent."""
    counted: int = 0
    """Tokens that were written."""

    def tell(self, ticket: Ticket) -> int:
        """Send what the ticket has more than was told; the number of new tokens."""
        written = len(ticket.tokens)
        new, self.counted = written - self.counted, written
        if ticket.over or (new and self.pieces):
            certain = ticket.certain
            ended = None if ticket.end is None else "length" if ticket.end is End.MOST else "stop"
            self.send(News(self.place, certain[self.told :], written - self.sent, ended, ticket.error))
            self.told, self.sent = len(certain), written
        return new


class WritingLane(Lane):
    """Continuous batching: every turn writes a token of every request at the desk, new ones being read on the way.

    told: is given the number of tokens that were written.
    """

    def __init__(self, desk: Desk, *, told: Callable[[int], None]) -> None:
        self.desk, self.told = desk, told
        self._arriving: deque[Order] = deque()
        self._at_desk: dict[Ticket, Order] = {}

    @property
    def busy(self) -> bool:
        return bool(self._arriving or self._at_desk)

    @property
    def waiting(self) -> int:
        """Requests that wait for a place."""
        return len(self._arriving) + self.desk.load[Stage.WAITING]

    @property
    def writing(self) -> int:
        """Requests that are read or written."""
        load = self.desk.load
        return load[Stage.READING] + load[Stage.WRITING]

    def submit(self, order: Order) -> None:
        """Have a request written; the scheduler must be told."""
        self._arriving.append(order)

    def turn(self) -> None:
        self._leave()
        self._arrive()
        if not self._at_desk:
            return
        tickets = self.desk.step()
        self.told(sum(self._at_desk[ticket].tell(ticket) for ticket in tickets))
        for ticket in tickets:
            if ticket.over:
                del self._at_desk[ticket]

    def fail(self, error: Exception) -> None:
        orders = [*self._at_desk.values(), *self._arriving]
        for ticket in self._at_desk:
            with suppress(Exception):  # it is lost already, and is being told of
                self.desk.cancel(ticket)
        self._at_desk.clear()
        self._arriving.clear()
        for order in orders:
            order.send(News(order.place, "", 0, error=error))

    def _leave(self) -> None:
        """Let those go whom nobody waits for."""
        for ticket in [ticket for ticket, order in self._at_desk.items() if order.cancelled]:
            self.desk.cancel(ticket)
            del self._at_desk[ticket]

    def _arrive(self) -> None:
        while self._arriving:
            order = self._arriving.popleft()
            if not order.cancelled:
                try:
                    self._at_desk[self.desk.submit(order.request)] = order
                except Exception as error:  # whatever it was, it is this request's own
                    order.send(News(order.place, "", 0, error=error))
