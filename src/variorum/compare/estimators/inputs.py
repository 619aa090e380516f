"""What users of scikit-learn hand over (arrays, frames, images, texts) as rows of the house's own tasks."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.utils.validation import validate_data

from variorum.compare.estimators.trained import SOURCE
from variorum.core import VariorumError
from variorum.core.errors import nearest
from variorum.data.delimited import check_names
from variorum.data.images import GivenImages, ImageTask
from variorum.data.labelled_texts import LabelledTextTask
from variorum.data.settled import Settled
from variorum.data.table import TableTask
from variorum.data.task import Task

TEXT = "text"


class Input(ABC):
    """One kind of rows."""

    reads: ClassVar[str]

    @abstractmethod
    def opened(self, estimator: BaseEstimator, X: Any, *, names: list[str] | None) -> Any:
        """X as tasks and preprocesses of the kind open it. names: of the columns in training; None: this is training.

        Raises :class:`VariorumError`, or what scikit-learn raises, for anything else.
        """

    @abstractmethod
    def task(self, rows: Any, values: pd.Series, settled: Settled, seed: int) -> Task:
        """The task of opened rows and their targets."""


class TableInput(Input):
    """A frame, or an array of two dimensions; the columns of an array are called x0, x1, ..."""

    reads = "table"

    def opened(self, estimator: BaseEstimator, X: Any, *, names: list[str] | None) -> pd.DataFrame:
        training = names is None
        if isinstance(X, pd.DataFrame):
            found = [str(name) for name in X.columns]
            check_names(found, "columns of X")
            validate_data(estimator, X, reset=training, skip_check_array=True)
            frame = X.reset_index(drop=True)
        else:
            least = 2 if training else 1
            values = validate_data(
                estimator, X, reset=training, dtype=None, ensure_all_finite="allow-nan", ensure_min_samples=least
            )
            frame = pd.DataFrame(values).infer_objects()
            found = [f"x{i}" for i in range(values.shape[1])]
        return frame.set_axis(found if names is None else names, axis=1)

    def task(self, rows: pd.DataFrame, values: pd.Series, settled: Settled, seed: int) -> TableTask:
        name = str(values.name)
        while name in rows.columns:
            name += "_"
        # To an estimator the order of rows says nothing: in another one, a column that counts them is one like others.
        order = np.random.default_rng([seed, 0x0DE]).permutation(len(rows))
        frame = rows.assign(**{name: values.to_numpy()}).iloc[order].reset_index(drop=True)
        return TableTask(SOURCE, target=name, seed=seed, frame=frame, settled=settled)


class TextInput(Input):
    """A list, series or array of texts."""

    reads = "labelled texts"

    def opened(self, estimator: BaseEstimator, X: Any, *, names: list[str] | None) -> list[str]:
        rows = [X] if isinstance(X, str) else list(X)
        for i, text in enumerate(rows):
            if not isinstance(text, str):
                raise VariorumError(f"text {i}", expected="a string", found=type(text).__name__, do="Give texts.")
        return [str(text) for text in rows]

    def task(self, rows: list[str], values: pd.Series, settled: Settled, seed: int) -> LabelledTextTask:
        name = str(values.name) if values.name != TEXT else "class"
        frame = pd.DataFrame({TEXT: pd.Series(rows, dtype=object), name: values.to_numpy()})
        return LabelledTextTask(SOURCE, target=name, seed=seed, frame=frame, column=TEXT, settled=settled)


class ImageInput(Input):
    """Images (n, height, width) or (n, height, width, channels), or a list of such of any size: bytes or numbers."""

    reads = "images"

    def opened(self, estimator: BaseEstimator, X: Any, *, names: list[str] | None) -> list[np.ndarray]:
        images = [np.asarray(image) for image in X]
        for i, image in enumerate(images):
            if image.ndim not in (2, 3) or image.dtype.kind not in "uifb":
                raise VariorumError(f"image {i}", expected="numbers (height, width) or (height, width, 3)",
                                    found=f"shape {image.shape} of {image.dtype}", do="Give one each.")  # fmt: skip
        return images

    def task(self, rows: list[np.ndarray], values: pd.Series, settled: Settled, seed: int) -> ImageTask:
        return ImageTask(SOURCE, seed=seed, given=GivenImages(rows, values, settled))


INPUTS: dict[str, Input] = {made.reads: made for made in (TableInput(), TextInput(), ImageInput())}


def input_of(X: Any, reads: str | None) -> Input:
    """The kind of rows: the one asked for, else texts where all are strings, images where an array has three or four
    dimensions, and tables otherwise.
    """
    if reads is not None:
        if reads not in INPUTS:
            raise VariorumError("reads", expected=f"one of {', '.join(INPUTS)}, or None", found=repr(reads),
                                do=nearest(reads, INPUTS))  # fmt: skip
        return INPUTS[reads]
    if isinstance(X, np.ndarray) and X.ndim in (3, 4):
        return INPUTS["images"]
    if isinstance(X, pd.Series | list | tuple | np.ndarray) and len(X) and np.ndim(X) == 1:
        first = next(iter(X))
        if isinstance(first, str):
            return INPUTS["labelled texts"]
    return INPUTS["table"]
