"""Small bundles of every kind of data, of Transformers and of plain models."""

from functools import cache

import torch

from variorum.core import Spec
from variorum.data.images import ImageTask
from variorum.data.symbols import Level
from variorum.data.table import TableTask
from variorum.data.task import Task
from variorum.data.text import TextTask
from variorum.layers.channels.mlp import MLP
from variorum.layers.embed.columns import ColumnEmbed
from variorum.layers.embed.tokens import TokenEmbed
from variorum.layers.heads.classifier import Classifier
from variorum.layers.heads.regressor import Regressor
from variorum.layers.heads.unembed import Unembed
from variorum.layers.mixers.attention import Attention
from variorum.layers.patterns.causal import Causal
from variorum.layers.positions.learned import LearnedPosition
from variorum.models.blocks.block import Block
from variorum.models.convnet import ConvNet
from variorum.models.linear import LinearModel
from variorum.models.ngram import NGram
from variorum.models.stack import Stack
from variorum.models.trees import TreeEnsemble
from variorum.runtime.bundle import Bundle

BLOCK = Block.spec(mixer=Attention.spec(heads=2), channels=MLP.spec())
CAUSAL = Block.spec(mixer=Attention.spec(heads=2, pattern=Causal.spec()), channels=MLP.spec())
TABLE = Stack.spec(dim=8, embed=ColumnEmbed.spec(), blocks=[BLOCK], head=Classifier.spec())
TEXT = Stack.spec(
    dim=8,
    embed=TokenEmbed.spec(position=LearnedPosition.spec(length=16)),
    blocks=[CAUSAL] * 2,
    head=Unembed.spec(),
    tied=[("head.linear.weight", "embed.token.weight")],
)


@cache
def task(name: str) -> Task:
    """A task of a bundled data set."""
    if name == "shakespeare":
        return TextTask(name, level=Level.CHAR, length=16)
    return ImageTask(name) if name == "digits" else TableTask(name)


def bundle(name: str) -> Bundle:
    """A bundle by name: what is built, and for which data."""
    torch.manual_seed(0)
    data, make = MAKERS[name]
    model = make(task(data))
    return Bundle.of(model.eval(), task(data), provenance={"system": name, "seed": 0})


def _build(spec: Spec):
    return lambda t: spec.fill(**t.facts).build()


def _trees(t: Task):
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    kind = HistGradientBoostingClassifier if t.writes == "class" else HistGradientBoostingRegressor
    return TreeEnsemble.from_sklearn(kind(max_iter=5).fit(*t.arrays("train")))


def _ngram(t: Task):
    return NGram.fit(
        torch.cat([b.inputs["inputs"].flatten() for b in t.held_out("valid", 64)]), vocab=t.facts["vocab"], order=3
    )


MAKERS = {
    "table": ("iris", _build(TABLE)),
    "regression": ("diabetes", _build(TABLE.replace("head", Regressor.spec()))),
    "text": ("shakespeare", _build(TEXT)),
    "images": ("digits", _build(ConvNet.spec(width=4, stages=2))),
    "trees": ("breast_cancer", _trees),
    "tree values": ("diabetes", _trees),
    "linear": ("iris", lambda t: LinearModel.spec(columns=t.facts["columns"], outputs=3).build()),
    "pixels": ("digits", lambda t: LinearModel.spec(columns=[0] * 64, outputs=10).build()),
    "ngram": ("shakespeare", _ngram),
}
