"""Write on with a model: one function for every streaming model of tokens, with or without a source."""

from collections.abc import Sequence
from typing import cast

import torch
from jaxtyping import Int
from torch import Tensor

from variorum.core import Memory, Part, Streaming, VariorumError
from variorum.runtime.decoding.decoding import Decoding, Limits
from variorum.runtime.decoding.flight import Cached, Recomputed
from variorum.runtime.decoding.steps import Greedy


@torch.no_grad()
def generate(
    model: Part,
    prompts: Sequence[Int[Tensor, "n"]],
    *,
    most: int,
    decoding: Decoding | None = None,
    ends: int | Sequence[int] = (),
    memory: Memory | None = None,
    cache: bool = True,
) -> list[Int[Tensor, "m"]]:
    """The tokens that follow each prompt, at most ``most`` of them; rows may be of any length and end independently.

    Args:
        model: a streaming model of token ids, in eval mode.
        prompts: for each row the ids it begins with, one at least.
        most: a row ends when it has this many new tokens.
        decoding: Greedy() unless given, Sampling(...) or Beam(...).
        ends: ids after which a row ends; the id is the last of its tokens.
        memory: what a model with a source attends to: ``model.encode(source, source_layout)``, a row for each prompt.
        cache: False sends all that is written through the model again for each token, which gives the same tokens.

    Raises:
        VariorumError: for a model that does not stream or trains, or for no, empty or ill-shaped prompts.
    """
    if not (isinstance(model, Streaming) and model.traits.streams):
        raise VariorumError("generate: model", expected="one that streams", found=type(model).__name__,
                            do="Build it of causal parts whose traits say streams.")  # fmt: skip
    if model.training:
        raise VariorumError(
            "generate: model", expected="one in eval mode", found="one that trains", do="Call model.eval()."
        )
    ends = (ends,) if isinstance(ends, int) else tuple(ends)
    if most < 1:
        raise VariorumError("generate: most", expected="1 or more", found=str(most), do="Ask for one token at least.")
    for i, prompt in enumerate(prompts):
        if prompt.dim() != 1 or not len(prompt) or prompt.is_floating_point():
            raise VariorumError(
                f"generate: prompt {i}",
                expected="whole numbers of shape (n,), one at least",
                found=f"{prompt.dtype} of shape {tuple(prompt.shape)}",
                do="Begin with a start token.",
            )
    if not prompts:
        return []
    flight = (Cached if cache else Recomputed)(cast(Streaming, model), prompts, memory)
    return (decoding or Greedy()).write(flight, Limits(most, ends))
