"""S4's claim at laptop scale: it remembers over a thousand tokens what an LSTM forgets. Gu et al. 2021."""

from collections.abc import Mapping
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import nn

from variorum.claims.claim import Claim, Demand
from variorum.core import Mixer, Spec
from variorum.data.first_token import FirstTokenTask
from variorum.layers.embed.tokens import TokenEmbed
from variorum.layers.heads.classifier import Classifier
from variorum.layers.mixers.lstm import LSTM
from variorum.layers.mixers.state_space import StateMatrix, StateSpace
from variorum.layers.norms.layernorm import LayerNorm
from variorum.layers.pools.last import LastPool
from variorum.layers.residuals.prenorm import PreNorm
from variorum.models.blocks.branch import Branch
from variorum.models.stack import Stack

LENGTH, BATCH, STEPS, RATE = 1024, 32, 200, 2e-2
SLOWEST, FASTEST = 3e-4, 1e-2
"""Steps of the state spaces: about one over the length of the rows."""


class S4RemembersTheFirstToken(Claim):
    """S4 names the first of 1024 tokens, which an LSTM of as many parameters and random state matrices do not.

    One residual branch and a classifier at the last token; the same batches, steps and rates for all. The tokens after
    the first are of one kind that says nothing: with four such kinds, drawn at random, S4 has not begun to learn when
    this budget ends. The random state matrices have LegS's form, -1/2 + i g on the diagonal with normal g, P and B.
    """

    system: ClassVar[str] = "s4"
    check: ClassVar[int] = 3
    demands: ClassVar[tuple[Demand, ...]] = (
        Demand("accuracy of S4", least=0.95),
        Demand("accuracy of the LSTM", most=0.7),
        Demand("lead over a random state matrix", least=0.1),
    )
    synthetic: ClassVar[bool] = True

    def run(self, seed: int) -> Mapping[str, float]:
        """Trains the three and names the first token of 256 unseen rows."""
        spaces = StateSpace.spec(state=32, length=LENGTH, slowest=SLOWEST, fastest=FASTEST)
        mixers: dict[str, tuple[Spec[Mixer], int]] = {
            "S4": (spaces, 16),
            "random": (spaces.but(matrix=StateMatrix.RANDOM), 16),
            "LSTM": (LSTM.spec(), 18),
        }
        models = {name: trained(mixer, dim, seed) for name, (mixer, dim) in mixers.items()}
        found = {name: accuracy(model) for name, model in models.items()}
        return {
            "accuracy of S4": found["S4"],
            "accuracy of the LSTM": found["LSTM"],
            "accuracy of a random state matrix": found["random"],
            "lead over a random state matrix": found["S4"] - found["random"],
            **{f"parameters of {name}": sum(p.numel() for p in model.parameters()) for name, model in models.items()},
        }


def trained(mixer: Spec[Mixer], dim: int, seed: int) -> nn.Module:
    """One branch around the mixer, trained."""
    torch.manual_seed(seed)
    task = FirstTokenTask(length=LENGTH)
    block = Branch.spec(parts=[mixer], residual=PreNorm.spec(), norm=LayerNorm.spec())
    head = Classifier.spec(pool=LastPool.spec())
    model = Stack.spec(dim=dim, embed=TokenEmbed.spec(std=1.0), blocks=[block], head=head).fill(**task.facts).build()
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.0)
    for step in range(STEPS):
        optimizer.param_groups[0]["lr"] = RATE * min(1, (step + 1) / 10, 4 * (STEPS - step) / STEPS)
        batch = task.batch(step, BATCH, seed)
        optimizer.zero_grad()
        F.cross_entropy(model(**batch.inputs), batch.targets).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return model.eval()


@torch.no_grad()
def accuracy(model: nn.Module) -> float:
    """Over the test split."""
    task = FirstTokenTask(length=LENGTH)
    return float(torch.cat([task.scores(model(**b.inputs), b.targets) for b in task.held_out("test", 64)]).mean())
