"""What importing costs: the package and its grammar over torch, and other libraries for comparison.

    python benchmarks/imports.py [--rounds 5]

Every visit is a fresh Python process, timed from its start to its end, with its files in memory already.
"""

import os
import subprocess
import sys

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


def run(name: str, threads: int) -> float:
    """Seconds of a fresh process that does this import: the wall's, or with one thread its own processor time."""
    start = now(threads)
    subprocess.run([sys.executable, "-c", IMPORTS[name]], check=True)
    return now(threads) - start


def now(threads: int) -> float:
    spent = os.times()
    return spent.children_user + spent.children_system if threads == 1 else spent.elapsed


def main() -> None:
    chosen = options(__doc__, rounds=5).parse_args()
    names = ["torch", *HELD] if chosen.quick else list(IMPORTS)
    visits = {name: (lambda _, name=name: run(name, chosen.threads)) for name in names}
    alternate(visits, ["import"], 1)  # from now on the files are in memory
    times = alternate(visits, ["import"], chosen.rounds)["import"]
    limit = Demand(Kind.ADDED, LIMIT)
    comparisons = [Comparison("Demands", name, name, {n: times[n] for n in ("torch", name)}, limit) for name in HELD]
    comparisons.append(Comparison("All", "whole process", "torch and variorum", times))
    Result("imports", __doc__ or "", chosen, comparisons).write(chosen.results, chosen.page)


if __name__ == "__main__":
    main()
