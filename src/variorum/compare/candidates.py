"""Who takes part: every system that fits the data, and the plain baselines beside them, all as (Spec, Recipe) pairs."""

from dataclasses import dataclass
from typing import Any

import torch
from optuna.distributions import CategoricalDistribution

from variorum.compare.baselines.baseline import Baseline, baselines
from variorum.compare.describe import ASSUMED
from variorum.compare.training import recipe
from variorum.core import Entry, Spec, VariorumError, entries, find_entry, rows
from variorum.data.task import Task
from variorum.layers.heads.classifier import Classifier
from variorum.layers.heads.regressor import Regressor


@dataclass(frozen=True)
class Candidate:
    """Something to train and measure.

    name: a folder's name.     specs: what to build, still open where the data decide, in all sizes that are worth a
    trial, the one to begin with first.     recipe: how it learns.     where: where its code is, ``module:function``.
    """

    name: str
    title: str
    specs: tuple[Spec[Any], ...]
    recipe: Spec[Any]
    baseline: bool
    where: str

    @property
    def spec(self) -> Spec[Any]:
        """The size to begin with."""
        return self.specs[0]

    @property
    def brief(self) -> bool:
        """Is it a baseline that is solved, in one way or a few, and so will leave time over?"""
        few = all(isinstance(choice, CategoricalDistribution) for choice in self.recipe.cls.searched.values())
        return self.baseline and not self.recipe.cls.keeps_spec and few

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**vars(self), "specs": [spec.to_dict() for spec in self.specs], "recipe": self.recipe.to_dict()}

    @classmethod
    def from_dict(cls, tree: dict[str, Any]) -> "Candidate":
        """The candidate that :meth:`to_dict` wrote."""
        specs = tuple(Spec.from_dict(node) for node in tree["specs"])
        return cls(**{**tree, "specs": specs, "recipe": Spec.from_dict(tree["recipe"])})


def candidates(task: Task, *, systems: tuple[str, ...] | None = None) -> tuple[list[Candidate], list[str]]:
    """The candidates for a task, those that may leave time over first; and why a system was left out.

    systems: names of systems to take; None: all that fit. The baselines always take part. Raises
    :class:`VariorumError` for an unknown system, one that is only planned, and one that does not fit the data.
    """
    chosen, left_out = [], []
    if systems is not None:
        chosen = [_wanted(slug, task) for slug in dict.fromkeys(systems)]
    else:
        for entry in entries().values():
            if task.reads in entry.fits:
                try:
                    chosen.append(_system(entry, task))
                except VariorumError as error:
                    left_out.append(f"Left out: {error}")
    beside = [_baseline(baseline, task) for baseline in baselines(task)]
    return sorted([*beside, *chosen], key=lambda c: (not c.brief, not c.baseline)), left_out


def _system(entry: Entry, task: Task) -> Candidate:
    """The system as a candidate; raises :class:`VariorumError` if what the data tell does not complete it."""
    how = entry.recipe or recipe(task)
    specs = tuple(_answering(entry.fit(task.reads, size), task) for size in range(len(entry.fits[task.reads])))
    for spec in specs:
        unknown = sorted((spec.fill(**task.facts).wants() & ASSUMED.keys()) | (how.cls.needs - task.facts.keys()))
        if unknown:
            expected = f"data that tell it {', '.join(unknown)}"
            raise VariorumError(entry.slug, expected=expected, found=f"a {task.reads} without",
                                do="It answers another kind of question than this one.")  # fmt: skip
        with torch.device("meta"):
            spec.fill(**task.facts).build()
    row = rows().get(entry.slug)
    return Candidate(entry.slug, row.name if row else entry.slug, specs, how, False, entry.where)


def _answering(spec: Spec[Any], task: Task) -> Spec[Any]:
    """The spec; where a value is asked for, its classifier gives way to an estimate from the same pool."""
    head = dict(spec.args).get("head")
    if "classes" in task.facts or not isinstance(head, Spec) or head.cls is not Classifier:
        return spec
    return spec.but(head=Regressor.spec(pool=head["pool"]))


def _wanted(slug: str, task: Task) -> Candidate:
    """The system that was asked for by name."""
    entry = find_entry(slug)
    if task.reads not in entry.fits:
        fitting = [other.slug for other in entries().values() if task.reads in other.fits]
        raise VariorumError(f"system {slug!r}", expected=f"one that takes {task.reads}",
                            found=f"one that takes {', '.join(sorted(entry.fits)) or 'no data that is compared on'}",
                            do=f"Systems that fit: {', '.join(fitting) or 'none yet'}.")  # fmt: skip
    return _system(entry, task)


def _baseline(baseline: type[Baseline], task: Task) -> Candidate:
    found, how = baseline().pair(task)
    specs = (found,) if isinstance(found, Spec) else tuple(found)
    return Candidate(baseline.name, baseline.title, specs, how, True, f"{baseline.__module__}:{baseline.__qualname__}")
