"""The claim of Wang et al. 2024, arXiv:2410.23168: a model that grows saves what training anew would cost."""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F

from variorum.adapt.grow import grow
from variorum.claims.claim import Claim, Demand
from variorum.core import Part
from variorum.data.symbols import Level
from variorum.data.text import TextTask
from variorum.systems.tokenformer import tokenformer
from variorum.train.optimizer import AdamW
from variorum.train.schedule import WarmupCosine

STEPS, MORE, ROWS = 240, 120, 16


class GrowingIsAsGoodAsAnew(Claim):
    """A model grown from 64 to 128 slots, and trained half as long again, is no worse than one with 128 from scratch.

    Two layers of width 64 on the characters of Shakespeare: 240 steps with 64 slots and 120 with 128 against 240 with
    128, the same text, steps of 16 rows of 64 characters, rates and seed. The figure is how much more nats a character
    of the test split costs. As in the paper the steps before growth are not counted, for the small model was there.
    """

    system = "tokenformer"
    check = 3
    demands = (Demand("grown over scratch", most=0.02),)

    def run(self, seed: int) -> Mapping[str, float]:
        task = TextTask("shakespeare", level=Level.CHAR, length=64)
        small = self._train(self._fresh(64, task, seed), task, seed, first=0, steps=STEPS)
        before = self._cost(small, task)
        grown = self._train(grow(small, 2), task, seed, first=STEPS, steps=MORE)
        scratch = self._train(self._fresh(128, task, seed), task, seed, first=0, steps=STEPS)
        costs = {"grown": self._cost(grown, task), "scratch": self._cost(scratch, task)}
        return {"grown over scratch": costs["grown"] - costs["scratch"], "before growth": before, **costs}

    def _fresh(self, slots: int, task: TextTask, seed: int) -> Part:
        torch.manual_seed(seed)
        return tokenformer(dim=64, depth=2, heads=4, slots=slots).fill(**task.facts).build()

    def _train(self, model: Part, task: TextTask, seed: int, *, first: int, steps: int) -> Part:
        optimizer = AdamW(lr=3e-3, weight_decay=0.0).over(model.train())
        schedule = WarmupCosine()
        for step in range(steps):
            batch = task.batch(first + step, ROWS, seed)
            for group in optimizer.param_groups:
                group["lr"] = 3e-3 * schedule.factor((step + 1) / steps)
            loss = _nats(model, batch.inputs, batch.targets)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        return model.eval()

    @torch.no_grad()
    def _cost(self, model: Part, task: TextTask) -> float:
        """Nats a character of the first 64,000 of the test split."""
        costs = []
        for index, batch in enumerate(task.held_out("test", 100)):
            if index == 10:
                break
            costs.append(float(_nats(model, batch.inputs, batch.targets)))
        return sum(costs) / len(costs)


def _nats(model: Part, inputs: dict[str, Any], targets: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(model(**inputs).flatten(0, 1), targets.flatten(), ignore_index=-100)
