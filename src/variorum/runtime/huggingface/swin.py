"""Swin. Liu et al. 2021, arXiv:2103.14030."""

from collections.abc import Mapping
from typing import Any, ClassVar

from variorum.core import Head, Layer, Skeleton, Spec, VariorumError
from variorum.layers.channels.activation import Activation
from variorum.layers.channels.mlp import MLP
from variorum.layers.embed.patches import Patches
from variorum.layers.heads.classifier import Classifier
from variorum.layers.heads.pooled import Pooled
from variorum.layers.merges.patch import PatchMerge
from variorum.layers.mixers.window_attention import WindowAttention
from variorum.layers.norms.layernorm import LayerNorm
from variorum.layers.positions.learned import LearnedPosition
from variorum.layers.positions.none import NoPosition
from variorum.layers.residuals.prenorm import PreNorm
from variorum.layers.residuals.stochastic_depth import StochasticDepth
from variorum.models.blocks.block import Block
from variorum.models.pyramid import Pyramid
from variorum.runtime.huggingface.activations import ACTIVATIONS, NAMES
from variorum.runtime.huggingface.config import Config
from variorum.runtime.huggingface.encoder import DEEPEST, Kind, fused, read_head, same, write_head
from variorum.runtime.huggingface.family import Family
from variorum.runtime.huggingface.images import patches, write_patches
from variorum.runtime.huggingface.mapping import Naming, Rule, Unused

EMBED = (
    Rule("embed.position.weight", "embeddings.position_embeddings", axes=1),
    same("embed.project", "embeddings.patch_embeddings.projection"),
    same("embed.norm", "embeddings.norm"),
    same("merges.{s}.norm", "encoder.layers.{s}.downsample.norm"),
    Rule("merges.{s}.reduce.weight", "encoder.layers.{s}.downsample.reduction.weight"),
    same("norm", "layernorm"),
)
INDEX = Unused(
    "encoder.layers.{s}.blocks.{b}.attention.self.relative_position_index",
    "which pair of places has which offset: computed, but older versions saved it",
)


class Swin(Family):
    """Stages of attention in windows, shifted in every second block; rows skip attention at random in training.

    Images whose sides are no multiples of the patch are cut here and filled up with zeros there: give multiples.
    """

    model_type = "swin"
    harmless: ClassVar[Mapping[str, str]] = {
        "encoder_stride": "only the head of masked image modelling reads it, which is not built",
        "path_norm": "never read",
        "num_layers": "the number of depths",
        "stage_names": "what a backbone returns",
        "out_features": "what a backbone returns",
        "out_indices": "what a backbone returns",
    }

    def to_spec(self, config: Config) -> Spec[Skeleton]:
        depths, heads = config.integers("depths", (2, 2, 6, 2)), config.integers("num_heads", (3, 6, 12, 24))
        if not 1 <= len(depths) <= 16 or len(depths) != len(heads) or sum(depths) > DEEPEST:
            raise VariorumError(
                "config.json: 'num_heads'",
                expected="one number for each of 'depths', at most 16 stages",
                found=f"{len(heads)} and {len(depths)}",
                do="Give lists of one length.",
            )
        dims = [config.size("embed_dim", 96) << stage for stage in range(len(depths))]
        config.only("hidden_size", dims[-1], dims[-1])
        head: Spec[Head] = read_head(
            config,
            "Swin",
            {
                Kind.BASE: Pooled.spec(),
                Kind.IMAGES: Classifier.spec(classes=config.classes),
            },
        )
        absolute = config.flag("use_absolute_embeddings", False)
        return Pyramid.spec(
            dims=dims,
            embed=Patches.spec(
                **patches(config, image=224, patch=4),
                norm=LayerNorm.spec(),
                position=LearnedPosition.spec() if absolute else NoPosition.spec(),
                dropout=config.probability("hidden_dropout_prob", 0.0),
            ),
            stages=_stages(config, depths, heads, dims),
            merges=[PatchMerge.spec()] * (len(depths) - 1),
            norm=LayerNorm.spec(eps=config.number("layer_norm_eps", 1e-5)),
            head=head,
        )

    def to_config(self, spec: Spec[Skeleton]) -> dict[str, Any]:
        stages, dims = spec["stages"], spec["dims"]
        if not all(stages):
            raise VariorumError("model", expected="blocks in every stage", found="an empty stage", do="Save a bundle.")
        block, last = stages[0][0], stages[-1][-1]
        drop = last.at("residual.drop") if last.at("residual").part == "StochasticDepth" else 0.0
        return {
            **write_head("Swin", spec["head"], classifier=Kind.IMAGES),
            **write_patches(spec["embed"]),
            "depths": [len(blocks) for blocks in stages],
            "num_heads": [blocks[0].at("mixer.heads") for blocks in stages],
            "embed_dim": dims[0],
            "hidden_size": dims[-1],
            "window_size": block.at("mixer.window"),
            "mlp_ratio": last.at("channels.hidden") / dims[-1],
            "qkv_bias": block.at("mixer.qkv_bias"),
            "hidden_dropout_prob": spec.at("embed.dropout"),
            "attention_probs_dropout_prob": block.at("mixer.dropout"),
            "drop_path_rate": drop,
            "hidden_act": NAMES[Activation(block.at("channels.activation"))],
            "use_absolute_embeddings": spec.at("embed.position").part == "LearnedPosition",
            "layer_norm_eps": spec.at("norm.eps"),
        }

    def naming(self, spec: Spec[Skeleton]) -> Naming:
        bare = spec["head"].part == "Pooled"
        places = [(s, b) for s, blocks in enumerate(spec["stages"]) for b in range(len(blocks))]
        blocks = [
            rule for k, (s, b) in enumerate(places) for rule in _block(f"blocks.{k}", f"encoder.layers.{s}.blocks.{b}")
        ]
        return Naming(
            backbone=(*EMBED, *blocks),
            head=() if bare else (same("head.linear", "classifier"),),
            unused=(INDEX,),
            prefix="swin",
            prefixed=not bare,
        )


def _stages(
    config: Config, depths: tuple[int, ...], heads: tuple[int, ...], dims: list[int]
) -> list[list[Spec[Layer]]]:
    """All blocks; the attention is skipped the more often, the deeper the block."""
    window, ratio = config.size("window_size", 7), config.number("mlp_ratio", 4.0, least=1 / 8, most=64.0)
    dropout, most = config.probability("hidden_dropout_prob", 0.0), config.probability("drop_path_rate", 0.1)
    activation, qkv_bias = config.choice("hidden_act", ACTIVATIONS, "gelu"), config.flag("qkv_bias", True)
    attention_dropout, eps = (
        config.probability("attention_probs_dropout_prob", 0.0),
        config.number("layer_norm_eps", 1e-5),
    )
    inner, total = PreNorm.spec(dropout=dropout), sum(depths)
    stages: list[list[Spec[Layer]]] = []
    for depth, count, dim in zip(depths, heads, dims, strict=True):
        blocks: list[Spec[Layer]] = []
        for b in range(depth):
            drop = most * ((sum(map(len, stages)) + b) / max(total - 1, 1))
            mixer = WindowAttention.spec(
                heads=count, window=window, shift=window // 2 * (b % 2), qkv_bias=qkv_bias, dropout=attention_dropout
            )
            blocks.append(
                Block.spec(
                    mixer=mixer,
                    channels=MLP.spec(hidden=int(dim * ratio), activation=activation),
                    norm=LayerNorm.spec(eps=eps),
                    residual=StochasticDepth.spec(inner=inner, drop=drop) if drop else inner,
                    channels_residual=inner,
                )
            )
        stages.append(blocks)
    return stages


def _block(ours: str, theirs: str) -> tuple[Rule, ...]:
    """The names of one block; a block that is never skipped has its norm one level higher."""
    return (
        fused(f"{ours}.mixer.qkv", *(f"{theirs}.attention.self.{name}" for name in ("query", "key", "value"))),
        Rule(f"{ours}.mixer.bias.table", f"{theirs}.attention.self.relative_position_bias_table"),
        same(f"{ours}.mixer.out", f"{theirs}.attention.output.dense"),
        same(f"{ours}.mixer_residual.norm", f"{theirs}.layernorm_before"),
        same(f"{ours}.mixer_residual.inner.norm", f"{theirs}.layernorm_before"),
        same(f"{ours}.channels.up", f"{theirs}.intermediate.dense"),
        same(f"{ours}.channels.down", f"{theirs}.output.dense"),
        same(f"{ours}.channels_residual.norm", f"{theirs}.layernorm_after"),
    )
