"""A fitted network with the rows it answers from: a classifier that was never trained on them."""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from variorum.core import Input, Skeleton, Spec, Tower, Traits, VariorumError
from variorum.layers.channels.mlp import MLP
from variorum.layers.embed.labelled_rows import LabelledRows
from variorum.layers.heads.token_mlp import TokenMLP
from variorum.layers.mixers.labelled_attention import LabelledAttention
from variorum.models.blocks.block import Block
from variorum.models.stack import Stack

_TINY = Stack.spec(
    dim=16, embed=LabelledRows.spec(features=5), head=TokenMLP.spec(outputs=4, hidden=8),
    blocks=[Block.spec(mixer=LabelledAttention.spec(heads=2), channels=MLP.spec(hidden=16))],
)  # fmt: skip


class InContext(Skeleton):
    """log p(class | x) = log mean over members of softmax(network([known rows; x])).

    Hollmann et al. 2022, arXiv:2207.01848. (batch, columns) -> (batch, classes). Each member sees the columns rotated,
    the class names rotated, and, every other one, columns drawn towards a normal distribution by a Yeo-Johnson power
    (2000, Biometrika 87). Columns are scaled by the known rows' mean and deviation; a missing number is the mean.
    ``know`` gives the rows.
    """

    inputs: ClassVar[Mapping[str, Input]] = MappingProxyType({"inputs": Input("", None, reads="table")})
    traits: Traits = Traits(equivariant=False, exports=False)
    x: Tensor
    y: Tensor
    mean: Tensor
    spread: Tensor
    power: Tensor
    power_mean: Tensor
    power_spread: Tensor
    examples = ({"rows": 6, "members": 2, "outputs": 4, "model": _TINY},)

    def __init__(
        self, columns: tuple[int, ...], classes: int, *, rows: int, outputs: int, members: int = 4, model: Spec[Tower]
    ) -> None:
        super().__init__()
        if classes > outputs:
            raise VariorumError("classes", expected=f"at most {outputs}, what the network was fitted for",
                                found=str(classes), do="Join classes, or use another system.")  # fmt: skip
        self.model = model.build()
        self.classes, self.members = classes, members
        width = len(columns)
        for name, value in {
            "x": torch.zeros(rows, width), "y": torch.zeros(rows, dtype=torch.int64), "mean": torch.zeros(width),
            "spread": torch.ones(width), "power": torch.ones(width), "power_mean": torch.zeros(width),
            "power_spread": torch.ones(width),
        }.items():  # fmt: skip
            self.register_buffer(name, value)

    def know(self, x: Float[Tensor, "rows columns"], y: Int[Tensor, "rows"]) -> None:
        """Take these rows and their classes as known; as many as ``rows``, or VariorumError is raised."""
        from sklearn.preprocessing import PowerTransformer

        if x.shape != self.x.shape or y.shape != self.y.shape:
            raise VariorumError("known rows", expected=f"{tuple(self.x.shape)} and classes {tuple(self.y.shape)}",
                                found=f"{tuple(x.shape)} and {tuple(y.shape)}",
                                do="Build the model with rows and columns of the table.")  # fmt: skip
        if len(y) and not 0 <= int(y.min()) <= int(y.max()) < self.classes:
            raise VariorumError("known rows", expected=f"classes from 0 to {self.classes - 1}",
                                found=f"{int(y.min())} to {int(y.max())}", do="Number the classes from 0.")  # fmt: skip
        self.x.copy_(x)
        self.y.copy_(y)
        self.mean.copy_(x.nanmean(dim=0).nan_to_num())
        filled = torch.where(x.isnan(), self.mean, x)
        self.spread.copy_(filled.std(dim=0, correction=0).clamp(min=1e-6))
        scaled = self._scale(x)
        self.power.copy_(torch.as_tensor(PowerTransformer(standardize=False).fit(scaled.double().numpy()).lambdas_))
        bent = yeo_johnson(scaled, self.power)
        self.power_mean.copy_(bent.mean(dim=0))
        self.power_spread.copy_(bent.std(dim=0, correction=0).clamp(min=1e-6))

    def forward(self, inputs: Float[Tensor, "batch columns"]) -> Float[Tensor, "batch classes"]:
        x = self._scale(torch.cat([self.x, inputs.to(self.x.dtype)]))
        bent = (yeo_johnson(x, self.power) - self.power_mean) / self.power_spread
        seen = torch.stack([(bent if m % 2 else x).roll(m // 2, dims=1) for m in range(self.members)])
        shift = torch.arange(self.members, device=x.device).unsqueeze(1) % self.classes
        label = x.new_full((self.members, x.shape[0]), torch.nan)
        label[:, : len(self.y)] = ((self.y + shift) % self.classes).to(x.dtype)
        answers = self.model(torch.cat([seen.clamp(-10, 10), label.unsqueeze(-1)], dim=-1))[:, len(self.y) :]
        logs = answers[..., : self.classes].log_softmax(dim=-1)
        back = (torch.arange(self.classes, device=x.device) + shift) % self.classes
        logs = logs.gather(2, back.unsqueeze(1).expand_as(logs))
        return logs.logsumexp(dim=0) - math.log(self.members)

    def _scale(self, x: Tensor) -> Tensor:
        return (torch.where(x.isnan(), self.mean, x) - self.mean) / self.spread


def yeo_johnson(x: Tensor, power: Tensor) -> Tensor:
    """((x + 1)^p - 1) / p for x >= 0, -((1 - x)^(2 - p) - 1) / (2 - p) below; logarithms where the divisor is 0."""
    up, down = x.clamp(min=0) + 1, 1 - x.clamp(max=0)
    p, q = power, 2 - power
    above = torch.where(p.abs() < 1e-6, up.log(), (up**p - 1) / torch.where(p.abs() < 1e-6, 1, p))
    below = torch.where(q.abs() < 1e-6, down.log(), (down**q - 1) / torch.where(q.abs() < 1e-6, 1, q))
    return torch.where(x >= 0, above, -below)
