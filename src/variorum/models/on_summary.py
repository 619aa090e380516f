"""A linear model on the summary of a row: the plain baseline of whole series and of shapes."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import Input, Layout, Skeleton, Spec, Traits, VariorumError
from variorum.models.linear import coefficients
from variorum.models.summaries.series_statistics import SeriesStatistics
from variorum.models.summaries.summary import Summary

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier


NEVER = -1e6
"""The score of a class that no training row is of."""


class OnSummary(Skeleton):
    """y = W ((s(row) - mean) / scale) + b, s the summary: (rows, outputs); (rows,) for one output.

    ``mean`` and ``scale`` are those of the training rows; a number that never changes there has the scale 1.
    """

    inputs: ClassVar[Mapping[str, Input]] = MappingProxyType({"inputs": Input("summary")})
    examples = ({"summary": SeriesStatistics.spec(), "outputs": 3}, {"summary": SeriesStatistics.spec(), "outputs": 1})
    mean: Tensor
    scale: Tensor

    def __init__(self, *, summary: Spec[Summary], outputs: int) -> None:
        super().__init__()
        self.summary = summary.build()
        self.outputs = outputs
        self.register_buffer("mean", torch.zeros(self.summary.count))
        self.register_buffer("scale", torch.ones(self.summary.count))
        self.linear = nn.Linear(self.summary.count, outputs)

    @property
    def traits(self) -> Traits:
        """Those of the summary."""
        return self.summary.traits

    def forward(
        self, inputs: Float[Tensor, "*tokens channels"], layout: Layout | None = None
    ) -> Float[Tensor, "rows outputs"] | Float[Tensor, "rows"]:
        answer = self.linear(self.standardise(self.summary(inputs, layout)))
        return answer if self.outputs > 1 else answer[:, 0]

    def standardise(self, found: Float[Tensor, "rows count"]) -> Float[Tensor, "rows count"]:
        """(s - mean) / scale."""
        return (found - self.mean) / self.scale

    def know(self, found: Float[Tensor, "rows count"]) -> None:
        """Take mean and scale from the summaries of the training rows."""
        wide = found.double()
        scale = wide.std(dim=0, correction=0)
        self.mean.copy_(wide.mean(dim=0))
        # What rounding alone moves is constant.
        self.scale.copy_(torch.where(scale > 1e-6 * wide.abs().amax(dim=0).clamp(min=1e-30), scale, 1.0))

    def take(self, fitted: "LogisticRegression | Ridge | RidgeClassifier") -> None:
        """The answers of a model that scikit-learn fitted to the standardised summaries; two classes get (0, raw).

        Its classes are numbers of outputs; one that it does not know gets ``NEVER``.
        """
        weight, bias = coefficients(fitted)
        codes = np.asarray(getattr(fitted, "classes_", range(len(weight))))
        if weight.shape != (len(codes), self.summary.count) or codes.max() >= self.outputs:
            wanted = f"coefficients of {self.summary.count} numbers, for classes below {self.outputs}"
            found = f"shape {weight.shape}, classes {codes.tolist()[:12]}"
            raise VariorumError("OnSummary", expected=wanted, found=found,
                                do="Fit it to standardise(summary(rows)).")  # fmt: skip
        at = torch.from_numpy(codes.astype(np.int64))
        with torch.no_grad():
            self.linear.weight.zero_()
            self.linear.bias.fill_(NEVER)
            self.linear.weight[at] = torch.from_numpy(weight).to(self.linear.weight)
            self.linear.bias[at] = torch.from_numpy(bias).to(self.linear.bias)
