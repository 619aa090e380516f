"""What every tool is given of a set, and what it answers: plain files that any environment with pandas can read.

A folder holds ``facts.json``, ``train.parquet`` and ``test.parquet``. Training rows are those that ours trains and
chooses on, together; their answers are the column ``target``. Test rows carry no answer, but for a forecast, which may
look back on whatever came before it: there ``test.parquet`` goes on from the training rows up to the last forecast.
Read by the tools' own processes, in environments without Variorum: nothing of it may be imported here.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

TARGET, TIME = "target", "time"
FACTS, TRAIN, TEST, ANSWER, OUTPUTS = "facts.json", "train.parquet", "test.parquet", "answer.json", "outputs.npz"


@dataclass(frozen=True)
class Facts:
    """What is asked.

    kind: ``class`` (codes 0, 1, ... in ``target``), ``value``, or ``series``.     classes: how many.
    horizon: steps of a forecast.     season: steps after which the series repeats.     cycles: all that are usual.
    origins: places, counted from the first training row, of the first step of each forecast.
    """

    kind: str
    classes: int = 0
    horizon: int = 0
    season: int = 1
    cycles: tuple[int, ...] = ()
    origins: tuple[int, ...] = ()


@dataclass(frozen=True)
class Given:
    """A set as the tools get it: columns are named, those of pictures and series by where a value stands."""

    facts: Facts
    train: pd.DataFrame
    test: pd.DataFrame

    def write(self, folder: Path) -> None:
        """Write the three files."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / FACTS).write_text(json.dumps(asdict(self.facts)) + "\n", "utf-8")
        self.train.to_parquet(folder / TRAIN, index=False)
        self.test.to_parquet(folder / TEST, index=False)

    @classmethod
    def read(cls, folder: Path) -> "Given":
        """Read them."""
        told = json.loads((folder / FACTS).read_text("utf-8"))
        facts = Facts(**{**told, "cycles": tuple(told["cycles"]), "origins": tuple(told["origins"])})
        return cls(facts, pd.read_parquet(folder / TRAIN), pd.read_parquet(folder / TEST))


@dataclass(frozen=True)
class Asked:
    """What a tool is told beside the rows. seconds: for its search.     preset: how it is to search, in its words."""

    seconds: float
    threads: int
    preset: str
    folder: Path


@dataclass(frozen=True)
class Answer:
    """outputs: chances (rows, classes), values (rows,), or values of each forecast (forecasts, horizon).

    chosen: the model that the tool settled on, in its words.     searched: seconds until it had settled.
    """

    outputs: np.ndarray
    chosen: str
    searched: float

    def write(self, folder: Path) -> None:
        """Write both files."""
        np.savez(folder / OUTPUTS, outputs=self.outputs)
        told = {"chosen": self.chosen, "searched": self.searched}
        (folder / ANSWER).write_text(json.dumps(told) + "\n", "utf-8")

    @classmethod
    def read(cls, folder: Path) -> "Answer":
        """Read them."""
        with np.load(folder / OUTPUTS) as file:
            return cls(file["outputs"], **json.loads((folder / ANSWER).read_text("utf-8")))


Tool = Callable[[Given, Asked], tuple[Callable[[], np.ndarray], str]]
"""Searches; gives back how it answers the test rows, and what it chose."""


def serve(tools: dict[str, Tool]) -> None:
    """A tool's process: read the rows, let the tool for this kind of question search and answer, write the answers."""
    parser = argparse.ArgumentParser()
    parser.add_argument("given", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--preset", default="")
    told: Any = parser.parse_args()
    given = Given.read(told.given)
    began = time.monotonic()
    answer, chosen = tools[given.facts.kind](given, Asked(told.seconds, told.threads, told.preset, told.folder))
    searched = time.monotonic() - began
    Answer(np.asarray(answer(), dtype=np.float64), chosen, searched).write(told.folder)
