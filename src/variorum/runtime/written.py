"""What a model answers to a batch of a user's rows: its outputs, or what it writes."""

from typing import Any

import torch

from variorum.core import Conditioned, Layout, Part, VariorumError
from variorum.data.preprocess import Preprocess
from variorum.data.writing import Writing
from variorum.runtime.generate import generate


def answer(model: Part, inputs: dict[str, Any], preprocess: Preprocess) -> Any:
    """``model(**inputs)``; for a preprocess that is :class:`Writing`, the ids written for each row, the likeliest."""
    if not isinstance(preprocess, Writing):
        return model(**inputs)
    if not isinstance(model, Conditioned):
        raise VariorumError(type(model).__name__, expected="a model that reads a source before it writes",
                            found="one that does not", do="Use an encoder-decoder.")  # fmt: skip
    memory = model.encode(**inputs)
    rows = next(len(value.lengths) for value in inputs.values() if isinstance(value, Layout))
    prompts = [torch.tensor([preprocess.start])] * rows
    return generate(model, prompts, most=preprocess.most, ends=preprocess.end, memory=memory)
