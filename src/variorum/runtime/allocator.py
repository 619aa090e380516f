"""How the system's allocator treats the memory of tensors."""

import ctypes
import platform
import sys

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # names of mallopt's parameters in glibc's malloc.h


def keep_memory() -> bool:
    """Let this process use freed memory again at once, rather than give it back to the system; was that possible?

    By default glibc takes every large block fresh from the system and gives it back when it is freed, so each large
    activation is paid for page by page, at every step anew. Keeping them makes inference about a tenth faster on a CPU
    (``benchmarks/models.py``); the process then holds the most it ever needed until it ends. It is for the whole
    process, so nothing does it unasked but the commands of ``variorum`` and the processes that they start. Elsewhere
    than on glibc it does nothing and returns False.
    """
    if sys.platform != "linux" or platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    return bool(libc.mallopt(_MMAP_MAX, 0) and libc.mallopt(_TRIM_THRESHOLD, 2**31 - 1))
