"""The training loop of gradient descent, from the first step or from a checkpoint to the end of the budget."""

import logging
import math
from contextlib import ExitStack
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from variorum.core import Part, Spec, VariorumError
from variorum.data.task import Batch, Task
from variorum.train.auxiliary import auxiliary
from variorum.train.checkpoint import Checkpoint, load_module, load_optimizer, optimizer_state, under
from variorum.train.clock import Clock
from variorum.train.judge import Judge, Keep, Verdict
from variorum.train.kept import Kept
from variorum.train.learner import Drain, Learner, Together, gradient
from variorum.train.ledger import Ledger
from variorum.train.precision import FABRIC, Precision, choose
from variorum.train.recipe import Run
from variorum.train.seeds import seed_all
from variorum.train.team import ALONE, Team

if TYPE_CHECKING:
    from variorum.train.descent import Descent

log = logging.getLogger(__name__)

MARGIN = 1.2
"""The time kept for a last step and judgement is this many times that of the longest so far."""
MEASURING = 0.02
"""The part of a budget of seconds that measuring precisions may take."""
MEASURING_SECONDS = 10.0
"""The same where the budget is in steps."""


class Loop:
    """One training of a :class:`~variorum.train.descent.Descent`: what it is made of, and where it stands.

    With a team of several processes each of them has a loop of its own; all take the same steps, each with its rows,
    and decide alike: the first one tells the others what its clock and the user say.
    """

    optimizer: torch.optim.Optimizer
    together: Together | None

    def __init__(self, recipe: "Descent", spec: Spec[Any], task: Task, run: Run, *, team: Team = ALONE) -> None:
        self.fabrics = {p: team.fabric(p) for p in FABRIC}
        self.clock = Clock(run.budget)
        self.recipe, self.task, self.run, self.team = recipe, task, run, team
        self.spec = spec.fill(**task.facts)
        seed_all(torch.device("cpu"), run.seed, "start")
        objective = task.objective.fill(**task.facts).build()
        self.learner = Learner(self.spec.build(), objective).train()
        self.fabric = self.fabrics[Precision.FP32]
        self.fabric.to_device(self.learner)
        self.schedule = recipe.schedule.build()
        self.judge = Judge(task, recipe.batch // recipe.accumulate)
        identity = {"spec": self.spec.to_dict(), "recipe": recipe.choices.to_dict(), "seed": run.seed}
        self.kept = Kept(run.folder, identity)
        self.ledger, self.verdict, self.best = Ledger(), Verdict(), dict[str, Tensor]()
        self.step, self.saved, self.took = 0, 0.0, 0.0
        self.ended = False
        """Is there nothing left to do: the budget spent, or nothing better found for too long?"""

    def train(self) -> None:
        """Go on to the end of the budget."""
        before = self.kept.read()
        if before is not None:
            self._resume(before)
        else:
            self._choose_precision()
        with ExitStack() as stack:
            interrupted = stack.enter_context(self.team.interruptions())
            drain = stack.enter_context(auxiliary(self.learner))
            self._make_optimizer(drain, before)
            self.ledger.start(self.clock.seconds)
            self.saved = self.clock.seconds
            began = self.step
            stepping = self.fabric.setup_optimizers(self.optimizer)
            while not self.ended:
                self._advance(stepping, drain)
                due, stop = self.team.agree(self.clock.seconds - self.saved >= self.run.save, interrupted())
                if stop:
                    self._stop()
                if due:
                    self._save()
        if self.step > began:
            self._save()

    def model(self) -> Part:
        """The model with the parameters to keep, in eval mode."""
        if self.best:
            load_module(self.learner.model, self.best, "best parameters")
        return self.learner.model.eval()

    def parameters(self) -> dict[str, Tensor]:
        """The parameters to keep and the persistent buffers, whole; empty but for the first process."""
        last = self.team.tensors(self.learner.model)
        return self.best or last

    def _make_optimizer(self, drain: Drain, before: Checkpoint | None) -> None:
        """The optimiser of the parameters that this process holds, as it was when ``before`` was kept."""
        self.together = self.team.hold(self.learner, drain)
        self.optimizer = self.recipe.optimizer.build().over(self.learner)
        self.names = {id(p): name for name, p in self.learner.named_parameters()}
        self.rates = [group["lr"] for group in self.optimizer.param_groups]
        if before is not None:
            own = dict(self.learner.named_parameters())
            state = under("optimizer", before.tensors)
            state = {full: self._part(own, full.rpartition("/")[0], tensor) for full, tensor in state.items()}
            load_optimizer(self.optimizer, self.names, state, dict(before.record["numbers"]))

    def _part(self, own: dict[str, torch.nn.Parameter], name: str, tensor: Tensor) -> Tensor:
        """What this process holds of an optimiser's tensor, which may be one number or like a parameter."""
        like = own.get(name)
        return tensor if like is None or like.shape != tensor.shape else self.team.part(tensor, like)

    def _advance(self, stepping: Any, drain: Drain) -> None:
        """One step and what is due after it."""
        began = self.clock.seconds
        factor = self.schedule.factor(self.team.agree(self.clock.spent(self.step + 1))[0])
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * factor
        seed_all(self.fabric.device, self.run.seed, self.team.draws(self.step))
        found = gradient(
            self.learner, self._pieces(), autocast=self.fabric.autocast, backward=self.fabric.backward, drain=drain,
            together=self.together,
        )  # fmt: skip
        limit = math.inf if self.recipe.clip is None else self.recipe.clip
        norm = self.fabric.clip_gradients(self.learner, self.optimizer, max_norm=limit, error_if_nonfinite=False)
        stepping.step()
        self.step += 1
        self.ledger.note(self.step, found, self.team.whole(cast(Tensor, norm)))
        self.took = self.clock.seconds - began
        self._follow(drain)

    def _follow(self, drain: Drain) -> None:
        """What is due after a step: a judgement, a report."""
        spent = self.team.agree(self.clock.spent(self.step))[0]
        self.ended = spent >= 1
        slot = self._slot(spent)
        judging = slot > self.verdict.slot
        if judging or self.ended or self.step % self.recipe.report == 0:
            event = self._event() | {"spent": spent}
            if judging:
                event |= self._judge(slot)
                drain()
            self.run.report(event)

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
        batches = (self.team.share(batch) for batch in batches)
        return [Batch(self.fabric.to_device(b.inputs), self.fabric.to_device(b.targets)) for b in batches]

    def _judge(self, slot: int) -> dict[str, Any]:
        """Take the score of the valid split; what the event says of it, nothing if time ran out."""
        verdict, began = self.verdict, self.clock.seconds
        verdict.slot = slot
        verdict.stride = verdict.stride or self.judge.stride(self.step * self.recipe.accumulate)
        with self.team.gathered():
            score = self.judge.score(
                self.learner,
                verdict.stride,
                autocast=self.fabric.autocast,
                to_device=self.fabric.to_device,
                late=lambda: bool(self.team.agree(self.clock.late)[0]),
                team=self.team,
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
            self.best = {name: tensor.clone() for name, tensor in self.team.tensors(self.learner.model).items()}
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
            order = list(Precision)
            precision = order[int(self.team.agree(order.index(precision))[0])]
            log.info("precision %s: %s", precision.value, why)
            self.run.report({"step": 0, "precision": precision.value, "why": why, "seconds": self.clock.seconds})
        self.fabric = self.fabrics[precision]

    # -- checkpoints -----------------------------------------------------------------------------------------------
    def _save(self) -> None:
        self.saved = self.clock.seconds
        if self.kept.path is None:
            return
        # What is not finite is found out before it is kept.
        if event := self._event():
            self.run.report(event)
        state, numbers = optimizer_state(self.optimizer, self.names)
        groups = {
            "learner": self.team.tensors(self.learner),
            "optimizer": {name: self.team.whole(tensor) for name, tensor in state.items()},
            "best": self.best,
        }
        record = {
            "budget": asdict(self.run.budget), "precision": self._precision, "step": self.step,
            "seconds": self.clock.seconds, "verdict": asdict(self.verdict), "numbers": numbers, "ended": self.ended,
        }  # fmt: skip
        if self.team.first:
            self.kept.write(record, groups)

    def _resume(self, found: Checkpoint) -> None:
        """Go back to where a checkpoint stands; the optimiser comes later."""
        subject = f"checkpoint {self.kept.path}"
        try:
            record = found.record
            self.verdict, self.step = Verdict(**record["verdict"]), record["step"]
            self.clock.before = record["seconds"]
            self.fabric = self.fabrics[Precision(record["precision"])]
            same_budget = record["budget"] == asdict(self.run.budget)
            self.ended = record["ended"] and same_budget
            dict(record["numbers"])
        except (KeyError, TypeError, ValueError) as error:
            raise VariorumError(subject, expected="a record that Variorum wrote", found=repr(error),
                                do="Remove it to train from the beginning.") from None  # fmt: skip
        spent = self.team.agree(self.clock.spent(self.step))[0]
        if not same_budget:
            self.verdict.slot = self._slot(spent)
        load_module(self.learner, under("learner", found.tensors), subject)
        self.ended = self.ended or self._tired() or spent >= 1
        self.best = under("best", found.tensors) if self.team.first else {}

    @property
    def _precision(self) -> str:
        return next(p.value for p, fabric in self.fabrics.items() if fabric is self.fabric)

    def _stop(self) -> None:
        """Keep what there is, and end as Ctrl-C does."""
        self._save()
        raise KeyboardInterrupt(f"Training stopped after step {self.step}; {self.kept.says}.")
