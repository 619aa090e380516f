"""The contract suite catches every classic fault, planted into the source of a healthy part."""

import inspect
import types
from collections.abc import Iterator
from dataclasses import dataclass
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
from variorum.layers.positions.learned_rotary import LearnedRotary
from variorum.layers.positions.rotary import Rotary


@dataclass(frozen=True)
class Fault:
    """What is planted, as pairs of source text and what takes its place. breaks: the checks that fail; no other may."""

    name: str
    part: type[Registered]
    edits: tuple[tuple[str, str], ...]
    breaks: set[str]
    examples: tuple[dict[str, Any], ...] = ()


CAUSAL = ({"heads": 2, "pattern": Causal.spec()},)
ROTARY = ({"heads": 2, "pattern": Causal.spec(), "rotation": Rotary.spec()},)
PACKED = {"packed-equals-alone", "padding-changes-nothing"}
INDEPENDENT = {"rows-are-independent", "rows-are-independent-in-training"}
STREAMED = {"steps-equal-the-whole", "pieces-equal-the-whole", "uneven-pieces-equal-the-whole"}
AHEAD = {"no-look-ahead", "a-row-may-end-anywhere"}

NO_MASK = """
        if layout is not None and layout.packed:
            padded = [nn.utils.rnn.pad_sequence(t.split(layout.lengths), batch_first=True) for t in (q, k, v)]
            rows = zip(self._attend(*padded), layout.lengths, strict=True)
            return self._joined(torch.cat([row[:n] for row, n in rows]))
        return self._joined(each_row"""

KEEP_STATE = """
        if "kept" in self.__dict__ and len(self.__dict__["kept"]) == batch:
            return State(last=self.__dict__["kept"])
        return State(last="""

FAULTS = [
    Fault(
        "padding leaks through the softmax", Attention,
        (("\n        return self._joined(each_row", NO_MASK),),
        PACKED, ({"heads": 2},),
    ),
    Fault(
        "a pattern looks ahead by one", Causal,
        (("<= queries.unsqueeze(-1)", "<= queries.unsqueeze(-1) + 1"),),
        {"pattern-of-any-positions"},
    ),
    Fault(
        "a convolution looks ahead by one", ShortConv,
        (("F.pad(rows, (0, 0, self.width - 1, 0))", "F.pad(rows, (0, 0, self.width - 2, 1))"),),
        AHEAD | STREAMED,
    ),
    Fault(
        "the state is not reset between calls", ShortConv,
        (
            ("\n        return State(last=", KEEP_STATE),
            ("            return self._conv(seen)", "            self.__dict__['kept'] = seen[:, -3:].detach()\n"
             "            return self._conv(seen)"),
        ),
        {"a-new-stream-starts-anew", "pieces-equal-the-whole"},
    ),
    Fault(
        "a norm over the tokens of the packed batch", RMSNorm,
        (("F.rms_norm(x, (self.size,), self.weight, self.eps)",
          "x / (x.flatten(0, -2).square().mean(0) + self.eps).sqrt() * (1 if self.weight is None else self.weight)"),),
        AHEAD | INDEPENDENT | PACKED | {"later-pieces-by-their-start"},
    ),
    Fault(
        "a parameter without gradient", MLP,
        (("self.activation = ", "self.idle = nn.Parameter(self.up.weight.new_ones(3))\n        self.activation = "),),
        {"gradient-reaches-parameters"},
    ),
    Fault(
        "quadratic work declared linear", Attention,
        (("sparse if self.reach is None else Growth.LINEAR", "Growth.LINEAR"),),
        {"work-grows-as-declared"}, CAUSAL,
    ),
    Fault(
        "linear work declared quadratic", ShortConv,
        (("streams=True", "streams=True, growth='n^2'"),),
        {"work-grows-as-declared"},
    ),
    Fault(
        "rows leak into each other", MeanPool,
        (("rows.mean(dim=1)", "rows.mean(dim=1) + rows.mean(dim=(0, 1))"),),
        INDEPENDENT | PACKED,
    ),
    Fault(
        "bfloat16 answered in float32", MLP,
        (
            ("        return self.dropout(self.down(inner if self.norm is None else self.norm(inner)))",
             "        y = self.dropout(self.down(inner if self.norm is None else self.norm(inner)))\n"
             "        return y.to(torch.promote_types(y.dtype, torch.float32))"),
            ("from jaxtyping import", "import torch\nfrom jaxtyping import"),
        ),
        {"dtype-is-kept"},
    ),
    Fault(
        "a convolution over row borders", ShortConv,
        (("each_row(lambda rows: self._conv(F.pad(rows, (0, 0, self.width - 1, 0))), layout, x)",
          "self._conv(F.pad(x.view(-1, *x.shape[-2:]), (0, 0, self.width - 1, 0))).view(x.shape)"),),
        {"packed-equals-batch", "rows-are-independent"} | PACKED,
    ),
    Fault(
        "a step forgets its position", Attention,
        (('q, k, (layout or Layout()).but(start=state.tensor("length")).positions(x)',
          "q, k, positions(x, layout)"),),
        STREAMED, ROTARY,
    ),
    Fault(
        "a piece forgets where it starts", LearnedPosition,
        (("layout.packed or layout.start is not None", "layout.packed"),),
        {"later-pieces-by-their-start"},
    ),
    Fault(
        "pieces are counted as steps", Attention,
        (("State(keys=keys, values=values, length=length + k.shape[1])",
          "State(keys=keys, values=values, length=length + 1)"),),
        {"pieces-equal-the-whole", "uneven-pieces-equal-the-whole"}, CAUSAL,
    ),
    Fault(
        "what it needs is not saved", RMSNorm,
        (
            ("        self.weight = ",
             "        self.register_buffer('noise', torch.randn(dim), persistent=False)\n        self.weight = "),
            ("self.weight, self.eps)", "self.weight, self.eps) + self.noise"),
        ),
        {"saved-and-loaded"},
    ),
    Fault(
        "it writes into its input", RMSNorm,
        (("            return F.rms_norm", "            x.add_(0.5)\n            return F.rms_norm"),),
        {"memory-format-does-not-matter", "gradients-are-right"},
    ),
    Fault(
        "chance in eval mode", MLP,
        (("return self.dropout(", "return x.new_empty(x.shape).normal_() * 1e-12 + self.dropout("),),
        {"eval-mode-repeats", "saved-and-loaded"},
    ),
    Fault(
        "a wrong annotation", RMSNorm,
        (('-> Float[Tensor, "*any dim"]', '-> Float[Tensor, "*any dim dim"]'),),
        {"annotations-hold"},
    ),
    Fault(
        "a rotation that is not relative", LearnedRotary,
        (("positions[..., None, None] * self.angle", "positions[..., None, None] ** 2 * self.angle"),),
        {"rotation-is-relative"},
    ),
    Fault(
        "a term without its gradient", MLP,
        (("return self.dropout(", "return (self.up.weight.sum() / 9).detach() + self.dropout("),),
        {"gradients-are-right"},
    ),
]  # fmt: skip


def planted(fault: Fault) -> type[Registered]:
    """The part's own module, edited and run under another class name."""
    source = inspect.getsource(inspect.getmodule(fault.part))
    for old, new in fault.edits:
        assert source.count(old) == 1, f"{fault.part.__name__} holds {old!r} {source.count(old)} times"
        source = source.replace(old, new)
    name = f"Faulty{fault.part.__name__}"
    module = types.ModuleType("planted")
    exec(compile(source.replace(fault.part.__name__, name), module.__name__, "exec"), module.__dict__)
    part: type[Registered] = module.__dict__[name]
    if fault.examples:
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
    assert not broken(planted(Fault("none", part, (), set())))
