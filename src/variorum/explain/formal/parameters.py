"""The parameters of Phuong and Hutter 2022 (arXiv:2207.09238), under the paper's names and in its shapes.

A record is used for self-attention, cross-attention or a single head alike: its user says which of its sizes are equal.
"""

from dataclasses import dataclass
from typing import Annotated

from variorum.explain.formal.shapes import Array, Real, Size


@dataclass(frozen=True)
class Head:
    """W_qkv, one attention head (Algorithms 3 and 4)."""

    W_q: Real[Array, "d_attn d_x"]
    b_q: Real[Array, "d_attn"]
    W_k: Real[Array, "d_attn d_z"]
    b_k: Real[Array, "d_attn"]
    W_v: Real[Array, "d_out d_z"]
    b_v: Real[Array, "d_out"]


@dataclass(frozen=True)
class MultiHead:
    """W, all heads of an attention and the matrix that joins them (Algorithm 5)."""

    W_qkv: Annotated[tuple[Annotated[Head, {"d_out": "d_mid"}], ...], Size("H")]
    W_o: Real[Array, "d_out H*d_mid"]
    b_o: Real[Array, "d_out"]


WITHIN = {"d_x": "d_e", "d_z": "d_e", "d_out": "d_e"}
"""An attention inside a Transformer: every vector it takes or gives has d_e entries."""


@dataclass(frozen=True)
class Layer:
    """Layer l of an encoder or of a decoder without context (Algorithms 8, 9 and 10)."""

    W: Annotated[MultiHead, WITHIN]
    gamma_1: Real[Array, "d_e"]
    beta_1: Real[Array, "d_e"]
    gamma_2: Real[Array, "d_e"]
    beta_2: Real[Array, "d_e"]
    W_mlp1: Real[Array, "d_mlp d_e"]
    b_mlp1: Real[Array, "d_mlp"]
    W_mlp2: Real[Array, "d_e d_mlp"]
    b_mlp2: Real[Array, "d_e"]


@dataclass(frozen=True)
class ContextLayer:
    """Layer l of the decoder that attends to an encoded context (Algorithm 8)."""

    W_dec: Annotated[MultiHead, WITHIN]
    gamma_3: Real[Array, "d_e"]
    beta_3: Real[Array, "d_e"]
    W_ed: Annotated[MultiHead, WITHIN]
    gamma_4: Real[Array, "d_e"]
    beta_4: Real[Array, "d_e"]
    W_mlp3: Real[Array, "d_mlp d_e"]
    b_mlp3: Real[Array, "d_mlp"]
    W_mlp4: Real[Array, "d_e d_mlp"]
    b_mlp4: Real[Array, "d_e"]
    gamma_5: Real[Array, "d_e"]
    beta_5: Real[Array, "d_e"]


@dataclass(frozen=True)
class EDTheta:
    """theta of the encoder-decoder Transformer (Algorithm 8)."""

    W_e: Real[Array, "d_e N_V"]
    W_p: Real[Array, "d_e l_max"]
    encoder: Annotated[tuple[Layer, ...], Size("L_enc")]
    decoder: Annotated[tuple[ContextLayer, ...], Size("L_dec")]
    W_u: Real[Array, "N_V d_e"]


@dataclass(frozen=True)
class ETheta:
    """theta of the encoder-only Transformer (Algorithm 9).

    ``gamma_0`` and ``beta_0`` are not in the paper. BERT normalises the embedded tokens before its first layer; leave
    them out (None) for the algorithm as printed.
    """

    W_e: Real[Array, "d_e N_V"]
    W_p: Real[Array, "d_e l_max"]
    layers: Annotated[tuple[Layer, ...], Size("L")]
    W_f: Real[Array, "d_f d_e"]
    b_f: Real[Array, "d_f"]
    gamma: Real[Array, "d_f"]
    beta: Real[Array, "d_f"]
    W_u: Real[Array, "N_V d_f"]
    gamma_0: Real[Array, "d_e"] | None = None
    beta_0: Real[Array, "d_e"] | None = None


@dataclass(frozen=True)
class DTheta:
    """theta of the decoder-only Transformer (Algorithm 10)."""

    W_e: Real[Array, "d_e N_V"]
    W_p: Real[Array, "d_e l_max"]
    layers: Annotated[tuple[Layer, ...], Size("L")]
    gamma: Real[Array, "d_e"]
    beta: Real[Array, "d_e"]
    W_u: Real[Array, "N_V d_e"]
