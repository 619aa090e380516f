"""How a layer's branches are joined to its stream, as kernels do it: by products that take norms in, and by norms."""

from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from variorum.layers.native.chain import Bound
from variorum.layers.norms.layernorm import LayerNorm
from variorum.layers.norms.rmsnorm import RMSNorm
from variorum.layers.norms.zero_centred_rmsnorm import ZeroCentredRMSNorm
from variorum.layers.residuals.branch_norm import BranchNorm
from variorum.layers.residuals.postnorm import PostNorm
from variorum.layers.residuals.prenorm import PreNorm
from variorum.runtime.engine.kernels.product import Normed, Numbers
from variorum.runtime.engine.kernels.row_norm import bound_norm
from variorum.runtime.engine.linears.native import NativeLinear


class Gain(NamedTuple):
    """A norm's form, and what its answer is multiplied by and shifted by, if it is."""

    normed: Normed
    gain: Tensor | None
    shift: Tensor | None

    def filled(self, dim: int) -> tuple[Tensor, Tensor]:
        """Gain and shift (dim,) in float32, ones and zeros where there are none."""
        gain = torch.ones(dim) if self.gain is None else self.gain.detach().float().contiguous()
        return gain, torch.zeros(dim) if self.shift is None else self.shift.detach().float().contiguous()


def gain_of(norm: nn.Module) -> Gain | None:
    """What a norm is made of; None for one that is not of this kind."""
    if type(norm) is LayerNorm:
        return Gain(Normed(True, norm.eps), norm.weight, norm.bias)
    if type(norm) is RMSNorm and norm.groups == 1:
        return Gain(Normed(False, norm.eps), norm.weight, None)
    if type(norm) is ZeroCentredRMSNorm:
        return Gain(Normed(False, norm.eps), 1 + norm.weight.detach(), None)
    return None


class Join(NamedTuple):
    """A residual: a norm before its branch or behind the sum, and perhaps one of the branch's answer."""

    norm: Gain
    before: bool
    after: Gain | None

    def reading(self, linear: nn.Linear, numbers: Numbers, **more: Any) -> NativeLinear:
        """W (g * n + s) + b = (W g) n + (W s + b), for a norm n before the branch with gain g and shift s.

        Weights with a scale for each group are not multiplied by g, which would make the scales fit them worse; nor do
        numbers times g have a few that make the scale of all others too large.
        """
        weight, bias = linear.weight.detach(), cast(Tensor | None, linear.bias)
        if not self.before:
            return NativeLinear(weight, bias, numbers=numbers, **more)
        normed, gain, shift = self.norm
        if shift is not None:
            added = weight @ shift.detach()
            bias = added if bias is None else bias.detach() + added
        if gain is not None and numbers is not Numbers.INT8_GROUPED:
            weight, gain = weight * gain.detach(), None
        return NativeLinear(weight, bias, numbers=numbers, norm=normed, gain=gain, **more)

    def links(self, linear: NativeLinear, inner: Tensor, x: Tensor, out: Tensor) -> list[Bound]:
        """What joins W inner to x, into ``out``."""
        behind = self.after if self.before else self.norm
        if behind is None:
            return [linear.bound(inner, out, x)]
        gain = behind.filled(linear.out_features)
        if self.before:
            return [linear.bound(inner, out), bound_norm(behind.normed, out, *gain, out, x)]
        return [linear.bound(inner, out, x), bound_norm(behind.normed, out, *gain, out)]


def join_of(residual: nn.Module | None) -> Join | None:
    """What a residual is made of; None for one that is not of this kind."""
    if type(residual) is BranchNorm:
        inner, after = join_of(residual.inner), gain_of(residual.after)
        return inner._replace(after=after) if inner and after and inner.before and inner.after is None else None
    if type(residual) not in (PreNorm, PostNorm):
        return None
    norm = gain_of(cast(PreNorm, residual).norm)
    return None if norm is None else Join(norm, type(residual) is PreNorm, None)
