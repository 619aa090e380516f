"""Start the processes that train together, hear what they tell, and end them all with the training."""

import json
import multiprocessing
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from variorum.core import Part, Spec, VariorumError
from variorum.data.task import Task
from variorum.train.apart import context, get_ready, without_script
from variorum.train.checkpoint import Checkpoint, load_module
from variorum.train.clock import Clock
from variorum.train.distributed import Accelerator, Distributed
from variorum.train.interrupt import deferred
from variorum.train.rank_work import STOP, Work, work
from variorum.train.recipe import Run
from variorum.train.seeds import seed_all

if TYPE_CHECKING:
    from variorum.train.descent import Descent

IMPORTED = ("variorum.train.descent", "variorum.train.ranks", "lightning_fabric")
RESULT, SAID = "model.safetensors", "said.txt"
LAST_WORDS = 2000
"""Characters of what libraries said last that are shown with an error."""
TICK = 0.2
ECHO = 1.0
"""Seconds within which the end of a process is known, after another has lost its connection to it."""


def train_together(recipe: "Descent", spec: Spec[Any], task: Task, run: Run, distributed: Distributed) -> Part:
    """Train on several processes; the model comes back through a file, in eval mode.

    Raises what a process raises: :class:`VariorumError` as it is, anything else as RuntimeError with its traceback.
    What ``run.report`` raises ends the processes too.
    """
    Clock(run.budget)  # raises for one that is none
    spec = spec.fill(**task.facts)
    accelerator = _accelerator(distributed)
    _check(recipe, distributed)
    with tempfile.TemporaryDirectory() as folder:
        given = Work(
            spec=spec.to_json(), recipe=recipe.choices.but(report=recipe.report).to_json(),
            modules=_modules(spec, recipe.choices), task=task, budget=run.budget, seed=run.seed,
            folder=run.folder.absolute() if run.folder is not None else None, save=run.save, distributed=distributed,
            accelerator=accelerator, port=_free_port(),
            threads=max(1, torch.get_num_threads() // distributed.processes),
            result=Path(folder) / RESULT, said=Path(folder) / SAID,
        )  # fmt: skip
        with deferred() as interrupted, _started(given) as processes:
            _Hearing(processes, run.report, given.said).until_done(interrupted)
        found = Checkpoint.read(given.result)
    with torch.random.fork_rng():
        seed_all(torch.device("cpu"), run.seed, "start")
        model = spec.build()
    load_module(model, found.tensors, "trained parameters")
    return model.eval()


class _Hearing:
    """What processes tell, while they train; each is (process, pipe)."""

    def __init__(
        self, processes: list[tuple[Any, Connection]], report: Callable[[dict[str, Any]], None], said: Path
    ) -> None:
        self.processes, self.report, self.said = processes, report, said
        self.done = 0

    def until_done(self, interrupted: Callable[[], bool]) -> None:
        """Return when all have trained to the end."""
        stopping = False
        while self.done < len(self.processes):
            if interrupted() and not stopping:
                stopping = True
                self.processes[0][1].send_bytes(STOP)
            ready = wait([pipe for _, pipe in self.processes] + [p.sentinel for p, _ in self.processes], TICK)
            for rank, (process, pipe) in enumerate(self.processes):
                if pipe in ready:
                    self._hear(rank, process, pipe)
                elif process.sentinel in ready:
                    raise self._gone(rank, process)

    def _hear(self, rank: int, process: Any, pipe: Connection) -> None:
        try:
            told = json.loads(pipe.recv_bytes())
        except (EOFError, OSError):  # it was ended from outside
            raise self._gone(rank, process) from None
        if "event" in told:
            self.report(told["event"])
        elif "fault" in told:
            raise VariorumError(**told["fault"])
        elif "stopped" in told:
            if rank == 0:  # the others, which write nothing, may be here before the checkpoint is
                raise KeyboardInterrupt(told["stopped"])
        elif "error" in told:
            self._check_others(rank)
            error = RuntimeError(f"process {rank} of {len(self.processes)}: {told['error']}")
            error.add_note(told["trace"])
            raise error
        else:
            self.done += 1

    def _check_others(self, rank: int) -> None:
        """Raise that another process is gone, if one is: an error of this one is then only what it heard of that."""
        others = {p.sentinel: (i, p) for i, (p, _) in enumerate(self.processes) if i != rank}
        for sentinel in wait(list(others), ECHO):
            raise self._gone(*others[sentinel])

    def _gone(self, rank: int, process: Any) -> VariorumError:
        process.join()
        code = process.exitcode
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        why = ", most likely for lack of memory" if code == -9 else ""
        error = VariorumError(f"process {rank} of {len(self.processes)}", expected="a training to its end",
                              found=f"that it ended with {how}{why}",
                              do="Run again: a run with a folder goes on from its last checkpoint.")  # fmt: skip
        if self.said.exists():
            error.add_note(self.said.read_text("utf-8", errors="replace")[-LAST_WORDS:])
        return error


@contextmanager
def _started(given: Work) -> Iterator[list[tuple[Any, Connection]]]:
    """The processes and pipes to them; at the end no process is left."""
    get_ready(IMPORTED)
    made = context()
    processes: list[tuple[Any, Connection]] = []
    try:
        for rank in range(given.distributed.processes):
            ours, theirs = made.Pipe()
            process = made.Process(target=work, args=(given, rank, theirs), name=f"variorum rank {rank}")
            try:
                with without_script():
                    process.start()
            except Exception as error:
                ours.close()
                raise VariorumError(f"task {type(given.task).__name__}",
                                    expected="a task that can be handed to another process",
                                    found=f"{type(error).__name__}: {error}",
                                    do="Define it in a module, with nothing in it that cannot be copied, or train on "
                                    "one process.") from error  # fmt: skip
            finally:
                theirs.close()
            processes.append((process, ours))
        yield processes
    finally:
        for process, _ in processes:
            process.kill()
        for process, pipe in processes:
            process.join()
            pipe.close()


def _check(recipe: "Descent", distributed: Distributed) -> None:
    rows = recipe.batch // recipe.accumulate
    if rows < distributed.processes:
        raise VariorumError("Descent", expected=f"at least {distributed.processes} rows at a time, one a process",
                            found=f"{rows} (batch {recipe.batch}, accumulate {recipe.accumulate})",
                            do="Take a larger batch, or fewer processes.")  # fmt: skip
    if multiprocessing.current_process().daemon or not torch.distributed.is_available():
        raise VariorumError("Distributed", expected="a process that may start others, and torch.distributed",
                            found="a daemon" if torch.distributed.is_available() else "a torch without it",
                            do="Train on one process.")  # fmt: skip


def _accelerator(distributed: Distributed) -> Accelerator:
    """What the processes compute on."""
    there = torch.cuda.device_count()
    wanted, enough = distributed.accelerator, there >= distributed.processes
    if wanted is Accelerator.CUDA and not enough:
        raise VariorumError("Distributed", expected=f"{distributed.processes} CUDA devices, one a process",
                            found=f"{there}", do="Take fewer processes, or accelerator='cpu'.")  # fmt: skip
    return Accelerator.CUDA if enough and wanted is not Accelerator.CPU else Accelerator.CPU


def _modules(*specs: Spec[Any]) -> tuple[str, ...]:
    """The modules that define the classes that specs name."""
    classes = {one.cls for spec in specs for _, one in spec.walk()}
    script = next((cls.__name__ for cls in classes if cls.__module__ == "__main__"), None)
    if script is not None:
        raise VariorumError(script, expected="a class that other processes can import",
                            found="one that is defined in a script or a notebook",
                            do="Move it to a module, or train on one process.")  # fmt: skip
    return tuple(sorted({cls.__module__ for cls in classes}))


def _free_port() -> int:
    """A port of this machine that nobody uses."""
    import socket

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
