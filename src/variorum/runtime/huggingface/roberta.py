"""RoBERTa. Liu et al. 2019, arXiv:1907.11692."""

from typing import Any

from variorum.core import Skeleton, Spec, VariorumError
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
    "MaskedLMHead": (same("head.transform", "lm_head.dense"), same("head.norm", "lm_head.layer_norm")),
    "Classifier": (same("head.pool.linear", "classifier.dense"), same("head.linear", "classifier.out_proj")),
    "TokenClassifier": (same("head.linear", "classifier"),),
}
POOLER = Unused("pooler.dense.{p}", "this head reads the tokens, not the pooled vector")


class Roberta(Family):
    """BERT whose first places are taken: a row's positions begin at ``pad_token_id + 1``."""

    model_type = "roberta"

    def to_spec(self, config: Config) -> Spec[Skeleton]:
        shape, eps = read_shape(config, BASE), config.number("layer_norm_eps", 1e-12)
        vocab, offset = config.size("vocab_size", 50265), config.integer("pad_token_id", 1) + 1
        tied = config.flag("tie_word_embeddings", True)
        head = read_head(
            config,
            "Roberta",
            {
                Kind.BASE: Pooled.spec(pool=DensePool.spec()),
                Kind.MASKED: masked_head(vocab, eps, Activation.GELU),
                Kind.ROWS: rows_head(config.classes, Activation.TANH, shape.dropout),
                Kind.TOKENS: tokens_head(config.classes),
            },
        )
        length = config.size("max_position_embeddings", 512)
        if not 0 < offset < length:
            raise VariorumError(
                "config.json: 'pad_token_id'",
                expected="a place before the last position",
                found=str(offset - 1),
                do="Positions begin after it.",
            )
        places = LearnedPosition.spec(length=length - offset, offset=offset)
        position = Several.spec(parts=[places, Segment.spec(kinds=config.size("type_vocab_size", 2))])
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
        places = spec.at("embed.embed.position.parts[0]")
        return {
            **write_shape(shape),
            **write_head("Roberta", spec["head"]),
            "layer_norm_eps": spec.at("embed.norm.eps"),
            "vocab_size": spec.at("embed.embed.vocab"),
            "max_position_embeddings": places["length"] + places["offset"],
            "pad_token_id": places["offset"] - 1,
            "type_vocab_size": spec.at("embed.embed.position.parts[1].kinds"),
            "tie_word_embeddings": words_tied(spec),
        }

    def naming(self, spec: Spec[Skeleton]) -> Naming:
        kind = spec["head"].part
        decoder = decoder_of(spec, "lm_head")
        return Naming(
            backbone=(
                *EMBED,
                *block_rules(),
                *((same("head.pool.linear", "pooler.dense"),) if kind == "Pooled" else ()),
            ),
            head=HEAD_RULES[kind] + decoder.rules,
            unused=(POSITION_IDS, *(() if kind == "Pooled" else (POOLER,)), *decoder.unused),
            copies=decoder.copies,
            prefix="roberta",
            prefixed=kind != "Pooled",
        )
