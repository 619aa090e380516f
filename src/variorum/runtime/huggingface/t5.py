"""T5. Raffel et al. 2020, arXiv:1910.10683."""

from collections.abc import Mapping
from typing import Any, ClassVar

from variorum.core import Channel, Head, Pattern, Skeleton, Spec, VariorumError
from variorum.core.spec import says_value
from variorum.layers.channels.activation import Activation
from variorum.layers.channels.glu import GLU
from variorum.layers.channels.mlp import MLP
from variorum.layers.embed.tokens import TokenEmbed
from variorum.layers.heads.features import Features
from variorum.layers.heads.scaled_unembed import ScaledUnembed
from variorum.layers.heads.unembed import Unembed
from variorum.layers.mixers.attention import Attention
from variorum.layers.norms.dropped import DroppedNorm
from variorum.layers.norms.rmsnorm import RMSNorm
from variorum.layers.patterns.causal import Causal
from variorum.layers.patterns.full import Full
from variorum.layers.positions.bucket_bias import BucketBias, Sides
from variorum.layers.residuals.prenorm import PreNorm
from variorum.models.blocks.block import Block
from variorum.models.encoder_decoder import EncoderDecoder
from variorum.models.stack import Stack
from variorum.runtime.huggingface.activations import ACTIVATIONS, NAMES
from variorum.runtime.huggingface.config import Config
from variorum.runtime.huggingface.decoder import GENERATION, architecture, whole
from variorum.runtime.huggingface.encoder import Kind, fused, read_head, same
from variorum.runtime.huggingface.family import Family
from variorum.runtime.huggingface.mapping import Copy, Naming, Rule, Unused

EMBEDDING = "encoder.embed.token.weight"
KINDS = {"Features": Kind.BASE, "ScaledUnembed": Kind.CONDITIONAL, "Unembed": Kind.CONDITIONAL}
GATED = {"gated-gelu": Activation.GELU_TANH}
"""What ``gated-gelu`` means is no exact GELU."""
COPIES = tuple(Copy(f"{side}.embed_tokens.weight", "shared.weight") for side in ("encoder", "decoder"))
CROSS_BIAS = Unused(
    "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight",
    "a table that older versions saved; attention to the source knows no distances",
)


class T5(Family):
    """Pre-norm blocks without biases; scores told distances by one table for all layers of a side, and not scaled."""

    model_type = "t5"
    harmless: ClassVar[Mapping[str, str]] = {
        **GENERATION,
        "dense_act_fn": "follows from feed_forward_proj",
        "is_gated_act": "follows from feed_forward_proj",
        "n_positions": "the rows it was trained on; distances have no longest",
    }

    def to_spec(self, config: Config) -> Spec[Skeleton]:
        config.only("is_encoder_decoder", True, True)
        dim, depth = config.integer("d_model", 512), config.integer("num_layers", 6)
        head, tied = _head(config)
        return EncoderDecoder.spec(
            dim=dim,
            encoder=_stack(config, depth, Full.spec(), Sides.BOTH, Features.spec()),
            decoder=_stack(config, whole(config, "num_decoder_layers", depth), Causal.spec(), Sides.PAST, head),
            tied=[
                ("decoder.embed.token.weight", EMBEDDING),
                *([("decoder.head.linear.weight", EMBEDDING)] if tied else []),
            ],
        )

    def to_config(self, spec: Spec[Skeleton]) -> dict[str, Any]:
        encoder, decoder = spec["encoder"], spec["decoder"]
        block, head = encoder.at("blocks[0]"), decoder["head"]
        mixer = block["mixer"]
        tied = head.part == "Features" or len(spec["tied"]) == 2
        return {
            **architecture("T5", head, KINDS),
            **({"scale_decoder_outputs": False} if tied and head.part == "Unembed" else {}),
            "tie_word_embeddings": tied,
            "is_encoder_decoder": True,
            "d_model": spec["dim"],
            "d_kv": mixer["head_dim"],
            "d_ff": block.at("channels.hidden"),
            "num_layers": len(encoder["blocks"]),
            "num_decoder_layers": len(decoder["blocks"]),
            "num_heads": mixer["heads"],
            "relative_attention_num_buckets": block.at("mixer.bias.buckets"),
            "relative_attention_max_distance": block.at("mixer.bias.furthest"),
            "dropout_rate": mixer["dropout"],
            "layer_norm_epsilon": block.at("norm.eps"),
            "feed_forward_proj": _projection(block["channels"]),
            "vocab_size": encoder.at("embed.vocab"),
        }

    def naming(self, spec: Spec[Skeleton]) -> Naming:
        written, tied = spec.at("decoder.head").part != "Features", len(spec["tied"]) == 2
        gated = spec.at("encoder.blocks[0].channels").part == "GLU"
        own = written and not tied
        return Naming(
            backbone=(
                Rule(EMBEDDING, "shared.weight"),
                *_side("encoder", 1, gated=gated),
                *_side("decoder", 2, gated=gated),
                *_attention("decoder.blocks.{i}.cross", "decoder.block.{i}.layer.1.EncDecAttention"),
                same("decoder.blocks.{i}.cross_residual.norm", "decoder.block.{i}.layer.1.layer_norm"),
            ),
            head=(Rule("decoder.head.linear.weight", "lm_head.weight"),) if own else (),
            unused=(CROSS_BIAS,),
            copies=(*COPIES, *((Copy("lm_head.weight", "shared.weight"),) if written and tied else ())),
        )


def _head(config: Config) -> tuple[Spec[Head], bool]:
    """The decoder's head, and whether its matrix is the embedding.

    Files of T5 1.1 say that nothing is tied; where they do, nothing is scaled either. Newer files may tie without
    scaling.
    """
    vocab, tied = config.integer("vocab_size", 32128), config.flag("tie_word_embeddings", True)
    scaled = config.flag("scale_decoder_outputs", tied)
    if scaled and not tied:
        raise VariorumError(
            "config.json: 'scale_decoder_outputs'",
            expected="false where the embeddings are not tied",
            found=says_value(scaled),
            do="The model it describes would compute something else.",
        )
    output: Spec[Head] = ScaledUnembed.spec(vocab=vocab) if scaled else Unembed.spec(vocab=vocab)
    head = read_head(config, "T5", {Kind.BASE: Features.spec(), Kind.CONDITIONAL: output})
    return head, tied and head.part != "Features"


def _stack(config: Config, depth: int, pattern: Spec[Pattern], sides: Sides, head: Spec[Head]) -> Spec[Stack]:
    """One side of the model. Every block has the table of the first."""
    dropout, norm = config.number("dropout_rate", 0.1), RMSNorm.spec(eps=config.number("layer_norm_epsilon", 1e-6))
    plain: dict[str, Any] = {
        "heads": config.integer("num_heads", 8), "head_dim": config.integer("d_kv", 64), "dropout": dropout,
        "scale": 1.0, "qkv_bias": False, "out_bias": False,
    }  # fmt: skip
    bias = BucketBias.spec(
        buckets=config.integer("relative_attention_num_buckets", 32),
        furthest=config.integer("relative_attention_max_distance", 128),
        sides=sides,
    )
    block = Block.spec(
        mixer=Attention.spec(pattern=pattern, bias=bias, **plain),
        channels=_channels(config, dropout),
        norm=norm,
        residual=PreNorm.spec(dropout=dropout),
        channels_residual=PreNorm.spec(),
        **({"cross": Attention.spec(**plain)} if sides is Sides.PAST else {}),
    )
    return Stack.spec(
        embed=TokenEmbed.spec(vocab=config.integer("vocab_size", 32128), dropout=dropout),
        blocks=[block] * depth,
        norm=DroppedNorm.spec(norm=norm, dropout=dropout),
        head=head,
        tied=[(f"blocks.{i}.mixer.bias.table", "blocks.0.mixer.bias.table") for i in range(1, depth)],
    )


def _channels(config: Config, dropout: float) -> Spec[Channel]:
    hidden = config.integer("d_ff", 2048)
    known = {**ACTIVATIONS, **{f"gated-{name}": function for name, function in ACTIVATIONS.items()}, **GATED}
    gated = str(config.optional("feed_forward_proj")).startswith("gated-")
    activation = config.choice("feed_forward_proj", known, "relu")
    part = GLU if gated else MLP
    return part.spec(hidden=hidden, activation=activation, bias=False, dropout=dropout)


def _projection(channels: Spec[Channel]) -> str:
    activation = Activation(channels["activation"])
    if channels.part == "MLP":
        return NAMES[activation]
    return next((name for name, gate in GATED.items() if gate is activation), f"gated-{NAMES[activation]}")


def _attention(ours: str, theirs: str) -> tuple[Rule, ...]:
    return (fused(f"{ours}.qkv", *(f"{theirs}.{name}" for name in "qkv")), same(f"{ours}.out", f"{theirs}.o"))


def _side(side: str, last: int, *, gated: bool) -> tuple[Rule, ...]:
    """Names of an encoder or a decoder, whose sublayers have numbers: attention 0, channels ``last``."""
    ours, theirs = f"{side}.blocks.{{i}}", f"{side}.block.{{i}}.layer"
    dense = f"{theirs}.{last}.DenseReluDense"
    up = (
        fused(f"{ours}.channels.gate_up", f"{dense}.wi_0", f"{dense}.wi_1")
        if gated
        else same(f"{ours}.channels.up", f"{dense}.wi")
    )
    return (
        *_attention(f"{ours}.mixer", f"{theirs}.0.SelfAttention"),
        Rule(
            f"{side}.blocks.0.mixer.bias.table", f"{side}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
        ),
        same(f"{ours}.mixer_residual.norm", f"{theirs}.0.layer_norm"),
        up,
        same(f"{ours}.channels.down", f"{dense}.wo"),
        same(f"{ours}.channels_residual.norm", f"{theirs}.{last}.layer_norm"),
        Rule(f"{side}.norm.norm.{{p}}", f"{side}.final_layer_norm.{{p}}"),
    )
