"""Tables with a column of times, to be forecast."""

from pathlib import Path

from variorum.data.forecast import ForecastTask
from variorum.data.question import Question
from variorum.data.readers.reader import Reader, Sure
from variorum.data.task import Task

TABLES = frozenset({".csv", ".tsv", ".parquet"})


class Forecasts(Reader):
    """A file of rows with times. A table stays a table unless a time or a horizon is asked for."""

    reads = "series"
    new, tag = "new.csv", "time-series-forecasting"
    looks_like = f"a table with a column of times ({', '.join(sorted(TABLES))}, with --time or --horizon)"
    asks = frozenset({"target", "time", "group", "horizon"})

    def sure(self, path: Path, question: Question) -> Sure:
        asked = question.time is not None or question.horizon is not None
        return Sure.ASKED if asked and path.is_file() and path.suffix.lower() in TABLES else Sure.NO

    def read(self, source: str, question: Question, seed: int) -> Task:
        return ForecastTask(source, horizon=question.horizon, time=question.time, group=question.group,
                            target=question.target)  # fmt: skip
