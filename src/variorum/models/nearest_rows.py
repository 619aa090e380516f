"""k nearest neighbours: the stored rows that are most like the one that is asked for vote on its answer."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from variorum.core import Input, Skeleton, Traits, VariorumError
from variorum.models.linear import linear_features

if TYPE_CHECKING:
    from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

LEAST = 1e-12
"""What stands for a share of no votes, so that its logarithm is finite."""
CHUNK = 1 << 22
"""Distances that are in memory at once."""


class Metric(StrEnum):
    """How far apart two rows are: sqrt(sum_i (x_i - y_i)^2), or sum_i |x_i - y_i|, which one wild column moves less."""

    EUCLIDEAN = "euclidean"
    MANHATTAN = "manhattan"


class NearestRows(Skeleton):
    """log (votes for each class / k) of the k stored rows at the least distance; or the mean of their values.

    (batch, ...) -> (batch, outputs), or (batch,) for one output. Fix and Hodges 1951, "Discriminatory analysis";
    Cover and Hart 1967, "Nearest neighbor pattern classification". Rows are compared by :func:`linear_features`, in
    float64. Of rows at the same distance those stored first count as nearer; of classes with as many votes the first
    wins.

    columns: for each column 0 if it holds numbers, else how many codes there are.     rows: that are stored.
    metric: of distances.
    """

    inputs: ClassVar[Mapping[str, Input]] = MappingProxyType({"inputs": Input("", reads="table")})
    traits: Traits = Traits()
    examples = (
        {"columns": (0, 3, 0), "outputs": 2, "rows": 5, "neighbours": 3},
        {"columns": (0, 0), "outputs": 1, "rows": 4, "neighbours": 1},
        {"columns": (0, 3, 0), "outputs": 2, "rows": 5, "neighbours": 3, "metric": Metric.MANHATTAN},
    )
    stored: Tensor
    answers: Tensor

    def __init__(
        self, *, columns: Sequence[int], outputs: int, rows: int, neighbours: int, metric: Metric = Metric.EUCLIDEAN
    ) -> None:
        super().__init__()
        if not 1 <= neighbours <= rows:
            raise VariorumError("NearestRows neighbours", expected=f"1 to {rows}, the rows that are stored",
                                found=str(neighbours), do="Ask fewer neighbours, or store more rows.")  # fmt: skip
        self.columns, self.outputs, self.neighbours = tuple(columns), outputs, neighbours
        self.metric = Metric(metric)
        features = sum(size or 1 for size in self.columns)
        self.register_buffer("stored", torch.zeros(rows, features))
        self.register_buffer("answers", torch.zeros(rows, dtype=torch.int64 if outputs > 1 else torch.float64))

    def forward(self, inputs: Float[Tensor, "batch *any"]) -> Float[Tensor, "batch outputs"] | Float[Tensor, "batch"]:
        x = linear_features(inputs.to(self.stored.dtype), self.columns).double()
        if torch.compiler.is_exporting():
            return self._answer(x).to(inputs.dtype)
        pieces = x.split(max(1, CHUNK // len(self.stored)))
        return torch.cat([self._answer(piece) for piece in pieces]).to(inputs.dtype)

    def _answer(self, x: Tensor) -> Tensor:
        votes = self.weights(x)
        if self.outputs == 1:
            return votes @ self.answers.to(votes.dtype) / self.neighbours
        of = (self.answers.unsqueeze(1) == torch.arange(self.outputs, device=x.device)).to(votes.dtype)
        return (votes @ of / self.neighbours).clamp(min=LEAST).log()

    def weights(self, x: Float[Tensor, "batch features"]) -> Float[Tensor, "batch rows"]:
        """1 for the stored rows that are among the nearest, 0 for the others."""
        far = self._far(x)
        last = far.topk(self.neighbours, dim=1, largest=False).values[:, -1:]
        nearer, level = far < last, far == last
        # topk leaves open which of several rows at the last distance it takes: the first that there is room for.
        room = self.neighbours - nearer.sum(1, keepdim=True)
        return (nearer | (level & (level.cumsum(1) <= room))).to(far.dtype)

    def _far(self, x: Tensor) -> Tensor:
        """What grows with the distance from each row to each stored one: (batch, features) -> (batch, rows)."""
        stored = self.stored.double()
        if self.metric is Metric.MANHATTAN:
            if torch.compiler.is_exporting():  # ONNX has no cdist; what takes its place keeps all differences at once
                return (x.unsqueeze(1) - stored).abs().sum(2)
            return torch.cdist(x, stored, p=1.0)
        return x.square().sum(1, keepdim=True) - 2 * x @ stored.T + stored.square().sum(1)

    @classmethod
    def from_sklearn(
        cls, fitted: "KNeighborsClassifier | KNeighborsRegressor", *, columns: Sequence[int], classes: int
    ) -> "NearestRows":
        """The answers of a model fitted to :func:`linear_features` of the rows, each neighbour with the same weight.

        classes: how many there are, numbered from 0, also those of no stored row; 0 for values.
        A fitted model that weighs neighbours or measures other distances raises :class:`VariorumError`.
        """
        metric = {"euclidean": Metric.EUCLIDEAN, "sqeuclidean": Metric.EUCLIDEAN, "manhattan": Metric.MANHATTAN}.get(
            fitted.effective_metric_
        )
        if fitted.weights != "uniform" or metric is None:
            raise VariorumError("NearestRows", expected="uniform weights and the Euclidean or the Manhattan metric",
                                found=f"{fitted.weights} and {fitted.effective_metric_}",
                                do="Fit it with weights='uniform'.")  # fmt: skip
        rows, answers = np.asarray(fitted._fit_X), np.asarray(fitted._y).ravel()
        model = cls.spec(
            columns=tuple(columns), outputs=classes or 1, rows=len(rows), neighbours=fitted.n_neighbors, metric=metric
        ).build()
        if model.stored.shape != rows.shape:
            raise VariorumError("NearestRows", expected=f"{model.stored.shape[1]} features", found=str(rows.shape[1]),
                                do="Fit it to linear_features(rows, columns).")  # fmt: skip
        model.stored.copy_(torch.from_numpy(rows))
        model.answers.copy_(torch.from_numpy(fitted.classes_[answers] if classes else answers))
        return model.eval()
