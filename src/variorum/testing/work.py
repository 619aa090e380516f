"""Arithmetic, counted operation by operation."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry, sdpa_flop_count

aten = torch.ops.aten
_LOGARITHMIC = (aten.sort, aten.topk, aten._fft_c2c, aten._fft_r2c, aten._fft_c2r)
"""Operations that do about log2(length) steps for each number."""


def work(run: Callable[[], object]) -> int:
    """Arithmetic operations of ``run``: multiplications and additions of products, convolutions and attention as
    torch's counter has them, and one for each number that any other operation reads or writes, views aside.
    """
    with _Counter() as counter:
        run()
    return counter.total


class _Counter(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        packet = func._overloadpacket
        if packet is aten._scaled_dot_product_flash_attention_for_cpu:
            self.total += sdpa_flop_count(*(t.shape for t in args[:3]))
        elif packet in flop_registry:
            self.total += flop_registry[packet](*args, **kwargs, out_val=out)
        elif not func.is_view:
            numbers = max((t.numel() for t in tree_leaves((args, kwargs, out)) if isinstance(t, Tensor)), default=0)
            self.total += numbers * (math.ceil(math.log2(max(_longest(args), 2))) if packet in _LOGARITHMIC else 1)
        return out


def _longest(args: Any) -> int:
    return max((max(t.shape, default=1) for t in tree_leaves(args) if isinstance(t, Tensor)), default=1)
