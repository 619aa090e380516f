"""ACM's claim at laptop scale: budgets are met, and tokens that need more get more. arXiv:2312.10193."""

from collections.abc import Mapping

import torch
from torch import Tensor

from variorum.claims.claim import Claim, Demand
from variorum.compare.measure import score
from variorum.compress.adaptive_modules import adaptive_modules
from variorum.compress.budgeted import fine_tune, shares, used
from variorum.compress.module_distillation import teach_gates, teach_learners
from variorum.compress.subnet import subnet
from variorum.core import Part, listen
from variorum.data.generated import of_split
from variorum.data.one_shape import OneShape
from variorum.layers.embed.class_token import ClassToken
from variorum.layers.embed.patches import Patches
from variorum.layers.positions.learned import LearnedPosition
from variorum.systems.turner_introduction import encoder
from variorum.train.descent import Descent
from variorum.train.optimizer import AdamW
from variorum.train.recipe import Budget, Run
from variorum.train.tune import tune

DIM, DEPTH, PATCH = 48, 3, 4
STEPS, TAUGHT, GATED, TUNED = 1800, 120, 60, 1200
ROWS, LR = 32, 1e-3
BUDGETS = (0.3, 0.5, 0.8)
NAMES = ("blocks.*.channels",)
RECIPE = Descent.spec(batch=ROWS, evaluations=0, optimizer=AdamW.spec(lr=2e-3))
SPEC = encoder(
    dim=DIM, depth=DEPTH, heads=4,
    embed=ClassToken.spec(embed=Patches.spec(patch=PATCH), position=LearnedPosition.spec()),
)  # fmt: skip


class BudgetsAreMet(Claim):
    """Feed-forward networks turned into adaptive ones meet budgets, beat narrow ones, and look at what matters.

    A vision Transformer of three blocks, 48 wide, on pictures of one shape on a noisy ground, 32 x 32 in patches of 4;
    trained for 1800 steps, converted with four learners (120 steps for learners, 60 for gates) and fine-tuned for 1200
    steps to budgets of 0.3, 0.5 and 0.8. The rival is the same trained model with the stronger half of each
    feed-forward network's units, trained on with as many pictures as all stages of the conversion see. Cost is of 256
    held-out pictures, accuracy of 2,000; the last figure is the mean share of learners on patches with a pixel of the
    shape, less that on the others, at 0.5. Half the width loses nothing on these pictures, so that narrow networks
    leave adaptive ones little to win.
    """

    system, check, synthetic = "acm", 3, True
    demands = (
        *(Demand(f"cost off the budget of {budget}", most=0.05) for budget in BUDGETS),
        Demand("points ahead of narrow networks at 0.5", least=0.0),
        Demand("more learners on the shape", least=0.0),
    )

    def run(self, seed: int) -> Mapping[str, float]:
        task, run = OneShape(rows=2000), Run(Budget(steps=STEPS), seed=seed)
        dense = RECIPE.build().train(SPEC, task, run)
        small, pairs = adaptive_modules(dense, NAMES)
        teach_learners(small, dense, pairs, task, steps=TAUGHT, batch=ROWS, lr=1e-2, seed=seed)
        teach_gates(small, dense, pairs, task, steps=GATED, seed=seed)
        narrow = narrowed(dense, task, seed=seed)
        figures = {"accuracy, dense": 100 * score(dense, task).mean, "accuracy, narrow": 100 * score(narrow, task).mean}
        for budget in BUDGETS:
            tuned = fine_tune(small, task, budget=budget, steps=TUNED, lr=LR, seed=seed)
            spent = used(tuned, task, rows=256)
            figures |= {f"cost at {budget}": spent, f"cost off the budget of {budget}": abs(spent - budget),
                        f"accuracy at {budget}": 100 * score(tuned, task).mean}  # fmt: skip
            if budget == 0.5:
                figures["more learners on the shape"] = on_the_shape(tuned, task)
        figures["points ahead of narrow networks at 0.5"] = figures["accuracy at 0.5"] - figures["accuracy, narrow"]
        return figures


def narrowed(dense: Part, task: OneShape, *, seed: int) -> Part:
    """The model with half of its feed-forward networks' units, trained on."""
    narrow, objective = subnet(dense, DEPTH, 0.5), task.objective.fill(**task.facts).build()

    def loss(step: int) -> Tensor:
        drawn = task.batch(step, ROWS, seed)
        return objective(narrow(**drawn.inputs), drawn.targets).mean

    tune(narrow, loss, steps=TAUGHT + GATED + TUNED, optimizer=AdamW(lr=LR, weight_decay=0.0))
    return narrow


@torch.no_grad()
def on_the_shape(model: Part, task: OneShape) -> float:
    """The mean share of learners on patches with a pixel of the shape, less that on the others."""
    pictures, _, inside = task.drawn(of_split("test"), 256)
    patches = torch.nn.functional.max_pool2d(inside[:, None].float(), PATCH).flatten(1) > 0
    with listen(model, "*.chosen") as told:
        model(inputs=pictures)
    share = torch.stack([shares(chosen[0]) for chosen in told.values()]).mean(0)
    share = share.unflatten(0, (len(pictures), -1))[:, 1:]  # without the class token
    return float(share[patches].mean() - share[~patches].mean())
