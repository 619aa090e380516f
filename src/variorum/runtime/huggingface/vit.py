"""ViT. Dosovitskiy et al. 2020, arXiv:2010.11929."""

from collections.abc import Mapping
from typing import Any, ClassVar

from variorum.core import Skeleton, Spec
from variorum.layers.channels.activation import Activation
from variorum.layers.channels.mlp import MLP
from variorum.layers.embed.class_token import ClassToken
from variorum.layers.embed.patches import Patches
from variorum.layers.heads.classifier import Classifier
from variorum.layers.heads.pooled import Pooled
from variorum.layers.mixers.attention import Attention
from variorum.layers.norms.layernorm import LayerNorm
from variorum.layers.pools.dense import DensePool
from variorum.layers.pools.first import FirstToken
from variorum.layers.positions.learned import LearnedPosition
from variorum.layers.residuals.prenorm import PreNorm
from variorum.models.blocks.block import Block
from variorum.models.stack import Stack
from variorum.runtime.huggingface.activations import ACTIVATIONS, NAMES
from variorum.runtime.huggingface.config import Config
from variorum.runtime.huggingface.encoder import (
    Kind,
    Shape,
    fused,
    read_head,
    read_shape,
    same,
    shape_of,
    write_head,
    write_shape,
)
from variorum.runtime.huggingface.family import Family
from variorum.runtime.huggingface.images import patches, write_patches
from variorum.runtime.huggingface.mapping import Naming, Rule, Unused

BASE = Shape(768, 12, 12, 3072, Activation.GELU, dropout=0.0, attention_dropout=0.0)
LAYER = "encoder.layer.{i}"
BACKBONE = (
    Rule("embed.token", "embeddings.cls_token", axes=2),
    Rule("embed.position.weight", "embeddings.position_embeddings", axes=1),
    same("embed.embed.project", "embeddings.patch_embeddings.projection"),
    fused("blocks.{i}.mixer.qkv", *(f"{LAYER}.attention.attention.{name}" for name in ("query", "key", "value"))),
    same("blocks.{i}.mixer.out", f"{LAYER}.attention.output.dense"),
    same("blocks.{i}.mixer_residual.norm", f"{LAYER}.layernorm_before"),
    same("blocks.{i}.channels.up", f"{LAYER}.intermediate.dense"),
    same("blocks.{i}.channels.down", f"{LAYER}.output.dense"),
    same("blocks.{i}.channels_residual.norm", f"{LAYER}.layernorm_after"),
    same("norm", "layernorm"),
    same("head.pool.linear", "pooler.dense"),
)
POOLER = Unused("pooler.dense.{p}", "the classifier reads the class token itself")


class ViT(Family):
    """Pre-norm blocks over square patches and a class token."""

    model_type = "vit"
    harmless: ClassVar[Mapping[str, str]] = {
        "encoder_stride": "only the head of masked image modelling reads it, which is not built"
    }

    def to_spec(self, config: Config) -> Spec[Skeleton]:
        shape, eps = read_shape(config, BASE), config.number("layer_norm_eps", 1e-12)
        config.only("pooler_output_size", shape.dim, shape.dim)
        pool = DensePool.spec(activation=config.choice("pooler_act", ACTIVATIONS, "tanh"))
        head = read_head(
            config,
            "ViT",
            {
                Kind.BASE: Pooled.spec(pool=pool),
                Kind.IMAGES: Classifier.spec(classes=config.classes, pool=FirstToken.spec()),
            },
        )
        block = Block.spec(
            mixer=Attention.spec(
                heads=shape.heads, dropout=shape.attention_dropout, qkv_bias=config.flag("qkv_bias", True)
            ),
            channels=MLP.spec(hidden=shape.hidden, activation=shape.activation),
            norm=LayerNorm.spec(eps=eps),
            residual=PreNorm.spec(dropout=shape.dropout),
        )
        squares = Patches.spec(**patches(config, image=224, patch=16))
        return Stack.spec(
            dim=shape.dim,
            embed=ClassToken.spec(embed=squares, position=LearnedPosition.spec(), dropout=shape.dropout),
            blocks=[block] * shape.depth,
            norm=LayerNorm.spec(eps=eps),
            head=head,
        )

    def to_config(self, spec: Spec[Skeleton]) -> dict[str, Any]:
        shape = shape_of(spec, dropout=spec.at("embed.dropout"))
        told = {
            **write_shape(shape),
            **write_head("ViT", spec["head"], classifier=Kind.IMAGES),
            **write_patches(spec.at("embed.embed")),
            "layer_norm_eps": spec.at("norm.eps"),
            "qkv_bias": spec.at("blocks[0].mixer.qkv_bias"),
        }
        if spec["head"].part == "Pooled":
            told["pooler_act"] = NAMES[Activation(spec.at("head.pool.activation"))]
        return told

    def naming(self, spec: Spec[Skeleton]) -> Naming:
        bare = spec["head"].part == "Pooled"
        return Naming(
            backbone=BACKBONE,
            head=() if bare else (same("head.linear", "classifier"),),
            unused=() if bare else (POOLER,),
            prefix="vit",
            prefixed=not bare,
        )
