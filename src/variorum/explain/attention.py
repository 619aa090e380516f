"""The attention weights of a model: who looked at whom."""

from typing import Any

import torch
from torch import Tensor

from variorum.core import Mixer, Part, VariorumError, listen, points

WEIGHTS = ".weights"


def attention_weights(model: Part, **inputs: Any) -> dict[str, list[Tensor]]:
    """The weights of every part that attends, by its name, in one call of the model with these inputs.

    Each is (rows, heads, queries, keys), a query's weights summing to one; a part that is visited several times, or
    whose packed rows have several lengths, tells one for each. While it is asked a part takes its readable path.
    Raises :class:`VariorumError` for a model in which nothing attends; it names the mixers that stand there instead.
    """
    attending = [name for name in points(model) if f".{name}".endswith(WEIGHTS)]
    if not attending:
        found = sorted({type(part).__name__ for part in model.modules() if isinstance(part, Mixer)})
        raise VariorumError(
            "attention weights",
            expected="a model with a part that attends",
            found=f"mixers that form no weights over tokens: {', '.join(found)}" if found else "no mixer at all",
            do=f"Listen to one of its own points: {', '.join(points(model)[:6]) or 'it has none'}.",
        )
    with torch.inference_mode(), listen(model, *attending) as told:
        model(**inputs)
    return {name[: -len(WEIGHTS)] or name: values for name, values in told.items()}
