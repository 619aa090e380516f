"""One of several processes that train together, through Lightning Fabric: DDP, or FSDP2's ``fully_shard``."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from variorum.core import VariorumError
from variorum.data.task import Batch
from variorum.train.distributed import Accelerator, Distributed, Strategy
from variorum.train.fabrics import fabric, quiet
from variorum.train.learner import Autocast, Drain, Learner, Sent, Together, send
from variorum.train.precision import Precision
from variorum.train.reach import reached, reaching
from variorum.train.rows import count_rows, take_rows
from variorum.train.team import Team

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from torch.distributed.tensor import DTensor

HERE = "127.0.0.1"


class Ranks(Team):
    """A process of those that Fabric brings together.

    accelerator: "cpu" or "cuda".    port: at which they meet.    stop: does the user want the training to stop?
    """

    def __init__(
        self, distributed: Distributed, rank: int, *, accelerator: Accelerator, port: int, stop: Callable[[], bool]
    ) -> None:
        self.rank, self.size, self.stop = rank, distributed.processes, stop
        self.accelerator, self.sharded = accelerator, distributed.strategy is Strategy.FSDP
        self.joined = _join(distributed, rank, accelerator, port)
        self.device = self.joined.device
        self.learner: Learner | None = None
        self.held: nn.Module | None = None

    def fabric(self, precision: Precision) -> "Fabric":
        devices = 1 if self.accelerator is Accelerator.CPU else [self.rank]
        return fabric(precision, accelerator=self.accelerator, devices=devices)

    def hold(self, learner: Learner, drain: Drain) -> Together:
        self.learner = learner
        if self.sharded:
            _check_shardable(learner)
            self._alike([*learner.parameters(), *learner.buffers()])
        piece = _Shard(learner, drain, self._alike) if self.sharded else _Piece(learner, drain)
        self.held = self.joined.strategy.setup_module(piece)
        return Together(self.size, self.held, self._sums)

    def draws(self, step: int) -> str:
        return f"{step}/{self.rank}" if self.rank else str(step)

    def share(self, batch: Batch) -> Batch:
        rows = count_rows(batch)
        return take_rows(batch, rows * self.rank // self.size, rows * (self.rank + 1) // self.size)

    def agree(self, *numbers: float) -> tuple[float, ...]:
        said = torch.tensor(numbers, dtype=torch.float64, device=self.device)
        dist.broadcast(said, 0)
        return tuple(said.tolist())

    def mean(self, values: Tensor) -> float:
        found = self._total(torch.stack([values.sum(), values.new_tensor(len(values))]).to(self.device))
        return float(found[0] / found[1])

    def whole(self, tensor: Tensor) -> Tensor:
        sharded = as_sharded(tensor)
        return tensor if sharded is None else sharded.full_tensor()

    def part(self, tensor: Tensor, like: Tensor) -> Tensor:
        from torch.distributed.tensor import distribute_tensor

        sharded = as_sharded(like)
        if sharded is None:
            return tensor
        return distribute_tensor(tensor.to(self.device), sharded.device_mesh, sharded.placements)

    @contextmanager
    def gathered(self) -> Iterator[None]:
        assert self.learner is not None, "there is a learner"
        self._alike(self.learner.buffers())
        with _unsharded(self.held) if self.sharded else nullcontext():
            yield

    @contextmanager
    def interruptions(self) -> Iterator[Callable[[], bool]]:
        yield self.stop

    def wait(self) -> None:
        """Wait until the others have come so far."""
        dist.barrier()

    def _sums(self, total: Tensor, count: Tensor, extra: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
        told = torch.zeros_like(total) if extra is None else torch.ones_like(total)
        values = (total, count, total.new_zeros(()) if extra is None else extra, told)
        sums = self._total(torch.stack([value.double() for value in values]))
        return sums[0], sums[1], sums[2] if sums[3] else None

    def _total(self, tensor: Tensor) -> Tensor:
        dist.all_reduce(tensor)
        return tensor

    def _alike(self, tensors: Any) -> None:
        """Make tensors those of the first process."""
        for tensor in tensors:
            dist.broadcast(tensor.detach(), 0)


class _Piece(nn.Module):
    """A learner that is sent pieces, as a module that DDP can wrap."""

    def __init__(self, learner: Learner, drain: Drain) -> None:
        super().__init__()
        self.learner, self.drain = learner, drain

    def forward(self, piece: Batch, autocast: Autocast) -> Sent:
        return send(self.learner, piece, autocast, self.drain)


class _Shard(nn.Module):
    """The same for FSDP, which waits for the gradient of a parameter on all processes if one of them has it."""

    def __init__(self, learner: Learner, drain: Drain, alike: Callable[[Any], None]) -> None:
        super().__init__()
        self.learner, self.drain, self.alike = learner, drain, alike

    def forward(self, piece: Batch, autocast: Autocast) -> Sent:
        self.alike(self.learner.buffers())
        sent = send(self.learner, piece, autocast, self.drain)
        if not torch.is_grad_enabled():
            return sent
        parameters = list(self.learner.parameters())
        mine = reached(sent.whole, parameters)
        somewhere = mine.to(sent.whole.device, copy=True)
        dist.all_reduce(somewhere, dist.ReduceOp.MAX)
        lacking = [p for p, here, there in zip(parameters, mine.tolist(), somewhere.tolist(), strict=True)
                   if there and not here]  # fmt: skip
        return sent._replace(whole=reaching(sent.whole, lacking)) if lacking else sent


def as_sharded(tensor: Tensor) -> "DTensor | None":
    """The tensor, if it is one of which each process holds a part."""
    from torch.distributed.tensor import DTensor

    return tensor if isinstance(tensor, DTensor) else None


def _join(distributed: Distributed, rank: int, accelerator: Accelerator, port: int) -> "Fabric":
    """Meet the other processes."""
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments.lightning import LightningEnvironment
    from lightning_fabric.strategies.ddp import DDPStrategy
    from lightning_fabric.strategies.model_parallel import ModelParallelStrategy

    # By these Fabric knows that it need not start the others.
    os.environ.update(LOCAL_RANK=str(rank), NODE_RANK="0", MASTER_ADDR=HERE, MASTER_PORT=str(port))
    strategy = (
        ModelParallelStrategy(_shard, data_parallel_size=distributed.processes, tensor_parallel_size=1)
        if distributed.strategy is Strategy.FSDP
        else DDPStrategy(find_unused_parameters=True)
    )
    with quiet():
        joined = Fabric(accelerator=accelerator, devices=distributed.processes, strategy=strategy,
                        plugins=[LightningEnvironment()])  # fmt: skip
        joined.launch()
    return joined


def _shard(module: nn.Module, mesh: Any) -> nn.Module:
    """Each process keeps its part of every parameter; one group of all, put together once for a pass."""
    from torch.distributed.fsdp import fully_shard

    for parameter in module.parameters():
        parameter.data = parameter.data.contiguous()
    fully_shard(module, mesh=mesh["data_parallel"])
    return module


@contextmanager
def _unsharded(module: Any) -> Iterator[None]:
    module.unshard()
    try:
        yield
    finally:
        module.reshard()


def _check_shardable(learner: Learner) -> None:
    scalar = next((name for name, p in learner.named_parameters() if p.dim() == 0), None)
    if scalar is not None:
        raise VariorumError(f"parameter {scalar}", expected="at least one dimension, along which fsdp divides it",
                            found="a single number", do="Train it with strategy ddp.")  # fmt: skip
