"""What a bundle answers, computed in float64, so that no row's answer depends on the rows it is asked with."""

import copy
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from variorum.data.preprocess import Preprocess
from variorum.runtime.bundle import Bundle

if TYPE_CHECKING:
    import pandas as pd

SIZE = 256


def answers(bundle: Bundle, preprocess: Preprocess, rows: Any) -> "pd.DataFrame":
    """As :meth:`Bundle.predict` in float64."""
    opened = preprocess.open(rows)
    return preprocess.answers(opened, outputs(bundle, preprocess, opened))


def outputs(bundle: Bundle, preprocess: Preprocess, opened: Any) -> list[Tensor]:
    """The model's outputs in float64 for opened rows, batch by batch.

    A product of matrices in float32 sums in an order that depends on how many rows there are, and so differs in its
    last digits; in float64 these are far behind those that are told.
    """
    model = copy.deepcopy(bundle.model).double().eval()
    with torch.inference_mode():
        return [model(**{name: _double(value) for name, value in inputs.items()})
                for inputs in preprocess.batches(opened, SIZE)]  # fmt: skip


def _double(value: Any) -> Any:
    return value.double() if isinstance(value, Tensor) and value.is_floating_point() else value
