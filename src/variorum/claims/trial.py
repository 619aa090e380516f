"""A claim that is run: its figures for every seed, with the machine and the date; and where such runs are kept."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import as_completed
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from importlib.resources import files
from pathlib import Path
from statistics import mean, stdev
from time import monotonic
from typing import Any

from variorum.claims.claim import Claim, Demand, Verdict
from variorum.compare.atomic import write
from variorum.compare.machine import default_threads, describe
from variorum.compare.process import pool
from variorum.core import VariorumError, registered
from variorum.core.errors import nearest

STORE = "src/variorum/core/edition/claims"
"""Where a checkout keeps the runs that ship with the edition."""


@dataclass(frozen=True)
class Trial:
    """The outcome of a claim. figures: by name, a value for each of the seeds.  seconds: for each seed, one thread."""

    claim: str
    system: str
    check: int | None
    date: str
    machine: dict[str, Any]
    seeds: list[int]
    seconds: list[float]
    figures: dict[str, list[float]]

    def spread(self, figure: str) -> str:
        """Mean and standard deviation."""
        values = self.figures[figure]
        return f"{mean(values):.4g}" + (f" ± {stdev(values):.2g}" if len(values) > 1 else "")

    def verdicts(self) -> list[tuple[Demand, Verdict]]:
        """What is demanded now, of the figures that were found then."""
        return [(demand, demand.verdict(self.figures[demand.figure])) for demand in find_claim(self.claim).demands]

    def write(self, folder: Path) -> None:
        """Keep it as ``<claim>.json``."""
        folder.mkdir(parents=True, exist_ok=True)
        write(folder / f"{self.claim}.json", json.dumps(asdict(self), indent=1) + "\n")


def claims(system: str | None = None) -> list[type[Claim]]:
    """All claims, or those of one system, in the order of its checks; a system without any raises VariorumError."""
    known: list[type[Claim]] = [cls for cls in registered(Claim).values()]  # type: ignore[misc]
    found = [cls for cls in known if system in (None, cls.system)]
    if not found:
        raise VariorumError(f"claims of {system!r}", expected="a system whose claim can be run", found="none",
                            do=nearest(str(system), {cls.system for cls in known}))  # fmt: skip
    return sorted(found, key=lambda cls: (cls.system, cls.check or 0, cls.__name__))


def find_claim(name: str) -> type[Claim]:
    """The claim of this class name."""
    return registered(Claim)[name]  # type: ignore[return-value]


def run(claim: type[Claim], *, seeds: int | None = None, told: Callable[[int, float], None]) -> Trial:
    """Run every seed in a process of its own, as many at a time as there are processors, on one thread each.

    told: called with a seed and its seconds when it is done.
    """
    wanted = list(range(claim.seeds if seeds is None else seeds))
    figures: dict[int, dict[str, float]] = {}
    seconds: dict[int, float] = {}
    with pool(default_threads()) as processes:
        running = {processes.submit(partial(_one, claim.__name__, seed)): seed for seed in wanted}
        for future in as_completed(running):
            seed = running[future]
            figures[seed], seconds[seed] = future.result()
            told(seed, seconds[seed])
    return Trial(
        claim=claim.__name__,
        system=claim.system,
        check=claim.check,
        date=datetime.now(UTC).strftime("%Y-%m-%d"),
        machine=describe(),
        seeds=wanted,
        seconds=[round(seconds[seed], 1) for seed in wanted],
        figures={name: [figures[seed][name] for seed in wanted] for name in figures[wanted[0]]},
    )


def _one(claim: str, seed: int) -> tuple[dict[str, float], float]:
    """One seed, in its process."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(seed)
    began = monotonic()
    figures = find_claim(claim)().run(seed)
    return {name: float(value) for name, value in figures.items()}, monotonic() - began


def stored(folder: Path | None = None) -> Iterator[Trial]:
    """The runs that ship with the edition, or those in a folder."""
    place = files("variorum.core") / "edition" / "claims" if folder is None else folder
    if place.is_dir():
        for file in sorted(place.iterdir(), key=lambda file: file.name):
            if file.name.endswith(".json"):
                yield Trial(**json.loads(file.read_text("utf-8")))
