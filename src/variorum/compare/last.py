"""How a comparison ends: all finished candidates measured side by side, told apart, and reported."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from variorum.compare import atomic, finals, latency, process, worker
from variorum.compare.answer import winner
from variorum.compare.insisting import DEATHS, EVENTS, LOG
from variorum.compare.interval import equals_best
from variorum.compare.record import Record
from variorum.compare.report.page import write_report
from variorum.compare.result import State
from variorum.compare.under_way import Study

WINNER, REPORT = "winner", "report.html"
LAST = "last pass"


def last_pass(study: Study) -> None:
    """Sum up the finals, time all finished candidates side by side, and measure the memory of each."""
    study.queue.need([LAST])
    study.queue.take([LAST], lambda name: _take_turns(study))
    study.record.results |= study.queue.results()


def _take_turns(study: Study) -> None:
    record = study.record
    for result in list(record.results.values()):
        if result.finalist:
            study.keep(finals.concluded(record, result))
    finished = record.finished
    if not finished:
        return
    study.watch.says(f"Timing {len(finished)} candidates side by side")
    left = record.job.seconds - study.elapsed - study.shares.galleries - 3.0
    seconds = max(1.0, min(0.6 * len(finished), left))
    bundles = {result.name: str(record.folder(result.name) / worker.BUNDLE) for result in finished}
    asked = {"job": record.job.to_dict(), "bundles": bundles, "seconds": seconds}
    atomic.write(record.out / latency.ASKED, json.dumps(asked) + "\n")
    (record.out / latency.FOUND).unlink(missing_ok=True)
    for _ in range(DEATHS):
        limit = study.shares.last_limit(study.elapsed)
        with study.busy.somebody() as begin:
            code, end = process.run(latency.last_pass, record.out, log=record.out / LOG, seconds=limit,
                                    told=lambda event: begin(), stop=study.stop)  # fmt: skip
        if code == 0 or end is not process.End.ITSELF:
            break
    if code != 0:
        why = "took too long" if end is process.End.LATE else process.says_exit(code)
        record.note(f"The last pass {why} (see {LOG}): what it did not come to was not measured, and latencies "
                    "that were not taken in turns are those of each candidate by itself.")  # fmt: skip
    path = record.out / latency.FOUND
    for name, figures in json.loads(path.read_text("utf-8")).items() if path.exists() else ():
        over = record.job.limits.over({"size_bytes": record.results[name].size_bytes, **figures})
        state = State.OUT if over else State.FINISHED
        study.keep(record.results[name].but(**figures, over=over, state=state))
    _show(study)


def _show(study: Study) -> None:
    """Look at what the finalists get right and wrong, the best first, as long as there is time."""

    def look(name: str) -> None:
        folder = study.record.folder(name)
        left = study.record.job.seconds - study.elapsed - 0.5
        if left > study.shares.start:
            process.run(worker.show, folder, log=folder / LOG, seconds=left, told=lambda event: None, stop=study.stop)

    with ThreadPoolExecutor(study.record.job.workers) as pool:
        list(pool.map(look, [result.name for result in study.record.finished if result.finalist]))


def close(study: Study) -> None:
    """Compare the finished ones, copy the winner, write everything."""
    record = study.record
    for result in record.results.values():
        if result.state is State.RUNNING:
            known = result.quality is not None  # it was in the finals
            record.results[result.name] = result.but(state=State.FINISHED if known else State.WAITING)
    finished = record.finished
    if finished:
        equal = equals_best(finals.scores_of(record, finished), 0, seed=record.job.seed)
        for result, same in zip(finished, equal, strict=True):
            record.results[result.name] = result.but(equals_best=same)
    best = winner(record.finished)
    if best is not None:
        atomic.copy_folder(record.folder(best.name) / worker.BUNDLE, record.out / WINNER)
    study.clock()
    record.write()
    write_report(record, curves(record), record.out / REPORT, galleries=galleries(record))


def curves(record: Record) -> dict[str, list[dict[str, Any]]]:
    """What every candidate told of its progress, in its search and in the finals."""
    told = {}
    for name in record.results:
        folders = [record.folder(name), *(path for path, _ in finals.ended(record, name))]
        told[name] = [event for folder in folders for event in _events(folder / EVENTS)]
    return told


def galleries(record: Record) -> dict[str, dict[str, Any]]:
    """What the finalists get right and wrong."""
    paths = {name: record.folder(name) / worker.GALLERY for name in record.results}
    return {name: json.loads(path.read_text("utf-8")) for name, path in paths.items() if path.exists()}


def _events(path: Path) -> Iterator[dict[str, Any]]:
    """Events of training steps in a file; a line that a killed process left half is passed over."""
    for line in path.read_text("utf-8").splitlines() if path.exists() else []:
        with suppress(ValueError):
            event = json.loads(line)
            if "step" in event:
                yield event
