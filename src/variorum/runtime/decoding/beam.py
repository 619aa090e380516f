"""Beam search: several beginnings of a row are kept at each length. Sutskever et al. 2014, arXiv:1409.3215."""

from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor

from variorum.core import VariorumError
from variorum.core.errors import nearest
from variorum.runtime.decoding.decoding import Decoding, Limits
from variorum.runtime.decoding.flight import Flight


class Stop(StrEnum):
    """When a row that has ``width`` ended beginnings is given up.

    full: at once.    likely: when the best open one, ended now, would not beat the worst ended one.
    never: when no open one can still beat it, however long it gets.
    """

    FULL = "full"
    LIKELY = "likely"
    NEVER = "never"


@dataclass(frozen=True)
class Beam(Decoding):
    """The row of n tokens with the highest log p(row) / n^length_penalty among ``width`` kept at each length.

    Sutskever et al. 2014, arXiv:1409.3215. With ``length_penalty`` 1 that is the mean log-probability of a token, with
    0 the log-probability of the row. Of the candidates for each length, those among the best ``width`` that end are
    done; the best ``width`` that do not end go on.
    """

    width: int = 4
    length_penalty: float = 1.0
    stop: Stop = Stop.LIKELY

    def __post_init__(self) -> None:
        if self.width < 1:
            raise VariorumError("Beam width", expected="1 or more", found=str(self.width), do="Use Greedy for one.")
        if self.stop not in set(Stop):
            raise VariorumError("Beam stop", expected=f"one of {', '.join(Stop)}", found=repr(self.stop),
                                do=nearest(self.stop, [stop.value for stop in Stop]))  # fmt: skip

    def write(self, flight: Flight, limits: Limits) -> list[Tensor]:
        rows, vocab = flight.logits.shape
        keep = max(2, 1 + len(limits.ends)) * self.width
        if vocab < keep:
            most = vocab * self.width // keep
            raise VariorumError("Beam width", expected=f"at most {most}, for the model has {vocab} tokens",
                                found=str(self.width), do="Choose a smaller width.")  # fmt: skip
        searches = [Search(self, limits) for _ in range(rows)]
        live = list(range(rows))
        flight.keep(torch.arange(rows, device=flight.logits.device).repeat_interleave(self.width))
        open_ = flight.logits.new_full((rows, self.width), -torch.inf, dtype=torch.float32)
        open_[:, 0] = 0.0  # all beginnings are still the same: only the first may go on
        while live:
            scores = flight.logits.float().log_softmax(-1).unflatten(0, (len(live), self.width)) + open_.unsqueeze(-1)
            best, index = scores.flatten(1).topk(keep)
            told = zip(best.tolist(), (index // vocab).tolist(), (index % vocab).tolist(), strict=True)
            chosen = [searches[row].take(*candidates) for row, candidates in zip(live, told, strict=True)]
            going = [(place, row) for place, row in enumerate(live) if not searches[row].over]
            if not going:
                break
            parents = [place * self.width + parent for place, _ in going for parent, _, _ in chosen[place]]
            tokens = [token for place, _ in going for _, token, _ in chosen[place]]
            open_ = open_.new_tensor([[score for _, _, score in chosen[place]] for place, _ in going])
            live = [row for _, row in going]
            flight.keep(index.new_tensor(parents))
            flight.extend(index.new_tensor(tokens))
        device = flight.logits.device
        return [torch.tensor(search.best, dtype=torch.int64, device=device) for search in searches]


class Search:
    """The search for one row: what is open, what has ended, and whether it is over."""

    def __init__(self, beam: Beam, limits: Limits) -> None:
        self.beam, self.limits = beam, limits
        self.open: list[list[int]] = [[] for _ in range(beam.width)]
        self.ended: list[tuple[float, list[int]]] = []
        self.over = False

    @property
    def best(self) -> list[int]:
        """The ended row with the highest score."""
        return self.ended[0][1]

    def take(self, scores: list[float], parents: list[int], tokens: list[int]) -> list[tuple[int, int, float]]:
        """Candidates, best first -> those that go on, as (parent, token, score)."""
        length = len(self.open[0]) + 1
        last = length == self.limits.most
        rows = [[*self.open[parent], token] for parent, token in zip(parents, tokens, strict=True)]
        ends = [last or token in self.limits.ends for token in tokens]
        width = self.beam.width
        new = [(self._score(scores[c], length), rows[c]) for c in range(width) if ends[c]]
        self.ended = sorted(self.ended + new, key=lambda e: -e[0])[:width]
        going = [c for c, end in enumerate(ends) if not end][:width]
        self.open = [rows[c] for c in going]
        self.over = last or self._hopeless(scores[going[0]], length)
        return [(parents[c], tokens[c], scores[c]) for c in going]

    def _score(self, score: float, length: int) -> float:
        return score / length**self.beam.length_penalty

    def _hopeless(self, score: float, length: int) -> bool:
        """Is nothing to be gained by going on, if the best open row has this score?"""
        if len(self.ended) < self.beam.width:
            return False
        if self.beam.stop == Stop.FULL:
            return True
        longest = self.beam.stop == Stop.NEVER and self.beam.length_penalty > 0
        return self._score(score, self.limits.most if longest else length) <= self.ended[-1][0]
