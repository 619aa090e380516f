"""How a user writes series (an array, a series, a frame with times in its index or in a column), there and back."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

import numpy as np
import pandas as pd

from variorum.core import VariorumError

TIME = "time"


class Written(StrEnum):
    """What holds the series."""

    ARRAY = "array"
    SERIES = "series"
    FRAME = "frame"
    ROWS = "rows"
    """A frame in which a column tells the times, and another may tell several series apart."""


@dataclass(frozen=True)
class Form:
    """written: see :class:`Written`.     time: the column of times among the rows.     names: of the variables; none of
    rows, which tell more.     flat: is there one variable, written without a dimension of its own?
    index: the name of the index.     period, zone: of an index of periods, or of times in a zone.
    """

    written: Written
    time: str
    names: tuple[Any, ...] = ()
    flat: bool = False
    index: Any = None
    period: str | None = None
    zone: str | None = None

    @classmethod
    def of(cls, y: Any, time: str | None) -> Self:
        """The form of y; VariorumError for what is none."""
        if time is not None:
            if not isinstance(y, pd.DataFrame):
                raise VariorumError("y", expected=f"a frame with the column {time!r} of times", found=type(y).__name__,
                                    do="Leave time out where the index tells the times.")  # fmt: skip
            return cls(Written.ROWS, time)
        if isinstance(y, pd.Series | pd.DataFrame):
            flat = isinstance(y, pd.Series)
            names = (y.name,) if isinstance(y, pd.Series) else tuple(y.columns)
            name = TIME
            while name in map(str, names):
                name += "_"
            period = y.index.freqstr if isinstance(y.index, pd.PeriodIndex) else None
            zone = str(y.index.tz) if isinstance(y.index, pd.DatetimeIndex) and y.index.tz is not None else None
            return cls(Written.SERIES if flat else Written.FRAME, name, names, flat, y.index.name, period, zone)
        values = np.asarray(y)
        if values.ndim not in (1, 2) or values.dtype.kind not in "uifb" or not values.size:
            raise VariorumError("y", expected="numbers (n,) or (n, variables), a series or a frame",
                                found=f"shape {values.shape} of {values.dtype}", do="Give a value a step.")  # fmt: skip
        return cls(Written.ARRAY, TIME, tuple(range(1 if values.ndim == 1 else values.shape[1])), values.ndim == 1)

    def rows(self, y: Any) -> pd.DataFrame:
        """The series as a frame with a column of times, beside columns that are called by words."""
        if self.written is Written.ROWS:
            return y
        values = y if isinstance(y, pd.Series | pd.DataFrame) else np.asarray(y)
        table = np.asarray(values).reshape(len(values), -1)
        if table.shape[1] != len(self.names):
            raise VariorumError("y", expected=f"{len(self.names)} variables, as in training",
                                found=str(table.shape[1]), do="Give the same ones.")  # fmt: skip
        frame = pd.DataFrame(table, columns=self.columns).infer_objects()
        return frame.assign(**{self.time: self._times(y)})

    @property
    def columns(self) -> list[str]:
        """What the variables are called among the rows."""
        return [f"y{i}" if name is None or self.written is Written.ARRAY else str(name)
                for i, name in enumerate(self.names)]  # fmt: skip

    def told(self, values: np.ndarray, times: np.ndarray) -> Any:
        """Forecasts (steps, variables) at times (steps,) in this form."""
        if self.written is Written.ARRAY:
            return values[:, 0] if self.flat else values
        index = pd.Index(times, name=self.index)
        if self.period is not None:
            index = pd.PeriodIndex(pd.DatetimeIndex(times), freq=self.period, name=self.index)
        elif self.zone is not None:
            index = pd.DatetimeIndex(times, name=self.index).tz_localize(
                self.zone, ambiguous=np.ones(len(times), bool), nonexistent="shift_forward"
            )
        if self.flat:
            return pd.Series(values[:, 0], index=index, name=self.names[0])
        return pd.DataFrame(values, index=index, columns=list(self.names))

    def _times(self, y: Any) -> Any:
        if self.written is Written.ARRAY:
            return np.arange(len(y))
        if isinstance(y.index, pd.PeriodIndex):
            return y.index.to_timestamp().to_numpy()
        # Days and weeks go by the clock on the wall, not by UTC.
        return (y.index.tz_localize(None) if self.zone is not None else y.index).to_numpy()
