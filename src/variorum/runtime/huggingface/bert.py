"""BERT. Devlin et al. 2018, arXiv:1810.04805."""

from collections.abc import Mapping
from typing import Any, ClassVar

from variorum.core import Skeleton, Spec
from variorum.layers.channels.activation import Activation
from variorum.layers.heads.pooled import Pooled
from variorum.layers.norms.identity import NoNorm
from variorum.layers.pools.dense import DensePool
from variorum.layers.positions.learned import LearnedPosition
from variorum.layers.positions.segment import Segment
from variorum.layers.positions.several import Several
from variorum.models.stack import Stack
from variorum.runtime.huggingface.config import Config
from variorum.runtime.huggingface.encoder import (
    CLS_PREDICTIONS,
    EMBED,
    POSITION_IDS,
    Kind,
    Shape,
    block_rules,
    decoder_of,
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

BASE = Shape(768, 12, 12, 3072, Activation.GELU, dropout=0.1, attention_dropout=0.1)
TIED = ("head.linear.weight", "embed.embed.token.weight")
HEAD_RULES = {
    "Pooled": (),
    "MaskedLMHead": CLS_PREDICTIONS,
    "Classifier": (same("head.linear", "classifier"),),
    "TokenClassifier": (same("head.linear", "classifier"),),
}
POOLER = Unused("pooler.dense.{p}", "this head reads the tokens, not the pooled vector")
SENTENCES = Unused("cls.seq_relationship.{p}", "the head of next-sentence prediction, which this class has not")


class Bert(Family):
    """Post-norm blocks over token, place and segment; the bare model answers with the pooled first token.

    ``model.hidden(ids, layout)`` gives the tokens. Token types are ``layout.segments``.
    """

    model_type = "bert"
    harmless: ClassVar[Mapping[str, str]] = {
        key: "never read"
        for key in (
            "pooler_fc_size",
            "pooler_num_attention_heads",
            "pooler_num_fc_layers",
            "pooler_size_per_head",
            "pooler_type",
        )
    }

    def to_spec(self, config: Config) -> Spec[Skeleton]:
        shape, eps = read_shape(config, BASE), config.number("layer_norm_eps", 1e-12)
        vocab, places = config.size("vocab_size", 30522), config.size("max_position_embeddings", 512)
        tied = config.flag("tie_word_embeddings", True)
        head = read_head(
            config,
            "Bert",
            {
                Kind.BASE: Pooled.spec(pool=DensePool.spec()),
                Kind.MASKED: masked_head(vocab, eps, shape.activation),
                Kind.ROWS: rows_head(config.classes, Activation.TANH),
                Kind.TOKENS: tokens_head(config.classes),
            },
        )
        position = Several.spec(
            parts=[
                LearnedPosition.spec(length=places),
                Segment.spec(kinds=config.size("type_vocab_size", 2)),
            ]
        )
        return Stack.spec(
            dim=shape.dim,
            embed=normed_embed(vocab, position, eps, shape.dropout),
            blocks=[post_norm_block(shape, eps)] * shape.depth,
            norm=NoNorm.spec(),
            head=head,
            tied=[TIED] if tied and head.part == "MaskedLMHead" else [],
        )

    def to_config(self, spec: Spec[Skeleton]) -> dict[str, Any]:
        shape = shape_of(spec, dropout=spec.at("embed.dropout"))
        return {
            **write_shape(shape),
            **write_head("Bert", spec["head"]),
            "layer_norm_eps": spec.at("embed.norm.eps"),
            "vocab_size": spec.at("embed.embed.vocab"),
            "max_position_embeddings": spec.at("embed.embed.position.parts[0].length"),
            "type_vocab_size": spec.at("embed.embed.position.parts[1].kinds"),
            "tie_word_embeddings": words_tied(spec),
        }

    def naming(self, spec: Spec[Skeleton]) -> Naming:
        kind = spec["head"].part
        pooler = {"Pooled": "head.pool.linear", "Classifier": "head.pool.linear"}.get(kind)
        decoder = decoder_of(spec, "cls.predictions")
        return Naming(
            backbone=(*EMBED, *block_rules(), *((same(pooler, "pooler.dense"),) if pooler else ())),
            head=HEAD_RULES[kind] + decoder.rules,
            unused=(
                POSITION_IDS,
                *((SENTENCES,) if kind == "MaskedLMHead" else ()),
                *(() if pooler else (POOLER,)),
                *decoder.unused,
            ),
            copies=decoder.copies,
            prefix="bert",
            prefixed=kind != "Pooled",
        )
