"""What a baseline begins with on a task."""

from typing import Any

from variorum.compare.baselines.baseline import Baseline
from variorum.core import Spec
from variorum.data.task import Task
from variorum.train.recipe import Recipe


def first_pair(baseline: Baseline, task: Task) -> tuple[Spec[Any], Spec[Recipe]]:
    """Its spec, of several the first, and its recipe."""
    found, recipe = baseline.pair(task)
    return found if isinstance(found, Spec) else found[0], recipe
