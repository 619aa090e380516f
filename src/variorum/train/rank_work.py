"""What each of the processes that train together does."""

import importlib
import json
import os
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from variorum.core import Spec, VariorumError
from variorum.data.task import Task
from variorum.train.apart import tie
from variorum.train.checkpoint import Checkpoint
from variorum.train.distributed import Accelerator, Distributed
from variorum.train.recipe import Budget, Run

STOP = b"stop"


@dataclass(frozen=True)
class Work:
    """A training, as it is handed to a process.

    spec, recipe: JSON.    modules: those that define what they name.    threads: of each process.
    result: the file for the trained parameters.    said: the file for what libraries say on the way.
    """

    spec: str
    recipe: str
    modules: tuple[str, ...]
    task: Task
    budget: Budget
    seed: int
    folder: Path | None
    save: float
    distributed: Distributed
    accelerator: Accelerator
    port: int
    threads: int
    result: Path
    said: Path

    def run(self, report: Callable[[dict[str, Any]], None]) -> Run:
        """What surrounds the training in its process."""
        return Run(self.budget, seed=self.seed, folder=self.folder, report=report, save=self.save)


def work(given: Work, rank: int, parent: Connection) -> None:
    """Train as number ``rank``; the parent is told events, then how it ended, as JSON."""
    tie()
    # Every process would say the same; the parent shows it if one ends without a word of ours.
    said = os.open(given.said, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(said, sys.stderr.fileno())
    os.close(said)

    def tell(message: dict[str, Any]) -> None:
        parent.send_bytes(json.dumps(message).encode())

    try:
        _train(given, rank, tell, parent)
    except VariorumError as error:
        tell({"fault": {name: getattr(error, name) for name in ("subject", "expected", "found", "do")}})
    except KeyboardInterrupt as error:
        tell({"stopped": str(error)})
    except Exception as error:
        tell({"error": f"{type(error).__name__}: {error}", "trace": traceback.format_exc()})
    # To go now would be an error of their own for the others: the parent ends all at once.
    threading.Event().wait()


def _train(given: Work, rank: int, tell: Callable[[dict[str, Any]], None], parent: Connection) -> None:
    """Train and write the result; the parent knows that it is done before anything of it is torn down.

    A process group of gloo may wait for ever for its own threads when it is torn down: nobody must wait for that.
    """
    from variorum.train.loop import Loop
    from variorum.train.ranks import Ranks

    torch.set_num_threads(given.threads)
    for module in given.modules:
        importlib.import_module(module)
    team = Ranks(given.distributed, rank, accelerator=given.accelerator, port=given.port, stop=parent.poll)
    run = given.run(lambda event: tell({"event": event}) if team.first else None)
    loop = Loop(Spec.from_json(given.recipe).build(), Spec.from_json(given.spec), given.task, run, team=team)
    loop.train()
    found = loop.parameters()
    if team.first:
        Checkpoint({}, found).write(given.result)
    team.wait()
    tell({"done": True})
