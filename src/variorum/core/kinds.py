"""The kinds of parts: what each is given and gives. ``*tokens`` is (batch, n), or (tokens,) with a packed layout."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

from torch import Tensor

from variorum.core.layout import Layout
from variorum.core.part import Part
from variorum.core.registry import Registered
from variorum.core.state import State


class Memory(NamedTuple):
    """What a part attends to elsewhere: tokens ``x`` (*tokens, dim) and how they lie.

    made: what parts have made of ``x``, such as keys and values, tensors along its tokens; None: nothing is kept.
    """

    x: Tensor
    layout: Layout | None = None
    made: dict[Part, tuple[Tensor, ...]] | None = None

    def keeping(self) -> "Memory":
        """The same memory, of which each part makes what it needs once: for rows that are written token by token."""
        return self._replace(made={})

    def once(self, part: Part, make: Callable[[Tensor], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        """``make(x)``; of a memory that keeps, made for ``part`` the first time only."""
        if self.made is None:
            return make(self.x)
        if part not in self.made:
            self.made[part] = make(self.x)
        return self.made[part]


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

    def step(
        self, x: Tensor, state: State, memory: Memory | None = None, layout: Layout | None = None
    ) -> tuple[Tensor, State]:
        """The next token of every row: ``x`` (batch, dim) -> (batch, dim). ``layout``: of rows of one token."""
        out, state = self.advance(x.unsqueeze(1), state, layout, memory)
        return out.squeeze(1), state


class Concluding(ABC):
    """A streaming model that can answer the last token of each row alone, for less than all of them."""

    @abstractmethod
    def conclude(self, x: Tensor, state: State, layout: Layout, memory: Memory | None = None) -> tuple[Tensor, State]:
        """The next piece of every row, packed and none empty: what ``advance`` answers to its last token, (rows, ...),
        and the state behind it.
        """


class Absorbing(ABC):
    """A streaming part that can take tokens into its state for less than it costs to answer them as well."""

    @abstractmethod
    def absorb(self, x: Tensor, state: State, layout: Layout | None = None, memory: Memory | None = None) -> State:
        """The state after the next piece of every row, the one that ``advance`` would give."""


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


class Projection(Part, abstract=True):
    """Maps the channels of one token to others, where a matrix could stand: (*any, source) -> (*any, dim)."""

    kind: ClassVar[str] = "projection"

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """``x`` (*any, source) -> (*any, dim)."""


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
        """``x`` (*tokens, dim) and the branch -> (*tokens, dim). Some are also given ``memory``: see :meth:`join`."""

    def join(
        self, x: Tensor, branch: Callable[[Tensor], Tensor], layout: Layout | None, memory: Memory | None
    ) -> Tensor:
        """As ``forward``; a residual whose traits say ``memory`` is given it, as a fourth argument: a condition."""
        return self(x, branch, layout, memory) if self.traits.memory else self(x, branch, layout)


class Injection(Part, abstract=True):
    """Shows a loop its input again: joins what the last pass gave to what went in, each token alone."""

    kind: ClassVar[str] = "injection"

    @abstractmethod
    def start(self, x: Tensor) -> Tensor:
        """What stands for the last pass before the first: the input ``x`` (*any, dim) -> (*any, dim)."""

    @abstractmethod
    def forward(self, y: Tensor, x: Tensor) -> Tensor:
        """The last pass ``y`` (*any, dim) and the input ``x`` (*any, dim) -> what goes in next, (*any, dim)."""


class DepthMix(Part, abstract=True):
    """Makes what a layer is given of the outputs of all layers before it; built with their ``count``."""

    kind: ClassVar[str] = "depth mix"

    @abstractmethod
    def forward(self, outputs: Sequence[Tensor]) -> Tensor:
        """``count`` outputs (*tokens, dim), the embedding's first -> (*tokens, dim)."""


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
    causal: bool = False
    dense: bool = False
    """True for all keys, and for all keys not later than the query: what fused kernels know without a mask."""
    piece: int | None = None
    """Rows are cut into pieces of this many positions, and no query looks at a key of a later piece than its own; None:
    no such cut, but for a causal pattern, whose pieces are single positions."""
    reach: int | None = None
    """A query looks at no key that is this far behind the last position of its piece (of a causal pattern: behind
    itself), or further; None: no such bound."""

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


class Expand(Part, abstract=True):
    """Makes more, narrower tokens: the way back of a merge, in a decoder's stages."""

    kind: ClassVar[str] = "expand"

    @abstractmethod
    def forward(self, x: Tensor, layout: Layout | None = None) -> tuple[Tensor, Layout | None]:
        """Tokens (*tokens, source) -> tokens (*more, dim) and how they lie."""


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


class StreamingEmbed(ABC):
    """An embed whose tokens are made of several raw inputs each, piece by piece: pieces put together equal the whole.

    Its trait ``piece`` is the number of raw inputs that make one token.
    """

    @abstractmethod
    def start(self, batch: int) -> State:
        """The state before the first raw input of each of ``batch`` rows."""

    @abstractmethod
    def advance(
        self, inputs: Tensor, state: State, layout: Layout | None = None
    ) -> tuple[Tensor, Layout | None, State]:
        """The next piece of every row's raw inputs -> its tokens, how they lie, and the state after them."""


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


class Answers(NamedTuple):
    """Several answers to one question, where a model in training is judged by more than its last one.

    Its loss is sum_k weights_k * objective(each_k) + judge(beside, targets): ``judge``, where there is one, gives a sum
    over the same targets for what else the model answers. Lee et al. 2014, arXiv:1409.5185 (deeply-supervised nets).
    """

    each: tuple[Tensor, ...]
    weights: tuple[float, ...]
    beside: tuple[Tensor, ...] = ()
    judge: Callable[[tuple[Tensor, ...], Any], Tensor] | None = None


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
