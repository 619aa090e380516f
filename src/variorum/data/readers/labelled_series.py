"""Whole time series with an answer each."""

import re
from pathlib import Path

from variorum.data.labelled_series import LabelledSeriesTask
from variorum.data.question import Question
from variorum.data.readers.reader import Reader, Sure
from variorum.data.series_files import holds_series
from variorum.data.task import Task


class LabelledSeries(Reader):
    """A .ts file of the archives of time series, or arrays."""

    reads = "labelled series"
    new, tag = "new.npz", "time-series-classification"
    looks_like = "whole time series with an answer each (.ts; .npz with X or values and lengths, and y)"

    def sure(self, path: Path, question: Question) -> Sure:
        if path.is_dir():
            parts = [f for f in path.iterdir() if re.search(r"_TRAIN\.ts$", f.name, re.I) and f.is_file()]
            return Sure.CONTENT if any(map(holds_series, parts)) else Sure.NO
        return Sure.CONTENT if holds_series(path) else Sure.NO

    def read(self, source: str, question: Question, seed: int) -> Task:
        return LabelledSeriesTask(source, seed=seed)
