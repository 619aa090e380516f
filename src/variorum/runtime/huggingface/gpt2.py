"""GPT-2. Radford et al. 2019, "Language Models are Unsupervised Multitask Learners"."""

from collections.abc import Mapping
from typing import Any, ClassVar

from variorum.core import Layer, Skeleton, Spec
from variorum.layers.channels.activation import Activation
from variorum.layers.channels.mlp import MLP
from variorum.layers.embed.tokens import TokenEmbed
from variorum.layers.heads.features import Features
from variorum.layers.heads.unembed import Unembed
from variorum.layers.mixers.attention import Attention
from variorum.layers.norms.layernorm import LayerNorm
from variorum.layers.patterns.causal import Causal
from variorum.layers.positions.learned import LearnedPosition
from variorum.layers.residuals.prenorm import PreNorm
from variorum.models.blocks.block import Block
from variorum.models.stack import Stack
from variorum.runtime.huggingface.activations import ACTIVATIONS, NAMES
from variorum.runtime.huggingface.config import Config
from variorum.runtime.huggingface.decoder import GENERATION, architecture, tied_output, whole
from variorum.runtime.huggingface.encoder import Kind, read_head, same
from variorum.runtime.huggingface.family import Family
from variorum.runtime.huggingface.mapping import Naming, Rule, Unused

TIED = ("head.linear.weight", "embed.token.weight")
KINDS = {"Features": Kind.BASE, "Unembed": Kind.NEXT}


def _turned(ours: str, theirs: str) -> Rule:
    """Their matrices are (in, out)."""
    return Rule(f"{ours}.{{p}}", f"{theirs}.{{p}}", transposed=True)


BACKBONE = (
    Rule("embed.token.weight", "wte.weight"),
    Rule("embed.position.weight", "wpe.weight"),
    _turned("blocks.{i}.mixer.qkv", "h.{i}.attn.c_attn"),
    _turned("blocks.{i}.mixer.out", "h.{i}.attn.c_proj"),
    same("blocks.{i}.mixer_residual.norm", "h.{i}.ln_1"),
    _turned("blocks.{i}.channels.up", "h.{i}.mlp.c_fc"),
    _turned("blocks.{i}.channels.down", "h.{i}.mlp.c_proj"),
    same("blocks.{i}.channels_residual.norm", "h.{i}.ln_2"),
    same("norm", "ln_f"),
)
MASKS = tuple(
    Unused(f"h.{{i}}.attn.{name}", "the causal mask, which older versions saved") for name in ("bias", "masked_bias")
)


class GPT2(Family):
    """Pre-norm causal blocks over token and place; the output matrix is the embedding."""

    model_type = "gpt2"
    harmless: ClassVar[Mapping[str, str]] = {
        **GENERATION,
        "n_ctx": "n_positions by an older name",
        "reorder_and_upcast_attn": "how half precision is rounded",
        **{
            f"summary_{name}": "only the head that compares choices reads it, which is not built"
            for name in ("type", "use_proj", "activation", "proj_to_labels", "first_dropout")
        },
    }

    def to_spec(self, config: Config) -> Spec[Skeleton]:
        dim, heads = config.integer("n_embd", 768), config.integer("n_head", 12)
        vocab, eps = config.integer("vocab_size", 50257), config.number("layer_norm_epsilon", 1e-5)
        head = read_head(config, "GPT2", {Kind.BASE: Features.spec(), Kind.NEXT: Unembed.spec(vocab=vocab)})
        tied = config.flag("tie_word_embeddings", True) and head.part == "Unembed"
        return Stack.spec(
            dim=dim,
            embed=TokenEmbed.spec(
                vocab=vocab,
                position=LearnedPosition.spec(length=config.integer("n_positions", 1024)),
                dropout=config.number("embd_pdrop", 0.1),
            ),
            blocks=_blocks(config, heads, whole(config, "n_inner", 4 * dim), dim // heads, eps),
            norm=LayerNorm.spec(eps=eps),
            head=head,
            tied=[TIED] if tied else [],
        )

    def to_config(self, spec: Spec[Skeleton]) -> dict[str, Any]:
        block, head = spec.at("blocks[0]"), spec["head"]
        mixer, last = block["mixer"], spec.at(f"blocks[{len(spec['blocks']) - 1}].mixer.scale")
        plain = mixer["scale"] != 1.0
        return {
            **architecture("GPT2", head, KINDS),
            "n_embd": spec["dim"],
            "n_layer": len(spec["blocks"]),
            "n_head": mixer["heads"],
            "n_inner": block.at("channels.hidden"),
            "n_positions": spec.at("embed.position.length"),
            "vocab_size": spec.at("embed.vocab"),
            "activation_function": NAMES[Activation(block.at("channels.activation"))],
            "layer_norm_epsilon": spec.at("norm.eps"),
            "embd_pdrop": spec.at("embed.dropout"),
            "attn_pdrop": mixer["dropout"],
            "resid_pdrop": block.at("residual.dropout"),
            "scale_attn_weights": plain,
            "scale_attn_by_inverse_layer_idx": mixer["scale"] is not None and (plain or last != 1.0),
            "tie_word_embeddings": head.part != "Unembed" or bool(spec["tied"]),
        }

    def naming(self, spec: Spec[Skeleton]) -> Naming:
        bare, tied = spec["head"].part == "Features", bool(spec["tied"])
        return Naming(
            backbone=BACKBONE,
            head=() if bare or tied else (Rule("head.linear.weight", "lm_head.weight"),),
            unused=MASKS,
            copies=tied_output("lm_head.weight", "wte.weight", tied=tied),
            prefix="transformer",
            prefixed=not bare,
        )


def _blocks(config: Config, heads: int, hidden: int, head_dim: int, eps: float) -> list[Spec[Layer]]:
    plain = config.flag("scale_attn_weights", True)
    by_depth = config.flag("scale_attn_by_inverse_layer_idx", False)
    activation = config.choice("activation_function", ACTIVATIONS, "gelu_new")
    attention_dropout, dropout = config.number("attn_pdrop", 0.1), config.number("resid_pdrop", 0.1)
    blocks: list[Spec[Layer]] = []
    for i in range(config.integer("n_layer", 12)):
        scale = (head_dim**-0.5 if plain else 1.0) / (i + 1 if by_depth else 1)
        own = {} if plain and not by_depth else {"scale": scale}
        blocks.append(Block.spec(
            mixer=Attention.spec(heads=heads, pattern=Causal.spec(), dropout=attention_dropout, **own),
            channels=MLP.spec(hidden=hidden, activation=activation),
            norm=LayerNorm.spec(eps=eps),
            residual=PreNorm.spec(dropout=dropout),
        ))  # fmt: skip
    return blocks
