"""A linear map in machine code of ours: as fast as oneDNN's on many rows, and at memory's speed on few."""

from array import array
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor, nn

from variorum.core import VariorumError
from variorum.layers.channels.activation import Activation
from variorum.layers.native.chain import Bound
from variorum.layers.native.large_pages import in_large_pages
from variorum.layers.native.machine_code import available, machine, threaded
from variorum.layers.native.tally import tell
from variorum.runtime.engine.kernels.product import FINISHED, SCALED, VECTORS, Form, Normed, Numbers, product
from variorum.runtime.engine.linears.fast_linear import FastLinear

_LARGEST, _SMALLEST = 127.0, 1e-30
_LEAST_SCALE = 2**-24
"""The smallest number of float16 above 0."""
_ALONE = 1 << 15
"""Products of so many multiplications are done by one thread: another would take longer to wake."""


@cache
def fits(numbers: Numbers) -> bool:
    """Is the kernel the best there is for these numbers here? It needs llvmlite and vectors of 512 bits, and has no use
    of the tiles (AMX) in which some processors multiply what is less exact than float32.
    """
    if not available() or not threaded() or machine().lanes < 16:
        return False
    if numbers is Numbers.FLOAT32:
        return True
    if numbers is Numbers.INT8_GROUPED:
        return machine().dots
    tiles = torch.cpu._is_amx_tile_supported()
    return not tiles and (machine().dots if numbers is Numbers.INT8 else machine().halves)


class NativeLinear(FastLinear):
    """after(W norm(x) + b) [+ residual], activations and weights in ``numbers``, all else in float32.

    INT8: x_t ~ (q_t - z_t) s_t for each token t, q of 0 to 255 between its smallest number and its largest, and
    W_i ~ Q_i s_i for each output i, s = max|W_i| / 127. INT8_GROUPED: for each group g of 32 inputs x_tg ~ q_tg s_tg,
    s = max|x_tg| / 127, and W_ig ~ Q_ig s_ig, s = max|W_ig| / 127 in float16. The norm, the rounding, the scales, the
    nonlinearity and the sum are done where the product is. An answer does not depend, to the last bit, on what else is
    in the batch, nor on the number of threads.
    norm: of each row, without shift, which the bias given has taken in; with a ``gain`` (source,) if the weights have
    not taken that in.    gated: after(W_1 x + b_1) *
    (W_2 x + b_2) of the two halves of W and b.
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None,
        *,
        numbers: Numbers,
        after: Activation = Activation.IDENTITY,
        gives: torch.dtype = torch.float32,
        norm: Normed | None = None,
        gain: Tensor | None = None,
        gated: bool = False,
    ) -> None:
        super().__init__(weight, bias, after=after, gives=gives)
        if gated and after not in FINISHED:
            raise VariorumError("gates", expected=f"one of {', '.join(FINISHED)}", found=str(after),
                                do="Multiply gates and what they let through by themselves.")  # fmt: skip
        self.numbers, self.norm, self.gain, self.gated = numbers, norm, gain, gated
        self.out_features //= 2 if gated else 1
        self._inside = after if after in FINISHED else Activation.IDENTITY
        self._held: _Held | None = None

    def prepare(self, rows: Tensor) -> Tensor:
        """The rows, in float32 or bfloat16."""
        return (rows if rows.dtype in (torch.float32, torch.bfloat16) else rows.float()).contiguous()

    def multiply(self, prepared: Tensor, residual: Tensor | None = None) -> Tensor:
        """after(W norm(x) + b) [+ residual], in the type ``gives``; a residual (rows, dim) of that type."""
        if prepared.shape[1] != self.in_features:
            raise VariorumError("linear", expected=f"rows of {self.in_features} numbers", found=f"{prepared.shape[1]}",
                                do="Pass what the map was built for.")  # fmt: skip
        out = prepared.new_empty(prepared.shape[0], self.out_features, dtype=self.gives)
        if residual is not None and (residual.shape != out.shape or residual.dtype != out.dtype
                                     or not residual.is_contiguous() or self._inside is not self.after):  # fmt: skip
            raise VariorumError("residual", expected=f"contiguous {out.dtype} of {tuple(out.shape)}, behind {FINISHED}",
                                found=f"{residual.dtype} of {tuple(residual.shape)} behind {self.after}",
                                do="Add it to the answer.")  # fmt: skip
        held, rows = self._laid_out(), prepared.shape[0]
        work = rows * self.in_features * self.out_features
        tell("products", lambda: 2 * held.outputs * rows * self.in_features)
        held.kernel(prepared.dtype == torch.bfloat16, residual is not None)(
            prepared.data_ptr(), *held.addresses, 0 if residual is None else residual.data_ptr(), out.data_ptr(), rows,
            self.in_features, self.out_features, 1 if work < _ALONE else torch.get_num_threads(),
        )  # fmt: skip
        return out if self._inside is self.after else self.after.consuming(out)

    def bound(self, x: Tensor, out: Tensor, residual: Tensor | None = None) -> Bound:
        """The kernel and its arguments for tensors that stay where they are, as a link of a chain of kernels; x
        (rows, source), out and residual (rows, dim), contiguous, of the types that :meth:`multiply` has.
        """
        held, more = self._laid_out(), 0 if residual is None else residual.data_ptr()
        table = array("q", (x.data_ptr(), *held.addresses, more, out.data_ptr(), len(x), self.in_features,
                            self.out_features))  # fmt: skip
        return Bound(held.kernel(x.dtype == torch.bfloat16, residual is not None), table)

    def _laid_out(self) -> "_Held":
        """Made at the first call: a part that is never called this way holds no second copy of its weights."""
        if self._held is None:
            self._held = _Held(self)
        return self._held


class _Held:
    """What the kernel reads beside activations, and the kernels of a map. Copies of the map share it."""

    @torch.inference_mode()
    def __init__(self, linear: NativeLinear) -> None:
        numbers = linear.numbers
        plain = linear.weight.detach().float()
        shift = plain.new_zeros(len(plain)) if linear.bias is None else linear.bias.detach().float()
        plain, shift = (_blocks(t, gated=linear.gated) for t in (plain, shift))
        scale = totals = torch.empty(0)
        if numbers is Numbers.INT8:
            scale = plain.abs().amax(dim=1).clamp_min(_SMALLEST) / _LARGEST
            plain = (plain / scale[:, None]).round_()
            totals = plain.sum(dim=1).to(torch.int32)
        self.outputs = len(linear.weight)
        laid = scaled(plain) if numbers is Numbers.INT8_GROUPED else laid_out(plain, numbers)
        gain = torch.empty(0) if linear.gain is None else linear.gain.detach().float()
        gain = nn.functional.pad(gain, (0, -len(gain) % machine().lanes))
        self._read = in_large_pages(laid), scale, totals, shift, gain
        self.addresses = tuple(t.data_ptr() for t in self._read)
        self._form = Form(numbers, linear._inside, half_out=linear.gives == torch.bfloat16, gated=linear.gated,
                          norm=linear.norm and linear.norm._replace(gain=linear.gain is not None))  # fmt: skip
        self._kernels: dict[tuple[bool, bool], Callable[..., None]] = {}

    def kernel(self, half: bool, residual: bool) -> Callable[..., None]:
        """The kernel for activations of bfloat16 or not, and something to add or nothing."""
        found = self._kernels.get((half, residual))
        if found is None:
            found = self._kernels[half, residual] = product(self._form._replace(half_in=half, residual=residual))
        return found

    def __deepcopy__(self, memo: object) -> "_Held":
        return self


def _blocks(outputs: Tensor, *, gated: bool) -> Tensor:
    """What belongs to each output (outputs, ...), in whole blocks; of gated ones, each block's gates come first."""
    lanes = machine().lanes
    halves, wide = (outputs.chunk(2), lanes) if gated else ((outputs,), VECTORS * lanes)
    rest = [0] * (2 * (outputs.dim() - 1))
    parts = [nn.functional.pad(part, (*rest, 0, -len(part) % wide)).unflatten(0, (-1, wide)) for part in halves]
    return torch.cat(parts, dim=1).flatten(0, 1).contiguous()


def laid_out(weight: Tensor, numbers: Numbers) -> Tensor:
    """A matrix (outputs, source) of whole blocks as the kernel reads it: (blocks, source / group, outputs of a block,
    group).
    """
    dtype = {Numbers.FLOAT32: torch.float32, Numbers.BFLOAT16: torch.bfloat16, Numbers.INT8: torch.int8}[numbers]
    whole = nn.functional.pad(weight, (0, -weight.shape[1] % numbers.group)).to(dtype)
    blocks = whole.unflatten(0, (-1, VECTORS * machine().lanes))
    return blocks.unflatten(2, (-1, numbers.group)).transpose(1, 2)


def scaled(weight: Tensor) -> Tensor:
    """A matrix (outputs, source) of whole blocks in 8 bits, each group of inputs behind the scales of its outputs:
    bytes (blocks, groups, 2 outputs of a block + group * outputs of a block), 128 more than the numbers they stand for.
    """
    whole = nn.functional.pad(weight, (0, -weight.shape[1] % SCALED))
    parts = whole.unflatten(0, (-1, VECTORS * machine().lanes)).unflatten(2, (-1, SCALED)).transpose(1, 2)
    scales = (parts.abs().amax(dim=3) / _LARGEST).clamp_min(_LEAST_SCALE).half()
    rounded = (parts / scales[..., None].float()).round_().clamp_(-_LARGEST, _LARGEST)
    fours = (rounded + 128).to(torch.uint8).unflatten(3, (-1, 4)).transpose(2, 3)
    return torch.cat([scales.view(torch.uint8), fours.flatten(2)], dim=2)
