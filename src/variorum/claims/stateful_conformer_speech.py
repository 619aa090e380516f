"""Real speech, transcribed while it comes as after the end. Noroozi et al. 2023, arXiv:2312.17279."""

from collections.abc import Mapping
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from variorum.claims.claim import Claim, Demand
from variorum.core import Streaming
from variorum.data.spoken_text import SpokenText
from variorum.data.transcription import collate, edits
from variorum.models.alignments import Framewise
from variorum.models.best_path import BestPath, best_path
from variorum.models.greedy_transducer import GreedyTransducer
from variorum.models.transducer import Transducer
from variorum.systems.stateful_conformer import stateful_conformer

RECORDINGS = "/usr/share/pocketsphinx/test/data/librivox"
"""Where Debian's pocketsphinx-testdata puts five sentences of LibriVox with their words."""
STEPS, BATCH, RATE = 80, 6, 2e-3


class RealSpeechInChunks(Claim):
    """A stream transcribes real recordings chunk by chunk as the whole pass does, by both decoders.

    A small model, 440 ms of look-ahead, is trained on synthetic speech (espeak-ng) for what a seed has time for, and
    then hears five real sentences (Debian's pocketsphinx-testdata) both ways. That the answers are the same is
    demanded; the error rates, of letters, are told as measured: so little training on a synthesiser teaches next to
    nothing.
    """

    system: ClassVar[str] = "stateful-conformer"
    check: ClassVar[int] = 0
    demands: ClassVar[tuple[Demand, ...]] = (
        Demand("greatest difference of the tokens", most=1e-4),
        Demand("share of transcripts that differ", most=0.0),
    )
    synthetic: ClassVar[bool] = True

    def run(self, seed: int) -> Mapping[str, float]:
        """Trains, and transcribes the five sentences twice, and the synthetic ones."""
        task = SpokenText(recordings=RECORDINGS)
        model = trained(task, seed)
        differences, unequal, errors = [], [], []
        for batch in task.held_out("test", 1):
            frames, meant = batch.inputs["inputs"][None], batch.targets.rows()[0]
            (whole, said), (pieces, while_it_came) = (
                transcribed(model, frames, None),
                transcribed(model, frames, 4 * 12),
            )
            differences.append(float((whole - pieces).abs().max()))
            unequal.append(float(said != while_it_came))
            errors.append([edits(row, meant) / len(meant) for row in said])
        synthetic = [task.scores(model(**b.inputs), b.targets) for b in task.held_out("valid", 16)]
        real = torch.tensor(errors).mean(dim=0).tolist()
        return {
            "greatest difference of the tokens": max(differences),
            "share of transcripts that differ": sum(unequal) / len(unequal),
            "error of the best path, synthetic speech": float(torch.cat(synthetic).mean()),
            "error of the best path, real speech": real[0],
            "error of the greedy search, real speech": real[1],
        }


def trained(task: SpokenText, seed: int) -> Transducer:
    """A small model with tokens of 40 ms, trained for both decoders on synthetic speech."""
    torch.manual_seed(seed)
    spec = stateful_conformer(dim=64, depth=2, heads=4, contexts=((36, 11),), channels=16, halvings=2, labels=48,
                              joint=64, dropout=0.0)  # fmt: skip
    model, objective = spec.fill(**task.facts).build(), task.objective.build()
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.0)
    for step in range(STEPS):
        optimizer.param_groups[0]["lr"] = RATE * min(1, (step + 1) / 20)
        batch = collate(task.utterances(step, BATCH, seed))
        optimizer.zero_grad()
        objective(model(**batch.inputs), batch.targets).mean.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return model.eval()


@torch.no_grad()
def transcribed(model: Transducer, frames: Tensor, piece: int | None) -> tuple[Tensor, list[list[int]]]:
    """The encoder's tokens of one row, and what best path and greedy search say, at once or piece by piece."""
    head = cast(nn.Module, model.framewise)
    greedy = GreedyTransducer(model, 1)
    if piece is None:
        tokens, _ = model.encoder.hidden(frames)
        greedy.hear(tokens)
        return tokens, [*best_path(Framewise.of(head(tokens), None)), *greedy.said]
    encoder, paths, told = cast(Streaming, model.encoder), BestPath(1), []
    state = encoder.start(1)
    for part in frames.split(piece, dim=1):
        tokens, state = encoder.advance(part, state)
        paths.hear(Framewise.of(head(tokens), None))
        greedy.hear(tokens)
        told.append(tokens)
    return torch.cat(told, dim=1), [*paths.said, *greedy.said]
