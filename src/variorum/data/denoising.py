"""Images to be freed of noise, so that images can be made of noise. Ho et al. 2020, arXiv:2006.11239."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from variorum.core import Objective, Spec, VariorumError
from variorum.data.divided import DividedRows
from variorum.data.draw import draw, stratified
from variorum.data.generated import of_split, of_step
from variorum.data.sets.bundled import find_set
from variorum.data.task import Batch, Split
from variorum.objectives.noise.linear import LinearNoise
from variorum.objectives.noise.schedule import NoiseSchedule, Predicts
from variorum.objectives.noise_and_variance import Diffused, NoiseAndVariance
from variorum.objectives.squared_error import SquaredError


class Denoising(DividedRows):
    """Say which noise was added to an image of a known class at a known step: the metric is the mean squared error.

    Ho et al. 2020, arXiv:2006.11239. source: a bundled set of images, made -1 to 1.     schedule: of the noise.
    predicts: what is asked for (Salimans & Ho 2022, arXiv:2202.00512, for v).     variance: the variance of the way
    back too (``NoiseAndVariance``; the model has two outputs a pixel, and is asked for the noise).
    inputs: ``inputs`` (batch, 1, height, width) noised, ``time`` (batch,) and ``label`` (batch,). Times and noise of
    the held-out rows are the same at every judgement.
    """

    reads = "noised images"
    metric = "squared error"
    higher_is_better = False
    examples = ({}, {"variance": True})

    def __init__(
        self,
        *,
        source: str = "digits",
        schedule: Spec[NoiseSchedule] = LinearNoise.spec(),
        predicts: Predicts = Predicts.NOISE,
        variance: bool = False,
        seed: int = 0,
    ) -> None:
        found = find_set(source, "images")
        if found is None:
            raise VariorumError("Denoising source", expected="the name of a bundled set of images", found=repr(source),
                                do="Use digits.")  # fmt: skip
        if variance and predicts is not Predicts.NOISE:
            raise VariorumError("Denoising", expected="the noise to be asked for where the variance is, too",
                                found=str(predicts), do="Leave out one of them.")  # fmt: skip
        pixels, classes, names = found.read()
        self.noise, self.schedule, self.predicts, self.variance = schedule, schedule.build(), predicts, variance
        self.labels = tuple(names)
        self._classes = torch.from_numpy(classes)
        low, high = int(pixels.min()), int(pixels.max())
        self._images = (torch.from_numpy(pixels).float() - low)[:, None] * (2 / (high - low)) - 1
        self.parts = stratified(classes, seed)

    @property
    def facts(self) -> dict[str, Any]:
        _, channels, height, width = self._images.shape
        return {"classes": len(self.labels), "channels": channels, "height": height, "width": width}

    @property
    def objective(self) -> Spec[Objective]:
        return NoiseAndVariance.spec(schedule=self.noise) if self.variance else SquaredError.spec()

    def batch(self, step: int, size: int, seed: int) -> Batch:
        rows = torch.from_numpy(self.parts.train[draw(len(self.parts.train), step, size, seed)])
        return self._noised(rows, of_step(step, seed))

    def held_out(self, split: Split, size: int) -> Iterator[Batch]:
        rows = torch.from_numpy(self.parts.rows(split))
        whole = self._noised(rows, of_split(split))
        for part in torch.arange(len(rows)).split(size):
            targets = whole.targets
            cut = Diffused(*(t[part] for t in targets)) if isinstance(targets, Diffused) else targets[part]
            yield Batch({name: x[part] for name, x in whole.inputs.items()}, cut)

    def scores(self, outputs: Any, targets: Any) -> Tensor:
        wanted = targets.noise if isinstance(targets, Diffused) else targets
        return (outputs[:, : wanted.shape[1]] - wanted).square().flatten(1).mean(1)

    def _noised(self, rows: Tensor, generator: torch.Generator) -> Batch:
        clean = self._images[rows]
        noise = torch.randn(clean.shape, generator=generator)
        time = torch.randint(self.schedule.steps, (len(rows),), generator=generator)
        inputs = {"inputs": self.schedule.noised(clean, noise, time), "time": time, "label": self._classes[rows]}
        if self.variance:
            return Batch(inputs, Diffused(clean, noise, time))
        return Batch(inputs, self.schedule.target(clean, noise, time, self.predicts))
