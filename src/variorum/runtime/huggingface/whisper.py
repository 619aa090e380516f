"""Whisper. Radford et al. 2022, arXiv:2212.04356."""

from collections.abc import Mapping
from typing import Any, ClassVar

from variorum.core import Skeleton, Spec
from variorum.layers.embed.conv_frames import ConvFrames
from variorum.layers.embed.tokens import TokenEmbed
from variorum.layers.heads.features import Features
from variorum.layers.heads.unembed import Unembed
from variorum.layers.norms.layernorm import LayerNorm
from variorum.layers.positions.learned import LearnedPosition
from variorum.layers.positions.sinusoid_table import SinusoidTable
from variorum.layers.residuals.prenorm import PreNorm
from variorum.models.encoder_decoder import EncoderDecoder
from variorum.models.stack import Stack
from variorum.runtime.huggingface.config import Config
from variorum.runtime.huggingface.decoder import GENERATION, architecture
from variorum.runtime.huggingface.encoder import Kind, read_head, same
from variorum.runtime.huggingface.family import Family
from variorum.runtime.huggingface.mapping import Copy, Naming, Rule
from variorum.runtime.huggingface.seq2seq import DECODER, ENCODER, HARMLESS, block_rules, blocks, told

TIED = ("decoder.head.linear.weight", "decoder.embed.token.weight")
DEFAULTS = {"dropout": 0.0, "heads": 6, "hidden": 1536, "depth": 4}
KINDS = {"Features": Kind.BASE, "Unembed": Kind.CONDITIONAL}
TRAINING = (
    "apply_spec_augment",
    *(f"mask_{axis}_{what}" for axis in ("time", "feature") for what in ("prob", "length", "min_masks")),
)
BACKBONE = (
    same("encoder.embed.first", "encoder.conv1"),
    same("encoder.embed.second", "encoder.conv2"),
    Rule("encoder.embed.position.table", "encoder.embed_positions.weight"),
    *block_rules(ENCODER, key_bias=False),
    same("encoder.norm", "encoder.layer_norm"),
    Rule("decoder.embed.token.weight", "decoder.embed_tokens.weight"),
    Rule("decoder.embed.position.weight", "decoder.embed_positions.weight"),
    *block_rules(DECODER, key_bias=False),
    same("decoder.norm", "decoder.layer_norm"),
)


class Whisper(Family):
    """Pre-norm blocks; log-mel frames (batch, frames, bins), time first, on one side, text on the other."""

    model_type = "whisper"
    harmless: ClassVar[Mapping[str, str]] = {
        **GENERATION,
        **HARMLESS,
        **dict.fromkeys(TRAINING, "frames that are masked in training"),
        "use_weighted_layer_sum": "only the head that classifies sounds reads it, which is not built",
        "classifier_proj_size": "only the head that classifies sounds reads it, which is not built",
        "median_filter_width": "how times are read off the weights of attention",
    }

    def to_spec(self, config: Config) -> Spec[Skeleton]:
        config.only("scale_embedding", False, False)
        config.only("tie_word_embeddings", True, True)
        vocab, dropout = config.integer("vocab_size", 51865), config.number("dropout", DEFAULTS["dropout"])
        head = read_head(config, "Whisper", {Kind.BASE: Features.spec(), Kind.CONDITIONAL: Unembed.spec(vocab=vocab)})
        frames = ConvFrames.spec(
            bins=config.integer("num_mel_bins", 80),
            position=SinusoidTable.spec(length=config.integer("max_source_positions", 1500)),
            dropout=dropout,
        )
        places = LearnedPosition.spec(length=config.integer("max_target_positions", 448))
        sides = {side: blocks(config, side, DEFAULTS, residual=PreNorm, key_bias=False) for side in (ENCODER, DECODER)}
        return EncoderDecoder.spec(
            dim=config.integer("d_model", 384),
            encoder=Stack.spec(embed=frames, blocks=sides[ENCODER], norm=LayerNorm.spec(), head=Features.spec()),
            decoder=Stack.spec(
                embed=TokenEmbed.spec(vocab=vocab, position=places, dropout=dropout),
                blocks=sides[DECODER],
                norm=LayerNorm.spec(),
                head=head,
            ),
            tied=[] if head.part == "Features" else [TIED],
        )

    def to_config(self, spec: Spec[Skeleton]) -> dict[str, Any]:
        return {
            **told(spec),
            **architecture("Whisper", spec.at("decoder.head"), KINDS),
            "num_mel_bins": spec.at("encoder.embed.bins"),
            "max_source_positions": spec.at("encoder.embed.position.length"),
            "max_target_positions": spec.at("decoder.embed.position.length"),
            "vocab_size": spec.at("decoder.embed.vocab"),
        }

    def naming(self, spec: Spec[Skeleton]) -> Naming:
        bare = spec.at("decoder.head").part == "Features"
        return Naming(
            backbone=BACKBONE,
            copies=() if bare else (Copy("proj_out.weight", "decoder.embed_tokens.weight"),),
            prefix="model",
            prefixed=not bare,
        )
