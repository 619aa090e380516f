"""The plain skeleton: embed, blocks, norm, head."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, cast

from torch import Tensor, nn

from variorum.core import (
    Concluding,
    DepthMix,
    Embed,
    Head,
    Initialiser,
    Layer,
    Layout,
    Memory,
    Norm,
    Spec,
    State,
    Streaming,
    StreamingEmbed,
    Tower,
    Traits,
    VariorumError,
    initialise,
    promises,
)
from variorum.layers.channels.mlp import MLP
from variorum.layers.depth.softmax_choice import SoftmaxChoice
from variorum.layers.embed.tokens import TokenEmbed
from variorum.layers.heads.classifier import Classifier
from variorum.layers.heads.unembed import Unembed
from variorum.layers.mixers.attention import Attention
from variorum.layers.norms.layernorm import LayerNorm
from variorum.layers.patterns.causal import Causal
from variorum.layers.positions.learned import LearnedPosition
from variorum.models.blocks.block import Block, streaming
from variorum.models.streams import begin, place
from variorum.models.tying import tie

_CAUSAL = Block.spec(mixer=Attention.spec(heads=2, pattern=Causal.spec()), channels=MLP.spec())
_BOTH = Block.spec(mixer=Attention.spec(heads=2), channels=MLP.spec())
_EMBED = TokenEmbed.spec(position=LearnedPosition.spec(length=64))


class StepShortcut(ABC):
    """A faster way of one new token of each row through all blocks of a stack, with the same answers; it may decline a
    call by answering None.
    """

    @abstractmethod
    def advance(self, x: Tensor, states: Sequence[State]) -> tuple[Tensor, Sequence[State]] | None:
        """Tokens (rows, 1, dim) behind the blocks, and the states of the blocks after them."""


class Stack(Tower, Streaming, Concluding):
    """head(norm(block_L(... block_1(embed(inputs))))).

    Blocks with a cross mixer attend to ``memory``.
    tied: pairs of parameter names that are one tensor, such as ``("head.linear.weight", "embed.token.weight")``.
    choices: the i-th makes what follows block i of the outputs of the embedding and of all blocks up to it; a block
    without one is followed by its output alone.
    initial: initial values, applied in order, where they are not those that the parts have of themselves.
    With streaming blocks the whole model streams: ``start``, ``advance``, ``step``.

    shortcut: none unless an engine has put one here (``variorum.compile``).
    """

    examples = (
        {"embed": _EMBED, "blocks": [_CAUSAL] * 2, "head": Unembed.spec()},
        {"embed": _EMBED, "blocks": [_BOTH] * 2, "head": Classifier.spec()},
        {"embed": _EMBED, "blocks": [_CAUSAL] * 2, "head": Unembed.spec(), "choices": [SoftmaxChoice.spec()] * 2},
    )

    def __init__(
        self,
        dim: int,
        *,
        embed: Spec[Embed],
        blocks: Sequence[Spec[Layer]],
        head: Spec[Head],
        norm: Spec[Norm] = LayerNorm.spec(),
        choices: Sequence[Spec[DepthMix]] = (),
        tied: Sequence[tuple[str, str]] = (),
        initial: Sequence[Spec[Initialiser]] = (),
    ) -> None:
        super().__init__()
        self.shortcut: StepShortcut | None = None
        if len(choices) > len(blocks):
            raise VariorumError("Stack choices", expected=f"at most one for each of the {len(blocks)} blocks",
                                found=f"{len(choices)}", do="Leave some out.")  # fmt: skip
        self.embed = embed.build(dim=dim)
        self.blocks = nn.ModuleList(block.build(dim=dim) for block in blocks)
        self.norm = norm.build(dim=dim)
        self.head = head.build(dim=dim)
        self.choices = nn.ModuleList(choice.build(count=i + 2) for i, choice in enumerate(choices))
        tie(self, tied)
        initialise(self, initial)

    @property
    def traits(self) -> Traits:
        """The promises of embed, blocks and head one after the other; a piece is counted in raw inputs."""
        tokens = promises((*self.blocks, self.head))
        return self.embed.traits.along(tokens).but(piece=self.embed.traits.piece * tokens.piece)

    def forward(self, inputs: Tensor, layout: Layout | None = None, memory: Memory | None = None) -> Tensor:
        x, layout = self.hidden(inputs, layout, memory)
        return self.head(x, layout)

    def hidden(
        self, inputs: Tensor, layout: Layout | None = None, memory: Memory | None = None
    ) -> tuple[Tensor, Layout | None]:
        x, layout = self.embed(inputs, layout)
        x = self._through(x, lambda i, x: self.blocks[i](x, layout, memory))
        return self.norm(x), layout

    def start(self, batch: int) -> State:
        parts = {str(i): streaming(block).start(batch) for i, block in enumerate(self.blocks)}
        if isinstance(self.embed, StreamingEmbed):
            parts["embed"] = self.embed.start(batch)
        return begin(self, batch, parts)

    def advance(
        self, x: Tensor, state: State, layout: Layout | None = None, memory: Memory | None = None
    ) -> tuple[Tensor, State]:
        """The next piece of the raw inputs of every row, and the head's answers to it."""
        x, layout, state = self._advance(x, state, layout, memory)
        return self.head(self.norm(x), layout), state

    def conclude(self, x: Tensor, state: State, layout: Layout, memory: Memory | None = None) -> tuple[Tensor, State]:
        x, after, state = self._advance(x, state, layout, memory)
        ends = (layout if after is None else after).ends
        if self.head.traits.pointwise:
            return self.head(self.norm(x[ends])), state
        return self.head(self.norm(x), after)[ends], state

    def _advance(
        self, x: Tensor, state: State, layout: Layout | None, memory: Memory | None
    ) -> tuple[Tensor, Layout | None, State]:
        """Tokens as the last block leaves them, how they lie, and the state behind them."""
        layout, length = place(x, state, layout)
        after: dict[str, Any] = {"length": length}
        if isinstance(self.embed, StreamingEmbed):
            x, layout, after["embed"] = self.embed.advance(x, state.child("embed"), layout)
        else:
            x, layout = self.embed(x, layout)

        if (found := self._stepped(x, state, layout, memory)) is not None:
            x, states = found
            after.update((str(i), state) for i, state in enumerate(states))
            return x, layout, State(after)

        def go_on(i: int, x: Tensor) -> Tensor:
            block = cast(Streaming, self.blocks[i])  # as ``start``, which made the state, has found
            x, after[str(i)] = block.advance(x, state.child(str(i)), layout, memory)
            return x

        return self._through(x, go_on), layout, State(after)

    def _stepped(
        self, x: Tensor, state: State, layout: Layout | None, memory: Memory | None
    ) -> tuple[Tensor, Sequence[State]] | None:
        """By the shortcut, where it can be taken."""
        short = self.shortcut
        if short is None or memory is not None or x.dim() != 3 or (layout is not None and layout.packed):
            return None
        return short.advance(x, [state.child(str(i)) for i in range(len(self.blocks))])

    def _through(self, x: Tensor, visit: Callable[[int, Tensor], Tensor]) -> Tensor:
        """The blocks one after another, each given what is chosen of the outputs before it."""
        outputs = [x]
        for i in range(len(self.blocks)):
            x = visit(i, x)
            if i < len(self.choices):
                outputs.append(x)
                x = self.choices[i](outputs)
        return x
