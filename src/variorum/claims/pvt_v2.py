"""PVT v2's claim: patches that overlap and convolutions in the feed-forward networks improve the first PVT."""

from collections.abc import Mapping

from variorum.claims.claim import Claim, Demand
from variorum.compare.measure import parameters, score
from variorum.core import Layer, Spec
from variorum.data.images import ImageTask
from variorum.layers.channels.mlp import MLP
from variorum.layers.embed.patches import Patches
from variorum.layers.merges.conv import ConvMerge
from variorum.layers.norms.identity import NoNorm
from variorum.layers.norms.layernorm import LayerNorm
from variorum.layers.positions.learned import LearnedPosition
from variorum.layers.residuals.prenorm import PreNorm
from variorum.models.blocks.block import Block
from variorum.models.pyramid import Pyramid
from variorum.systems.pvt_v2 import patches, pvt_v2, reduced
from variorum.train.descent import Descent
from variorum.train.optimizer import AdamW
from variorum.train.recipe import Budget, Run

DIMS, DEPTHS, HEADS, RATIO, REDUCTIONS, STEPS = (32, 64), (2, 2), (1, 2), 4, (2, 1), 600
SECOND = pvt_v2(dims=DIMS, depths=DEPTHS, heads=HEADS, ratios=(RATIO,) * 2, reductions=REDUCTIONS, embed=patches(3, 2),
                drop=0.0)  # fmt: skip


class OverlapImproves(Claim):
    """PVT v2 is more often right than a pyramid as the first PVT's, of the same widths, depths and reductions.

    scikit-learn's digits, 8 x 8 pixels: two stages, 32 and 64 wide, of two blocks, on grids of 4 x 4 and 2 x 2; 600
    steps of 64 images at the same rate for both. The rival has patches that do not overlap, learned positions at the
    start, and feed-forward networks without convolutions. Figures are percent of the held-out digits told right.
    """

    system = "pvt-v2"
    demands = (Demand("points ahead of the first PVT", least=0.0),)

    def run(self, seed: int) -> Mapping[str, float]:
        task = ImageTask("digits", seed=seed)
        found = {"PVT v2": trained(SECOND, task, seed), "first PVT": trained(first_pvt(), task, seed)}
        right = {name: 100 * score(model, task).mean for name, model in found.items()}
        sizes = {f"parameters of {name}": float(parameters(model)) for name, model in found.items()}
        return {"points ahead of the first PVT": right["PVT v2"] - right["first PVT"], **right, **sizes}


def first_pvt() -> Spec[Pyramid]:
    """A pyramid after Wang et al. 2021, arXiv:2102.12122, on the same grids, with positions at the first stage only."""
    stages: list[list[Spec[Layer]]] = [
        [Block.spec(mixer=reduced(heads, reduction), channels=MLP.spec(hidden=RATIO * dim), residual=PreNorm.spec())]
        * depth
        for dim, depth, heads, reduction in zip(DIMS, DEPTHS, HEADS, REDUCTIONS, strict=True)
    ]
    embed = Patches.spec(patch=2, norm=LayerNorm.spec(), position=LearnedPosition.spec())
    return SECOND.but(embed=embed, stages=stages, merges=[ConvMerge.spec(norm=NoNorm.spec())])


def trained(spec: Spec[Pyramid], task: ImageTask, seed: int) -> Pyramid:
    """The model after the common recipe."""
    recipe = Descent(batch=64, evaluations=0, optimizer=AdamW.spec(lr=2e-3))
    return recipe.train(spec, task, Run(Budget(steps=STEPS), seed=seed))  # type: ignore[return-value]
