"""DiT-MoE's claim: sparse experts are worth more than a dense network of the same active parameters."""

from collections.abc import Mapping
from statistics import mean

import torch

from variorum.claims.claim import Claim, Demand
from variorum.core import Spec, listen
from variorum.data.denoising import Denoising
from variorum.explain.routing import routing_report
from variorum.layers.channels.glu import GLU
from variorum.models.denoiser import Denoiser
from variorum.systems.dit_moe import dit_moe
from variorum.train.descent import Descent
from variorum.train.recipe import Budget, Run

WIDTH, DEPTH, STEPS = 64, 4, 600
SPARSE = dit_moe(dim=WIDTH, depth=DEPTH, heads=4, experts=4, active=1, outputs=1)
DENSE = SPARSE
for _layer in range(DEPTH):
    DENSE = DENSE.replace(f"model.blocks[{_layer}].channels", GLU.spec(hidden=6 * WIDTH))


class SparseDiffusion(Claim):
    """A diffusion Transformer of 4 experts, 1 active, predicts noise no worse than a dense one as costly for a token.

    scikit-learn's digits, 8 x 8, patches of 2: 600 steps of 32 images each, the same recipe for both. The dense network
    is as wide as an expert and the shared expert together. Noise errors are mean squares on the test images. Beside
    them: the share of tokens of the least used expert, the least over layers, and how many bits the choice of an expert
    shares with a token's place, with the time and with the class, means over layers.
    """

    system = "dit-moe"
    check = 3
    demands = (
        Demand("error against dense", most=1.0),
        Demand("least used expert", least=0.05),
        Demand("bits of class against the fewer of place and time", most=1.0),
    )

    def run(self, seed: int) -> Mapping[str, float]:
        task = Denoising(seed=seed)
        sparse, dense = (_trained(spec, task, seed) for spec in (SPARSE, DENSE))
        mine, theirs = _error(sparse, task), _error(dense, task)
        report = _routing(sparse, task)
        fewer = min(report["place"], report["time"])
        return {
            "error against dense": mine / theirs,
            "least used expert": report["least used"],
            "bits of class against the fewer of place and time": report["class"] / max(fewer, 1e-9),
            "error": mine,
            "dense error": theirs,
            **{f"bits of {name}": report[name] for name in ("place", "time", "class")},
        }


def _trained(spec: Spec[Denoiser], task: Denoising, seed: int) -> Denoiser:
    recipe = Descent(batch=32, evaluations=0)
    return recipe.train(spec, task, Run(Budget(steps=STEPS), seed=seed))  # type: ignore[return-value]


@torch.no_grad()
def _error(model: Denoiser, task: Denoising) -> float:
    batches = task.held_out("test", 256)
    return torch.cat([task.scores(model(**b.inputs), b.targets) for b in batches]).mean().item()


@torch.no_grad()
def _routing(model: Denoiser, task: Denoising) -> dict[str, float]:
    """The report of all layers together, on all test images."""
    (batch,) = task.held_out("test", 10_000)
    with listen(model, "*.router.experts") as told:
        model(**batch.inputs)
    time = batch.inputs["time"] * 10 // task.schedule.steps
    reports = []
    for (chosen,) in told.values():
        experts = chosen.unflatten(0, (len(time), -1))
        factors = {"place": torch.arange(experts.shape[1]), "time": time, "class": batch.inputs["label"]}
        reports.append(routing_report(experts, factors))
    merged = {name: mean(report[name] for report in reports) for name in reports[0]}
    return {**merged, "least used": min(report["least used"] for report in reports)}
