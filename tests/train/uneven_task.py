"""A task that other processes can import: packed rows of uneven length, whose targets are unevenly spread.

Tests import this module where its class is forgotten afterwards.
"""

import os
import signal
import time

import torch

from variorum.core import Layout, Objective, Spec, VariorumError
from variorum.data.task import Batch, Task
from variorum.objectives.cross_entropy import NO_TARGET, CrossEntropy

VOCAB, LONGEST = 11, 9


class UnevenTask(Task):
    """Random symbols. Row r of a batch lacks the r-th part of its targets; its score is in bits.

    fault: what process ``rank`` does before step 3: raise, refuse, die, or wait for 20 ms at each step.
    """

    reads = "text"
    metric = "bits"
    higher_is_better = False

    def __init__(self, fault: str = "", rank: int = 1) -> None:
        self.fault, self.rank = fault, rank

    @property
    def facts(self):
        return {"vocab": VOCAB, "length": LONGEST}

    @property
    def objective(self) -> Spec[Objective]:
        return CrossEntropy.spec(ignore=NO_TARGET)

    def batch(self, step, size, seed):
        if os.environ.get("LOCAL_RANK") == str(self.rank):
            self.fail(step)
        return self.drawn(torch.Generator().manual_seed(1000 * seed + step), size)

    def held_out(self, split, size):
        for number in range(5):
            yield self.drawn(torch.Generator().manual_seed(77 + number), size)

    def scores(self, outputs, targets):
        real = targets != NO_TARGET
        return torch.nn.functional.cross_entropy(outputs[real], targets[real], reduction="none")

    def drawn(self, generator, size):
        lengths = torch.randint(1, LONGEST, (size,), generator=generator).tolist()
        ids, targets = (torch.randint(VOCAB, (sum(lengths),), generator=generator) for _ in range(2))
        row = torch.repeat_interleave(torch.arange(size), torch.tensor(lengths))
        targets[torch.rand(sum(lengths), generator=generator) < row / size] = NO_TARGET
        return Batch({"inputs": ids, "layout": Layout.ragged(lengths)}, targets)

    def fail(self, step):
        if self.fault == "slow":
            time.sleep(0.02)
        elif step == 3 and self.fault == "raise":
            raise LookupError("the row is gone")
        elif step == 3 and self.fault == "refuse":
            raise VariorumError("row 3", expected="numbers", found="words", do="Repair it.")
        elif step == 3 and self.fault == "die":
            os.kill(os.getpid(), signal.SIGKILL)
