"""The claim of Nogales et al. 2025, arXiv:2504.20922: Mamba judges well when a language model may stop early."""

from collections.abc import Mapping
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from variorum.claims.claim import Claim, Demand
from variorum.core import Spec, listen
from variorum.data.symbols import Level
from variorum.data.task import Batch
from variorum.data.text import TextTask
from variorum.models.early_exit import EarlyExit
from variorum.models.exits.fixed import FixedExit
from variorum.models.exits.judged import JudgedExit
from variorum.systems.dynamax import Backbone, Judge, dynamax
from variorum.train.optimizer import AdamW
from variorum.train.tune import tune

DEPTH, STEPS, JUDGING = 6, 200, 80
BACKBONES = (Backbone.ATTENTION, Backbone.MAMBA)
SAVED = 0.3
TESTED, HALVINGS = 256, 8


class MambaJudgesWhenToStop(Claim):
    """At 30 % fewer layers perplexity rises by 3 % at most, and a Mamba judge is no worse than an MLP of its size.

    Two language models of 6 blocks of width 48, one of attention and one of Mamba, learn the characters of Shakespeare,
    rows of 64, all exits from block 3 on alike. Then Mamba and MLP judges of width 16 learn on either, which stays as
    it is. Perplexity is of 256 rows of the test split, at a saving of 30 % of all layers on these very rows, between
    two thresholds that save a little more and a little less: a threshold from other rows saves up to a point more for
    one judge than for the other, which is worth as much as what they differ by. The figures: the rise with Mamba
    judges, in percent, the mean of both models; and in how many of the two Mamba's rise is not above the MLP's.
    """

    system = "dynamax"
    check = 3
    demands = (Demand("rise in percent", most=3.0), Demand("share of models where Mamba is no worse", least=0.75))
    seeds = 4

    def run(self, seed: int) -> Mapping[str, float]:
        task = TextTask("shakespeare", level=Level.CHAR, length=64)
        figures: dict[str, float] = {}
        for backbone in BACKBONES:
            model = _trained(backbone, task, seed)
            for judge in Judge:
                judging = _judging(model, backbone, judge, task, seed)
                figures[f"rise, {backbone}, {judge}"] = _rise(judging, task)
        mamba, mlp = ([figures[f"rise, {backbone}, {judge}"] for backbone in BACKBONES] for judge in Judge)
        return {
            "rise in percent": sum(mamba) / 2,
            "share of models where Mamba is no worse": sum(a <= b for a, b in zip(mamba, mlp, strict=True)) / 2,
            **figures,
        }


def _spec(backbone: Backbone, judge: Judge, task: TextTask) -> Spec[EarlyExit]:
    return dynamax(dim=48, depth=DEPTH, heads=4, hidden=96, backbone=backbone, judge=judge, width=16).fill(**task.facts)


def _trained(backbone: Backbone, task: TextTask, seed: int) -> EarlyExit:
    """A model all exits of which have learned alike, without judges."""
    torch.manual_seed(seed)
    model = _spec(backbone, Judge.MLP, task).but(policy=FixedExit.spec()).build()

    def loss(step: int) -> Tensor:
        batch = task.batch(step, 12, seed)
        answers, _ = model.at_exits(**batch.inputs)
        return torch.stack([_nats(answer, batch) for answer in answers]).mean()

    tune(model, loss, steps=STEPS, optimizer=AdamW(lr=4e-3, weight_decay=0.0))
    return model


def _judging(model: EarlyExit, backbone: Backbone, judge: Judge, task: TextTask, seed: int) -> EarlyExit:
    """The model, as it is, with judges that have learned."""
    torch.manual_seed(seed)
    judging = _spec(backbone, judge, task).build()
    judging.load_state_dict({**judging.state_dict(), **model.state_dict()})
    judging.requires_grad_(False).policy.requires_grad_(True)
    policy = cast(JudgedExit, judging.policy)

    def loss(step: int) -> Tensor:
        batch = task.batch(STEPS + step, 12, seed)
        with torch.no_grad():
            answers, states = judging.at_exits(**batch.inputs)
        return policy.loss(policy.log_probabilities(states), answers, batch.targets) / batch.targets.numel()

    tune(judging, loss, steps=JUDGING, optimizer=AdamW(lr=5e-3, weight_decay=0.0))
    return judging


@torch.no_grad()
def _rise(model: EarlyExit, task: TextTask) -> float:
    """Rise of perplexity in percent where the share SAVED of the layers is not run.

    The threshold is searched by halving; between the last two, nats are taken to lie on a line over savings.
    """
    tested = next(iter(task.held_out("test", TESTED)))
    policy = cast(JudgedExit, model.policy)

    def at(threshold: float) -> tuple[Tensor, float]:
        policy.threshold = threshold
        return _run(model, tested)

    low, high, more, less = 0.0, 1.0, at(0.0), at(2.0)
    whole = less[0]
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        found = at(middle)
        if found[1] > SAVED:
            low, more = middle, found
        else:
            high, less = middle, found
    nats = torch.lerp(less[0], more[0], (SAVED - less[1]) / (more[1] - less[1]))
    return 100 * float((nats - whole).exp() - 1)


def _run(model: EarlyExit, batch: Batch) -> tuple[Tensor, float]:
    """Nats a character, and the share of all layers that were not run."""
    with listen(model, "exits") as told:
        answers: Any = model(**batch.inputs)
    blocks = torch.tensor(model.exits)[told["exits"][0] - 1].float()
    return _nats(answers, batch), 1 - float(blocks.mean()) / DEPTH


def _nats(answers: Tensor, batch: Batch) -> Tensor:
    return F.cross_entropy(answers.flatten(0, 1), batch.targets.flatten(), ignore_index=-100)
