"""A small convolutional network. LeCun et al. 1998; batch norm: Ioffe and Szegedy 2015, arXiv:1502.03167."""

from typing import Any

from variorum.compare.baselines.baseline import Baseline
from variorum.compare.training import recipe
from variorum.core import Spec
from variorum.data.task import Task
from variorum.models.convnet import ConvNet
from variorum.models.seen_sound import SeenSound
from variorum.train.recipe import Recipe


class SmallCNN(Baseline):
    """Two or three stages of 3x3 convolutions, trained like every system; of a sound's picture narrower ones, four."""

    name, title, reads = "small-cnn", "a small CNN", ("images", "sounds")

    def pair(self, task: Task) -> tuple[Spec[Any], Spec[Recipe]]:
        if task.reads == "sounds":
            # A picture of 64 bands has several times the pixels of an image; half the width keeps steps as quick.
            return SeenSound.spec(model=ConvNet.spec(width=16, stages=4)), recipe(task)
        small = min(task.facts["height"], task.facts["width"]) < 16
        return ConvNet.spec(stages=2 if small else 3), recipe(task)
