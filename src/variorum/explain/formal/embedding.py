"""Algorithms 1, 2 and 7 of Phuong and Hutter 2022 (arXiv:2207.09238): from tokens to vectors and back."""

from typing import Annotated

from variorum.explain.formal.formula import algorithm
from variorum.explain.formal.nonlinearities import softmax
from variorum.explain.formal.shapes import Array, Below, Real


@algorithm(1, title="Token embedding")
def token_embedding(v: Annotated[int, Below("N_V")], *, W_e: Real[Array, "d_e N_V"]) -> Real[Array, "d_e"]:
    """The vector of a token.

        e = W_e[:, v]

    W_e has a column for every token of the vocabulary.
    """
    return W_e[:, v]


@algorithm(2, title="Positional embedding")
def positional_embedding(t: Annotated[int, Below("l_max")], *, W_p: Real[Array, "d_e l_max"]) -> Real[Array, "d_e"]:
    """The vector of a position, learned like that of a token.

        e_p = W_p[:, t]

    W_p has a column for every position up to l_max. Fixed (sinusoidal) positions are a W_p that is not trained.
    """
    return W_p[:, t]


@algorithm(7, title="Unembedding")
def unembedding(e: Real[Array, "d_e"], *, W_u: Real[Array, "N_V d_e"]) -> Real[Array, "N_V"]:
    """The distribution over the vocabulary that a vector stands for.

        p = softmax(W_u e)

    W_u is a matrix of its own; a model that ties its embeddings has W_u = W_e^T.
    """
    return softmax(W_u @ e)
