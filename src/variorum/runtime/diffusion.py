"""Images out of noise, by a model that tells the noise. Song et al. 2020, arXiv:2010.02502; guidance: Ho & Salimans."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from variorum.core import VariorumError
from variorum.objectives.noise.schedule import NoiseSchedule, Predicts

Denoise = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(noised images, times, labels) -> answers, such as a ``Denoiser`` is."""


@torch.no_grad()
def generate_images(
    model: Denoise,
    labels: Int[Tensor, "batch"],
    *,
    shape: tuple[int, int, int],
    schedule: NoiseSchedule,
    steps: int = 50,
    eta: float = 1.0,
    none: int | None = None,
    guidance: float = 1.0,
    predicts: Predicts = Predicts.NOISE,
    seed: int = 0,
) -> Float[Tensor, "batch channels height width"]:
    """x_s = sqrt(a_s) clean^ + sqrt(1 - a_s - sigma^2) noise^ + sigma z, from pure noise at the last time to 0.

    Song et al. 2020, arXiv:2010.02502, equation 12, over ``steps`` times evenly chosen of the schedule's; ``eta`` = 0
    is DDIM, which is deterministic, 1 has the variance of ancestral sampling (Ho et al. 2020, arXiv:2006.11239).
    guidance: g in answer(none) + g (answer(label) - answer(none)), ``none`` being the label that stands for no class
    (Ho & Salimans 2022, arXiv:2207.12598); 1: unguided. Only the first channels of an answer that also tells a variance
    are used. clean^ is kept within -1 and 1. Raises VariorumError for more steps than the schedule has, and for a
    guidance without ``none``.
    """
    if not 1 <= steps <= schedule.steps:
        raise VariorumError("steps", expected=f"1 to {schedule.steps}, the steps of the schedule", found=str(steps),
                            do="Take fewer.")  # fmt: skip
    if guidance != 1 and none is None:
        raise VariorumError("guidance", expected="the label that stands for no class", found="none",
                            do="Pass none=model.label.none.")  # fmt: skip
    nothing = labels if none is None else torch.full_like(labels, none)
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(len(labels), *shape, generator=generator)
    times = torch.linspace(schedule.steps - 1, 0, steps).round().long()
    kept = schedule.kept(times).float()
    for i, time in enumerate(times):
        now = time.expand(len(labels))
        answer = model(x, now, labels)[:, : shape[0]]
        if guidance != 1:
            free = model(x, now, nothing)[:, : shape[0]]
            answer = free + guidance * (answer - free)
        clean = schedule.clean(x, answer, now, predicts).clamp(-1, 1)
        noise = (x - kept[i].sqrt() * clean) / (1 - kept[i]).sqrt()
        after = kept[i + 1] if i + 1 < steps else torch.ones(())
        sigma = eta * ((1 - after) / (1 - kept[i]) * (1 - kept[i] / after)).sqrt()
        x = after.sqrt() * clean + (1 - after - sigma**2).clamp(min=0).sqrt() * noise
        x = x + sigma * torch.randn(x.shape, generator=generator)
    return x
