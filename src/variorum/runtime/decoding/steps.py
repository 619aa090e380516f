"""Decoding token by token: the best one, or one drawn by chance. Holtzman et al. 2019, arXiv:1904.09751."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from variorum.core import VariorumError
from variorum.runtime.decoding.decoding import Decoding, Limits
from variorum.runtime.decoding.flight import Flight


@dataclass(frozen=True)
class Greedy(Decoding):
    """The token with the highest score, in every row."""

    def write(self, flight: Flight, limits: Limits) -> list[Tensor]:
        return write_steps(flight, limits, lambda logits, rows: logits.argmax(-1))


@dataclass(frozen=True)
class Sampling(Decoding):
    """A token drawn from softmax(logits / temperature), restricted to the likeliest.

    top_k: the k with the highest scores (Fan et al. 2018, arXiv:1805.04833), and all tied with the last of them.
    top_p: of those, the fewest whose probabilities add up to p (Holtzman et al. 2019, arXiv:1904.09751).
    seed: the same seed gives the same tokens, whenever other rows end.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not (self.temperature > 0 and 0 < self.top_p <= 1 and (self.top_k is None or self.top_k >= 1)):
            raise VariorumError("Sampling", expected="temperature > 0, 0 < top_p <= 1 and top_k >= 1, or None",
                                found=str(self), do="Use Greedy for temperature 0.")  # fmt: skip

    def write(self, flight: Flight, limits: Limits) -> list[Tensor]:
        generator = torch.Generator().manual_seed(self.seed)
        count = len(flight.logits)

        def choose(logits: Tensor, rows: Tensor) -> Tensor:
            chance = torch.rand(count, generator=generator, dtype=torch.float64)  # for ended rows too: see seed
            reached = self.probabilities(logits).double().cumsum(-1)
            drawn = chance.to(rows.device)[rows, None] * reached[:, -1:]
            return torch.searchsorted(reached, drawn, right=True)[:, 0]

        return write_steps(flight, limits, choose)

    def probabilities(self, logits: Float[Tensor, "rows vocab"]) -> Float[Tensor, "rows vocab"]:
        """The probabilities that tokens are drawn with; 0 for those that are left out."""
        scores = _single(logits) / self.temperature
        if self.top_k is not None and self.top_k < scores.shape[-1]:
            least = scores.topk(self.top_k).values[:, -1:]
            scores = scores.masked_fill(scores < least, -torch.inf)
        if self.top_p < 1:
            ordered, order = scores.sort(descending=True)
            before = ordered.softmax(-1).cumsum(-1) - ordered.softmax(-1)
            out = torch.zeros_like(before, dtype=torch.bool).scatter(-1, order, before >= self.top_p)
            scores = scores.masked_fill(out, -torch.inf)
        return scores.softmax(-1)


def write_steps(
    flight: Flight, limits: Limits, choose: Callable[[Tensor, Tensor], Int[Tensor, "rows"]]
) -> list[Tensor]:
    """Write until every row has ended; ``choose`` is given scores (rows, vocab) and which rows they are of.

    A row that has ended leaves the flight.
    """
    rows = torch.arange(len(flight.logits), device=flight.logits.device)
    ends = torch.tensor(limits.ends, dtype=torch.int64, device=rows.device)
    written: list[list[int]] = [[] for _ in rows]
    while len(rows):
        tokens = choose(flight.logits, rows)
        for row, token in zip(rows.tolist(), tokens.tolist(), strict=True):
            written[row].append(token)
        open_ = ~torch.isin(tokens, ends)
        if len(written[int(rows[0])]) == limits.most or not open_.any():
            break
        if not open_.all():
            rows, tokens = rows[open_], tokens[open_]
            flight.keep(open_.nonzero()[:, 0])
        flight.extend(tokens)
    return [torch.tensor(row, dtype=torch.int64, device=rows.device) for row in written]


def _single(logits: Tensor) -> Tensor:
    """In single precision at least."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
