"""The training loop of gradient descent, from the first step or from a checkpoint to the end of the budget."""

import hashlib
import json
import logging
import math
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from variorum.core import Part, Spec, VariorumError, diff
from variorum.data.task import Batch, Task
from variorum.train.auxiliary import auxiliary
from variorum.train.checkpoint import (
    ELSEWHERE,
    Checkpoint,
    load_module,
    load_optimizer,
    module_tensors,
    optimizer_state,
    under,
)
from variorum.train.clock import Clock
from variorum.train.interrupt import deferred
from variorum.train.judge import Judge, Keep, Verdict
from variorum.train.learner import Learner, gradient
from variorum.train.ledger import Ledger
from variorum.train.precision import FABRIC, Precision, choose
from variorum.train.recipe import Run

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from variorum.train.descent import Descent

log = logging.getLogger(__name__)

FILE = "checkpoint.safetensors"
MARGIN = 1.2
"""The time kept for a last step and judgement is this many times that of the longest so far."""
MEASURING = 0.02
"""The part of a budget of seconds that measuring precisions may take."""
MEASURING_SECONDS = 10.0
"""The same where the budget is in steps."""


class Loop:
    """One training of a :class:`~variorum.train.descent.Descent`: what it is made of, and where it stands."""

    def __init__(self, recipe: "Descent", spec: Spec[Any], task: Task, run: Run) -> None:
        self.fabrics = {p: _fabric(p) for p in FABRIC}
        self.clock = Clock(run.budget)
        self.recipe, self.task, self.run = recipe, task, run
        self.spec = spec.fill(**task.facts)
        _seed(torch.device("cpu"), run.seed, "start")
        objective = task.objective.fill(**task.facts).build()
        self.learner = Learner(self.spec.build(), objective).train()
        self.fabric = self.fabrics[Precision.FP32]
        self.fabric.to_device(self.learner)
        self.optimizer = recipe.optimizer.build().over(self.learner)
        self.names = {id(p): name for name, p in self.learner.named_parameters()}
        self.rates = [group["lr"] for group in self.optimizer.param_groups]
        self.schedule = recipe.schedule.build()
        self.judge = Judge(task, recipe.batch // recipe.accumulate)
        self.ledger, self.verdict, self.best = Ledger(), Verdict(), dict[str, Tensor]()
        self.step, self.saved, self.took = 0, 0.0, 0.0
        self.ended = False
        """Is there nothing left to do: the budget spent, or nothing better found for too long?"""

    def train(self) -> Part:
        """Go on to the end of the budget; the model with the parameters to keep, in eval mode."""
        if not self._resume():
            self._choose_precision()
        self.ledger.start(self.clock.seconds)
        self.saved = self.clock.seconds
        before = self.step
        stepping = self.fabric.setup_optimizers(self.optimizer)
        with ExitStack() as stack:
            interrupted = stack.enter_context(deferred())
            drain = stack.enter_context(auxiliary(self.learner))
            while not self.ended:
                self._advance(stepping, drain)
                if interrupted():
                    self._stop()
        if self.step > before:
            self._save()
        if self.best:
            load_module(self.learner.model, self.best, "best parameters")
        return self.learner.model.eval()

    def _advance(self, stepping: Any, drain: Callable[[], Tensor | None]) -> None:
        """One step and what is due after it."""
        began = self.clock.seconds
        factor = self.schedule.factor(self.clock.spent(self.step + 1))
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * factor
        _seed(self.fabric.device, self.run.seed, str(self.step))
        found = gradient(
            self.learner, self._pieces(), autocast=self.fabric.autocast, backward=self.fabric.backward, drain=drain
        )
        limit = math.inf if self.recipe.clip is None else self.recipe.clip
        norm = self.fabric.clip_gradients(self.learner, self.optimizer, max_norm=limit, error_if_nonfinite=False)
        stepping.step()
        self.step += 1
        self.ledger.note(self.step, found, cast(Tensor, norm))
        self.took = self.clock.seconds - began
        self._follow(drain)

    def _follow(self, drain: Callable[[], Tensor | None]) -> None:
        """What is due after a step: a judgement, a report, a checkpoint."""
        spent = self.clock.spent(self.step)
        self.ended = spent >= 1
        slot = self._slot(spent)
        judging = slot > self.verdict.slot
        if judging or self.ended or self.step % self.recipe.report == 0:
            event = self._event() | {"spent": spent}
            if judging:
                event |= self._judge(slot)
                drain()
            self.run.report(event)
        if self.clock.seconds - self.saved >= self.run.save:
            self._save()

    def _slot(self, spent: float) -> int:
        """How many of the evenly spaced moments to judge at are past; rounding errors do not put one off."""
        return math.floor(spent * self.recipe.evaluations + 1e-9)

    def _event(self) -> dict[str, Any]:
        """What is told of the steps since it was last asked for; empty if there are none."""
        event = self.ledger.read(self.clock.seconds)
        return event | {"lr": self.optimizer.param_groups[0]["lr"]} if event else {}

    def _pieces(self) -> "list[Batch]":
        pieces = self.recipe.accumulate
        size, first = self.recipe.batch // pieces, self.step * pieces
        batches = (self.task.batch(first + i, size, self.run.seed) for i in range(pieces))
        return [Batch(self.fabric.to_device(b.inputs), self.fabric.to_device(b.targets)) for b in batches]

    def _judge(self, slot: int) -> dict[str, Any]:
        """Take the score of the valid split; what the event says of it, nothing if time ran out."""
        verdict, began = self.verdict, self.clock.seconds
        verdict.slot = slot
        verdict.stride = verdict.stride or self.judge.stride(self.step * self.recipe.accumulate)
        score = self.judge.score(
            self.learner,
            verdict.stride,
            autocast=self.fabric.autocast,
            to_device=self.fabric.to_device,
            late=lambda: self.clock.late,
        )
        now = self.clock.seconds
        # The last judgement comes after a step that may begin just before this time.
        self.clock.reserve = max(self.clock.reserve, MARGIN * (now - began + self.took))
        self.ledger.start(now)
        if score is None:
            return {}
        better = verdict.take(score, self.step, higher_is_better=self.task.higher_is_better)
        self.ended = self.ended or self._tired()
        if better and self.recipe.keep is Keep.BEST:
            self.best = {name: tensor.clone() for name, tensor in module_tensors(self.learner.model).items()}
        return {"valid": score}

    def _tired(self) -> bool:
        return self.recipe.patience is not None and self.verdict.stale >= self.recipe.patience

    def _choose_precision(self) -> None:
        precision = self.recipe.precision
        if precision is Precision.AUTO:
            seconds = self.run.budget.seconds
            batch = self.task.batch(0, self.judge.size, self.run.seed)
            batch = Batch(self.fabric.to_device(batch.inputs), self.fabric.to_device(batch.targets))
            autocasts = {p: fabric.autocast for p, fabric in self.fabrics.items()}
            precision, why = choose(
                self.learner, batch, autocasts, seconds=MEASURING_SECONDS if seconds is None else MEASURING * seconds
            )
            log.info("precision %s: %s", precision.value, why)
            self.run.report({"step": 0, "precision": precision.value, "why": why, "seconds": self.clock.seconds})
        self.fabric = self.fabrics[precision]

    # -- checkpoints -----------------------------------------------------------------------------------------------
    @property
    def _path(self) -> Path | None:
        return self.run.folder / FILE if self.run.folder is not None else None

    def _save(self) -> None:
        self.saved = self.clock.seconds
        if self._path is None:
            return
        # What is not finite is found out before it is kept.
        if event := self._event():
            self.run.report(event)
        state, numbers = optimizer_state(self.optimizer, self.names)
        record = {
            **self._identity(), "budget": asdict(self.run.budget), "precision": self._precision, "step": self.step,
            "seconds": self.clock.seconds, "verdict": asdict(self.verdict), "numbers": numbers, "ended": self.ended,
        }  # fmt: skip
        tensors = {"learner": module_tensors(self.learner), "optimizer": state, "best": self.best}
        named = {f"{kind}/{name}": tensor for kind, group in tensors.items() for name, tensor in group.items()}
        Checkpoint(record, named).write(self._path)

    def _resume(self) -> bool:
        """Go back to where the folder's checkpoint stands; False if there is none."""
        if self._path is None or not self._path.exists():
            return False
        found = Checkpoint.read(self._path)
        self._check_same(found.record)
        subject = f"checkpoint {self._path}"
        try:
            record = found.record
            self.verdict, self.step = Verdict(**record["verdict"]), record["step"]
            self.clock.before = record["seconds"]
            self.fabric = self.fabrics[Precision(record["precision"])]
            same_budget = record["budget"] == asdict(self.run.budget)
            self.ended = record["ended"] and same_budget
            numbers = dict(record["numbers"])
        except (KeyError, TypeError, ValueError) as error:
            raise VariorumError(subject, expected="a record that Variorum wrote", found=repr(error),
                                do="Remove it to train from the beginning.") from None  # fmt: skip
        if not same_budget:
            self.verdict.slot = self._slot(self.clock.spent(self.step))
        load_module(self.learner, under("learner", found.tensors), subject)
        self.ended = self.ended or self._tired() or self.clock.spent(self.step) >= 1
        load_optimizer(self.optimizer, self.names, under("optimizer", found.tensors), numbers)
        self.best = under("best", found.tensors)
        return True

    def _identity(self) -> dict[str, Any]:
        return {"spec": self.spec.to_dict(), "recipe": self.recipe.choices.to_dict(), "seed": self.run.seed}

    def _check_same(self, record: dict[str, Any]) -> None:
        own = json.loads(json.dumps(self._identity()))
        other = next((key for key in own if record.get(key) != own[key]), None)
        if other is None:
            return
        found = str(record.get(other))
        if other != "seed":
            changes = diff(Spec.from_dict(own[other]), Spec.from_dict(record.get(other)))
            found = "; ".join(str(change) for change in changes[:4])
        raise VariorumError(f"checkpoint {self._path}", expected=f"a training with this {other}",
                            found=f"another: {found}"[:400], do=ELSEWHERE)  # fmt: skip

    @property
    def _precision(self) -> str:
        return next(p.value for p, fabric in self.fabrics.items() if fabric is self.fabric)

    def _stop(self) -> None:
        """Keep what there is, and end as Ctrl-C does."""
        self._save()
        path = self._path
        kept = f"{path} holds it: run again to go on from there" if path else "it had no folder, so nothing is kept"
        raise KeyboardInterrupt(f"Training stopped after step {self.step}; {kept}.")


def _fabric(precision: Precision) -> "Fabric":
    """One device of this machine. What Fabric says of itself on the way is not news to who trains."""
    # It takes seconds to import: only who trains waits for it.
    from lightning_fabric import Fabric

    said = logging.getLogger("lightning_fabric.utilities.rank_zero")
    before = said.level
    said.setLevel(logging.WARNING)
    try:
        return Fabric(devices=1, precision=FABRIC[precision])
    finally:
        said.setLevel(before)


def _seed(device: torch.device, seed: int, name: str) -> None:
    """Seed the random numbers of one step: steps draw apart, and a step draws the same however it was reached."""
    number = int.from_bytes(hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=8).digest(), "big") >> 1
    # torch.manual_seed asks every kind of device that torch knows, which takes longer than a small model's step.
    torch.default_generator.manual_seed(number)
    if device.type != "cpu":
        torch.get_device_module(device).manual_seed(number)
