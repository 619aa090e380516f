"""Memory that this process may still take: of the machine, of its control groups, of its own limit."""

import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import psutil

ROOT = Path("/")


def available_bytes(*, root: Path = ROOT) -> int:
    """The least of what the machine has available, what each control group above this process has left (limit less
    usage, files that the kernel may forget not counted), and what is left of this process's address space.

    root: where ``proc`` and ``sys`` lie.
    """
    left = [psutil.virtual_memory().available, *group_bytes(root)]
    if sys.platform != "win32":
        import resource

        most, _ = resource.getrlimit(resource.RLIMIT_AS)
        if most != resource.RLIM_INFINITY:
            left.append(most - psutil.Process().memory_info().vms)
    return max(0, min(left))


def group_bytes(root: Path = ROOT) -> Iterator[int]:
    """Bytes left in each control group, of version 1 or 2, that this process is in and that has a limit."""
    listed = root / "proc" / "self" / "cgroup"
    if not listed.exists():
        return
    for line in listed.read_text("utf-8").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            yield from _up(root / "sys/fs/cgroup", path, "memory.max", "memory.current", "inactive_file")
            yield from _up(root / "sys/fs/cgroup/unified", path, "memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            yield from _up(root / "sys/fs/cgroup/memory", path, "memory.limit_in_bytes", "memory.usage_in_bytes",
                           "total_inactive_file")  # fmt: skip


def _up(mount: Path, path: str, limit: str, usage: str, files: str) -> Iterator[int]:
    """From the group at ``path`` up to the root. In a container the path may be the host's: only its top is there."""
    inside = PurePosixPath(path.lstrip("/"))
    for group in (inside, *inside.parents):
        most, used = _number(mount / group / limit), _number(mount / group / usage)
        if most is not None and used is not None:
            yield most - used + _forgettable(mount / group / "memory.stat", files)


def _number(path: Path) -> int | None:
    """The number in a file; None where there is no such file, or no limit ("max")."""
    text = path.read_text("utf-8").strip() if path.exists() else "max"
    return int(text) if text.isdecimal() else None


def _forgettable(path: Path, name: str) -> int:
    """Bytes of files in memory that the kernel gives up first."""
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    return next((int(line.split()[1]) for line in lines if line.split()[0] == name), 0)
