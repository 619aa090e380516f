"""Stateful Conformer's claim at laptop scale: one model for all latencies, and no buffer. Noroozi et al. 2023."""

from collections.abc import Mapping
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from variorum.claims.claim import Claim, Demand
from variorum.core import Layout, Spec
from variorum.data.task import Batch
from variorum.data.tones import ToneSequences
from variorum.layers.heads.unembed import Unembed
from variorum.models.alignments import Framewise
from variorum.models.lookaheads import Lookaheads
from variorum.models.recogniser import Recogniser
from variorum.objectives.ctc import CTC
from variorum.systems.stateful_conformer import stateful_conformer

STEPS, BATCH, RATE = 150, 16, 3e-3
CONTEXTS = ((8, 3), (8, 0))
"""In tokens of 40 ms: 120 ms of look-ahead, and none."""
FRAMES = 4
"""Frames of a token."""


class OneModelForAllLatencies(Claim):
    """One model of several latencies is as good as one for each, and better than buffered hearing at equal compute.

    Framewise models of two layers, width 48, on sequences of generated tones; steps, batches and rates are the same for
    all. The buffered baseline is the offline model, trained on whole rows. It hears each chunk of 4 tokens alone, for
    that is what a stream computes; and, at three times the compute, with the 8 tokens before it. The row's 90 seconds
    of training are about a tenth of that for each of the four models.
    """

    system: ClassVar[str] = "stateful-conformer"
    check: ClassVar[int] = 3
    demands: ClassVar[tuple[Demand, ...]] = (
        Demand("error beyond the single model, 120 ms", most=0.03),
        Demand("error beyond the single model, 0 ms", most=0.03),
        Demand("lead over the buffer of equal compute", least=0.0),
    )
    synthetic: ClassVar[bool] = True

    def run(self, seed: int) -> Mapping[str, float]:
        """Trains four models and hears 128 unseen rows."""
        several = trained(CONTEXTS, seed)
        singles = [errors(trained((context,), seed)) for context in CONTEXTS]
        ours = [errors(several, use=i) for i in range(len(CONTEXTS))]
        offline = trained((), seed)
        chunk, past = CONTEXTS[0][1] + 1, CONTEXTS[0][0]
        alone, wider = (errors(offline, buffer=(before, chunk)) for before in (0, past))
        return {
            "error, 120 ms": ours[0],
            "error, 0 ms": ours[1],
            "error beyond the single model, 120 ms": ours[0] - singles[0],
            "error beyond the single model, 0 ms": ours[1] - singles[1],
            "lead over the buffer of equal compute": alone - ours[0],
            "lead over the buffer of three times the compute": wider - ours[0],
            "error of the offline model": errors(offline),
        }


def trained(contexts: tuple[tuple[int, int], ...], seed: int) -> Recogniser:
    """A framewise recogniser on the system's encoder."""
    torch.manual_seed(seed)
    task = tones()
    whole = stateful_conformer(
        dim=48, depth=2, heads=4, contexts=contexts, kernel=5, channels=12, halvings=2, dropout=0.0, bins=32
    )
    spec: Spec[Recogniser] = Recogniser.spec(dim=48, encoder=whole.at("encoder"), head=Unembed.spec(bias=True))
    model, objective = spec.fill(**task.facts).build(), CTC()
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.0)
    for step in range(STEPS):
        optimizer.param_groups[0]["lr"] = RATE * min(1, (step + 1) / 20, 2.5 * (STEPS - step) / STEPS)
        batch = task.batch(step, BATCH, seed)
        optimizer.zero_grad()
        objective(model(*heard(batch)), batch.targets).mean.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return model.eval()


def tones() -> ToneSequences:
    """Short rows, clearly heard."""
    return ToneSequences(fewest=2, most=5, noise=0.05)


def heard(batch: Batch) -> tuple[Tensor, Layout]:
    """The frames, and how they lie."""
    return batch.inputs["inputs"], batch.inputs["layout"]


@torch.no_grad()
def errors(model: Recogniser, *, use: int = 0, buffer: tuple[int, int] | None = None) -> float:
    """The label error rate over the test split by one of the model's latencies, or by a ``buffer``."""
    cast(Lookaheads, model.encoder).use(use)
    found = []
    for batch in tones().held_out("test", 64):
        frames, layout = heard(batch)
        if buffer is None:
            answers = model(frames, layout)
        else:
            rows = [buffered(model, row, *buffer) for row in frames.split(layout.lengths)]
            answers = Framewise(torch.cat(rows), torch.tensor([len(row) for row in rows]))
        found.append(tones().scores(answers, batch.targets))
    return float(torch.cat(found).mean())


def buffered(model: Recogniser, frames: Tensor, past: int, chunk: int) -> Tensor:
    """Scores of one row's tokens, each chunk of them heard anew with the ``past`` tokens before it and nothing else."""
    told = []
    for first in range(0, len(frames), chunk * FRAMES):
        start = max(0, first - past * FRAMES)
        scores = model(frames[None, start : first + chunk * FRAMES]).logits[0]
        told.append(scores[(first - start) // FRAMES :])
    return torch.cat(told)
