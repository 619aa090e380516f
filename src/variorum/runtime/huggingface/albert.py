"""ALBERT. Lan et al. 2019, arXiv:1909.11942."""

from collections.abc import Mapping
from typing import Any, ClassVar

from variorum.core import Skeleton, Spec
from variorum.layers.channels.activation import Activation
from variorum.layers.embed.factorised import FactorisedEmbed
from variorum.layers.heads.pooled import Pooled
from variorum.layers.norms.identity import NoNorm
from variorum.layers.pools.dense import DensePool
from variorum.layers.positions.learned import LearnedPosition
from variorum.layers.positions.segment import Segment
from variorum.layers.positions.several import Several
from variorum.layers.residuals.postnorm import PostNorm
from variorum.models.blocks.repeated import Repeated
from variorum.models.stack import Stack
from variorum.runtime.huggingface.config import Config
from variorum.runtime.huggingface.encoder import (
    DEEPEST,
    EMBED,
    POSITION_IDS,
    Kind,
    Shape,
    decoder_of,
    fused,
    inside,
    masked_head,
    normed_embed,
    post_norm_block,
    read_head,
    read_shape,
    rows_head,
    same,
    shape_of,
    tokens_head,
    words_tied,
    write_head,
    write_shape,
)
from variorum.runtime.huggingface.family import Family
from variorum.runtime.huggingface.mapping import Naming, Unused

BASE = Shape(4096, 12, 64, 16384, Activation.GELU_TANH, dropout=0.0, attention_dropout=0.0)
TIED = ("head.linear.weight", "embed.embed.embed.token.weight")
OURS, THEIRS = "blocks.{i}.layers.{j}", "encoder.albert_layer_groups.{i}.albert_layers.{j}"
BACKBONE = (
    *(inside("embed", rule) for rule in EMBED),
    same("embed.project", "encoder.embedding_hidden_mapping_in"),
    fused(f"{OURS}.mixer.qkv", *(f"{THEIRS}.attention.{name}" for name in ("query", "key", "value"))),
    same(f"{OURS}.mixer.out", f"{THEIRS}.attention.dense"),
    same(f"{OURS}.mixer_residual.norm", f"{THEIRS}.attention.LayerNorm"),
    same(f"{OURS}.channels.up", f"{THEIRS}.ffn"),
    same(f"{OURS}.channels.down", f"{THEIRS}.ffn_output"),
    same(f"{OURS}.channels_residual.norm", f"{THEIRS}.full_layer_layer_norm"),
)
HEAD_RULES = {
    "Pooled": (),
    "MaskedLMHead": (same("head.transform", "predictions.dense"), same("head.norm", "predictions.LayerNorm")),
    "Classifier": (same("head.linear", "classifier"),),
    "TokenClassifier": (same("head.linear", "classifier"),),
}
POOLER = Unused("pooler.{p}", "this head reads the tokens, not the pooled vector")
ORDER = Unused("sop_classifier.classifier.{p}", "the head of sentence order prediction, which this class has not")


class Albert(Family):
    """A narrow embedding, projected, and the same few layers again and again; nothing is dropped after the channels."""

    model_type = "albert"
    harmless: ClassVar[Mapping[str, str]] = {
        "down_scale_factor": "never read",
        "gap_size": "never read",
        "net_structure_type": "never read",
        "num_memory_blocks": "never read",
        "classifier_dropout_prob": "training of the classifier",
    }

    def to_spec(self, config: Config) -> Spec[Skeleton]:
        shape, eps = read_shape(config, BASE), config.number("layer_norm_eps", 1e-12)
        vocab, width = config.size("vocab_size", 30000), config.size("embedding_size", 128)
        tied = config.flag("tie_word_embeddings", True)
        head = read_head(
            config,
            "Albert",
            {
                Kind.BASE: Pooled.spec(pool=DensePool.spec()),
                Kind.MASKED: masked_head(vocab, eps, shape.activation, hidden=width),
                Kind.ROWS: rows_head(config.classes, Activation.TANH),
                Kind.TOKENS: tokens_head(config.classes),
            },
        )
        position = Several.spec(
            parts=[
                LearnedPosition.spec(length=config.size("max_position_embeddings", 512)),
                Segment.spec(kinds=config.size("type_vocab_size", 2)),
            ]
        )
        block = post_norm_block(
            shape, eps, residual=PostNorm.spec(dropout=shape.dropout), channels_residual=PostNorm.spec()
        )
        layers = [block] * config.size("inner_group_num", 1, most=DEEPEST)
        groups = config.size("num_hidden_groups", 1, most=shape.depth)
        return Stack.spec(
            dim=shape.dim,
            embed=FactorisedEmbed.spec(width=width, embed=normed_embed(vocab, position, eps, shape.dropout)),
            blocks=[Repeated.spec(layers=layers, times=times) for times in passes(shape.depth, groups)],
            norm=NoNorm.spec(),
            head=head,
            tied=[TIED] if tied and head.part == "MaskedLMHead" else [],
        )

    def to_config(self, spec: Spec[Skeleton]) -> dict[str, Any]:
        inner, groups = spec.at("embed.embed"), spec["blocks"]
        shape = shape_of(
            spec,
            block=spec.at("blocks[0].layers[0]"),
            depth=sum(group["times"] for group in groups),
            dropout=inner["dropout"],
        )
        return {
            **write_shape(shape),
            **write_head("Albert", spec["head"]),
            "layer_norm_eps": inner.at("norm.eps"),
            "vocab_size": inner.at("embed.vocab"),
            "embedding_size": spec.at("embed.width"),
            "num_hidden_groups": len(groups),
            "inner_group_num": len(spec.at("blocks[0].layers")),
            "max_position_embeddings": inner.at("embed.position.parts[0].length"),
            "type_vocab_size": inner.at("embed.position.parts[1].kinds"),
            "tie_word_embeddings": words_tied(spec),
        }

    def naming(self, spec: Spec[Skeleton]) -> Naming:
        kind = spec["head"].part
        pooled = kind in ("Pooled", "Classifier")
        decoder = decoder_of(spec, "predictions")
        return Naming(
            backbone=BACKBONE + ((same("head.pool.linear", "pooler"),) if pooled else ()),
            head=HEAD_RULES[kind] + decoder.rules,
            unused=(
                POSITION_IDS,
                *(() if pooled else (POOLER,)),
                *((ORDER,) if kind == "MaskedLMHead" else ()),
                *decoder.unused,
            ),
            copies=decoder.copies,
            prefix="albert",
            prefixed=kind != "Pooled",
        )


def passes(depth: int, groups: int) -> list[int]:
    """How often each group is applied: pass i belongs to group floor(i * groups / depth)."""
    group_of = [int(i / (depth / groups)) for i in range(depth)]
    return [group_of.count(group) for group in range(groups)]
