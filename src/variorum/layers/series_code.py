"""The number of a series in binary, as features of its steps: it tells a model of several series which one it sees."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def bits(series: int) -> int:
    """Features that tell ``series`` series apart: the least b with 2^b >= series."""
    return (series - 1).bit_length()


def code(numbers: Int[Tensor, "*any"], series: int) -> Float[Tensor, "*any bits"]:
    """Each number 0 ... series - 1 as its binary digits, the lowest first: -0.5 for a 0 and 0.5 for a 1."""
    places = torch.arange(bits(series), device=numbers.device)
    return (numbers[..., None] >> places & 1).float() - 0.5


def number(features: Float[Tensor, "*any features"], series: int) -> Int[Tensor, "*any"]:
    """The number that the last ``bits(series)`` features tell; one that no series has is taken for the last one's."""
    if series == 1:
        return torch.zeros(features.shape[:-1], dtype=torch.int64, device=features.device)
    told = features[..., features.shape[-1] - bits(series) :] > 0
    places = 2 ** torch.arange(bits(series), device=features.device)
    return (told * places).sum(dim=-1).clamp(max=series - 1)
