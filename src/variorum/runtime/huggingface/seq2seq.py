"""What BART and Whisper share: the settings of their two sides, and the names of their layers."""

from collections.abc import Mapping
from typing import Any

from variorum.core import Layer, Norm, Residual, Spec, VariorumError
from variorum.layers.channels.activation import Activation
from variorum.layers.channels.mlp import MLP
from variorum.layers.mixers.attention import Attention
from variorum.layers.norms.layernorm import LayerNorm
from variorum.layers.patterns.causal import Causal
from variorum.models.blocks.block import Block
from variorum.runtime.huggingface.activations import ACTIVATIONS, NAMES
from variorum.runtime.huggingface.config import Config
from variorum.runtime.huggingface.encoder import fused, same
from variorum.runtime.huggingface.mapping import Rule

ENCODER, DECODER = "encoder", "decoder"
HARMLESS = {"num_hidden_layers": "encoder_layers by another name"}


def blocks(
    config: Config,
    side: str,
    defaults: Mapping[str, Any],
    *,
    residual: type[Residual],
    norm: Spec[Norm] = LayerNorm.spec(),
    key_bias: bool = True,
) -> list[Spec[Layer]]:
    """The blocks of a side. ``defaults``: the family's values of the keys that a config may leave out."""
    config.only("is_encoder_decoder", True, True)
    config.only(f"{side}_layerdrop", 0.0, 0.0)
    dropout, inner = config.number("dropout", defaults["dropout"]), config.number("activation_dropout", 0.0)
    if inner not in (0.0, dropout):
        raise VariorumError("config.json: 'activation_dropout'", expected=f"0, or {dropout} as dropout is",
                            found=str(inner), do="Set it to one of these; it only matters in training.")  # fmt: skip
    attention = Attention.spec(
        heads=config.integer(f"{side}_attention_heads", defaults["heads"]),
        dropout=config.number("attention_dropout", 0.0),
        **({} if key_bias else {"key_bias": False}),
    )
    block = Block.spec(
        mixer=attention.but(pattern=Causal.spec()) if side == DECODER else attention,
        channels=MLP.spec(
            hidden=config.integer(f"{side}_ffn_dim", defaults["hidden"]),
            activation=config.choice("activation_function", ACTIVATIONS, "gelu"),
            dropout=inner,
        ),
        norm=norm,
        residual=residual.spec(dropout=dropout),
        channels_residual=residual.spec(dropout=0.0 if inner else dropout),
        **({"cross": attention} if side == DECODER else {}),
    )
    return [block] * config.integer(f"{side}_layers", defaults["depth"])


def told(spec: Spec[Any]) -> dict[str, Any]:
    """The keys of config.json that tell of the blocks of both sides: the way back of :func:`blocks`."""
    found: dict[str, Any] = {"is_encoder_decoder": True, "d_model": spec["dim"]}
    for side in (ENCODER, DECODER):
        block = spec.at(f"{side}.blocks[0]")
        found |= {
            f"{side}_layers": len(spec.at(f"{side}.blocks")),
            f"{side}_attention_heads": block.at("mixer.heads"),
            f"{side}_ffn_dim": block.at("channels.hidden"),
            "activation_function": NAMES[Activation(block.at("channels.activation"))],
            "dropout": block.at("residual.dropout"),
            "attention_dropout": block.at("mixer.dropout"),
            "activation_dropout": block.at("channels.dropout"),
        }
    return found


def block_rules(side: str, *, key_bias: bool = True) -> tuple[Rule, ...]:
    """The names of the layers of a side."""
    ours, theirs = f"{side}.blocks.{{i}}", f"{side}.layers.{{i}}"
    cross = (
        *attention_rules(f"{ours}.cross", f"{theirs}.encoder_attn", key_bias=key_bias),
        same(f"{ours}.cross_residual.norm", f"{theirs}.encoder_attn_layer_norm"),
    )
    return (
        *attention_rules(f"{ours}.mixer", f"{theirs}.self_attn", key_bias=key_bias),
        same(f"{ours}.mixer_residual.norm", f"{theirs}.self_attn_layer_norm"),
        *(cross if side == DECODER else ()),
        same(f"{ours}.channels.up", f"{theirs}.fc1"),
        same(f"{ours}.channels.down", f"{theirs}.fc2"),
        same(f"{ours}.channels_residual.norm", f"{theirs}.final_layer_norm"),
    )


def attention_rules(ours: str, theirs: str, *, key_bias: bool) -> tuple[Rule, ...]:
    """The names of an attention whose keys have a bias, or have none."""
    biases = (Rule(f"{ours}.query_bias", f"{theirs}.q_proj.bias"), Rule(f"{ours}.value_bias", f"{theirs}.v_proj.bias"))
    return (
        fused(f"{ours}.qkv", *(f"{theirs}.{name}_proj" for name in "qkv")),
        *(() if key_bias else biases),
        same(f"{ours}.out", f"{theirs}.out_proj"),
    )
