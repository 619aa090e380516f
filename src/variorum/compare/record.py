"""The run folder: ``run.json`` and ``results.csv`` are rewritten after every candidate; nothing finished is lost."""

import csv
import hashlib
import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from variorum.compare import atomic
from variorum.compare.candidates import Candidate
from variorum.compare.job import Job
from variorum.compare.result import Result, State
from variorum.core import VariorumError
from variorum.core.spec import read_json

FORMAT = 2


@dataclass
class Record:
    """A comparison in its folder.

    data: what the reader found: title, kind, metric, rows, warnings.     elapsed: seconds spent so far, over all runs.
    busy: those of them in which something was trained or measured; the rest is the job's own.
    flops: of every whole training, where those are made equal.
    """

    out: Path
    job: Job
    data: dict[str, Any]
    machine: dict[str, Any]
    candidates: list[Candidate]
    results: dict[str, Result]
    elapsed: float = 0.0
    busy: float = 0.0
    flops: float | None = None
    notes: list[str] = field(default_factory=list)

    def folder(self, name: str) -> Path:
        """The folder of a candidate."""
        return self.out / "candidates" / name

    @property
    def study(self) -> str:
        """The comparison's name in the storage: the same for all machines that were given the same command."""
        asked = json.dumps({**self.job.to_dict(), "data": self.data["fingerprint"], "workers": None, "storage": None,
                            "ray": None}, sort_keys=True)  # fmt: skip
        return f"{self.out.name}-{hashlib.blake2b(asked.encode(), digest_size=6).hexdigest()}"

    def note(self, sentence: str) -> None:
        """Note what the report should say, once."""
        if sentence not in self.notes:
            self.notes.append(sentence)

    @property
    def ordered(self) -> list[Result]:
        """Results as in the table: best first, of equal ones the faster first, then those without a figure."""
        sign = -1 if self.data["higher_is_better"] else 1
        return sorted(self.results.values(), key=lambda r: (
            r.quality is None, sign * (r.quality or 0.0), r.latency_ms or float("inf"), r.name))  # fmt: skip

    @property
    def finished(self) -> list[Result]:
        """Results of candidates that came to their end, best first."""
        return [result for result in self.ordered if result.finished]

    @property
    def waiting(self) -> list[Candidate]:
        """Candidates that still have to run, in the order in which they will."""
        return [c for c in self.candidates if self.results[c.name].state in (State.WAITING, State.RUNNING)]

    def put(self, result: Result) -> None:
        """Take in a result and write the files."""
        self.results[result.name] = result
        self.write()

    def write(self) -> None:
        """Rewrite ``run.json`` and ``results.csv``."""
        tree = {
            "format": FORMAT,
            "job": self.job.to_dict(),
            "data": self.data,
            "machine": self.machine,
            "elapsed_seconds": round(self.elapsed, 1),
            "busy_seconds": round(self.busy, 1),
            "flops": self.flops,
            "notes": self.notes,
            "candidates": [candidate.to_dict() for candidate in self.candidates],
            "results": [result.to_dict() for result in self.ordered],
        }
        atomic.write(self.out / "run.json", json.dumps(tree, indent=1, ensure_ascii=False) + "\n")
        atomic.write(self.out / "results.csv", self.table())

    def table(self) -> str:
        """``results.csv`` as text."""
        text = io.StringIO()
        writer = csv.DictWriter(text, Result.columns(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(result.to_dict() for result in self.ordered)
        return text.getvalue()

    @classmethod
    def read(cls, out: Path) -> "Record | None":
        """What an earlier run left in the folder; None if it is new."""
        path = out / "run.json"
        if not path.exists():
            return None
        tree = read_json(path.read_bytes(), str(path))
        if not isinstance(tree, dict) or tree.get("format") != FORMAT:
            found = tree.get("format") if isinstance(tree, dict) else type(tree).__name__
            raise VariorumError(str(path), expected=f"a run of format {FORMAT}", found=repr(found),
                                do="Choose another --out.")  # fmt: skip
        try:
            return cls(
                out=out,
                job=Job.from_dict(tree["job"]),
                data=tree["data"],
                machine=tree["machine"],
                candidates=[Candidate.from_dict(node) for node in tree["candidates"]],
                results={node["name"]: Result.from_dict(node) for node in tree["results"]},
                elapsed=tree["elapsed_seconds"],
                busy=tree["busy_seconds"],
                flops=tree["flops"],
                notes=tree["notes"],
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise VariorumError(str(path), expected="a run that Variorum wrote", found=f"a fault at {error}",
                                do="Choose another --out, or delete this one.") from error  # fmt: skip

    def check_same(self, job: Job, data: dict[str, Any]) -> None:
        """Raise :class:`VariorumError` if this folder holds another comparison than the one asked for."""
        for name, mine, theirs in (
            *(
                (n, getattr(self.job, n), getattr(job, n))
                for n in ("data", "question", "systems", "minutes", "seed", "limits", "match", "steps")
            ),
            ("content of the data", self.data["fingerprint"], data["fingerprint"]),
        ):
            if mine != theirs:
                raise VariorumError(f"{self.out}", expected=f"the comparison begun there ({name}: {mine})",
                                    found=f"another one ({name}: {theirs})",
                                    do="Repeat the same command to go on, or choose another --out.")  # fmt: skip
