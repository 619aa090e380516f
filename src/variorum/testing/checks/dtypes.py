"""Numbers: the type of the parameters is kept, and stays finite."""

import torch
from torch import nn

from variorum.testing.example import Example, tensors
from variorum.testing.needs import CALLED, MODULE
from variorum.testing.suite import promise


@promise(MODULE, CALLED)
def dtype_is_kept(example: Example) -> None:
    """In float32, bfloat16 and float64 the answers have the type of parameters and inputs, and are finite."""
    size = example.size(7)
    rows = example.rows(size, size)
    for dtype in (torch.float32, torch.bfloat16, torch.float64):
        part: nn.Module = example.build(dtype)
        for out in tensors(part(**example.given(rows, size, dtype))):
            if out.is_floating_point():
                assert out.dtype == dtype, f"{dtype} gave {out.dtype}"
            assert out.isfinite().all(), f"{dtype} gave numbers that are not finite"
