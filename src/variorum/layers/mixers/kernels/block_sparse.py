"""Attention over the blocks of keys that each block of queries keeps. Child et al. 2019, arXiv:1904.10509."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from variorum.core import VariorumError
from variorum.layers.mixers.kernels.twice import gradient_through
from variorum.layers.patterns.sparse import Sparse

Seen = Callable[[Tensor, Tensor], Tensor | None]
"""Positions (..., n) of queries and (..., m) of keys -> which keys are seen, bool (..., n, m), or what is added to the
scores, (..., heads, n, m), -inf for a key that is not; None: all are."""

_FLASH = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_FLASH_BACKWARD = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward
"""What torch's attention calls on a processor: beside the answer it gives what its backward pass begins with."""

_RESIDENT = 2**18
"""Numbers of gathered keys that are attended to at once: 1 MiB in float32, so that they stay in cache."""


@dataclass(frozen=True)
class BlockMask:
    """Which blocks of keys each block of queries keeps; blocks are ``size`` positions, the last one may be shorter.

    kept: bool (query blocks, key blocks) for all rows and heads, or (batch, heads, query blocks, key blocks). whole:
    likewise, of the kept ones those in which every query sees every key, so that none need be masked; None: not known.
    It is a plan, made and read by the processor, wherever the operands are.
    """

    kept: Tensor
    size: int
    whole: Tensor | None = None

    @classmethod
    def of(cls, pattern: Sparse, n: int, size: int) -> "BlockMask":
        """The blocks of a row of n tokens that a pattern keeps, wholly or in part."""
        first = torch.arange(0, n, size, device="cpu")
        return cls(pattern.meets(first, first, size), size, pattern.fills(first, first, size))

    @property
    def share(self) -> float:
        """The share of blocks that is kept: of the time that all of them would take."""
        return float(self.kept.float().mean())

    def dense(self, n: int, m: int) -> Tensor:
        """The same for single positions: bool (..., n, m)."""
        rows = self.kept.repeat_interleave(self.size, dim=-2)
        return rows.repeat_interleave(self.size, dim=-1)[..., :n, :m]


def masked(q: Tensor, k: Tensor, v: Tensor, mask: BlockMask, *, scale: float, seen: Seen) -> Tensor:
    """The naive twin of :func:`block_sparse`: all scores, and a mask of all pairs."""
    n, m, repeat = q.shape[1], k.shape[1], q.shape[2] // k.shape[2]
    k, v = (t.repeat_interleave(repeat, dim=2) for t in (k, v))
    scores = torch.einsum("bihd,bjhd->bhij", q, k) * scale
    found = seen(torch.arange(n, device=q.device), torch.arange(m, device=q.device))
    if found is not None:
        scores = scores.masked_fill(~found, -math.inf) if found.dtype == torch.bool else scores + found
    scores = scores.masked_fill(~mask.dense(n, m).to(scores.device), -math.inf)
    return torch.einsum("bhij,bjhd->bihd", scores.softmax(dim=-1), v)


def block_sparse(
    q: Tensor, k: Tensor, v: Tensor, mask: BlockMask, *, scale: float, seen: Seen, learned: Sequence[Tensor] = ()
) -> Tensor:
    """softmax(q k^T * scale, over the seen keys of kept blocks) v, in time and memory of the blocks that are kept.

    q (batch, n, heads, d), k (batch, m, kv_heads, d), v (batch, m, kv_heads, d_v) -> (batch, n, heads, d_v). Each query
    sees a key in the blocks that it keeps; a block of queries that keeps none gets zeros.
    Where each head has a map of its own, ``seen`` may hide keys but add nothing.
    learned: tensors that ``seen`` computes with and that ask for a gradient.

    The kept blocks are gathered, blocks of queries that keep equally many side by side, and given to torch's attention;
    a mask is made where a block is seen in part. The backward pass gathers again, so that training keeps only the
    operands, the answer and the logarithm of each query's sum; with ``learned`` it attends again too.
    Raises VariorumError for a mask that does not fit the operands.
    """
    (batch, n, heads), (m, kv_heads) = q.shape[:3], k.shape[1:3]
    own = mask.kept.dim() == 4
    blocks = tuple(-(-length // mask.size) for length in (n, m))
    if mask.kept.shape != ((batch, heads, *blocks) if own else blocks):
        raise VariorumError(
            "mask.kept", expected=f"{blocks} blocks of queries and keys, or one such map a row and head",
            found=f"shape {tuple(mask.kept.shape)}", do="Make it for rows of this length and blocks of this size.",
        )  # fmt: skip
    if not q.numel():
        return v.new_zeros(batch, n, heads, v.shape[-1])
    group = heads // kv_heads
    width = k.shape[-1] * (1 if own else kv_heads)
    pieces = _pieces(mask, m, batch, width, group if own else 1, q.device)
    run = _Run(mask.size, n, m, scale, seen, 1 if own else group, pieces)
    cut = [_cut(x, mask.size, own=own) for x in (q, k, v)]
    allowed = torch.backends.cuda.flash_sdp_enabled()  # by ``sdpa_kernel``, on a processor too
    flash = allowed and not learned and q.device.type == "cpu" and q.shape[-1] == v.shape[-1]
    out = _Flash.apply(run, *cut) if flash else _Anywhere.apply(run, len(learned), *learned, *cut)
    if own:
        return out.view(batch, heads, -1, out.shape[-1]).transpose(1, 2)[:, :n]
    return out.view(batch, -1, heads, out.shape[-1])[:, :n]


def _cut(x: Tensor, size: int, *, own: bool) -> Tensor:
    """(batch, n, heads, d) -> (batch * blocks, size, heads, d), or (batch * heads * blocks, size, 1, d) where each head
    has a map of its own; zeros after the last token.
    """
    x = F.pad(x, (0, 0, 0, 0, 0, -x.shape[1] % size))
    x = x.transpose(1, 2).unsqueeze(3) if own else x
    return x.reshape(-1, size, *x.shape[-2:])


@dataclass(frozen=True)
class _Piece:
    """Blocks of queries that keep equally many blocks of keys, and see equally many in part. items: (r,) of q, blocks:
    (r, c) of k, as they are cut, those seen in part first; first, partly: places in blocks of the queries (r,), and of
    the keys (r, p) that are seen in part.
    """

    items: Tensor
    blocks: Tensor
    first: Tensor
    partly: Tensor


def _pieces(mask: BlockMask, m: int, batch: int, width: int, group: int, device: torch.device) -> list[_Piece]:
    """All blocks of queries that keep something, in pieces of no more gathered keys than stay in cache.

    width: numbers of a token's keys.   group: how many maps share a head's keys.
    """
    rows, columns = mask.kept.shape[-2:]

    def each(blocks: Tensor) -> Tensor:
        """One row for each block of queries of every map."""
        return (blocks if blocks.dim() == 4 else blocks.expand(batch, 1, rows, columns)).reshape(-1, columns).cpu()

    kept = each(mask.kept)
    partly = kept if mask.whole is None else kept & ~each(mask.whole)
    if m % mask.size:
        partly = partly | (kept & (torch.arange(columns) == columns - 1))
    counts, some = kept.sum(dim=1), partly.sum(dim=1)
    found = []
    for count, part in sorted({*zip(counts.tolist(), some.tolist(), strict=True)}):
        if not count:
            continue
        items = ((counts == count) & (some == part)).nonzero()[:, 0]
        masked, free = (t[items].nonzero()[:, 1].view(len(items), -1) for t in (partly, kept & ~partly))
        # Map h of row b is one of batch * heads; its keys are those of head h // group.
        lead = (items // rows).div(group, rounding_mode="floor")
        blocks = lead[:, None] * columns + torch.cat([masked, free], dim=1)
        at_once = max(1, _RESIDENT // (count * mask.size * width))
        for parts in zip(*(t.split(at_once) for t in (items, blocks, items % rows, masked)), strict=True):
            found.append(_Piece(*(t.to(device) for t in parts)))
    return found


@dataclass(frozen=True)
class _Run:
    """What attends to one piece after another. group: heads of the cut queries that share one of the cut keys."""

    size: int
    n: int
    m: int
    scale: float
    seen: Seen
    group: int
    pieces: list[_Piece]

    def gather(self, piece: _Piece, q: Tensor, k: Tensor, v: Tensor) -> list[Tensor]:
        """The piece's of the cut operands: queries (r, size, heads, d), keys and values (r, c * size, kv_heads, d)."""
        blocks, r = piece.blocks.flatten(), len(piece.items)
        pairs = (x.index_select(0, blocks).view(r, -1, *x.shape[2:]) for x in (k, v))
        return [q.index_select(0, piece.items), *pairs]

    def add(self, piece: _Piece, found: Sequence[Tensor], wholes: Sequence[Tensor]) -> None:
        """The piece's gradients of q, k and v, put to the others."""
        wholes[0].index_copy_(0, piece.items, found[0])
        for whole, part in zip(wholes[1:], found[1:], strict=True):
            whole.index_add_(0, piece.blocks.flatten(), part.reshape(-1, *whole.shape[1:]))

    def below(self, q: Tensor) -> Tensor:
        """(r, size, heads, d) -> (r, kv_heads, queries, d): heads that share keys stand one below the other."""
        return q.unflatten(2, (-1, self.group)).permute(0, 2, 3, 1, 4).flatten(2, 3)

    def beside(self, out: Tensor) -> Tensor:
        """The reverse of ``below``."""
        return out.unflatten(2, (self.group, self.size)).permute(0, 3, 1, 2, 4).flatten(2, 3)

    def asked(
        self, piece: _Piece, q: Tensor, k: Tensor, v: Tensor
    ) -> tuple[tuple[Tensor, Tensor, Tensor], dict[str, Any]]:
        """What was gathered, as torch's attention takes it: operands, and mask and scale by name."""
        operands = self.below(q), k.transpose(1, 2), v.transpose(1, 2)
        return operands, {"attn_mask": self._mask(piece, q, k.shape[1]), "scale": self.scale}

    def __call__(self, piece: _Piece, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """What was gathered -> the answers, like q."""
        operands, named = self.asked(piece, q, k, v)
        return self.beside(F.scaled_dot_product_attention(*operands, **named))

    def summed(self, piece: _Piece, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """The same, and the logarithm of each query's sum of weights, (r, kv_heads, queries)."""
        operands, named = self.asked(piece, q, k, v)
        out, sums = _FLASH(*operands, **named)
        return self.beside(out), sums

    def gradients(
        self, piece: _Piece, d_out: Tensor, out: Tensor, sums: Tensor, q: Tensor, k: Tensor, v: Tensor
    ) -> list[Tensor]:
        """Of what was gathered, from what ``summed`` told."""
        operands, named = self.asked(piece, q, k, v)
        told = self.below(out), sums, 0.0, False
        d_q, d_k, d_v = _FLASH_BACKWARD(self.below(d_out), *operands, *told, **named)
        return [self.beside(d_q), d_k.transpose(1, 2), d_v.transpose(1, 2)]

    def _mask(self, piece: _Piece, q: Tensor, m: int) -> Tensor | None:
        """What is added to the scores, (r, heads or 1, queries, m); None where every query sees every key."""
        partly = piece.partly.shape[1] * self.size
        if not partly:
            return None
        inside = torch.arange(self.size, device=q.device)
        queries = piece.first[:, None] * self.size + inside
        keys = (piece.partly[..., None] * self.size + inside).flatten(1)
        found = self.seen(queries, keys)
        if self.n % self.size or self.m % self.size:
            # A query that only fills up its block sees all real keys: with none its weights would be no numbers.
            real, filled = (keys < self.m).unsqueeze(1), (queries >= self.n).unsqueeze(2)
            if found is None or found.dtype == torch.bool:
                found = real.expand(-1, self.size, -1) if found is None else (found | filled) & real
            else:
                found = found.masked_fill(filled.unsqueeze(1), 0.0).masked_fill(~real.unsqueeze(1), -math.inf)
        if found is None:
            return None
        if found.dtype != torch.bool:  # (r, heads, size, keys)
            below = found.unflatten(1, (-1, self.group)).flatten(2, 3)
            return F.pad(below.to(q.dtype), (0, m - partly))
        added = q.new_zeros(len(queries), 1, self.size, m)
        added[..., :partly].masked_fill_(~found.unsqueeze(1), -math.inf)
        return added.repeat(1, 1, self.group, 1) if self.group > 1 else added


def _attended(run: _Run, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """The pieces, one after another, by what autograd can differentiate, twice where torch's plain attention is set."""
    out = q.new_zeros(*q.shape[:-1], v.shape[-1])
    for piece in run.pieces:
        out.index_copy_(0, piece.items, run(piece, *run.gather(piece, q, k, v)))
    return out


def _again(
    run: _Run, learned: tuple[Tensor, ...], operands: tuple[Tensor, ...], d_out: Tensor
) -> tuple[Tensor | None, ...]:
    """The gradients of ``learned`` and the operands, to be differentiated themselves."""

    def twin(*tensors: Tensor) -> tuple[Tensor]:
        with sdpa_kernel(SDPBackend.MATH):  # the fused kernels know no second derivatives
            return (_attended(run, *tensors[len(learned) :]),)

    return gradient_through(twin, (*learned, *operands), (d_out,))


class _Flash(torch.autograd.Function):
    """The pieces by the processor's fused kernel, whose backward pass begins with what the forward pass told."""

    @staticmethod
    def forward(ctx: Any, run: _Run, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        out = torch.zeros_like(q)
        told = []
        for piece in run.pieces:
            part, sums = run.summed(piece, *run.gather(piece, q, k, v))
            out.index_copy_(0, piece.items, part)
            told.append(sums)
        ctx.run = run
        ctx.save_for_backward(q, k, v, out, *told)
        return out

    @staticmethod
    def backward(ctx: Any, d_out: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, out, *told = ctx.saved_tensors
        run = ctx.run
        if torch.is_grad_enabled():
            return None, *_again(run, (), (q, k, v), d_out)
        wholes = [torch.zeros_like(t) for t in (q, k, v)]
        d_out = d_out.contiguous()  # a gather from anything else copies all of it first
        for piece, sums in zip(run.pieces, told, strict=True):
            d_part, part = (t.index_select(0, piece.items) for t in (d_out, out))
            run.add(piece, run.gradients(piece, d_part, part, sums, *run.gather(piece, q, k, v)), wholes)
        return None, *wholes


class _Anywhere(torch.autograd.Function):
    """The pieces by torch's attention, of any shape and on any device: the backward pass attends again."""

    @staticmethod
    def forward(ctx: Any, run: _Run, count: int, *tensors: Tensor) -> Tensor:
        ctx.run, ctx.learned = run, tensors[:count]  # ``seen`` holds on to them anyway
        ctx.save_for_backward(*tensors[count:])
        return _attended(run, *tensors[count:])

    @staticmethod
    def backward(ctx: Any, d_out: Tensor) -> tuple[Tensor | None, ...]:
        run, learned = ctx.run, ctx.learned
        if torch.is_grad_enabled():
            return None, None, *_again(run, learned, ctx.saved_tensors, d_out)
        wholes = [torch.zeros_like(t) for t in ctx.saved_tensors]
        d_learned = [torch.zeros_like(t) for t in learned]
        d_out = d_out.contiguous()
        for piece in run.pieces:
            inputs = [t.requires_grad_() for t in run.gather(piece, *ctx.saved_tensors)]
            with torch.enable_grad():
                out = run(piece, *inputs)
            d_part = d_out.index_select(0, piece.items)
            found = torch.autograd.grad(out, (*inputs, *learned), d_part, allow_unused=bool(learned))
            run.add(piece, found[:3], wholes)
            for whole, part in zip(d_learned, found[3:], strict=True):
                if part is not None:
                    whole += part
        return None, None, *d_learned, *wholes
