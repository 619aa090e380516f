"""What importing costs: the package and its grammar over torch, and other libraries for comparison.

    python benchmarks/imports.py [--rounds 7]

Every visit is a fresh Python process; the times are the process's own, wall time from its start to its end.
"""

import subprocess
import sys
import time

from _results import Comparison, Demand, Kind, Result, options
from _timing import alternate

LIMIT = 0.1
IMPORTS = {
    "torch": "import torch",
    "torch and variorum": "import torch, variorum",
    "torch and variorum's grammar": "import torch; from variorum import Layout, Spec",
    "torch and the plain GPT": "import torch; from variorum.systems.formal_algorithms_transformers import decoder",
    "transformers' GPT-2": "import torch; from transformers import GPT2LMHeadModel",
    "x-transformers": "import torch, x_transformers",
}
HELD = ("torch and variorum", "torch and variorum's grammar")


def run(name: str) -> float:
    """Seconds of a fresh process that does this import."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", IMPORTS[name]], check=True)
    return time.perf_counter() - start


def main() -> None:
    chosen = options(__doc__, rounds=7).parse_args()
    visits = {name: (lambda _, name=name: run(name)) for name in IMPORTS}
    alternate(visits, ["import"], 1)  # from now on the files are in memory
    times = alternate(visits, ["import"], chosen.rounds)["import"]
    comparisons = [
        Comparison(table=name, column="wall time", ours=name, times={n: times[n] for n in ("torch", name)},
                   demand=Demand(Kind.ADDED, LIMIT))  # fmt: skip
        for name in HELD
    ]
    comparisons.append(Comparison(table="All", column="wall time", ours="torch and variorum", times=times))
    Result("imports", __doc__ or "", chosen, comparisons).write(chosen.results, chosen.page)


if __name__ == "__main__":
    main()
