"""Training on several processes of this machine: how many, on what, and what each of them holds."""

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from variorum.core.errors import VariorumError, nearest

_Word = TypeVar("_Word", bound=StrEnum)


class Strategy(StrEnum):
    """What each process holds of a model in training."""

    DDP = "ddp"
    """The whole: parameters, gradients, the optimiser's state. Li et al. 2020, arXiv:2006.15704."""
    FSDP = "fsdp"
    """One n-th of each, put together for a forward and backward pass. Rajbhandari et al. 2020, arXiv:1910.02054; Zhao
    et al. 2023, arXiv:2304.11277."""


class Accelerator(StrEnum):
    """On what the processes compute."""

    AUTO = "auto"
    """CUDA devices if there is one for each process, else this machine's CPU."""
    CPU = "cpu"
    """Processes talk through gloo."""
    CUDA = "cuda"
    """One device for each process; they talk through NCCL."""


@dataclass(frozen=True)
class Distributed:
    """Train on ``processes`` processes of this machine: ``Run(budget, distributed=Distributed(processes=2))``.

    Process p of n takes the rows from floor(p R / n) to floor((p + 1) R / n) of each step's R rows (of each of their
    pieces, with ``accumulate``), and the gradient is

        sum over processes of d total_p / sum over processes of count_p,

    that of the whole batch, however unevenly rows, tokens and targets are spread. So without random numbers in the
    model (dropout) several processes train what one would, up to rounding; with them they draw numbers of their own.
    Parts that look at a whole batch (statistics of a batch norm, the load balance of a mixture of experts) see the rows
    of their process. Buffers are those of the first process.

    strategy: "ddp", or "fsdp", with which each process keeps one n-th of parameters, gradients and optimiser state. The
    parameters are put together once for a step's pass, so that a model may do with its blocks what it likes (skip them,
    repeat them) and no process waits for another in vain; it must fit into the memory of one process for that time.
    accelerator: "auto", "cpu" or "cuda".

    The first process decides by its clock when the budget is spent, reports, and writes the checkpoint, which one
    process or any number of them can go on from. Seconds are counted from when all processes are ready. What cannot be
    imported by another process (a task or a part defined in a script or a notebook) cannot be trained on several.

    Raises :class:`VariorumError` for no processes, and for names that are not those above.
    """

    strategy: Strategy = Strategy.DDP
    processes: int = 2
    accelerator: Accelerator = Accelerator.AUTO

    def __post_init__(self) -> None:
        if self.processes < 1:
            raise VariorumError("Distributed", expected="at least one process", found=f"{self.processes}",
                                do="Say how many processes to train on: Distributed(processes=2).")  # fmt: skip
        # Frozen, so that it can be shared; the fields take the plain words as well.
        object.__setattr__(self, "strategy", _one_of(Strategy, self.strategy, "strategy"))
        object.__setattr__(self, "accelerator", _one_of(Accelerator, self.accelerator, "accelerator"))


def _one_of(kind: type[_Word], value: str, name: str) -> _Word:
    if value not in list(kind):
        raise VariorumError(f"Distributed {name}", expected=f"one of {', '.join(map(repr, map(str, kind)))}",
                            found=repr(value), do=nearest(str(value), map(str, kind)))  # fmt: skip
    return kind(value)
