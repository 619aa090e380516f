"""DeBERTa, second and third version. He et al. 2020, arXiv:2006.03654; He et al. 2021, arXiv:2111.09543."""

from collections.abc import Mapping
from typing import Any, ClassVar

from variorum.core import Embed, Layer, Position, Skeleton, Spec, VariorumError
from variorum.layers.channels.activation import Activation
from variorum.layers.embed.factorised import FactorisedEmbed
from variorum.layers.embed.normed import NormedEmbed
from variorum.layers.embed.tokens import TokenEmbed
from variorum.layers.heads.features import Features
from variorum.layers.mixers.disentangled import BOTH, Disentangled
from variorum.layers.mixers.row_conv import RowConv
from variorum.layers.norms.identity import NoNorm
from variorum.layers.norms.layernorm import LayerNorm
from variorum.layers.positions.learned import LearnedPosition
from variorum.layers.positions.segment import Segment
from variorum.layers.positions.several import Several
from variorum.models.blocks.beside import Beside
from variorum.models.stack import Stack
from variorum.runtime.huggingface.activations import ACTIVATIONS, NAMES
from variorum.runtime.huggingface.config import Config
from variorum.runtime.huggingface.encoder import (
    CLS_PREDICTIONS,
    POSITION_IDS,
    Kind,
    Shape,
    block_rules,
    decoder_of,
    masked_head,
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
from variorum.runtime.huggingface.mapping import Naming, Rule, Unused

BASE = Shape(1536, 24, 24, 6144, Activation.GELU, dropout=0.1, attention_dropout=0.1)
TERMS = {"c2p": BOTH[0], "p2c": BOTH[1]}
PRETRAINING = tuple(
    Unused(name, "a head of the pretraining, which this class has not")
    for name in ("lm_predictions.lm_head.{p}", "lm_predictions.lm_head.{m}.{p}", "mask_predictions.{m}.{p}")
)
HEAD_RULES = {
    "Features": (),
    "MaskedLMHead": CLS_PREDICTIONS,
    "Classifier": (same("head.pool.linear", "pooler.dense"), same("head.linear", "classifier")),
    "TokenClassifier": (same("head.linear", "classifier"),),
}


class DebertaV2(Family):
    """BERT with disentangled attention over one table of distances; some sizes have a convolution beside layer 1."""

    model_type = "deberta-v2"
    harmless: ClassVar[Mapping[str, str]] = {"cls_dropout": "training of the classifier", "conv_dropout": "never read"}

    def to_spec(self, config: Config) -> Spec[Skeleton]:
        shape, eps = read_shape(config, BASE), config.number("layer_norm_eps", 1e-7)
        vocab, tied = config.size("vocab_size", 128100), config.flag("tie_word_embeddings", True)
        width = config.size("embedding_size", shape.dim)
        head = self._head(config, shape, eps, vocab, width)
        embed = _embed(config, shape, eps, vocab, width)
        word = "embed.embed.token.weight" if width == shape.dim else "embed.embed.embed.token.weight"
        blocks, first = _blocks(config, shape, eps)
        shared = ("relative", "norm.weight", "norm.bias") if _normed(config) else ("relative",)
        tables = [
            (f"blocks.{i}.mixer.{name}", f"{first}.mixer.{name}") for name in shared for i in range(1, shape.depth)
        ]
        decoder = [("head.linear.weight", word)] if tied and head.part == "MaskedLMHead" else []
        return Stack.spec(
            dim=shape.dim, embed=embed, blocks=blocks, norm=NoNorm.spec(), head=head, tied=tables + decoder
        )

    def _head(self, config: Config, shape: Shape, eps: float, vocab: int, width: int) -> Spec[Any]:
        act = config.choice("pooler_hidden_act", ACTIVATIONS, "gelu")
        config.only("pooler_hidden_size", shape.dim, shape.dim)
        head = read_head(
            config,
            "DebertaV2",
            {
                Kind.BASE: Features.spec(),
                Kind.MASKED: masked_head(vocab, eps, shape.activation, hidden=width),
                Kind.ROWS: rows_head(config.classes, act, config.probability("pooler_dropout", 0.0)),
                Kind.TOKENS: tokens_head(config.classes),
            },
        )
        if head.part == "MaskedLMHead":
            config.only("legacy", True, True)
        config.optional("legacy")
        return head

    def to_config(self, spec: Spec[Skeleton]) -> dict[str, Any]:
        embed, first = spec["embed"], spec.at("blocks[0]")
        beside = first.part == "Beside"
        block = first["layer"] if beside else first
        inner = embed.at("embed.embed") if embed.at("embed").part == "FactorisedEmbed" else embed["embed"]
        mixer = block["mixer"]
        if mixer.part != "Disentangled":
            raise VariorumError(
                "mixer", expected="Disentangled", found=mixer.part, do="Use the family that it came from."
            )
        shape = shape_of(spec, block=block, dropout=embed["dropout"])
        places = {part.part: part for part in inner.at("position.parts")}
        learned, segment = places.get("LearnedPosition"), places.get("Segment")
        told = {
            **write_shape(shape),
            **write_head("DebertaV2", spec["head"]),
            "layer_norm_eps": embed.at("norm.eps"),
            "vocab_size": inner["vocab"],
            "position_biased_input": learned is not None,
            "max_position_embeddings": learned["length"] if learned else mixer["furthest"],
            "type_vocab_size": segment["kinds"] if segment else 0,
            "relative_attention": True,
            "max_relative_positions": mixer["furthest"],
            "position_buckets": mixer["buckets"] or -1,
            "pos_att_type": [name for name, term in TERMS.items() if term in mixer["terms"]],
            "share_att_key": mixer["shared"],
            "norm_rel_ebd": "layer_norm" if mixer["norm"] else "none",
            "tie_word_embeddings": words_tied(spec),
        }
        if embed.at("embed").part == "FactorisedEmbed":
            told["embedding_size"] = embed.at("embed.width")
        if spec["head"].part == "Classifier":
            pool = spec.at("head.pool")
            told |= {"pooler_hidden_act": NAMES[Activation(pool["activation"])], "pooler_dropout": pool["dropout"]}
        if beside:
            conv = first["mixer"]
            told |= {
                "conv_kernel_size": conv["kernel"],
                "conv_groups": conv["groups"],
                "conv_act": NAMES[Activation(conv["activation"])],
            }
        return told

    def naming(self, spec: Spec[Skeleton]) -> Naming:
        kind, beside = spec["head"].part, spec.at("blocks[0]").part == "Beside"
        decoder = decoder_of(spec, "cls.predictions")
        return Naming(
            backbone=_embed_rules(spec) + _block_rules(beside),
            head=HEAD_RULES[kind] + decoder.rules,
            unused=(POSITION_IDS, *PRETRAINING, *decoder.unused),
            copies=decoder.copies,
            prefix="deberta",
            prefixed=kind != "Features",
        )


def _embed(config: Config, shape: Shape, eps: float, vocab: int, width: int) -> Spec[Embed]:
    """norm(project(token + place + segment)), place and segment only where the model has them."""
    parts: list[Spec[Position]] = []
    places, kinds = config.size("max_position_embeddings", 512), config.integer("type_vocab_size", 0)
    if config.flag("position_biased_input", True):
        parts.append(LearnedPosition.spec(length=places))
    if kinds:
        parts.append(Segment.spec(kinds=kinds))
    words: Spec[Embed] = TokenEmbed.spec(vocab=vocab, position=Several.spec(parts=parts))
    if width != shape.dim:
        words = FactorisedEmbed.spec(width=width, embed=words, bias=False)
    return NormedEmbed.spec(embed=words, norm=LayerNorm.spec(eps=eps), dropout=shape.dropout)


def _blocks(config: Config, shape: Shape, eps: float) -> tuple[list[Spec[Layer]], str]:
    """All layers, and the name of the first block's inside."""
    config.only("relative_attention", True, False)
    asked = config.optional("pos_att_type") or []
    names = [name.strip() for name in asked.lower().split("|")] if isinstance(asked, str) else asked
    if not isinstance(names, list) or not names or not all(isinstance(name, str) and name in TERMS for name in names):
        raise VariorumError(
            "config.json: 'pos_att_type'",
            expected=f"one or both of {list(TERMS)}",
            found=repr(asked),
            do="Other terms are not built.",
        )
    furthest, buckets = config.integer("max_relative_positions", -1), config.integer("position_buckets", -1)
    mixer = Disentangled.spec(
        heads=shape.heads,
        furthest=furthest if furthest >= 1 else config.size("max_position_embeddings", 512),
        buckets=buckets if buckets > 0 else None,
        terms=[term for name, term in TERMS.items() if name in names],
        shared=config.flag("share_att_key", False),
        norm=LayerNorm.spec(eps=eps) if _normed(config) else None,
        dropout=shape.attention_dropout,
        position_dropout=shape.dropout,
    )
    blocks: list[Spec[Layer]] = [post_norm_block(shape, eps, mixer=mixer)] * shape.depth
    kernel = config.integer("conv_kernel_size", 0)
    if not kernel:
        return blocks, "blocks.0"
    conv = RowConv.spec(
        kernel=kernel,
        groups=config.integer("conv_groups", 1),
        activation=config.choice("conv_act", ACTIVATIONS, "tanh"),
        dropout=shape.dropout,
    )
    return [Beside.spec(layer=blocks[0], mixer=conv, norm=LayerNorm.spec(eps=eps)), *blocks[1:]], "blocks.0.layer"


def _normed(config: Config) -> bool:
    """Is the table of distances normed?"""
    told = config.optional("norm_rel_ebd") or "none"
    names = {name.strip() for name in str(told).lower().split("|")}
    if not names <= {"none", "layer_norm"}:
        raise VariorumError(
            "config.json: 'norm_rel_ebd'", expected="none or layer_norm", found=repr(told), do="Others are not built."
        )
    return "layer_norm" in names


def _embed_rules(spec: Spec[Skeleton]) -> tuple[Rule, ...]:
    factorised = spec.at("embed.embed").part == "FactorisedEmbed"
    words = "embed.embed.embed" if factorised else "embed.embed"
    inner = spec.at(words)
    names = {"LearnedPosition": "position_embeddings", "Segment": "token_type_embeddings"}
    positions = [
        Rule(f"{words}.position.parts.{i}.weight", f"embeddings.{names[part.part]}.weight")
        for i, part in enumerate(inner.at("position.parts"))
    ]
    project = [Rule("embed.embed.project.weight", "embeddings.embed_proj.weight")] if factorised else []
    word = Rule(f"{words}.token.weight", "embeddings.word_embeddings.weight")
    return (word, same("embed.norm", "embeddings.LayerNorm"), *positions, *project)


def _block_rules(beside: bool) -> tuple[Rule, ...]:
    def rules(ours: str, theirs: str) -> tuple[Rule, ...]:
        return (
            *block_rules(ours, theirs, names=("query_proj", "key_proj", "value_proj")),
            same(f"{ours}.mixer.relative_key", f"{theirs}.attention.self.pos_key_proj"),
            same(f"{ours}.mixer.relative_query", f"{theirs}.attention.self.pos_query_proj"),
        )

    first = "blocks.0.layer" if beside else "blocks.0"
    table = (
        Rule(f"{first}.mixer.relative", "encoder.rel_embeddings.weight"),
        same(f"{first}.mixer.norm", "encoder.LayerNorm"),
    )
    usual = rules("blocks.{i}", "encoder.layer.{i}") + table
    if not beside:
        return usual
    conv = (same("blocks.0.mixer.conv", "encoder.conv.conv"), same("blocks.0.norm", "encoder.conv.LayerNorm"))
    return usual + rules(first, "encoder.layer.0") + conv
