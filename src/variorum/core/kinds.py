"""The kinds of parts: what each is given and gives. ``*tokens`` is (batch, n), or (tokens,) with a packed layout."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

from torch import Tensor

from variorum.core.layout import Layout
from variorum.core.part import Part
from variorum.core.registry import Registered
from variorum.core.state import State


class Memory(NamedTuple):
    """What a part attends to elsewhere: tokens ``x`` (*tokens, dim) and how they lie."""

    x: Tensor
    layout: Layout | None = None


class TokenPart(Part, abstract=True):
    """Maps tokens (*tokens, dim) to tokens (*tokens, dim), row by row."""

    kind: ClassVar[str] = "token part"

    @abstractmethod
    def forward(self, x: Tensor, layout: Layout | None = None, memory: Memory | None = None) -> Tensor:
        """``x`` (*tokens, dim) -> (*tokens, dim)."""


class Streaming(ABC):
    """A token part that can also go through a row piece by piece: pieces put together equal the whole."""

    @abstractmethod
    def start(self, batch: int) -> State:
        """The state before the first token of each of ``batch`` rows."""

    @abstractmethod
    def advance(
        self, x: Tensor, state: State, layout: Layout | None = None, memory: Memory | None = None
    ) -> tuple[Tensor, State]:
        """The next piece of every row, ``x`` (batch, n, dim), or packed pieces of uneven, even zero, length."""

    def step(self, x: Tensor, state: State, memory: Memory | None = None) -> tuple[Tensor, State]:
        """The next token of every row: ``x`` (batch, dim) -> (batch, dim)."""
        out, state = self.advance(x.unsqueeze(1), state, None, memory)
        return out.squeeze(1), state


class Mixer(TokenPart, abstract=True):
    """Moves information between the tokens of a row."""

    kind: ClassVar[str] = "mixer"


class Layer(TokenPart, abstract=True):
    """A layer of a model: mixers and channels with their norms and residuals."""

    kind: ClassVar[str] = "layer"
    taps: ClassVar[tuple[str, ...]] = ("residual",)


class Channel(Part, abstract=True):
    """Mixes the channels of one token at a time: (*any, dim) -> (*any, dim)."""

    kind: ClassVar[str] = "channel"

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """``x`` (*any, dim) -> (*any, dim)."""


class Norm(Part, abstract=True):
    """Normalises each token alone: (*any, dim) -> (*any, dim)."""

    kind: ClassVar[str] = "norm"

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """``x`` (*any, dim) -> (*any, dim)."""


class Residual(Part, abstract=True):
    """Joins a branch to the stream: PreNorm gives ``x + f(norm(x))``."""

    kind: ClassVar[str] = "residual"

    @abstractmethod
    def forward(self, x: Tensor, branch: Callable[[Tensor], Tensor], layout: Layout | None = None) -> Tensor:
        """``x`` (*tokens, dim) and the branch -> (*tokens, dim)."""


class Position(Part, abstract=True):
    """Adds to each token where it is."""

    kind: ClassVar[str] = "position"

    @abstractmethod
    def forward(self, x: Tensor, layout: Layout | None = None) -> Tensor:
        """``x`` (*tokens, dim) -> (*tokens, dim)."""


class Rotation(Part, abstract=True):
    """Turns queries and keys by where they are, so that their product depends on the distance."""

    kind: ClassVar[str] = "rotation"

    @abstractmethod
    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        """``x`` (*tokens, heads, head_dim), ``positions`` (*tokens) or (n,) -> like ``x``."""


class ScoreBias(Part, abstract=True):
    """A term added to attention scores."""

    kind: ClassVar[str] = "score bias"

    @abstractmethod
    def forward(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Positions ``queries`` (..., n) and ``keys`` (..., m) -> bias (..., heads, n, m)."""


class Pattern(Registered, abstract=True):
    """Which keys a query may look at, told by positions; holds no parameters."""

    kind: ClassVar[str] = "pattern"
    causal: ClassVar[bool] = False
    dense: ClassVar[bool] = False
    """True for all keys, and for all keys not later than the query: what fused kernels know without a mask."""

    @abstractmethod
    def allowed(self, queries: Tensor, keys: Tensor) -> Tensor | None:
        """Positions ``queries`` (..., n) and ``keys`` (..., m) -> bool (..., n, m), True = may look; None = all."""


class Pool(Part, abstract=True):
    """Makes one vector of each row: (*tokens, dim) -> (rows, dim)."""

    kind: ClassVar[str] = "pool"

    @abstractmethod
    def forward(self, x: Tensor, layout: Layout | None = None) -> Tensor:
        """``x`` (*tokens, dim) -> (rows, dim)."""


class Merge(Part, abstract=True):
    """Makes fewer, wider tokens between the stages of a pyramid."""

    kind: ClassVar[str] = "merge"

    @abstractmethod
    def forward(self, x: Tensor, layout: Layout | None = None) -> tuple[Tensor, Layout | None]:
        """Tokens (*tokens, source) -> tokens (*fewer, dim) and how they lie."""


class Embed(Part, abstract=True):
    """Makes tokens of raw inputs. ``reads`` names the kind of input: ids, images, table, series, ...; ``tokens`` is the
    number of tokens of a row where the sizes given to the constructor fix it.
    """

    kind: ClassVar[str] = "embed"
    reads: str
    tokens: int | None = None

    @abstractmethod
    def forward(self, inputs: Tensor, layout: Layout | None = None) -> tuple[Tensor, Layout | None]:
        """Raw inputs -> tokens (*tokens, dim) and how they lie."""


class Head(Part, abstract=True):
    """Makes answers of tokens. ``writes`` names them: logits, class, value, tokens, ..."""

    kind: ClassVar[str] = "head"
    writes: str

    @abstractmethod
    def forward(self, x: Tensor, layout: Layout | None = None) -> Tensor:
        """Tokens (*tokens, dim) -> answers."""


class Input(NamedTuple):
    """A raw input of a skeleton: the path in its Spec of the embed that reads it, such as ``encoder.embed``, and the
    argument of ``forward`` that says how it lies; None where rows must be equal.

    reads: the kind of input, if the skeleton reads it itself; ``embed`` is then the empty path, the skeleton's own.
    """

    embed: str
    layout: str | None = "layout"
    reads: str | None = None


class Skeleton(Part, abstract=True):
    """A whole model: how embeds, blocks and heads hang together.

    ``inputs`` names the arguments of ``forward`` that are raw inputs. The one whose layout is ``layout`` is the main
    one: the answers belong to its tokens, and it is the one that streams.
    """

    kind: ClassVar[str] = "skeleton"
    inputs: ClassVar[Mapping[str, Input]] = MappingProxyType({"inputs": Input("embed")})

    @abstractmethod
    def forward(self, *inputs: Any, **more: Any) -> Any:
        """Raw inputs -> answers."""


class Conditioned(ABC):
    """A streaming skeleton that reads its other inputs once, into a memory, before it goes through the main one."""

    @abstractmethod
    def encode(self, *inputs: Any, **more: Any) -> Memory:
        """The raw inputs beside the main one, by their names in ``forward`` -> what ``advance`` is given as memory."""


class Tower(Skeleton, abstract=True):
    """A skeleton whose tokens, before its head, others can attend to or build on."""

    @abstractmethod
    def hidden(
        self, inputs: Tensor, layout: Layout | None = None, memory: Memory | None = None
    ) -> tuple[Tensor, Layout | None]:
        """The tokens that the head is given, (*tokens, dim), and how they lie."""


class Loss(NamedTuple):
    """A loss as a total over ``count`` real targets, so that parts of a batch add up to exactly the whole."""

    total: Tensor
    count: Tensor  # type: ignore[assignment]  # tuple's method of this name is not used

    @property
    def mean(self) -> Tensor:
        """The loss of one target, on average; 0 where there is none."""
        return self.total / self.count.clamp(min=1)


class Objective(Part, abstract=True):
    """Scores a model's answers against targets."""

    kind: ClassVar[str] = "objective"

    @abstractmethod
    def forward(self, outputs: Any, targets: Any) -> Loss:
        """Answers and targets -> the summed loss and the number of targets it is the sum of."""
