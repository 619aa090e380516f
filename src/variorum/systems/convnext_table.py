"""The ladder from ResNet-50 to ConvNeXt-T as a table: parameters and arithmetic of each rung."""

import torch
from torch.utils.flop_counter import FlopCounterMode

from variorum.systems.convnext_ladder import STEPS, Road, ladder
from variorum.systems.convnext_start import resnet


def measured(spec: Road, *, size: int = 224, classes: int = 1000) -> tuple[int, int]:
    """Parameters, and multiplications with additions for one image of ``size`` x ``size``, built on no device."""
    with torch.device("meta"):
        model = spec.fill(channels=3, height=size, width=size, classes=classes).build().eval()
        with FlopCounterMode(display=False) as counter:
            model(torch.empty(1, 3, size, size))
    return sum(p.numel() for p in model.parameters()), counter.get_total_flops() // 2


def table() -> str:
    """The ladder as text: for each rung its parameters, its MACs at 224 x 224, and what was done."""
    lines = [f"{'rung':<24}{'parameters':>12}{'GMACs':>8}  change"]
    says = [resnet.__doc__, *(step.__doc__ for step in STEPS)]
    for (name, spec), done in zip(ladder(), says, strict=True):
        parameters, macs = measured(spec)
        lines.append(f"{name:<24}{parameters / 1e6:>11.2f}M{macs / 1e9:>8.2f}  {done}")
    return "\n".join(lines)
