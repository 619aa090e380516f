"""CrossViT's claim: two branches that look at one another beat one ViT for about the same arithmetic."""

from collections.abc import Mapping

from variorum.claims.claim import Claim, Demand
from variorum.compare.flops import flops
from variorum.compare.measure import score
from variorum.core import Part, Spec, find_entry
from variorum.data.images import ImageTask
from variorum.layers.channels.mlp import MLP
from variorum.layers.embed.patches import Patches
from variorum.layers.heads.classifier import Classifier
from variorum.layers.mixers.attention import Attention
from variorum.layers.pools.first import FirstToken
from variorum.models.blocks.block import Block
from variorum.models.stack import Stack
from variorum.systems.crossvit import tokens
from variorum.train.descent import Descent
from variorum.train.optimizer import AdamW
from variorum.train.recipe import Budget, Run

DIM, DEPTH, STEPS = 48, 6, 600


class TwoScalesBeatOne(Claim):
    """CrossViT is more often right than one ViT that does as much arithmetic for an image, or a little more.

    scikit-learn's digits, 8 x 8 pixels: CrossViT's branches see patches of 2 and of 4, 32 and 64 wide; the ViT has
    patches of 2, is 48 wide and six layers deep. 600 steps of 64 images at the same rate for both. Figures are percent
    of the held-out digits told right, and millions of FLOPs for an image.
    """

    system = "crossvit"
    demands = (Demand("points ahead of a ViT", least=0.0),)

    def run(self, seed: int) -> Mapping[str, float]:
        task = ImageTask("digits", seed=seed)
        models = {"CrossViT": _trained(find_entry("crossvit").fit("images", blocks=2), task, seed),
                  "ViT": _trained(vit(), task, seed)}  # fmt: skip
        right = {name: 100 * score(model, task).mean for name, model in models.items()}
        image = next(task.held_out("test", 1)).inputs
        cost = {f"MFLOP of {name}": flops(model, image) / 1e6 for name, model in models.items()}
        return {"points ahead of a ViT": right["CrossViT"] - right["ViT"], **right, **cost}


def vit() -> Spec[Stack]:
    """A ViT with a class token and learned positions."""
    block = Block.spec(mixer=Attention.spec(heads=2), channels=MLP.spec(hidden=2 * DIM))
    return Stack.spec(dim=DIM, embed=tokens(Patches.spec(patch=2), 1.0), blocks=[block] * DEPTH,
                      head=Classifier.spec(pool=FirstToken.spec()))  # fmt: skip


def _trained(spec: Spec[Part], task: ImageTask, seed: int) -> Part:
    recipe = Descent(batch=64, evaluations=0, optimizer=AdamW.spec(lr=2e-3))
    return recipe.train(spec, task, Run(Budget(steps=STEPS), seed=seed))
