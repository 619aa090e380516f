"""One linear map from the past to the whole horizon. Zeng et al. 2022, arXiv:2205.13504."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import Input, Skeleton, Traits, VariorumError

if TYPE_CHECKING:
    from sklearn.linear_model import Ridge


class LinearForecaster(Skeleton):
    """NLinear: y = W (x - x_n) + b + x_n, the same for all variables and series, where x_n is the last known value.

    inputs (batch, context + horizon, features), the first ``variables`` of the features values -> (batch, horizon,
    variables). Zeng et al. 2022, arXiv:2205.13504.
    """

    inputs: ClassVar[Mapping[str, Input]] = MappingProxyType({"inputs": Input("", None, reads="series")})
    traits: Traits = Traits(ragged=False)
    examples = ({"context": 9},)

    def __init__(self, horizon: int, variables: int, context: int) -> None:
        super().__init__()
        self.horizon, self.variables, self.context = horizon, variables, context
        self.linear = nn.Linear(context, horizon)

    def forward(self, inputs: Float[Tensor, "batch n features"]) -> Float[Tensor, "batch horizon variables"]:
        if inputs.shape[1] != self.context + self.horizon:
            raise VariorumError("LinearForecaster", expected=f"{self.context} known steps before the horizon",
                                found=f"{inputs.shape[1] - self.horizon}", do="Give as many steps.")  # fmt: skip
        x = inputs[:, : self.context, : self.variables].transpose(1, 2)
        last = x[..., -1:]
        return (self.linear(x - last) + last).transpose(1, 2)

    @classmethod
    def from_sklearn(cls, fitted: "Ridge", *, variables: int, context: int | None = None) -> "LinearForecaster":
        """The answers of a ridge fitted to contexts and horizons of which the last known value was taken away.

        context: known steps of a row, where the ridge was fitted to the last of them only.
        """
        horizon, near = fitted.coef_.shape
        model = cls.spec(horizon=horizon, variables=variables, context=context or near).build()
        with torch.no_grad():
            model.linear.weight.zero_()
            model.linear.weight[:, -near:] = torch.from_numpy(fitted.coef_)
            model.linear.bias.copy_(torch.from_numpy(fitted.intercept_))
        return model.eval()
