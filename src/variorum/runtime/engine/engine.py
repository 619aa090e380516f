"""A compiled model, called as the one it was made of."""

import logging
from typing import Any

import torch
from torch import Tensor, nn

from variorum.core import Layout, Tower, VariorumError
from variorum.runtime.engine import door
from variorum.runtime.engine.plan import Plan
from variorum.runtime.engine.threads import using

log = logging.getLogger(__name__)


class Engine(nn.Module):
    """``engine(inputs, layout)`` answers as ``model(inputs, layout)`` does, within the plan's tolerance, and faster.

    A padded batch is packed here: ``engine(inputs, mask=mask)`` with mask (batch, n), True = a real token, spends
    nothing on padding; answers for tokens come back padded with zeros, those for rows as they are. Rows of a packed
    batch go through the model by ascending length and come back in the caller's order.

    model: the rewritten model, with the same parts by the same names: it also streams, and ``generate`` takes it.
    Weights are shared with the model it was made of; weights changed later are not seen.
    """

    def __init__(self, model: nn.Module, plan: Plan) -> None:
        super().__init__()
        self.model, self.plan = model, plan
        self._by_token: bool | None = None

    @torch.inference_mode()
    def forward(
        self, inputs: Any, *more: Any, layout: Layout | None = None, mask: Tensor | None = None, **rest: Any
    ) -> Any:
        """What the model answers to raw inputs (batch, n, ...) or packed ones (tokens, ...)."""
        with using(self.plan.threads):
            if more or rest or not isinstance(inputs, Tensor):
                _no_mask(mask)
                given = {} if layout is None else {"layout": layout}
                return self.model(inputs, *more, **given, **rest)
            mask = door.needed(mask, inputs, layout)
            if mask is None:
                return self._packed(inputs, layout) if layout and layout.packed else self._call(inputs, layout)
            x, made = door.packed(inputs, mask, layout)
            answers, by_token = self._ordered(x, made)
            if by_token is None:
                raise VariorumError("mask", expected="a model that answers for each token or each row",
                                    found=f"answers of shape {tuple(getattr(answers, 'shape', ()))}",
                                    do="Pack the batch yourself and pass the layout.")  # fmt: skip
            return door.padded(answers, mask, by_token=by_token)

    @torch.inference_mode()
    def hidden(self, inputs: Tensor, *, layout: Layout | None = None, mask: Tensor | None = None) -> Tensor:
        """The tokens before the head, as ``model.hidden`` has them: packed, or padded as the inputs are."""
        model = self.model
        if not isinstance(model, Tower):
            raise VariorumError("engine", expected="a Tower, whose tokens can be asked for",
                                found=type(model).__name__, do="Call the engine itself.")  # fmt: skip
        with using(self.plan.threads):
            mask = door.needed(mask, inputs, layout)
            x, made = (inputs, layout) if mask is None else door.packed(inputs, mask, layout)
            if made is None or not made.packed:
                return model.hidden(x, made)[0]
            x, lies, order = door.by_length(x, made)
            tokens, after = model.hidden(x, lies)
            if after is None or after.offsets is None or not torch.equal(after.offsets, lies.offsets):  # type: ignore[arg-type]
                raise VariorumError("hidden", expected="as many tokens as inputs", found=f"{tokens.shape[0]}",
                                    do="Call engine.model.hidden, which tells how its tokens lie.")  # fmt: skip
            tokens = tokens if order is None else order.back(tokens, by_token=True)
            return tokens if mask is None else door.padded(tokens, mask, by_token=True)

    def _call(self, inputs: Tensor, layout: Layout | None) -> Any:
        return self.model(inputs) if layout is None else self.model(inputs, layout=layout)

    def _packed(self, inputs: Tensor, layout: Layout) -> Any:
        answers, by_token = self._ordered(inputs, layout)
        if by_token is not None:
            return answers
        log.warning("answers are neither one a token nor one a row: rows are not put in order of length")
        return self._call(inputs, layout)

    def _ordered(self, inputs: Tensor, layout: Layout) -> tuple[Any, bool | None]:
        """Answers in the caller's order, and whether they are one a token; None: they are not known, nor in order."""
        x, lies, order = door.by_length(inputs, layout)
        answers = self._call(x, lies)
        by_token = door.kind_of(answers, lies)
        if by_token is None and isinstance(answers, Tensor) and answers.shape[:1] == x.shape[:1]:
            by_token = self._asked(x)
        if order is None or by_token is None:
            return answers, by_token
        return order.back(answers, by_token=by_token), by_token

    def _asked(self, x: Tensor) -> bool | None:
        """As many tokens as rows: a row of two tokens tells which of them is answered for."""
        if self._by_token is None and len(x):
            two = Layout.ragged([2])
            self._by_token = door.kind_of(self._call(x[:1].expand(2, *x.shape[1:]), two), two)
        return self._by_token


def _no_mask(mask: Tensor | None) -> None:
    if mask is not None:
        raise VariorumError("mask", expected="a model of one input", found="several",
                            do="Pack each of them, and pass their layouts.")  # fmt: skip
