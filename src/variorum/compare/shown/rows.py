"""One row of a batch's inputs."""

from typing import Any

from torch import Tensor

from variorum.core import Layout


def row_of(inputs: dict[str, Any], index: int, *, name: str = "inputs", layout: str = "layout") -> Tensor:
    """A row's own part of an input, (n, ...), whether rows are packed or of one length."""
    values, lies = inputs[name], inputs.get(layout)
    assert isinstance(values, Tensor)
    if isinstance(lies, Layout) and lies.offsets is not None:
        first, end = lies.offsets[index : index + 2].tolist()
        return values[first:end]
    found = values[index]
    assert isinstance(found, Tensor)
    return found
