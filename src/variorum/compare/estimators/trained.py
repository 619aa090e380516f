"""A system chosen for a task and trained on it, as estimators do: one size, one recipe, one seed."""

from dataclasses import dataclass, field
from typing import Any

import torch

from variorum.compare.candidates import Candidate, candidates
from variorum.compare.plain import difference
from variorum.compare.training import repeatable
from variorum.core import Spec, VariorumError, entries
from variorum.data.task import Task
from variorum.runtime.bundle import Bundle
from variorum.train.descent import Descent
from variorum.train.distributed import Distributed
from variorum.train.recipe import Budget, Recipe, Run

SOURCE = "given rows"
"""How data without a file are called."""


@dataclass(frozen=True)
class Order:
    """What is to be trained, and how long. system: a slug, the name of a plain baseline, a Spec, or None: the plain
    Transformer.     size: of those in which it fits the data, the first is 0.     distributed: see :class:`Run`.
    """

    system: str | Spec[Any] | None
    size: int
    recipe: Spec[Recipe] | None
    budget: Budget
    seed: int
    distributed: Distributed | None = None


@dataclass
class Trained:
    """The bundle, the name of what was trained, and what was told while it was."""

    bundle: Bundle
    name: str
    history: list[dict[str, Any]] = field(default_factory=list)

    @property
    def steps(self) -> int:
        """Steps that were made; 1 for what is solved at once."""
        return max((int(event["step"]) for event in self.history if "step" in event), default=1) or 1


def train(order: Order, task: Task) -> Trained:
    """Train what the order says on the task; raises :class:`VariorumError` for a system that does not fit it."""
    name, spec, recipe = _chosen(order, task)
    history: list[dict[str, Any]] = []
    run = Run(order.budget, seed=order.seed, report=lambda event: history.append(dict(event)),
              distributed=order.distributed)  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(order.seed)
        model = recipe.build().train(spec, task, run)
    provenance = {"system": name, "data": SOURCE, "metric": task.metric, "seed": order.seed, "recipe": str(recipe),
                  "torch": torch.__version__}  # fmt: skip
    return Trained(Bundle.of(model, task, provenance=provenance), name, history)


def _chosen(order: Order, task: Task) -> tuple[str, Spec[Any], Spec[Recipe]]:
    """The name, Spec and recipe of what is to be trained."""
    if isinstance(order.system, Spec):
        return order.system.part, order.system, order.recipe or Descent.spec()
    candidate = _candidate(order.system, task)
    if not 0 <= order.size < len(candidate.specs):
        raise VariorumError(f"size of {candidate.name}", expected=f"from 0 to {len(candidate.specs) - 1}",
                            found=str(order.size), do="Leave it at 0, or give a Spec of your own.")  # fmt: skip
    return candidate.name, candidate.specs[order.size], order.recipe or repeatable(candidate.recipe)


def _candidate(system: Any, task: Task) -> Candidate:
    """What the name stands for; None for the plain Transformer."""
    if system is None:
        fitting = {slug: entry for slug, entry in entries().items() if task.reads in entry.fits}
        system = min(fitting, key=lambda slug: _apart(fitting[slug].fit(task.reads)))
    if not isinstance(system, str):
        raise VariorumError("system", expected="the name of a system, or a Spec", found=repr(system)[:80],
                            do="`variorum list --state works` names all.")  # fmt: skip
    beside = {candidate.name: candidate for candidate in candidates(task, systems=())[0]}
    if system in beside:
        return beside[system]
    found, _ = candidates(task, systems=(system,))
    return next(candidate for candidate in found if candidate.name == system)


def _apart(spec: Spec[Any]) -> int:
    """How many parts make the difference to the plain Transformer."""
    found = difference(spec)
    return len(found.added) + len(found.left_out)
