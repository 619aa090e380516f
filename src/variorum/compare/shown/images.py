"""Images, as the model sees them."""

from collections.abc import Sequence
from typing import Any

import torch

from variorum.compare.shown.answered import answered
from variorum.compare.shown.shown import Judged, Seen, Shown
from variorum.compare.shown.uris import png
from variorum.data.images import ImagePixels
from variorum.data.targets import ClassTarget


class ShownImages(Shown):
    """Pixels as they were before they were normalised: x * std + mean in each channel."""

    shows = ImagePixels
    title = "Hardest images"

    def judged(self, seen: Seen) -> Sequence[Judged]:
        return answered(seen.outputs, seen.batch.targets, ClassTarget("class", labels=seen.reader.labels))

    def row(self, seen: Seen, index: int) -> dict[str, Any]:
        mean, std = (torch.tensor(v)[:, None, None] for v in (seen.reader.mean, seen.reader.std))
        pixels = (seen.batch.inputs["inputs"][index] * std + mean) * 255
        return {"image": png(pixels.round().clamp(0, 255).to(torch.uint8).numpy())}
