"""What a table's model answers: a class or a value, each remembered with the words to say it in."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from variorum.core import Registered, Spec, VariorumError
from variorum.data.columns import is_whole, moments, numbers, word, words, written_as
from variorum.data.written import Written

if TYPE_CHECKING:
    import pandas as pd

MOST_CLASSES = 1000


class Target(Registered, abstract=True):
    """The column to predict. writes: which head answers it: class or value."""

    kind: ClassVar[str] = "target"
    writes: ClassVar[str]
    name: str
    labels: tuple[Any, ...]

    @abstractmethod
    def encode(self, values: "pd.Series") -> np.ndarray:
        """Known raw values (rows,) -> what a model is trained on."""

    @abstractmethod
    def decode(self, outputs: np.ndarray) -> "dict[str, np.ndarray | list[Any]]":
        """A model's outputs -> named columns in the user's own terms, the answer as ``prediction``."""

    def said(self, outputs: Sequence[Tensor]) -> "dict[str, np.ndarray | list[Any]]":
        """The same of a model's outputs batch by batch; of none no answers."""
        return self.decode(torch.cat(list(outputs)).double().numpy()) if outputs else {"prediction": []}


class ClassTarget(Target):
    """One of several labels, coded by where it stands."""

    writes = "class"
    examples = ({"name": "species", "labels": ("cat", "dog")},)

    def __init__(self, name: str, *, labels: tuple[str | int | float | bool, ...]) -> None:
        self.name, self.labels = name, labels
        self._codes = {word(label): code for code, label in enumerate(labels)}

    @classmethod
    def fit(cls, values: "pd.Series") -> Spec["ClassTarget"]:
        """The labels that occur, in order: numbers by size, words by alphabet."""
        labels = {word(label): label for label in map(_plain, values.dropna().unique())}
        numeric = all(isinstance(label, int | float) for label in labels.values())
        order = sorted(labels.values(), key=None if numeric else word)
        return cls.spec(name=str(values.name), labels=tuple(order))

    def encode(self, values: "pd.Series") -> np.ndarray:
        said = words(values)
        codes = said.map(self._codes)
        if codes.isna().any():
            raise VariorumError(f"target {self.name!r}", expected=f"one of the {len(self.labels)} classes of training",
                                found=repr(said[codes.isna()].iloc[0]),
                                do="Leave such rows out, or train on rows of that class too.")  # fmt: skip
        return codes.to_numpy(np.int64, copy=True)

    def decode(self, outputs: np.ndarray) -> "dict[str, np.ndarray | list[Any]]":
        """``outputs`` are logits (rows, classes)."""
        shifted = np.exp(outputs - outputs.max(axis=1, keepdims=True))
        chances = shifted / shifted.sum(axis=1, keepdims=True)
        best = chances.argmax(axis=1)
        said = {f"p({label})": chances[:, code] for code, label in enumerate(self.labels)}
        return {"prediction": [self.labels[code] for code in best], "probability": chances.max(axis=1), **said}


class ValueTarget(Target):
    """A number, standardised by its mean and deviation in the training part."""

    writes = "value"
    labels = ()
    examples = ({"name": "price", "mean": 300.0, "scale": 50.0},)

    def __init__(self, name: str, *, mean: float, scale: float) -> None:
        self.name, self.mean, self.scale = name, mean, scale

    @classmethod
    def fit(cls, values: "pd.Series") -> Spec["ValueTarget"]:
        """Mean and standard deviation of the values."""
        mean, scale = moments(numbers(values))
        return cls.spec(name=str(values.name), mean=mean, scale=scale)

    def encode(self, values: "pd.Series") -> np.ndarray:
        return ((numbers(values) - self.mean) / self.scale).astype(np.float32)

    def decode(self, outputs: np.ndarray) -> "dict[str, np.ndarray | list[Any]]":
        """``outputs`` are standardised values (rows,)."""
        return {"prediction": outputs.astype(np.float64) * self.scale + self.mean}


def in_numbers(values: "pd.Series") -> "tuple[pd.Series, tuple[str, ...]]":
    """The values of a target as numbers if they are numbers in words, and a sentence that says so."""
    import pandas as pd

    if values.dtype != "str" or (written := written_as(values)) is None:
        return values, ()
    manner = "" if written is Written.PLAIN else f", written as in {written}"
    made = pd.Series(numbers(values, written), index=values.index, name=values.name)
    return made, (f"Target {values.name!r} is read as numbers{manner}; words in it as missing.",)


def is_value(values: "pd.Series") -> bool:
    """Is a target a number to estimate rather than a class?

    It is, if it consists of numbers, and there are fractions among them or more different ones than 20 (and than one in
    20 rows, up to 100).
    """
    import pandas as pd

    if pd.api.types.is_bool_dtype(values) or not pd.api.types.is_numeric_dtype(values):
        return False
    known = numbers(values)
    known = known[~np.isnan(known)]
    different = np.unique(known)
    if len(different) <= 2:
        return False
    fractions = any(not float(v).is_integer() for v in different[:1000])
    return fractions or len(different) > max(20, min(100, len(known) // 20))


def _plain(value: Any) -> Any:
    """A label as a JSON value: whole floats become integers."""
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, str):
        return value.strip()
    return int(value) if is_whole(value) else value if isinstance(value, int | float) else str(value)
