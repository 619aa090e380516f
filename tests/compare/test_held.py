"""The data that an object holds are counted once, wherever they lie."""

from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

from variorum.compare.held import held_bytes
from variorum.data.readers.reader import load_task


@dataclass
class Holder:
    first: Any
    second: Any = None


def test_arrays_and_tensors_are_counted_once_and_whole() -> None:
    array, tensor = np.zeros(1000), torch.zeros(500)
    assert held_bytes(Holder(array)) == 8000
    assert held_bytes(Holder(array, array)) == 8000
    assert held_bytes(Holder(array[:10], array[5:])) == 8000, "a view holds all that it looks at"
    assert held_bytes({0: [tensor, (tensor[3:],)]}) == 2000
    assert held_bytes(Holder({1: np.zeros(300)}, OrderedDict({2: [np.zeros(400)]}))) == 5600


def test_objects_that_hold_each_other_come_to_an_end() -> None:
    one = Holder(np.zeros(10))
    one.second = Holder(one)
    assert held_bytes(one) == 80


def test_tables_and_texts() -> None:
    frame = pd.DataFrame({"x": np.zeros(1000)})
    assert held_bytes(Holder(frame)) == pytest.approx(8000, abs=200)
    assert held_bytes(Holder(pa.table({"x": np.zeros(1000)}))) == pytest.approx(8000, abs=200)
    assert held_bytes(["a" * 5000, b"b" * 3000]) == pytest.approx(8000, abs=200)
    assert held_bytes(Holder(np.array(["a" * 5000, "b"], dtype=object))) > 5000


def test_mapped_files_are_no_memory(tmp_path: Path) -> None:
    np.zeros(1000).tofile(tmp_path / "data")
    assert held_bytes(Holder(np.memmap(tmp_path / "data", np.float64, "r"))) == 0


def test_a_task_holds_at_least_its_rows() -> None:
    task = load_task("digits")
    rows = sum(len(batch.targets) for split in ("valid", "test") for batch in task.held_out(split, 100))
    assert held_bytes(task) >= 64 * rows, "8 x 8 pixels of a byte"
