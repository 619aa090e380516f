"""Algorithms 14 and 15 of Phuong and Hutter 2022 (arXiv:2207.09238): continuing a prompt and translating."""

from collections.abc import Callable
from typing import Annotated

import numpy as np

from variorum.core.errors import VariorumError
from variorum.explain.formal.architectures import d_transformer, ed_transformer
from variorum.explain.formal.formula import algorithm
from variorum.explain.formal.nonlinearities import softmax
from variorum.explain.formal.parameters import DTheta, EDTheta
from variorum.explain.formal.shapes import Array, Below, Index, Size

Transformer = Callable[..., Array]


def tempered(p: Array, *, tau: float) -> Array:
    """q ∝ p^(1/τ), computed as softmax(log p / τ) so that a small τ does not underflow. τ <= 0 raises VariorumError."""
    if tau <= 0:
        raise VariorumError(
            "temperature tau",
            expected="a number above 0",
            found=str(tau),
            do="Take a small tau, such as 1e-6, for the most likely token.",
        )
    with np.errstate(divide="ignore"):  # log 0 = -∞ is meant: a token of probability 0 keeps it
        return softmax(np.log(p) / tau)


@algorithm(14, title="y ← DInference(x, θ̂)")
def d_inference(
    x: Annotated[Index[Array, "l"], Below("N_V")],
    *,
    theta: DTheta,
    l_gen: Annotated[int, Size("l_gen")],
    tau: float,
    rng: np.random.Generator,
    transformer: Transformer = d_transformer,
) -> Annotated[Index[Array, "l_gen"], Below("N_V")]:
    """Continues a prompt by l_gen tokens, sampled one after the other at temperature τ. For i = 1, ..., l_gen:

        P = DTransformer(x | θ̂)
        p = P[:, l + i - 1]
        sample y from q ∝ p^(1/τ)
        x = [x, y]

    and gives back x[l + 1..l + l_gen]. One number of ``rng`` is drawn a token.
    """
    length = len(x)
    for i in range(1, l_gen + 1):
        P = transformer(x, theta=theta)
        p = P[:, (length + i - 1) - 1]
        y = rng.choice(len(p), p=tempered(p, tau=tau))
        x = np.append(x, y)
    return x[length : length + l_gen]


@algorithm(15, title="x̂ ← EDInference(z, θ̂)")
def ed_inference(
    z: Annotated[Index[Array, "l_z"], Below("N_V")],
    *,
    theta: EDTheta,
    tau: float,
    bos_token: Annotated[int, Below("N_V")],
    eos_token: Annotated[int, Below("N_V")],
    rng: np.random.Generator,
    transformer: Transformer = ed_transformer,
) -> Annotated[Index[Array, "_"], Below("N_V")]:
    """Answers a sequence with a sequence, from bos_token until eos_token is sampled. x̂ = [bos_token], then repeatedly:

        P = EDTransformer(z, x̂ | θ̂)
        p = P[:, length(x̂)]
        sample y from q ∝ p^(1/τ)
        x̂ = [x̂, y]

    It also ends when x̂ has l_max + 1 tokens, where the paper's loop has no positional embedding left to go on with.
    """
    l_max = theta.W_p.shape[1]
    x_hat = np.array([bos_token])
    y = None
    while y != eos_token and len(x_hat) <= l_max:
        P = transformer(z, x=x_hat, theta=theta)
        p = P[:, len(x_hat) - 1]
        y = rng.choice(len(p), p=tempered(p, tau=tau))
        x_hat = np.append(x_hat, y)
    return x_hat
