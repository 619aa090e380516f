"""Bytes of the data that an object holds in memory: arrays, tensors, tables and texts, however deep they lie."""

import sys
from collections.abc import Iterable, Mapping
from types import FunctionType, ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from torch import Tensor, UntypedStorage

NO_DATA = (type, ModuleType, FunctionType, int, float, complex)
"""What leads to code, or holds a number only."""


def held_bytes(owner: Any) -> int:
    """Bytes of all arrays, tensors, tables and texts reachable from an object, what is shared once.

    Files that are mapped into memory count nothing: the kernel may forget them.
    """
    seen: set[int] = set()
    # What was looked at is kept until the end: a new object could have the number of one that is gone.
    waiting, looked_at, total = [owner], [], 0
    while waiting:
        thing = _owner(waiting.pop())
        if id(thing) in seen or isinstance(thing, NO_DATA):
            continue
        seen.add(id(thing))
        looked_at.append(thing)
        total += _own_bytes(thing)
        waiting.extend(_inside(thing))
    return total


def _owner(thing: Any) -> Any:
    """What holds the memory that an array or a tensor looks at."""
    if isinstance(thing, Tensor):
        return thing.untyped_storage()
    while isinstance(thing, np.ndarray) and not isinstance(thing, np.memmap) and isinstance(thing.base, np.ndarray):
        thing = thing.base
    return thing


def _own_bytes(thing: Any) -> int:
    match thing:
        case np.memmap():
            return 0
        case np.ndarray():
            return int(thing.nbytes) if thing.base is None else 0
        case UntypedStorage():
            return thing.nbytes()
        case pd.DataFrame():
            return int(thing.memory_usage(deep=True).sum())
        case pd.Series() | pd.Index():
            return int(thing.memory_usage(deep=True))
        case pa.Table() | pa.RecordBatch() | pa.Array() | pa.ChunkedArray():
            return int(thing.nbytes)
        case str() | bytes() | bytearray():
            return sys.getsizeof(thing)
    return 0


def _inside(thing: Any) -> Iterable[Any]:
    """What an object leads to: the values of a container, the attributes of an object of ours or of a library."""
    match thing:
        case np.ndarray():
            return thing.ravel() if thing.dtype == object else () if thing.base is None else (thing.base,)
        case pd.DataFrame() | pd.Series() | pd.Index() | str() | bytes() | bytearray():
            return ()
        case Mapping():
            return (*thing.keys(), *thing.values())
        case list() | tuple() | set() | frozenset():
            return thing
    return vars(thing).values() if isinstance(getattr(thing, "__dict__", None), dict) else ()
