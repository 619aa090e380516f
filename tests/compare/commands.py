"""Comparisons by command, in processes of their own, whose figures can be compared."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import psutil

SAME = ["state", "metric", "quality", "low", "high", "valid", "trials", "stopped", "chosen", "finalist", "seeds",
        "spread", "steps", "parameters"]  # fmt: skip
"""What does not depend on the machine's speed."""


def written(path: Path) -> Path:
    """A small table with a question that is not easy."""
    draw = np.random.default_rng(3)
    x = draw.normal(size=(300, 4))
    label = np.where(x[:, 0] * x[:, 1] + 0.5 * draw.normal(size=300) > 0, "yes", "no")
    pd.DataFrame({**{f"c{i}": x[:, i] for i in range(4)}, "y": label}).to_csv(path, index=False)
    return path


def start(data: Path, out: Path, *more: str, log: Path | None = None) -> psutil.Popen:
    """The comparison of one system with the baselines, by steps. log: what it says is added to it."""
    command = [sys.executable, "-m", "variorum", "compare", str(data), "--target", "y", "--systems",
               "turner-introduction", "--steps", "40", "--seed", "1", "--out", str(out), *more]  # fmt: skip
    with (log or out.with_suffix(".log")).open("a") as said:
        return psutil.Popen(command, stdout=said, stderr=said)


def results(out: Path) -> pd.DataFrame:
    """What came out, by name."""
    return pd.read_csv(out / "results.csv").set_index("name").sort_index()[SAME]
