"""A linear model: logistic regression or ridge, the plainest baseline."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import Input, Skeleton, Traits, VariorumError

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier


class LinearModel(Skeleton):
    """y = W features(x) + b: (batch, ...) -> (batch, outputs); (batch,) for one output.

    Inputs are flattened to (batch, columns); for the features see :func:`linear_features`.
    columns: for each column 0 if it holds numbers, else how many codes there are.
    """

    inputs: ClassVar[Mapping[str, Input]] = MappingProxyType({"inputs": Input("", reads="table")})
    traits: Traits = Traits()
    examples = ({"columns": (0, 3, 0), "outputs": 2}, {"columns": (0, 0, 0, 0, 0), "outputs": 1})

    def __init__(self, *, columns: Sequence[int], outputs: int) -> None:
        super().__init__()
        self.columns, self.outputs = tuple(columns), outputs
        self.linear = nn.Linear(sum(size or 1 for size in self.columns), outputs)

    def forward(self, inputs: Float[Tensor, "batch *any"]) -> Float[Tensor, "batch outputs"] | Float[Tensor, "batch"]:
        answer = self.linear(linear_features(inputs, self.columns))
        return answer if self.outputs > 1 else answer[:, 0]

    @classmethod
    def from_sklearn(cls, fitted: "LogisticRegression | Ridge", *, columns: Sequence[int]) -> "LinearModel":
        """The answers of a model fitted to :func:`linear_features` of the rows; two classes get logits (0, raw)."""
        weight, bias = coefficients(fitted)
        model = cls.spec(columns=tuple(columns), outputs=len(weight)).build()
        if model.linear.weight.shape != weight.shape:
            raise VariorumError(
                "LinearModel",
                expected=f"coefficients of {model.linear.in_features} features",
                found=str(weight.shape[1]),
                do="Fit it to linear_features(rows, columns).",
            )
        with torch.no_grad():
            model.linear.weight.copy_(torch.from_numpy(weight))
            model.linear.bias.copy_(torch.from_numpy(bias))
        return model.eval()


def coefficients(fitted: "LogisticRegression | Ridge | RidgeClassifier") -> tuple[np.ndarray, np.ndarray]:
    """Weight (outputs, features) and bias (outputs,) of what scikit-learn fitted; two classes get scores (0, raw)."""
    weight, bias = np.atleast_2d(fitted.coef_), np.atleast_1d(fitted.intercept_)
    if len(getattr(fitted, "classes_", ())) == 2:
        return np.concatenate([0 * weight, weight]), np.concatenate([0 * bias, bias])
    return weight, bias


def linear_features(inputs: Float[Tensor, "batch *any"], columns: Sequence[int]) -> Float[Tensor, "batch features"]:
    """Numbers as they are, 0 (their mean, once standardised) where missing (NaN); then codes one-hot."""
    x = inputs.flatten(1)
    numbers = [j for j, size in enumerate(columns) if not size]
    parts = [x if len(numbers) == len(columns) else x[:, numbers]]
    parts[0] = torch.where(parts[0].isnan(), 0, parts[0])
    parts += [
        (x[:, j, None] == torch.arange(size, device=x.device)).to(x.dtype) for j, size in enumerate(columns) if size
    ]
    return torch.cat(parts, dim=1)
