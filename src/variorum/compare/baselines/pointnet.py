"""A small PointNet. Qi et al. 2016, arXiv:1612.00593."""

from typing import Any

from variorum.compare.baselines.baseline import Baseline
from variorum.compare.training import recipe
from variorum.core import Spec
from variorum.data.task import Task
from variorum.models.pointnet import PointNet
from variorum.train.recipe import Recipe


class SmallPointNet(Baseline):
    """A network at every point and the maximum over them, trained like every system."""

    name, title, reads = "pointnet", "a small PointNet", ("point clouds",)

    def pair(self, task: Task) -> tuple[Spec[Any], Spec[Recipe]]:
        return PointNet.spec(), recipe(task)
