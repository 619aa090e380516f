"""ELECTRA. Clark et al. 2020, arXiv:2003.10555."""

from collections.abc import Mapping
from typing import Any, ClassVar

from variorum.core import Skeleton, Spec
from variorum.layers.channels.activation import Activation
from variorum.layers.embed.factorised import FactorisedEmbed
from variorum.layers.heads.features import Features
from variorum.layers.heads.replaced_token import ReplacedToken
from variorum.layers.norms.identity import NoNorm
from variorum.layers.positions.learned import LearnedPosition
from variorum.layers.positions.segment import Segment
from variorum.layers.positions.several import Several
from variorum.models.stack import Stack
from variorum.runtime.huggingface.config import Config
from variorum.runtime.huggingface.encoder import (
    EMBED,
    POSITION_IDS,
    Kind,
    Shape,
    block_rules,
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
from variorum.runtime.huggingface.mapping import Copy, Naming, Rule

BASE = Shape(256, 12, 4, 1024, Activation.GELU, dropout=0.1, attention_dropout=0.1)
HEAD_RULES = {
    "Features": (),
    "MaskedLMHead": (
        same("head.transform", "generator_predictions.dense"),
        same("head.norm", "generator_predictions.LayerNorm"),
        Rule("head.linear.bias", "generator_lm_head.bias"),
    ),
    "ReplacedToken": (
        same("head.transform", "discriminator_predictions.dense"),
        same("head.linear", "discriminator_predictions.dense_prediction"),
    ),
    "Classifier": (same("head.pool.linear", "classifier.dense"), same("head.linear", "classifier.out_proj")),
    "TokenClassifier": (same("head.linear", "classifier"),),
}


class Electra(Family):
    """BERT with an embedding of its own width; a generator (masked words) or a discriminator (replaced words)."""

    model_type = "electra"
    harmless: ClassVar[Mapping[str, str]] = {
        key: "only a head for choosing among several texts reads it, which is not built"
        for key in ("summary_activation", "summary_last_dropout", "summary_type", "summary_use_proj")
    }

    def to_spec(self, config: Config) -> Spec[Skeleton]:
        shape, eps = read_shape(config, BASE), config.number("layer_norm_eps", 1e-12)
        vocab, width = config.size("vocab_size", 30522), config.size("embedding_size", 128)
        tied = config.flag("tie_word_embeddings", True)
        head = read_head(
            config,
            "Electra",
            {
                Kind.BASE: Features.spec(),
                Kind.MASKED: masked_head(vocab, eps, Activation.GELU, hidden=width),
                Kind.REPLACED: ReplacedToken.spec(activation=shape.activation),
                Kind.ROWS: rows_head(config.classes, Activation.GELU, shape.dropout),
                Kind.TOKENS: tokens_head(config.classes),
            },
        )
        position = Several.spec(
            parts=[
                LearnedPosition.spec(length=config.size("max_position_embeddings", 512)),
                Segment.spec(kinds=config.size("type_vocab_size", 2)),
            ]
        )
        narrow = normed_embed(vocab, position, eps, shape.dropout)
        embed = narrow if width == shape.dim else FactorisedEmbed.spec(width=width, embed=narrow)
        return Stack.spec(
            dim=shape.dim,
            embed=embed,
            blocks=[post_norm_block(shape, eps)] * shape.depth,
            norm=NoNorm.spec(),
            head=head,
            tied=[("head.linear.weight", _word(embed))] if tied and head.part == "MaskedLMHead" else [],
        )

    def to_config(self, spec: Spec[Skeleton]) -> dict[str, Any]:
        inner = spec.at("embed.embed") if spec["embed"].part == "FactorisedEmbed" else spec["embed"]
        shape = shape_of(spec, dropout=inner["dropout"])
        return {
            **write_shape(shape),
            **write_head("Electra", spec["head"]),
            "layer_norm_eps": inner.at("norm.eps"),
            "vocab_size": inner.at("embed.vocab"),
            "embedding_size": spec["dim"] if inner is spec["embed"] else spec.at("embed.width"),
            "max_position_embeddings": inner.at("embed.position.parts[0].length"),
            "type_vocab_size": inner.at("embed.position.parts[1].kinds"),
            "tie_word_embeddings": words_tied(spec),
        }

    def naming(self, spec: Spec[Skeleton]) -> Naming:
        kind, factorised = spec["head"].part, spec["embed"].part == "FactorisedEmbed"
        embed = tuple(inside("embed", rule) for rule in EMBED) if factorised else EMBED
        project = (same("embed.project", "embeddings_project"),) if factorised else ()
        own = not words_tied(spec)
        return Naming(
            backbone=embed + project + block_rules(),
            head=HEAD_RULES[kind] + ((Rule("head.linear.weight", "generator_lm_head.weight"),) if own else ()),
            unused=(POSITION_IDS,),
            copies=() if own else (Copy("generator_lm_head.weight", "embeddings.word_embeddings.weight"),),
            prefix="electra",
            prefixed=kind != "Features",
        )


def _word(embed: Spec[Any]) -> str:
    """The name of the token table."""
    return f"embed.{'embed.' if embed.part == 'FactorisedEmbed' else ''}embed.token.weight"
