"""An n-gram language model: the plain baseline of text. Kneser & Ney 1995; Chen & Goodman 1998."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from variorum.core import Input, Layout, Memory, Skeleton, State, Streaming, Traits, VariorumError, each_row

LARGEST_KEY = 1 << 62


class NGram(Skeleton, Streaming):
    """log P(w | last order - 1 tokens), interpolated Kneser-Ney: ids (*tokens) -> (*tokens, vocab).

    P_k(w | h) = (c_k(h w) - D_k) / c_k(h) + D_k N(h) / c_k(h) P_{k-1}(w | h'), the first term only if h w occurs, and
    P_0 = 1 / vocab. h are the last k - 1 tokens, h' is h without its first, N(h) is how many different tokens followed
    h, c_k counts how often (highest order) or after how many different tokens (lower orders), and D_k = n_1 / (n_1 +
    2 n_2) of the k-grams counted once and twice, or 1/2 where there are none.
    A history never seen, or one that reaches back before the row, leaves P_k = P_{k-1}.

    Kneser & Ney 1995, "Improved backing-off for m-gram language modeling"; Chen & Goodman 1998, "An empirical study of
    smoothing techniques for language modeling", section 2.8.

    contexts, entries: for orders 2, 3, ...: how many histories there are, and how many different tokens after them.
    """

    inputs: ClassVar[Mapping[str, Input]] = MappingProxyType({"inputs": Input("", reads="ids")})
    traits: Traits = Traits(causal=True, streams=True, exports=False)
    examples = ({"vocab": 8, "contexts": (3, 5), "entries": (6, 6)},)

    unigram: Tensor

    def __init__(self, vocab: int, *, contexts: Sequence[int], entries: Sequence[int]) -> None:
        super().__init__()
        if len(contexts) != len(entries) or vocab ** (len(contexts) + 1) >= LARGEST_KEY:
            raise VariorumError(
                "NGram",
                expected=f"as many contexts as entries, and vocab ** order below {LARGEST_KEY:.0e}",
                found=f"{len(contexts)}, {len(entries)} and {vocab} ** {len(contexts) + 1}",
                do="Lower the order.",
            )
        self.vocab = vocab
        self.register_buffer("unigram", torch.full((vocab,), 1 / vocab))
        self.orders = nn.ModuleList(_Order(c, e) for c, e in zip(contexts, entries, strict=True))

    @property
    def order(self) -> int:
        """Tokens of the longest n-gram."""
        return len(self.orders) + 1

    @classmethod
    def fit(cls, ids: Int[Tensor, "tokens"] | Sequence[Tensor], *, vocab: int, order: int = 5) -> "NGram":
        """Count the n-grams of one text, or of several apart."""
        texts = [np.asarray(text, np.int64) for text in ([ids] if isinstance(ids, Tensor) else ids)]
        if order < 1 or vocab**order >= LARGEST_KEY or not any(len(text) for text in texts):
            raise VariorumError(
                "NGram.fit",
                expected=f"tokens, and an order of at least 1 with vocab ** order below {LARGEST_KEY:.0e}",
                found=f"{sum(map(len, texts))} tokens, order {order}, vocab {vocab}",
                do="Lower the order.",
            )
        tables = [_discounted(*_counts(texts, vocab, k, order), vocab) for k in range(1, order + 1)]
        first, rest = tables[0], tables[1:]
        spec = cls.spec(vocab=vocab, contexts=[len(t.keys) for t in rest], entries=[len(t.tokens) for t in rest])
        model = spec.build()
        model.unigram.copy_(torch.from_numpy(first.lam / vocab).expand(vocab))
        model.unigram[torch.from_numpy(first.tokens)] += torch.from_numpy(first.chances).float()
        for module, table in zip(model.orders, rest, strict=True):
            for name in ("keys", "offsets", "lam", "tokens", "chances"):
                module.get_buffer(name).copy_(torch.from_numpy(getattr(table, name)))
        return model.eval()

    def forward(self, inputs: Int[Tensor, "*tokens"], layout: Layout | None = None) -> Float[Tensor, "*tokens vocab"]:
        def read(ids: Tensor) -> Tensor:
            return self._read(torch.cat([self._nothing(ids.shape[0]), ids], dim=1), ids.shape[1])

        return each_row(read, layout, inputs)

    def start(self, batch: int) -> State:
        return State(recent=self._nothing(batch))

    def advance(
        self, x: Tensor, state: State, layout: Layout | None = None, memory: Memory | None = None
    ) -> tuple[Tensor, State]:
        """The next ids (*tokens) of every row -> log-probabilities (*tokens, vocab) of what follows each."""

        def read(ids: Tensor, state: State) -> tuple[Tensor, State]:
            known = torch.cat([state.tensor("recent"), ids], dim=1)
            return self._read(known, ids.shape[1]), State(recent=known[:, ids.shape[1] :])

        return each_row(read, layout, x, state=state)

    def _nothing(self, rows: int) -> Tensor:
        return torch.full((rows, self.order - 1), -1, dtype=torch.int64, device=self.unigram.device)

    def _read(self, ids: Tensor, n: int) -> Tensor:
        """``ids`` (rows, order - 1 + n), -1 before a row's start -> (rows, n, vocab) for the last n."""
        chances = self.unigram.expand(ids.shape[0] * n, -1).clone()
        key, real = torch.zeros_like(ids[:, :n]), torch.ones_like(ids[:, :n], dtype=torch.bool)
        for length, order in enumerate(self.orders, start=1):
            token = ids[:, self.order - length : self.order - length + n]
            key, real = key + token * self.vocab ** (length - 1), real & (token >= 0)
            chances = order(key.flatten(), real.flatten(), chances)
        return chances.log().unflatten(0, (-1, n))


class _Order(nn.Module):
    """What followed each history of one length: ``tokens[offsets[i]:offsets[i + 1]]`` followed ``keys[i]``."""

    keys: Tensor
    offsets: Tensor
    lam: Tensor
    tokens: Tensor
    chances: Tensor

    def __init__(self, contexts: int, entries: int) -> None:
        super().__init__()
        self.register_buffer("keys", torch.arange(contexts))
        self.register_buffer("offsets", torch.zeros(contexts + 1, dtype=torch.int64))
        self.register_buffer("lam", torch.ones(contexts))
        self.register_buffer("tokens", torch.zeros(entries, dtype=torch.int32))
        self.register_buffer("chances", torch.zeros(entries))

    def forward(self, key: Tensor, real: Tensor, lower: Tensor) -> Tensor:
        """Histories ``key`` (rows,), whether each is ``real``, and P_{k-1} (rows, vocab) -> P_k (rows, vocab)."""
        if not len(self.keys):
            return lower
        at = torch.searchsorted(self.keys, key).clamp(max=len(self.keys) - 1)
        row = (real & (self.keys[at] == key)).nonzero()[:, 0]
        at = at[row]
        size = self.offsets[at + 1] - self.offsets[at]
        ends = size.cumsum(0)
        entry = torch.arange(int(size.sum()), device=key.device) + (self.offsets[at] - ends + size).repeat_interleave(
            size
        )
        lower = lower.index_copy(0, row, lower[row] * self.lam[at, None])
        where = (row.repeat_interleave(size), self.tokens[entry].long())
        return lower.index_put(where, self.chances[entry], accumulate=True)


class _Table(NamedTuple):
    """Histories (keys), where the tokens after each begin (offsets), D N(h) / c(h) (lam), (c - D) / c (chances)."""

    keys: np.ndarray
    offsets: np.ndarray
    lam: np.ndarray
    tokens: np.ndarray
    chances: np.ndarray


def _counts(texts: list[np.ndarray], vocab: int, length: int, order: int) -> tuple[np.ndarray, np.ndarray]:
    """The k-grams, ascending, and how often each occurs (highest order), or after how many different tokens.

    The start of a text is a token of its own to come after.
    """
    if length == order:
        return np.unique(_grams(texts, vocab, length), return_counts=True)
    longer = np.unique(_grams(texts, vocab, length + 1))
    starts = np.unique(_grams([text[:length] for text in texts], vocab, length))
    return np.unique(np.concatenate([longer % vocab**length, starts]), return_counts=True)


def _grams(texts: list[np.ndarray], vocab: int, length: int) -> np.ndarray:
    """Every run of ``length`` tokens as one number in base ``vocab``."""
    places = vocab ** np.arange(length - 1, -1, -1, dtype=np.int64)
    runs = [np.lib.stride_tricks.sliding_window_view(text, length) @ places for text in texts if len(text) >= length]
    return np.concatenate(runs) if runs else np.zeros(0, np.int64)


def _discounted(grams: np.ndarray, counts: np.ndarray, vocab: int) -> _Table:
    once, twice = int((counts == 1).sum()), int((counts == 2).sum())
    discount = once / (once + 2 * twice) if once and twice else 0.5
    history = grams // vocab
    keys, first, different = np.unique(history, return_index=True, return_counts=True)
    total = np.add.reduceat(counts, first) if len(first) else counts
    offsets = np.append(first, len(grams))
    chances = (counts - discount) / np.repeat(total, different)
    return _Table(keys, offsets, discount * different / total, (grams % vocab).astype(np.int32), chances)
