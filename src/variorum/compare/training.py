"""How systems and baselines alike are trained, unless a system has a recipe of its own."""

from variorum.core import Spec
from variorum.data.task import Task
from variorum.train.by_law import ByLaw
from variorum.train.descent import Descent
from variorum.train.precision import Precision
from variorum.train.recipe import Recipe


def recipe(task: Task) -> Spec[Recipe]:
    """Gradient descent in the precision that is measured to be the faster; language models by the published law."""
    if ByLaw.needs <= task.facts.keys() and "classes" not in task.facts:
        return ByLaw.spec(precision=Precision.AUTO)
    return Descent.spec(precision=Precision.AUTO)


def repeatable(recipe: Spec[Recipe]) -> Spec[Recipe]:
    """The recipe without a choice that is made by measuring time: the same seed makes the same model."""
    if dict(recipe.args).get("precision") == Precision.AUTO:
        return recipe.but(precision=Precision.FP32)
    return recipe
