"""``import variorum`` costs next to nothing beside ``import torch``, and loads no room but core."""

import json
import statistics
import subprocess
import sys

import pytest

ROUNDS = 5
LIMIT = 0.1
"""Seconds over ``import torch``, of this process's own time: others may keep the machine busy."""

TIMED = """
from time import process_time
start = process_time()
import torch
torch_done = process_time()
import variorum
package_done = process_time()
variorum.Spec, variorum.Layout, variorum.VariorumError
print(torch_done - start, package_done - torch_done, process_time() - torch_done)
"""

LOADED = """
import json, sys
import variorum
print(json.dumps(sorted(sys.modules)))
variorum.Spec, variorum.Layout, variorum.Part, variorum.VariorumError
print(json.dumps(sorted(sys.modules)))
"""


def run(code: str) -> list[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()


@pytest.mark.slow
def test_import_variorum_is_quick() -> None:
    """In fresh processes, one after the other: the package, and with it the grammar that it hands out."""
    found = [[float(seconds) for seconds in run(TIMED)[0].split()] for _ in range(ROUNDS)]
    torch, package, grammar = (statistics.median(column) for column in zip(*found, strict=True))
    assert package <= LIMIT, f"import variorum took {package:.3f} s over import torch ({torch:.2f} s)"
    assert grammar <= LIMIT, f"import variorum and its grammar took {grammar:.3f} s over import torch ({torch:.2f} s)"


def test_import_variorum_loads_no_upper_room() -> None:
    package, grammar = (json.loads(line) for line in run(LOADED))
    assert "torch" not in package and [m for m in package if m.startswith("variorum")] == ["variorum"]
    assert {m.split(".")[1] for m in grammar if m.startswith("variorum.")} == {"core"}
