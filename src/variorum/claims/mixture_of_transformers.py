"""Mixture-of-Transformers' claim: weights by modality learn images in fewer steps of the same cost."""

from collections.abc import Mapping
from functools import partial

import torch

from variorum.claims.claim import Claim, Demand
from variorum.core import Part, Spec
from variorum.data.captioned_shapes import CaptionedShapes
from variorum.models.stack import Stack
from variorum.systems.mixture_of_transformers import mixture_of_transformers
from variorum.train.optimizer import AdamW

STEPS, BATCH, LOOK = 240, 16, 10
"""Steps of each training, rows of a step, and steps between two looks at the held-out loss."""
TASK = CaptionedShapes(side=8, shapes=2, rows=128)


class UntiedModalities(Claim):
    """A decoder with weights by modality is where the dense one ends, on image tokens, after 80% of its steps.

    Captions of two shapes and pictures of 8 x 8 codes, made; 3 layers 64 wide, steps of 16 rows, the same recipe and
    the same rows for both, and equal arithmetic for a token. Losses are of the pictures' codes, on 128 rows, looked at
    after every tenth step of a constant learning rate, so that no look is favoured. Untied weights are twice as many.
    """

    system = "mixture-of-transformers"
    check = 3
    demands = (Demand("steps against dense", most=0.8),)
    synthetic = True

    def run(self, seed: int) -> Mapping[str, float]:
        build = partial(mixture_of_transformers, dim=64, depth=3, heads=4, hidden=192, borders=(TASK.border,))
        dense, untied = (_curve(build(untied=each), seed) for each in (False, True))
        reached = next((i + 1 for i, bits in enumerate(untied) if bits <= dense[-1]), len(untied) + 1)
        return {
            "steps against dense": reached / len(dense),
            "bits of a code": untied[-1],
            "dense bits of a code": dense[-1],
        }


def _curve(spec: Spec[Stack], seed: int) -> list[float]:
    """Bits of a code after every ``LOOK`` steps."""
    torch.manual_seed(seed)
    model = spec.fill(**TASK.facts).build()
    optimizer, objective = AdamW(lr=2e-3).over(model), TASK.objective.build()
    found = []
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * min(1.0, (step + 1) / 20)
        batch = TASK.batch(step, BATCH, seed)
        optimizer.zero_grad()
        objective(model(**batch.inputs), batch.targets).mean.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if (step + 1) % LOOK == 0:
            found.append(_bits(model))
    return found


@torch.no_grad()
def _bits(model: Part) -> float:
    scores = [TASK.scores(model(**b.inputs), b.targets) for b in TASK.held_out("test", 64)]
    return torch.cat(scores).mean().item()
