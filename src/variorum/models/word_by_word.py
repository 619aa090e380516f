"""Words translated one by one, smoothed by what words follow each other: the plain baseline of text pairs."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from variorum.core import Conditioned, Input, Layout, Memory, Skeleton, Spec, State, Streaming, Traits, VariorumError
from variorum.models.ids import rows_of_tokens
from variorum.models.ngram import NGram

LEAST = 1e-3
"""Translations less likely than this are forgotten."""


class WordByWord(Skeleton, Streaming, Conditioned):
    """log P(y_t | y_<t, x) with P = share * (1/n) sum_i T(y_t | x_i) + (1 - share) * P_n-gram(y_t | y_<t).

    Brown et al. 1993, "The mathematics of statistical machine translation", model 1: any word of the source may be the
    one that is translated, wherever it stands. A source token that T does not know is passed over; a source without a
    known one leaves the n-gram model alone. Answers are log-probabilities (*tokens, vocab) of what follows each target
    token. ``memory = model.encode(source)`` is the first sum, one vector for each row.

    entries: pairs of tokens in T.     ngram: of the target (see :class:`NGram`).
    """

    inputs: ClassVar[Mapping[str, Input]] = MappingProxyType(
        {"source": Input("", "source_layout", reads="ids"), "target": Input("", reads="ids")}
    )
    traits: Traits = Traits(causal=True, streams=True, exports=False)
    examples = ({"vocab": 8, "entries": 8, "share": 0.4, "ngram": NGram.spec(vocab=8, contexts=(3,), entries=(6,))},)

    offsets: Tensor
    tokens: Tensor
    chances: Tensor

    def __init__(self, vocab: int, *, entries: int, share: float, ngram: Spec[NGram]) -> None:
        super().__init__()
        if not 0 <= share < 1:
            raise VariorumError("WordByWord share", expected="a number from 0 up to, but not, 1", found=str(share),
                                do="Use 0.5.")  # fmt: skip
        self.vocab, self.share = vocab, share
        self.ngram = ngram.build(vocab=vocab)
        self.register_buffer("offsets", torch.arange(vocab + 1).clamp(max=entries))
        self.register_buffer("tokens", torch.arange(entries) % vocab)
        self.register_buffer("chances", torch.ones(entries))

    @classmethod
    def fit(
        cls,
        sources: Sequence[np.ndarray],
        targets: Sequence[np.ndarray],
        ngram: NGram,
        *,
        share: float,
        rounds: int = 5,
    ) -> "WordByWord":
        """T by ``rounds`` of expectation maximisation on pairs of ids; ngram: fitted before."""
        keys, chances = lexicon(sources, targets, ngram.vocab, rounds)
        of = keys // ngram.vocab
        assert ngram.built_from is not None, "it was made by NGram.fit"
        model = cls.spec(vocab=ngram.vocab, entries=len(keys), share=share, ngram=ngram.built_from).build()
        model.ngram.load_state_dict(ngram.state_dict())
        model.offsets.copy_(torch.from_numpy(np.searchsorted(of, np.arange(ngram.vocab + 1))))
        model.tokens.copy_(torch.from_numpy(keys % ngram.vocab))
        model.chances.copy_(torch.from_numpy(chances))
        return model.eval()

    def forward(
        self,
        source: Int[Tensor, "*others"],
        target: Int[Tensor, "*tokens"],
        source_layout: Layout | None = None,
        layout: Layout | None = None,
    ) -> Float[Tensor, "*tokens vocab"]:
        return self._mixed(self.ngram(target, layout), layout, self.encode(source, source_layout))

    def encode(self, source: Int[Tensor, "*others"], source_layout: Layout | None = None) -> Memory:
        """The mean of T(. | x_i) over the known tokens of each row: (rows, 1, vocab); zeros if there are none."""
        ids, row, rows = rows_of_tokens(source, source_layout)
        sizes = self.offsets.diff()[ids]
        ends = sizes.cumsum(0)
        entry = torch.arange(int(sizes.sum()), device=ids.device) + (
            self.offsets[ids] - ends + sizes
        ).repeat_interleave(sizes)
        told = self.chances.new_zeros(rows, self.vocab)
        told = told.index_put((row.repeat_interleave(sizes), self.tokens[entry]), self.chances[entry], accumulate=True)
        return Memory((told / told.sum(1, keepdim=True).clamp(min=1e-12)).unsqueeze(1))

    def start(self, batch: int) -> State:
        return self.ngram.start(batch)

    def advance(
        self, x: Tensor, state: State, layout: Layout | None = None, memory: Memory | None = None
    ) -> tuple[Tensor, State]:
        """The next target ids (*tokens) of every row -> log-probabilities (*tokens, vocab) of what follows each."""
        out, state = self.ngram.advance(x, state, layout)
        if memory is None:
            raise VariorumError("WordByWord", expected="a memory: model.encode(source)", found="none", do="Pass it.")
        return self._mixed(out, layout, memory), state

    def _mixed(self, following: Tensor, layout: Layout | None, memory: Memory) -> Tensor:
        told = memory.x if layout is None or not layout.packed else memory.x[:, 0][layout.row_of]
        share = self.share * (told.sum(-1, keepdim=True) > 0).to(told.dtype)
        return (share * told + (1 - share) * following.exp()).log()


def lexicon(
    sources: Sequence[np.ndarray], targets: Sequence[np.ndarray], vocab: int, rounds: int
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs x * vocab + y, ascending, and T(y | x), begun alike for all pairs that occur and improved in ``rounds``."""
    pairs, spots, spot = [], [], 0
    for source, target in zip(sources, targets, strict=True):
        pairs.append((source[None, :].astype(np.int64) * vocab + target[:, None]).ravel())
        spots.append(np.repeat(np.arange(spot, spot + len(target)), len(source)))
        spot += len(target)
    keys, at = np.unique(np.concatenate(pairs), return_inverse=True)
    where, of = np.concatenate(spots), keys // vocab
    chances = np.ones(len(keys))
    for _ in range(rounds):
        weights = chances[at]
        shares = weights / np.bincount(where, weights, spot)[where]
        counts = np.bincount(at, shares, len(keys))
        chances = counts / np.bincount(of, counts, vocab)[of]
    kept = chances >= LEAST
    keys, chances = keys[kept], chances[kept]
    return keys, chances / np.bincount(keys // vocab, chances, vocab)[keys // vocab]
