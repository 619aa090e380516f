"""BART. Lewis et al. 2019, arXiv:1910.13461."""

from collections.abc import Mapping
from typing import Any, ClassVar

from variorum.core import Head, Skeleton, Spec
from variorum.layers.embed.normed import NormedEmbed
from variorum.layers.embed.tokens import TokenEmbed
from variorum.layers.heads.features import Features
from variorum.layers.heads.offset_unembed import OffsetUnembed
from variorum.layers.norms.identity import NoNorm
from variorum.layers.norms.layernorm import LayerNorm
from variorum.layers.positions.learned import LearnedPosition
from variorum.layers.residuals.postnorm import PostNorm
from variorum.models.encoder_decoder import EncoderDecoder
from variorum.models.stack import Stack
from variorum.runtime.huggingface.config import Config
from variorum.runtime.huggingface.decoder import GENERATION, architecture
from variorum.runtime.huggingface.encoder import Kind, read_head, same
from variorum.runtime.huggingface.family import Family
from variorum.runtime.huggingface.mapping import Copy, Naming, Rule
from variorum.runtime.huggingface.seq2seq import DECODER, ENCODER, HARMLESS, block_rules, blocks, told

EMBEDDING = "encoder.embed.embed.token.weight"
OFFSET = 2
DEFAULTS = {"dropout": 0.1, "heads": 16, "hidden": 4096, "depth": 12}
KINDS = {"Features": Kind.BASE, "OffsetUnembed": Kind.CONDITIONAL}
AS_BUILT = {
    "scale_embedding": False, "tie_word_embeddings": True, "normalize_before": False, "normalize_embedding": True,
    "add_final_layer_norm": False, "add_bias_logits": False, "static_position_embeddings": False,
    "extra_pos_embeddings": OFFSET,
}  # fmt: skip
"""Settings, most of them of older files, that would change the model, and the value with which they do not."""


class Bart(Family):
    """Post-norm blocks on both sides; tokens and places, the first two of which stand for nothing, are normed."""

    model_type = "bart"
    harmless: ClassVar[Mapping[str, str]] = {**GENERATION, **HARMLESS, "classif_dropout": "training of the classifier"}

    def to_spec(self, config: Config) -> Spec[Skeleton]:
        for name, value in AS_BUILT.items():
            config.only(name, value, value)
        vocab = config.integer("vocab_size", 50265)
        head = read_head(
            config, "Bart", {Kind.BASE: Features.spec(), Kind.CONDITIONAL: OffsetUnembed.spec(vocab=vocab)}
        )
        output = [] if head.part == "Features" else [("decoder.head.linear.weight", EMBEDDING)]
        return EncoderDecoder.spec(
            dim=config.integer("d_model", 1024),
            encoder=_stack(config, ENCODER, vocab, Features.spec()),
            decoder=_stack(config, DECODER, vocab, head),
            tied=[("decoder.embed.embed.token.weight", EMBEDDING), *output],
        )

    def to_config(self, spec: Spec[Skeleton]) -> dict[str, Any]:
        return {
            **told(spec),
            **architecture("Bart", spec.at("decoder.head"), KINDS),
            "max_position_embeddings": spec.at("encoder.embed.embed.position.length"),
            "vocab_size": spec.at("encoder.embed.embed.vocab"),
        }

    def naming(self, spec: Spec[Skeleton]) -> Naming:
        bare = spec.at("decoder.head").part == "Features"
        names = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight", *(() if bare else ("lm_head.weight",)))
        return Naming(
            backbone=(Rule(EMBEDDING, "shared.weight"), *_side(ENCODER), *_side(DECODER)),
            head=() if bare else (Rule("decoder.head.offset", "final_logits_bias", axes=1),),
            copies=tuple(Copy(name, "shared.weight") for name in names),
            prefix="model",
            prefixed=not bare,
        )


def _stack(config: Config, side: str, vocab: int, head: Spec[Head]) -> Spec[Stack]:
    places = LearnedPosition.spec(length=config.integer("max_position_embeddings", 1024), offset=OFFSET)
    return Stack.spec(
        embed=NormedEmbed.spec(
            embed=TokenEmbed.spec(vocab=vocab, position=places),
            norm=LayerNorm.spec(),
            dropout=config.number("dropout", DEFAULTS["dropout"]),
        ),
        blocks=blocks(config, side, DEFAULTS, residual=PostNorm),
        norm=NoNorm.spec(),
        head=head,
    )


def _side(side: str) -> tuple[Rule, ...]:
    return (
        Rule(f"{side}.embed.embed.position.weight", f"{side}.embed_positions.weight"),
        same(f"{side}.embed.norm", f"{side}.layernorm_embedding"),
        *block_rules(side),
    )
