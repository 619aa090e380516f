"""A small convolutional network. LeCun et al. 1998; batch norm: Ioffe and Szegedy 2015, arXiv:1502.03167."""

from collections.abc import Sequence
from typing import Any

from variorum.compare.baselines.baseline import Baseline
from variorum.compare.training import recipe
from variorum.core import Spec
from variorum.data.task import Task
from variorum.models.convnet import ConvNet
from variorum.models.seen_sound import SeenSound
from variorum.train.recipe import Recipe


class SmallCNN(Baseline):
    """Two or three stages of 3x3 convolutions, trained like every system; of a sound's picture narrower ones, four.

    Half the width, and twice as much, are tried beside it.
    """

    name, title, reads = "small-cnn", "a small CNN", ("images", "sounds")

    def pair(self, task: Task) -> tuple[Sequence[Spec[Any]], Spec[Recipe]]:
        if task.reads == "sounds":
            # A picture of 64 bands has several times the pixels of an image; half the width keeps steps as quick.
            heard = [ConvNet.spec(width=width, stages=4) for width in (16, 8, 32)]
            return [SeenSound.spec(model=model) for model in heard], recipe(task)
        plain = ConvNet.spec(stages=2 if min(task.facts["height"], task.facts["width"]) < 16 else 3)
        return [plain, *(plain.but(width=width) for width in (16, 64))], recipe(task)
