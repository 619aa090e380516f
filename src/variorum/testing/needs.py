"""The conditions under which checks apply: what a part promises, and what its kind is given."""

from torch import nn

from variorum.core import Part, Skeleton, TokenPart
from variorum.testing.drivers import Answers
from variorum.testing.suite import Need

MODULE = Need("it is no module", lambda e: isinstance(e.part, nn.Module))
CALLED = Need("the suite does not call parts of its kind", lambda e: bool(e.streams))
PARAMETERS = Need("it has no parameters", lambda e: any(True for _ in e.part.parameters()))
TOKENS = Need("it is not given rows of tokens", lambda e: e.main is not None)
ANY_LENGTH = Need("its rows have one length only", lambda e: not e.traits.length)
SHAPED = Need("its answers are of its own shape", lambda e: e.answers is not Answers.ANY)
RAGGED = Need("it does not promise to take uneven rows", lambda e: e.traits.ragged and not e.traits.grid)
CAUSAL = Need("it does not promise to be causal", lambda e: e.traits.causal)
EQUIVARIANT = Need("it does not promise to be equivariant", lambda e: e.traits.equivariant)
STREAMS = Need("it does not promise to stream", lambda e: e.traits.streams)
STATEFUL = Need("parts of its kind keep no state", lambda e: issubclass(e.cls, TokenPart | Skeleton))
STATELESS = Need("it streams with a state", lambda e: not issubclass(e.cls, TokenPart | Skeleton))
EXPORTS = Need("it does not promise to export", lambda e: e.traits.exports)
TAPS = Need("it has no taps", lambda e: isinstance(e.part, Part) and bool(e.part.taps))
