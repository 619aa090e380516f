"""Algorithms 11, 12 and 13 of Phuong and Hutter 2022 (arXiv:2207.09238): training by stochastic gradient descent.

``transformer`` is the forward pass to train, by default as printed; give a ``functools.partial`` of it to choose
another nonlinearity or eps. The gradient is exact (see :mod:`variorum.explain.formal.gradient`) and costs one forward
pass a parameter: these are for models of some hundred parameters.
"""

from collections.abc import Callable
from typing import Annotated

import numpy as np

from variorum.explain.formal.architectures import d_transformer, e_transformer, ed_transformer
from variorum.explain.formal.formula import algorithm
from variorum.explain.formal.gradient import descended
from variorum.explain.formal.parameters import DTheta, EDTheta, ETheta
from variorum.explain.formal.shapes import Array, Below, Index, Size

Sequences = Annotated[tuple[Annotated[Index[Array, "_"], Below("N_V")], ...], Size("N_data")]
Transformer = Callable[..., Array]


def next_token_loss(P: Array, *, x: Array) -> complex:
    """loss = - sum over t = 1, ..., l - 1 of log P[x[t + 1], t]."""
    return -sum(np.log(P[x[t + 1], t]) for t in range(len(x) - 1))


def masked_token_loss(P: Array, *, x: Array, masked: list[int]) -> complex:
    """loss = - sum over the masked positions t of log P[x[t], t]."""
    return -sum(np.log(P[x[t], t]) for t in masked)


@algorithm(11, title="θ̂ ← EDTraining(z_1..N, x_1..N, θ)")
def ed_training(
    z: Sequences,
    *,
    x: Sequences,
    theta: EDTheta,
    N_epochs: Annotated[int, Size("N_epochs")],
    eta: float,
    transformer: Transformer = ed_transformer,
) -> EDTheta:
    """Trains a sequence-to-sequence model on pairs (z_n, x_n). For every epoch and every n:

        P(θ)    = EDTransformer(z_n, x_n | θ)
        loss(θ) = - sum_{t=1}^{l-1} log P(θ)[x_n[t + 1], t]
        θ       = θ - η ∇loss(θ)

    The first token of x_n is given, never predicted; the loss is summed over the others, not averaged.
    """
    for _ in range(N_epochs):
        for z_n, x_n in zip(z, x, strict=True):

            def loss(theta: EDTheta, *, z_n: Array = z_n, x_n: Array = x_n) -> complex:
                P = transformer(z_n, x=x_n, theta=theta)
                return next_token_loss(P, x=x_n)

            theta = descended(theta, loss=loss, eta=eta)
    return theta


@algorithm(12, title="θ̂ ← ETraining(x_1..N, θ)")
def e_training(
    x: Sequences,
    *,
    theta: ETheta,
    N_epochs: Annotated[int, Size("N_epochs")],
    eta: float,
    p_mask: float,
    mask_token: Annotated[int, Below("N_V")],
    rng: np.random.Generator,
    transformer: Transformer = e_transformer,
) -> ETheta:
    """Trains a model to restore masked tokens. For every epoch and every n:

        x̃_n[t]  = mask_token with probability p_mask, else x_n[t]     for every t
        T̃       = {t : x̃_n[t] = mask_token}
        P(θ)    = ETransformer(x̃_n | θ)
        loss(θ) = - sum_{t in T̃} log P(θ)[x_n[t], t]
        θ       = θ - η ∇loss(θ)

    One number of ``rng`` is drawn a token, in order; below p_mask it masks.
    """
    for _ in range(N_epochs):
        for x_n in x:
            x_tilde = np.array([mask_token if rng.random() < p_mask else token for token in x_n])
            T_tilde = [t for t in range(len(x_n)) if x_tilde[t] == mask_token]

            def loss(theta: ETheta, *, x_n: Array = x_n, x_tilde: Array = x_tilde, masked: list = T_tilde) -> complex:
                P = transformer(x_tilde, theta=theta)
                return masked_token_loss(P, x=x_n, masked=masked)

            theta = descended(theta, loss=loss, eta=eta)
    return theta


@algorithm(13, title="θ̂ ← DTraining(x_1..N, θ)")
def d_training(
    x: Sequences,
    *,
    theta: DTheta,
    N_epochs: Annotated[int, Size("N_epochs")],
    eta: float,
    transformer: Transformer = d_transformer,
) -> DTheta:
    """Trains a model to predict the next token. For every epoch and every n:

        P(θ)    = DTransformer(x_n | θ)
        loss(θ) = - sum_{t=1}^{l-1} log P(θ)[x_n[t + 1], t]
        θ       = θ - η ∇loss(θ)

    The first token of x_n is given, never predicted; the loss is summed over the others, not averaged.
    """
    for _ in range(N_epochs):
        for x_n in x:

            def loss(theta: DTheta, *, x_n: Array = x_n) -> complex:
                P = transformer(x_n, theta=theta)
                return next_token_loss(P, x=x_n)

            theta = descended(theta, loss=loss, eta=eta)
    return theta
