"""Memory in large pages, for what is read from end to end again and again: the processor looks up fewer addresses."""

import contextlib
import mmap
import sys
import threading

import torch
from torch import Tensor

_PAGE, _CHUNK = 2**21, 2**25
"""Bytes of a large page; and of what is asked for at once, to lay many small tensors in."""


class _Chunks:
    """Memory in large pages, given out piece by piece; a chunk is given back when the last tensor in it is gone."""

    def __init__(self) -> None:
        self._lock, self._free = threading.Lock(), torch.empty(0, dtype=torch.uint8)

    def take(self, count: int) -> Tensor:
        """So many bytes, aligned to 64."""
        whole = -(-count // 64) * 64
        with self._lock:
            if whole > len(self._free):
                size = -(-max(whole, _CHUNK) // _PAGE) * _PAGE
                held = mmap.mmap(-1, size + _PAGE)
                with contextlib.suppress(OSError):  # a kernel that was built without them
                    held.madvise(mmap.MADV_HUGEPAGE)
                raw = torch.frombuffer(held, dtype=torch.uint8)
                first = -raw.data_ptr() % _PAGE
                fresh = raw[first : first + size]
                if size - whole <= len(self._free):
                    return fresh[:count]
                self._free = fresh
            given, self._free = self._free[:count], self._free[whole:]
            return given


_chunks = _Chunks()


def in_large_pages(tensor: Tensor) -> Tensor:
    """A contiguous copy of a tensor in large pages, where the system has such; else the tensor, contiguous."""
    if not sys.platform.startswith("linux") or not tensor.numel():
        return tensor.contiguous()
    place = _chunks.take(tensor.numel() * tensor.element_size()).view(tensor.dtype).view(tensor.shape)
    return place.copy_(tensor)
