"""DistilBERT. Sanh et al. 2019, arXiv:1910.01108."""

from collections.abc import Mapping
from typing import Any, ClassVar

from variorum.core import Skeleton, Spec
from variorum.layers.channels.activation import Activation
from variorum.layers.heads.features import Features
from variorum.layers.norms.identity import NoNorm
from variorum.layers.positions.learned import LearnedPosition
from variorum.layers.residuals.postnorm import PostNorm
from variorum.models.stack import Stack
from variorum.runtime.huggingface.config import Config
from variorum.runtime.huggingface.encoder import (
    POSITION_IDS,
    Kind,
    Shape,
    fused,
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
from variorum.runtime.huggingface.mapping import Copy, Naming, Rule

BASE = Shape(768, 6, 12, 3072, Activation.GELU, dropout=0.1, attention_dropout=0.1)
EPS = 1e-12
KEYS = {
    "dim": "dim",
    "depth": "n_layers",
    "heads": "n_heads",
    "hidden": "hidden_dim",
    "activation": "activation",
    "dropout": "dropout",
    "attention_dropout": "attention_dropout",
}
TIED = ("head.linear.weight", "embed.embed.token.weight")
LAYER = "transformer.layer.{i}"
BACKBONE = (
    Rule("embed.embed.token.weight", "embeddings.word_embeddings.weight"),
    Rule("embed.embed.position.weight", "embeddings.position_embeddings.weight"),
    same("embed.norm", "embeddings.LayerNorm"),
    fused("blocks.{i}.mixer.qkv", *(f"{LAYER}.attention.{name}_lin" for name in "qkv")),
    same("blocks.{i}.mixer.out", f"{LAYER}.attention.out_lin"),
    same("blocks.{i}.mixer_residual.norm", f"{LAYER}.sa_layer_norm"),
    same("blocks.{i}.channels.up", f"{LAYER}.ffn.lin1"),
    same("blocks.{i}.channels.down", f"{LAYER}.ffn.lin2"),
    same("blocks.{i}.channels_residual.norm", f"{LAYER}.output_layer_norm"),
)
HEAD_RULES = {
    "Features": (),
    "MaskedLMHead": (
        same("head.transform", "vocab_transform"),
        same("head.norm", "vocab_layer_norm"),
        Rule("head.linear.bias", "vocab_projector.bias"),
    ),
    "Classifier": (same("head.pool.linear", "pre_classifier"), same("head.linear", "classifier")),
    "TokenClassifier": (same("head.linear", "classifier"),),
}


class DistilBert(Family):
    """BERT at half depth, without segments; in training nothing is dropped after the attention."""

    model_type = "distilbert"
    harmless: ClassVar[Mapping[str, str]] = {
        "sinusoidal_pos_embds": "how new positions are drawn; a checkpoint holds them either way",
        "seq_classif_dropout": "training of the classifier",
        "tie_weights_": "an old name of tie_word_embeddings, which is read",
    }

    def to_spec(self, config: Config) -> Spec[Skeleton]:
        shape, vocab = read_shape(config, BASE, KEYS), config.size("vocab_size", 30522)
        tied = config.flag("tie_word_embeddings", True)
        head = read_head(
            config,
            "DistilBert",
            {
                Kind.BASE: Features.spec(),
                Kind.MASKED: masked_head(vocab, EPS, shape.activation),
                Kind.ROWS: rows_head(config.classes, Activation.RELU),
                Kind.TOKENS: tokens_head(config.classes),
            },
        )
        position = LearnedPosition.spec(length=config.size("max_position_embeddings", 512))
        block = post_norm_block(
            shape, EPS, residual=PostNorm.spec(), channels_residual=PostNorm.spec(dropout=shape.dropout)
        )
        return Stack.spec(
            dim=shape.dim,
            embed=normed_embed(vocab, position, EPS, shape.dropout),
            blocks=[block] * shape.depth,
            norm=NoNorm.spec(),
            head=head,
            tied=[TIED] if tied and head.part == "MaskedLMHead" else [],
        )

    def to_config(self, spec: Spec[Skeleton]) -> dict[str, Any]:
        shape = shape_of(spec, dropout=spec.at("embed.dropout"))
        return {
            **write_shape(shape, KEYS),
            **write_head("DistilBert", spec["head"]),
            "vocab_size": spec.at("embed.embed.vocab"),
            "max_position_embeddings": spec.at("embed.embed.position.length"),
            "tie_word_embeddings": words_tied(spec),
        }

    def naming(self, spec: Spec[Skeleton]) -> Naming:
        kind = spec["head"].part
        own = () if words_tied(spec) else (Rule("head.linear.weight", "vocab_projector.weight"),)
        return Naming(
            backbone=BACKBONE,
            head=HEAD_RULES[kind] + own,
            unused=(POSITION_IDS,),
            copies=(Copy("vocab_projector.weight", "embeddings.word_embeddings.weight"),) if words_tied(spec) else (),
            prefix="distilbert",
            prefixed=kind != "Features",
        )
