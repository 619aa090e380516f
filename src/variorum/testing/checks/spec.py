"""A part is its Spec: it can be written down, read back and built again."""

import torch
from torch import nn

from variorum.core import Part, Spec, Streaming, Traits
from variorum.testing.example import Example, seeded
from variorum.testing.needs import MODULE, STATEFUL, STREAMS
from variorum.testing.suite import promise


@promise()
def spec_round_trip(example: Example) -> None:
    """The spec that the part was built from goes to JSON and comes back equal."""
    built = example.part.built_from if isinstance(example.part, Part) else example.spec
    assert built == example.spec, f"built from {built}, not from the spec given: {example.spec}"
    read = Spec.from_json(built.to_json())
    assert read == built and hash(read) == hash(built), f"it came back as {read}"
    assert read.to_json() == built.to_json(), "its JSON changed on the way"


@promise(MODULE)
def rebuilt_alike(example: Example) -> None:
    """Built again from its JSON, on no device at all, it has the same parameters and buffers."""
    with torch.device("meta"):
        again = Spec.from_json(example.spec.to_json()).build()
    first, second = ({name: tuple(t.shape) for name, t in m.state_dict().items()} for m in (example.part, again))
    assert first == second, f"its state is {second} instead of {first}"
    real = [name for name, p in again.named_parameters() if not p.is_meta]
    assert not real, f"built on the meta device, it puts {', '.join(real)} elsewhere: make tensors without device="


@promise(MODULE)
def promises_are_promises(example: Example) -> None:
    """Its traits are Traits, and do not change from one look to the next."""
    assert isinstance(example.part.traits, Traits), f"its traits are {example.part.traits!r}"
    assert example.part.traits == example.build(seed=1).traits, "two parts of one spec promise different things"
    assert example.traits.alone or example.traits.memory, "it works neither with a memory nor without"


@promise(MODULE)
def same_seed_same_part(example: Example) -> None:
    """Built twice under one seed, its parameters and buffers are the same."""
    first, second = (_seeded(example).state_dict() for _ in range(2))
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), f"{name} differs: draw it with torch's generator"


@promise(STREAMS, STATEFUL)
def streams_as_streaming(example: Example) -> None:
    """What promises to stream is a Streaming: it has ``start`` and ``advance``."""
    assert isinstance(example.part, Streaming), "it is no variorum.core.Streaming"


def _seeded(example: Example) -> nn.Module:
    with seeded(7):
        return example.spec.build()
