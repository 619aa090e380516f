"""Llama in a GGUF file. Touvron et al. 2023, arXiv:2302.13971; Grattafiori et al. 2024, arXiv:2407.21783."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from variorum.core import VariorumError
from variorum.layers.positions.by_wavelength_rotary import ByWavelengthRotary
from variorum.layers.positions.turning import geometric
from variorum.runtime.gguf.architecture import COMMON, OUTPUT, Architecture, depth_of, vocabulary_of
from variorum.runtime.gguf.container import Stored
from variorum.runtime.gguf.metadata import Metadata
from variorum.runtime.gguf.rope import read_scaling

SHARES = "rope_freqs.weight"
TRAINED, SLOW, FAST = 8192, 1.0, 4.0
"""The rows that Llama 3 was trained on, and between which numbers of turns its releases go over."""


class LlamaFile(Architecture):
    """Channels of queries and keys lie so that neighbours are turned together, where folders pair halves."""

    name = "llama"
    outer: ClassVar[Mapping[str, str]] = {
        "token_embd": "model.embed_tokens",
        "output_norm": "model.norm",
        "output": "lm_head",
    }
    block = "model.layers.{i}."
    inner: ClassVar[Mapping[str, str]] = {
        "attn_norm": "input_layernorm",
        "attn_q": "self_attn.q_proj",
        "attn_k": "self_attn.k_proj",
        "attn_v": "self_attn.v_proj",
        "attn_output": "self_attn.o_proj",
        "ffn_norm": "post_attention_layernorm",
        "ffn_gate": "mlp.gate_proj",
        "ffn_up": "mlp.up_proj",
        "ffn_down": "mlp.down_proj",
    }
    harmless: ClassVar[Mapping[str, str]] = COMMON
    unused = frozenset({SHARES})

    def to_config(self, told: Metadata, tensors: Mapping[str, Stored]) -> dict[str, Any]:
        for name in ("expert_count", "expert_used_count"):
            told.only(name, 0)
        dim, heads = told.size("embedding_length"), told.size("attention.head_count")
        wide = told.size("attention.key_length", max(dim // heads, 1))
        told.only("attention.value_length", wide)
        told.only("rope.dimension_count", wide)
        theta = told.number("rope.freq_base", 10000.0)
        scaling = read_scaling(told)
        return {
            "model_type": "llama",
            "architectures": ["LlamaForCausalLM"],
            "hidden_size": dim,
            "num_hidden_layers": depth_of(told, tensors),
            "num_attention_heads": heads,
            "num_key_value_heads": told.size("attention.head_count_kv", heads),
            "head_dim": wide,
            "rms_norm_eps": told.number("attention.layer_norm_rms_epsilon"),
            "intermediate_size": told.size("feed_forward_length"),
            "max_position_embeddings": told.size("context_length", 2048),
            "rope_parameters": {**(_by_wavelength(tensors, theta) or scaling), "rope_theta": theta},
            "attention_bias": "blk.0.attn_q.bias" in tensors,
            "mlp_bias": "blk.0.ffn_gate.bias" in tensors,
            "vocab_size": vocabulary_of(tensors),
            "tie_word_embeddings": OUTPUT not in tensors,
        }

    def value(self, part: str, values: Tensor, config: Mapping[str, Any]) -> Tensor:
        heads = {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]}
        if part not in heads:
            return values
        if values.shape[0] % (2 * heads[part]):
            raise VariorumError(f"tensors {part}", expected=f"rows for {heads[part]} heads of an even width",
                                found=f"{values.shape[0]}", do="Download or convert the file again.")  # fmt: skip
        return values.unflatten(0, (heads[part], -1, 2)).transpose(1, 2).reshape(values.shape)


def _by_wavelength(tensors: Mapping[str, Stored], theta: float) -> dict[str, Any] | None:
    """The settings whose shares of the frequencies are those that the file holds as a tensor; None: it holds none."""
    if SHARES not in tensors:
        return None
    held = tensors[SHARES].dense().flatten()
    factor = float(held.max())
    told = ByWavelengthRotary(trained=TRAINED, factor=factor, slow=SLOW, fast=FAST, base=theta)
    wanted = 1 / told.shares(geometric(theta, len(held), held.device))
    if not torch.allclose(held, wanted, rtol=1e-4, atol=0):
        raise VariorumError(f"tensor {SHARES!r}",
                            expected=f"those of Llama 3, trained on rows of {TRAINED}, for a factor of {factor:g}",
                            found="others", do="Read the checkpoint folder that the file was made of.")  # fmt: skip
    return {
        "rope_type": "llama3",
        "factor": factor,
        "low_freq_factor": SLOW,
        "high_freq_factor": FAST,
        "original_max_position_embeddings": TRAINED,
    }
