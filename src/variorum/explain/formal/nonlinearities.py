"""The scalar functions and the softmax of the papers, on real arrays and on complex ones (for the complex step)."""

import numpy as np
from scipy.special import erf

from variorum.explain.formal.shapes import Array


def softmax(A: Array) -> Array:
    """softmax(A)[i, j] = exp A[i, j] / sum_k exp A[k, j]: every column becomes a distribution.

    The largest real part of a column is subtracted from it first, which changes nothing but the overflow.
    """
    E = np.exp(A - A.real.max(axis=0))
    return E / E.sum(axis=0)


def relu(x: Array) -> Array:
    """ReLU(x) = x where x > 0, else 0."""
    return np.where(x.real > 0, x, 0)


def gelu(x: Array) -> Array:
    """GELU(x) = x P(Z < x) with Z standard normal, that is x (1 + erf(x / sqrt 2)) / 2.

    Hendrycks and Gimpel 2016, arXiv:1606.08415.
    """
    return x * (1 + erf(x / np.sqrt(2))) / 2


def gelu_tanh(x: Array) -> Array:
    """x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2: the approximation of GELU that GPT-2 computes."""
    return x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))) / 2
