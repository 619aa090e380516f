"""A linear model of how often tokens, and pairs of them, occur in a text: the plain baseline of labelled texts."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from variorum.core import Input, Layout, Skeleton, Traits, VariorumError
from variorum.models.ids import rows_of_tokens
from variorum.models.linear import coefficients

if TYPE_CHECKING:
    from sklearn.feature_extraction.text import TfidfTransformer
    from sklearn.linear_model import LogisticRegression

LARGEST_KEY = 1 << 62


class BagOfTokens(Skeleton):
    """logits = W v + b, v_f = (1 + ln c_f) idf_f / |.|: ids (*tokens) -> (rows, classes).

    c_f is how often the n-gram f, of up to ``order`` successive tokens, occurs in the row; n-grams that are not among
    the ``features`` say nothing, and |.| makes v as long as 1. Spärck Jones 1972, "A statistical interpretation of
    term specificity"; Salton & Buckley 1988, "Term-weighting approaches in automatic text retrieval".
    """

    inputs: ClassVar[Mapping[str, Input]] = MappingProxyType({"inputs": Input("", reads="ids")})
    traits: Traits = Traits(exports=False)
    examples = ({"vocab": 8, "order": 2, "features": 12, "classes": 3},)

    keys: Tensor
    idf: Tensor

    def __init__(self, vocab: int, classes: int, *, order: int, features: int) -> None:
        super().__init__()
        if order < 1 or features < 1 or (vocab + 1) ** order >= LARGEST_KEY:
            raise VariorumError("BagOfTokens", expected=f"features, and vocab ** order below {LARGEST_KEY:.0e}",
                                found=f"{features} features, {vocab} ** {order}", do="Lower the order.")  # fmt: skip
        self.vocab, self.order = vocab, order
        self.register_buffer("keys", torch.arange(features) + 1)
        self.register_buffer("idf", torch.ones(features))
        self.weight = nn.Parameter(0.1 * torch.randn(features, classes))
        self.bias = nn.Parameter(torch.zeros(classes))

    def forward(self, inputs: Int[Tensor, "*tokens"], layout: Layout | None = None) -> Float[Tensor, "rows classes"]:
        ids, row, count = rows_of_tokens(inputs, layout)
        of, key = ngrams(ids, row, vocab=self.vocab, order=self.order)
        at = torch.searchsorted(self.keys, key).clamp(max=len(self.keys) - 1)
        known = self.keys[at] == key
        pairs, times = torch.unique(of[known] * len(self.keys) + at[known], return_counts=True)
        of, feature = pairs // len(self.keys), pairs % len(self.keys)
        value = (1 + times.to(self.idf.dtype).log()) * self.idf[feature]
        length = value.new_zeros(count).index_add(0, of, value.square()).sqrt()
        weighted = (value / length[of]).unsqueeze(1) * self.weight[feature]
        return self.bias.expand(count, -1).index_add(0, of, weighted)

    @classmethod
    def from_sklearn(
        cls, keys: np.ndarray, scale: "TfidfTransformer", fitted: "LogisticRegression", *, vocab: int, order: int
    ) -> "BagOfTokens":
        """The answers of a model fitted to the scaled counts of the n-grams ``keys``; two classes get (0, raw)."""
        weight, bias = coefficients(fitted)
        model = cls.spec(vocab=vocab, order=order, features=len(keys), classes=len(weight)).build()
        with torch.no_grad():
            model.keys.copy_(torch.from_numpy(keys))
            model.idf.copy_(torch.from_numpy(scale.idf_))
            model.weight.copy_(torch.from_numpy(weight.T))
            model.bias.copy_(torch.from_numpy(bias))
        return model.eval()


def ngrams(ids: Tensor, row: Tensor, *, vocab: int, order: int) -> tuple[Tensor, Tensor]:
    """The n-grams of up to ``order`` tokens within rows: the row of each, and its key, another for each n-gram.

    Token i is the digit i + 1 of a number in base ``vocab`` + 1. ids, row: (tokens,), rows one after another.
    """
    key, rows, keys = ids + 1, [row], [ids + 1]
    for length in range(2, order + 1):
        inside = row[length - 1 :] == row[: len(row) - length + 1]
        key = key[: len(key) - 1] * (vocab + 1) + ids[length - 1 :] + 1
        rows.append(row[length - 1 :][inside])
        keys.append(key[inside])
    return torch.cat(rows), torch.cat(keys)
