"""Freed memory stays with the process."""

import platform
import subprocess
import sys

FAULTS = """
import resource, sys, torch, variorum
if sys.argv[1] == "keep" and not variorum.keep_memory():
    print(-1)
    raise SystemExit
for _ in range(10):
    torch.ones(12_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    torch.ones(12_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def test_no_page_is_paid_for_twice() -> None:
    plain, kept = (
        int(subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True).stdout)
        for how in ("plain", "keep")
    )
    if sys.platform == "linux" and platform.libc_ver()[0] == "glibc":
        assert 0 <= kept < 100 < plain
    else:
        assert kept == -1, "it says that it can do nothing"
