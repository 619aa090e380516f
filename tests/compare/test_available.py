"""What is left to a process is the least of the machine's memory, its control groups' and its own limit."""

import resource
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from variorum.compare.available import available_bytes, group_bytes

GIB = 2**30


def groups(root: Path, text: str, files: dict[str, str | int]) -> Path:
    (root / "proc" / "self").mkdir(parents=True)
    (root / "proc" / "self" / "cgroup").write_text(text)
    for name, content in files.items():
        path = root / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{content}\n")
    return root


def test_every_group_up_to_the_root_counts(tmp_path: Path) -> None:
    root = groups(tmp_path, "0::/outer/inner\n", {
        "outer/inner/memory.max": "max", "outer/inner/memory.current": 5 * GIB,
        "outer/memory.max": 2 * GIB, "outer/memory.current": GIB,
        "memory.max": 8 * GIB, "memory.current": 3 * GIB,
    })  # fmt: skip
    assert sorted(group_bytes(root)) == [GIB, 5 * GIB]
    assert available_bytes(root=root) <= GIB


def test_files_that_may_be_forgotten_are_free(tmp_path: Path) -> None:
    root = groups(tmp_path, "0::/a\n", {
        "a/memory.max": 3 * GIB, "a/memory.current": 3 * GIB,
        "a/memory.stat": f"anon {GIB}\nactive_file 9\ninactive_file {2 * GIB}",
    })  # fmt: skip
    assert list(group_bytes(root)) == [2 * GIB]


def test_groups_of_version_1(tmp_path: Path) -> None:
    text = "9:name=systemd:/x\n5:cpu,cpuacct:/job\n4:hugetlb,memory:/job/7\n0::/\n"
    root = groups(tmp_path, text, {
        "memory/job/7/memory.limit_in_bytes": 2 * GIB, "memory/job/7/memory.usage_in_bytes": GIB,
        "memory/job/7/memory.stat": f"inactive_file 5\ntotal_inactive_file {GIB // 2}",
        "memory/memory.limit_in_bytes": 2**63 - 4096, "memory/memory.usage_in_bytes": GIB,
        "cpu/job/memory.limit_in_bytes": 1, "cpu/job/memory.usage_in_bytes": 0,
    })  # fmt: skip
    left = list(group_bytes(root))
    assert left[0] == GIB + GIB // 2 and left[1] > 2**62 and len(left) == 2


def test_a_container_that_sees_its_own_group_as_the_top(tmp_path: Path) -> None:
    """The path is the host's; only the container's own limit stands at the top of what is mounted."""
    root = groups(tmp_path, "0::/docker/0123abcd\n", {"memory.max": GIB, "memory.current": GIB // 4})
    assert list(group_bytes(root)) == [GIB - GIB // 4]


def test_a_system_without_groups_has_its_own_memory(tmp_path: Path) -> None:
    assert list(group_bytes(tmp_path)) == []
    assert 0 < available_bytes(root=tmp_path) <= psutil.virtual_memory().total


def test_a_group_over_its_limit_leaves_nothing(tmp_path: Path) -> None:
    root = groups(tmp_path, "0::/\n", {"memory.max": GIB, "memory.current": GIB + 4096})
    assert available_bytes(root=root) == 0


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_a_limit_on_the_address_space_counts(tmp_path: Path) -> None:
    code = "from variorum.compare.available import available_bytes; print(available_bytes())"
    most = 4 * GIB

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (most, most))

    said = subprocess.run([sys.executable, "-c", code], preexec_fn=limit, capture_output=True, text=True, check=True)
    assert 0 < int(said.stdout) < most
