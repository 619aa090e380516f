"""Prompts on their way into a model, piece by piece, beside rows that are written."""

import sys
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from variorum.core import Memory, State, Streaming
from variorum.runtime.decoding.flight import Cached, memories
from variorum.runtime.generation.prefixes import Prefixes
from variorum.runtime.generation.ticket import Ticket


@dataclass
class Opened:
    """A request whose prompt is read, and the flight of one row that has read ``done`` tokens of it."""

    ticket: Ticket
    flight: Cached | None = None
    done: int = 0

    @property
    def left(self) -> int:
        """Tokens of the prompt that are still to be read."""
        return len(self.ticket.request.prompt) - self.done


class Reading:
    """Reads prompts, at most ``chunk`` tokens of all at a time (all of them: None), so that writing rows need not wait.

    Pieces put together are the whole, so the tokens that follow do not depend on ``chunk``.
    """

    def __init__(
        self,
        model: Streaming,
        *,
        start: Callable[[int], State],
        chunk: int | None = None,
        prefixes: Prefixes | None = None,
    ) -> None:
        self.model, self.start, self.chunk, self.prefixes = model, start, chunk, prefixes
        self.opened: list[Opened] = []

    def open(self, ticket: Ticket) -> None:
        """Begin with a request's prompt, behind the beginning that is known already."""
        known = self.prefixes.find(ticket.request.prompt) if self.prefixes and ticket.request.memory is None else None
        self.opened.append(Opened(ticket) if known is None else Opened(ticket, known.flight, known.length))

    def close(self, ticket: Ticket) -> None:
        """Leave a request."""
        self.opened = [opened for opened in self.opened if opened.ticket is not ticket]

    def go_on(self) -> tuple[list[Ticket], list[Cached]]:
        """Read the next pieces; the requests whose prompts are read, and flights of their rows, in this order."""
        pieces = self._pieces()
        ready = [opened for opened in self.opened if not opened.left]
        flights = [opened.flight for opened in ready if opened.flight is not None]
        tickets = [opened.ticket for opened in ready]
        if pieces:
            group = [opened for opened, _ in pieces]
            flight = Cached(self.model, [ids for _, ids in pieces], self._memory(group), self._state(group))
            done = self._after(flight, pieces)
            if done:
                flights.append(flight.part(torch.tensor(done, device=flight.logits.device)))
                tickets += [group[i].ticket for i in done]
        self.opened = [opened for opened in self.opened if opened.left]
        return tickets, flights

    def _after(self, flight: Cached, pieces: list[tuple[Opened, Tensor]]) -> list[int]:
        """Share out what a piece has given; the rows whose prompts are read."""
        for i, (opened, ids) in enumerate(pieces):
            opened.done += len(ids)
            keeps = self.prefixes is not None and opened.ticket.request.memory is None
            if opened.left or keeps:
                opened.flight = flight.part(torch.tensor([i], device=flight.logits.device))
            if self.prefixes is not None and keeps and opened.flight is not None:
                self.prefixes.add(opened.ticket.request.prompt[: opened.done], opened.flight)
        return [i for i, (opened, _) in enumerate(pieces) if not opened.left]

    def _pieces(self) -> list[tuple[Opened, Tensor]]:
        """What is read next of each prompt, first come, first served; none is cut that would fit a piece of its own."""
        room = chunk = sys.maxsize if self.chunk is None else self.chunk
        pieces = []
        for opened in self.opened:
            n = opened.left
            if self.prefixes is not None:
                n = min(n, self.prefixes.every - opened.done % self.prefixes.every)
            if room < n <= chunk:
                break
            n = min(n, room)
            room -= n
            if n:
                pieces.append((opened, opened.ticket.request.prompt[opened.done : opened.done + n]))
        return pieces

    def _state(self, group: list[Opened]) -> State:
        flights = [opened.flight for opened in group]
        if all(flight is None for flight in flights):
            return self.start(len(group))
        states = [self.start(1) if flight is None else flight.state for flight in flights]
        return states[0].joined(states[1:]) if len(states) > 1 else states[0]

    def _memory(self, group: list[Opened]) -> Memory | None:
        return memories([opened.flight.memory if opened.flight else opened.ticket.request.memory for opened in group])
