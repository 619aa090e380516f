"""The contract suite catches every classic fault, planted into the source of a healthy part."""

import inspect
import types
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from variorum import testing
from variorum.core import Registered, isolated
from variorum.layers.channels.mlp import MLP
from variorum.layers.mixers.attention import Attention
from variorum.layers.mixers.short_conv import ShortConv
from variorum.layers.norms.rmsnorm import RMSNorm
from variorum.layers.patterns.causal import Causal
from variorum.layers.pools.mean import MeanPool
from variorum.layers.positions.learned import LearnedPosition
from variorum.layers.positions.rotary import Rotary


@dataclass(frozen=True)
class Fault:
    """What is planted. breaks: the checks that must fail, and no other may."""

    name: str
    part: type[Registered]
    edits: dict[str, str]
    breaks: set[str]
    examples: tuple[dict[str, Any], ...] | None = field(default=None)


CAUSAL: tuple[dict[str, Any], ...] = ({"heads": 2, "pattern": Causal.spec()},)
ROTARY: tuple[dict[str, Any], ...] = ({"heads": 2, "pattern": Causal.spec(), "rotation": Rotary.spec()},)
PACKED = {"packed-equals-alone", "padding-changes-nothing"}
STREAMED = {"steps-equal-the-whole", "pieces-equal-the-whole", "uneven-pieces-equal-the-whole"}

PADDED_ATTENTION = """
        if layout is not None and layout.packed:  # rows padded to the longest, and no mask in the softmax
            cut = torch.tensor(layout.lengths).tolist()
            padded = [nn.utils.rnn.pad_sequence(t.split(cut), batch_first=True) for t in (q, k, v)]
            out = self._attend(*padded)
            return self.out(torch.cat([row[:n] for row, n in zip(out, cut)]).flatten(-2))
        return self.out(each_row"""

FAULTS = [
    Fault(
        "softmax-sees-padding", Attention,
        {"\n        return self.out(each_row": PADDED_ATTENTION},
        PACKED, ({"heads": 2},),
    ),
    Fault(
        "look-ahead-by-one", Causal, {"keys.unsqueeze(-2) <= queries.unsqueeze(-1)": "keys.unsqueeze(-2) <= queries.unsqueeze(-1) + 1"},
        {"pattern-of-any-positions"},
    ),
    Fault(
        "look-ahead-in-a-convolution", ShortConv, {"F.pad(rows, (0, 0, self.width - 1, 0))": "F.pad(rows, (0, 0, self.width - 2, 1))"},
        {"no-look-ahead", "a-row-may-end-anywhere", "pieces-equal-the-whole", "steps-equal-the-whole",
         "uneven-pieces-equal-the-whole"},
    ),
    Fault(
        "state-not-reset", ShortConv,
        {
            "        return State(last=self.weight.new_zeros(batch, self.width - 1, self.weight.shape[0]))":
            "        fresh = self.weight.new_zeros(batch, self.width - 1, self.weight.shape[0])\n"
            "        kept = self.__dict__.get('kept')\n"
            "        return State(last=fresh if kept is None or kept.shape != fresh.shape else kept)",
            "return self._conv(seen), State(last=": "self.__dict__['kept'] = seen[:, seen.shape[1] - self.width + 1 :].detach()\n"
            "            return self._conv(seen), State(last=",
        },
        {"a-new-stream-starts-anew", "pieces-equal-the-whole"},
    ),
    Fault(
        "norm-over-the-packed-tokens", RMSNorm,
        {"F.rms_norm(x, self.weight.shape, self.weight, self.eps)": "x / (x.flatten(0, -2).square().mean(0) + self.eps).sqrt() * self.weight"},
        {"no-look-ahead", "a-row-may-end-anywhere", "rows-are-independent", "rows-are-independent-in-training",
         "later-pieces-by-their-start"} | PACKED,
    ),
    Fault(
        "parameter-without-gradient", MLP,
        {"        self.activation = ": "        self.idle = nn.Parameter(self.up.weight.new_ones(3))\n        self.activation = "},
        {"gradient-reaches-parameters"},
    ),
    Fault(
        "declared-linear", Attention, {"growth=Growth.QUADRATIC": "growth=Growth.LINEAR"},
        {"work-grows-as-declared"}, CAUSAL,
    ),
    Fault(
        "declared-quadratic", ShortConv, {"causal=True, streams=True": "causal=True, streams=True, growth='n^2'"},
        {"work-grows-as-declared"},
    ),
    Fault(
        "mean-over-the-batch", MeanPool, {"rows.mean(dim=1)": "rows.mean(dim=1) + rows.mean(dim=(0, 1))"},
        {"rows-are-independent", "rows-are-independent-in-training"} | PACKED,
    ),
    Fault(
        "answers-in-float32", MLP, {"return self.dropout(self.down(self.dropout(self.activation(self.up(x)))))":
         "y = self.dropout(self.down(self.dropout(self.activation(self.up(x)))))\n"
         "        return y.to(torch.promote_types(y.dtype, torch.float32))",
         "from jaxtyping import": "import torch\nfrom jaxtyping import"},
        {"dtype-is-kept"},
    ),
    Fault(
        "convolution-over-row-borders", ShortConv,
        {"return each_row(lambda rows: self._conv(F.pad(rows, (0, 0, self.width - 1, 0))), layout, x)":
         "rows = x if x.dim() == 3 else x.unsqueeze(0)\n"
         "        return self._conv(F.pad(rows, (0, 0, self.width - 1, 0))).reshape(x.shape)"},
        {"packed-equals-batch", "rows-are-independent"} | PACKED,
    ),
    Fault(
        "step-forgets-position", Attention, {"(layout or Layout()).but(start=state.tensor(\"length\")).positions(x)": "positions(x, layout)"},
        STREAMED, ROTARY,
    ),
    Fault(
        "piece-forgets-its-start", LearnedPosition, {"layout.packed or layout.start is not None": "layout.packed"},
        {"later-pieces-by-their-start"},
    ),
    Fault(
        "rows-of-no-length-go-on", Attention, {"length=length + q.shape[1])": "length=length + 1)"},
        {"pieces-equal-the-whole", "uneven-pieces-equal-the-whole"}, CAUSAL,
    ),
    Fault(
        "constant-in-float32-buffer-not-saved", RMSNorm,
        {"        self.weight = ": "        self.register_buffer('noise', torch.randn(dim), persistent=False)\n        self.weight = ",
         "self.weight, self.eps)": "self.weight, self.eps) + self.noise.to(x.dtype)"},
        {"saved-and-loaded"},
    ),
    Fault(
        "writes-into-its-input", RMSNorm, {"        return F.rms_norm": "        x.add_(0.5)\n        return F.rms_norm"},
        {"memory-format-does-not-matter", "gradients-are-right"},
    ),
    Fault(
        "chance-in-eval-mode", MLP, {"return self.dropout(self.down(": "return x.new_empty(x.shape).normal_() * 1e-12 + self.dropout(self.down("},
        {"eval-mode-repeats", "saved-and-loaded"},
    ),
    Fault(
        "wrong-annotation", RMSNorm, {'-> Float[Tensor, "*any dim"]': '-> Float[Tensor, "*any dim dim"]'},
        {"annotations-hold"},
    ),
    Fault(
        "rotation-by-the-square-of-the-position", Rotary, {"positions.unsqueeze(-1) * frequency": "positions.unsqueeze(-1) ** 2 * frequency"},
        {"rotation-is-relative"},
    ),
    Fault(
        "detached", MLP, {"self.down(self.dropout(self.activation(self.up(x))))": "self.down(self.dropout(self.activation(self.up(x)))) + (self.up.weight.sum() * 0.1).detach()"},
        {"gradients-are-right"},
    ),
]  # fmt: skip


def planted(fault: Fault) -> type[Registered]:
    """The part's own module, edited and run under another class name."""
    source = inspect.getsource(inspect.getmodule(fault.part))
    for old, new in fault.edits.items():
        assert source.count(old) == 1, f"{fault.part.__name__} holds {old!r} {source.count(old)} times"
        source = source.replace(old, new)
    name = f"Faulty{fault.part.__name__}"
    module = types.ModuleType(f"planted_{fault.name.replace('-', '_')}")
    exec(compile(source.replace(fault.part.__name__, name), module.__name__, "exec"), module.__dict__)
    part: type[Registered] = module.__dict__[name]
    if fault.examples is not None:
        part.examples = fault.examples
    return part


def broken(part: type[Registered]) -> set[str]:
    return {result.check for result in testing.check(part).failures}


PARTS = sorted({fault.part for fault in FAULTS}, key=lambda part: part.__name__)


@pytest.fixture(autouse=True)
def apart() -> Iterator[None]:
    with isolated():
        yield


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_planted_fault_breaks_just_its_checks(fault: Fault) -> None:
    found = broken(planted(fault))
    assert found == fault.breaks, str(testing.check(f"Faulty{fault.part.__name__}"))


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.__name__)
def test_the_healthy_part_breaks_none(part: type[Registered]) -> None:
    assert not broken(part)


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.__name__)
def test_the_same_source_without_a_fault_breaks_none(part: type[Registered]) -> None:
    assert not broken(planted(Fault("none", part, {}, set())))
