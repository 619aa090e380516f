"""One token a column of a table. Gorishniy et al. 2021, arXiv:2106.11959."""

import math
from collections.abc import Sequence
from itertools import accumulate

import torch
from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import Embed, Layout, Traits


class ColumnEmbed(Embed):
    """T_j = b_j + x_j w_j for a number x_j, T_j = b_j + W_j[x_j] for a category's code.

    (batch, columns) -> (batch, columns, dim).
    Gorishniy et al. 2021, arXiv:2106.11959, section 3.3. A missing number (NaN) gets a learned vector: T_j = b_j + m_j.
    columns: for each column 0 if it holds numbers, else how many codes there are.
    """

    reads = "table"
    traits: Traits = Traits()
    examples = ({"columns": (0, 3, 0, 2)},)

    numbers: Tensor
    categories: Tensor
    order: Tensor
    first: Tensor

    def __init__(self, dim: int, columns: Sequence[int]) -> None:
        super().__init__()
        self.columns = tuple(columns)
        numbers = [j for j, size in enumerate(self.columns) if not size]
        categories = [j for j, size in enumerate(self.columns) if size]
        order = sorted(range(len(self.columns)), key=(numbers + categories).__getitem__)
        ends = list(accumulate(self.columns[j] for j in categories))
        for name, values in (
            ("numbers", numbers),
            ("categories", categories),
            ("order", order),
            ("first", [0, *ends][:-1]),
        ):
            self.register_buffer(name, torch.tensor(values, dtype=torch.int64), persistent=False)
        bound = 1 / math.sqrt(dim)
        self.weight = nn.Parameter(torch.empty(len(numbers), dim).uniform_(-bound, bound))
        self.missing = nn.Parameter(torch.empty(len(numbers), dim).uniform_(-bound, bound))
        self.codes = nn.Parameter(torch.empty(sum(self.columns), dim).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(len(self.columns), dim).uniform_(-bound, bound))

    def forward(
        self, inputs: Float[Tensor, "batch columns"], layout: Layout | None = None
    ) -> tuple[Float[Tensor, "batch columns dim"], Layout | None]:
        x = inputs[:, self.numbers].unsqueeze(-1).to(self.weight.dtype)
        unknown = x.isnan()
        numbers = torch.where(unknown, self.missing, torch.where(unknown, 0, x) * self.weight)
        categories = self.codes[inputs[:, self.categories].long() + self.first]
        return torch.cat([numbers, categories], dim=1)[:, self.order] + self.bias, layout
