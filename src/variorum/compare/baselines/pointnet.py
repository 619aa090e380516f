"""A small PointNet. Qi et al. 2016, arXiv:1612.00593."""

from collections.abc import Sequence
from typing import Any

from variorum.compare.baselines.baseline import Baseline
from variorum.compare.training import recipe
from variorum.core import Spec
from variorum.data.task import Task
from variorum.models.pointnet import PointNet
from variorum.train.recipe import Recipe


class SmallPointNet(Baseline):
    """A network at every point and the maximum over them, trained like every system; narrower ones are tried too."""

    name, title, reads = "pointnet", "a small PointNet", ("point clouds",)

    def pair(self, task: Task) -> tuple[Sequence[Spec[Any]], Spec[Recipe]]:
        narrower = [((32, 32, 64, 256), (64,)), ((16, 32, 128), (32,))]
        return [PointNet.spec(), *(PointNet.spec(point=point, row=row) for point, row in narrower)], recipe(task)
