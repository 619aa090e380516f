"""Gradient-boosted trees as tensors: the plain baseline of tables, in the same file format as every other model."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from variorum.core import Input, Skeleton, Traits, VariorumError

if TYPE_CHECKING:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor


class TreeEnsemble(Skeleton):
    """y_k = b_k + sum of the leaf values of the trees of output k.

    (batch, ...) -> (batch, outputs), or (batch,) for one output; inputs are flattened to (batch, columns).
    Friedman 2001, "Greedy function approximation: a gradient boosting machine". A node sends a row left if x[feature]
    <= threshold, or if x[feature] is missing (NaN) and the node sends missing ones left. All trees are walked at once,
    ``depth`` steps; a leaf leads to itself. Thresholds are the largest float32 not above the trained ones, which
    changes no decision about float32 inputs; leaves are summed in float64.

    nodes: of all trees together.
    """

    inputs: ClassVar[Mapping[str, Input]] = MappingProxyType({"inputs": Input("", reads="table")})
    traits: Traits = Traits()
    examples = ({"nodes": 6, "trees": 2, "depth": 1, "outputs": 2},)

    feature: Tensor
    left: Tensor
    right: Tensor
    missing_left: Tensor
    threshold: Tensor
    value: Tensor
    root: Tensor
    output: Tensor
    baseline: Tensor

    def __init__(self, *, nodes: int, trees: int, depth: int, outputs: int) -> None:
        super().__init__()
        self.depth, self.outputs = depth, outputs
        for name, dtype in (
            ("feature", torch.int32),
            ("left", torch.int32),
            ("right", torch.int32),
            ("missing_left", torch.bool),
        ):
            self.register_buffer(name, torch.zeros(nodes, dtype=dtype))
        self.register_buffer("threshold", torch.zeros(nodes))
        self.register_buffer("value", torch.zeros(nodes, dtype=torch.float64))
        self.register_buffer("root", torch.zeros(trees, dtype=torch.int32))
        self.register_buffer("output", torch.zeros(trees, dtype=torch.int32))
        self.register_buffer("baseline", torch.zeros(outputs, dtype=torch.float64))

    def forward(
        self, inputs: Float[Tensor, "batch columns"]
    ) -> Float[Tensor, "batch outputs"] | Float[Tensor, "batch"]:
        inputs = inputs.flatten(1)
        node = self.root.long().expand(inputs.shape[0], -1)
        for _ in range(self.depth):
            x = inputs.gather(1, self.feature[node].long())
            left = (x <= self.threshold[node]) | (x.isnan() & self.missing_left[node])  # NaN <= anything is false
            node = torch.where(left, self.left[node], self.right[node]).long()
        of = torch.arange(self.outputs, device=inputs.device) == self.output[:, None]
        answer = (self.value[node] @ of.to(self.value.dtype) + self.baseline).to(inputs.dtype)
        return answer if self.outputs > 1 else answer[:, 0]

    @classmethod
    def from_sklearn(cls, fitted: "HistGradientBoostingClassifier | HistGradientBoostingRegressor") -> "TreeEnsemble":
        """The same predictions, to float32, as the fitted model's on float32 rows: its values, or its logits.

        With two classes the logits are (0, raw). Categorical splits and losses that answer on another scale than the
        model's raw one (poisson, gamma) raise :class:`VariorumError`.
        """
        rounds = fitted._predictors
        classes = len(getattr(fitted, "classes_", ()))
        _check(fitted, classes)
        nodes = [tree.nodes for trees in rounds for tree in trees]
        first = np.cumsum([0, *(len(n) for n in nodes[:-1])])
        column = np.tile(np.arange(len(rounds[0])), len(rounds)) + (classes == 2)
        depth = max(int(n["depth"].max()) for n in nodes)
        spec = cls.spec(nodes=sum(map(len, nodes)), trees=len(nodes), depth=depth, outputs=classes or 1)
        model = spec.build()
        flat = np.concatenate(nodes)
        start = np.repeat(first, [len(n) for n in nodes])
        leaf, here = flat["is_leaf"].astype(bool), np.arange(len(flat))
        baseline = np.zeros(classes or 1)
        baseline[classes == 2 :] = fitted._baseline_prediction.ravel()
        values = {
            "feature": np.where(leaf, 0, flat["feature_idx"]),
            "left": np.where(leaf, here, flat["left"] + start),
            "right": np.where(leaf, here, flat["right"] + start),
            "missing_left": flat["missing_go_to_left"].astype(bool),
            "threshold": _float32_not_above(np.where(leaf, 0.0, flat["num_threshold"])),
            "value": np.where(leaf, flat["value"], 0.0),
            "root": first,
            "output": column,
            "baseline": baseline,
        }
        for name, value in values.items():
            model.get_buffer(name).copy_(torch.from_numpy(np.ascontiguousarray(value)))
        return model.eval()


def _check(fitted: Any, classes: int) -> None:
    categorical = fitted.is_categorical_
    if categorical is not None and bool(np.any(categorical)):
        raise VariorumError(
            "TreeEnsemble",
            expected="trees fitted without native categorical splits",
            found="categorical features",
            do="Fit with categorical_features=None on the codes.",
        )
    if not classes and fitted.loss not in ("squared_error", "absolute_error", "quantile"):
        raise VariorumError("TreeEnsemble", expected="a loss whose raw values are the answers", found=fitted.loss,
                            do="Fit with loss='squared_error'.")  # fmt: skip


def _float32_not_above(values: np.ndarray) -> np.ndarray:
    """The largest float32 that is not above each value."""
    rounded = values.astype(np.float32)
    return np.where(rounded.astype(np.float64) > values, np.nextafter(rounded, np.float32(-np.inf)), rounded)
