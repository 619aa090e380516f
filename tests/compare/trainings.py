"""Trainings that are done in a process of their own, to measure what memory they take."""

from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from variorum.compare.memory import Peak, release
from variorum.core import Spec
from variorum.core.registry import discover
from variorum.data.readers.reader import load_task
from variorum.runtime.allocator import keep_memory
from variorum.train.recipe import Budget, Run


def peak(source: str, spec: dict, recipe: dict, steps: int) -> float:
    """Bytes that a training takes at its peak, as it is done in a comparison: on one thread, with a folder."""
    keep_memory()
    discover()
    torch.set_num_threads(1)
    learned, built = Spec.from_dict(spec), Spec.from_dict(recipe).build()
    task = load_task(source)
    with torch.device("meta"):  # the estimate is beyond libraries, those too that building a model loads
        learned.fill(**task.facts).build()
    release()
    with TemporaryDirectory() as folder, Peak() as measured:
        built.train(learned, task, Run(Budget(steps=steps), folder=Path(folder)))
    return measured.mib * 2**20
