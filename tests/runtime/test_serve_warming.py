"""What a bundle does before it serves: it answers made-up requests of every kind, and nobody sees them."""

import asyncio
import threading
from pathlib import Path

import httpx2
import numpy as np
import pytest
import torch

from samples.served import count, looping, running, served, shelf_of
from variorum.runtime.bundle import save
from variorum.runtime.serve import warming
from variorum.runtime.serve.desk import engine_of
from variorum.runtime.serve.limits import Limits
from variorum.runtime.serve.metrics import Metrics
from variorum.runtime.serve.served import Served

WRITE = {"model": "language", "prompt": "x", "max_tokens": 5, "temperature": 0}
ROWS = {"table": None, "trees": None, "regression": None, "images": np.zeros((5, 5), np.uint8), "language": "ab",
        "labelled texts": "a b", "pairs": "a b", "series": np.ones((2, 5)), "forecast": None,
        "sounds": (np.ones(900), 8000), "clouds": np.eye(3)}  # fmt: skip
"""Names of bundles, and a row of each as Python takes it; of a table one is made up only."""


class Watched:
    """The usual engine behind a door; it remembers how many requests it was given together, and how long they were."""

    door = threading.Event()

    def __init__(self, model, limits, longest) -> None:
        self._engine, self.given = engine_of(model, limits, longest), list[int]()
        self.cancel = self._engine.cancel

    @property
    def load(self):
        return self._engine.load

    def submit(self, request):
        self.given.append(len(request.prompt))
        return self._engine.submit(request)

    def step(self):
        assert self.door.wait(30)
        return self._engine.step()


class Failing(Watched):
    """Takes nothing in at first."""

    def submit(self, request):
        if not self.given:
            self.given.append(0)
            raise RuntimeError("not yet")
        return super().submit(request)


@pytest.fixture(autouse=True)
def door():
    Watched.door.set()


@torch.inference_mode()
@pytest.mark.parametrize("name", ROWS)
def test_made_up_requests_are_such_as_clients_send(name: str, monkeypatch) -> None:
    """Each is answered, for one row and for several; the model is given them as it is given a client's."""
    asked: list[tuple[str, dict]] = []
    for kind in ("predicted", "embedded"):
        ask = getattr(Served, kind)
        monkeypatch.setattr(Served, kind, lambda self, inputs, kind=kind, ask=ask: (
            asked.append((kind, inputs)), ask(self, inputs))[1])  # fmt: skip
    found = Served(name, served(name), Limits(), Metrics(), desk=Watched)
    lane = warming.Warming(found)
    while lane.busy:
        lane.turn()
    assert lane.done.is_set()
    kinds = {kind for kind, _ in asked}
    assert kinds == ({"predicted", "embedded"} if name in ("language", "labelled texts") else {"predicted"})
    if name == "language":
        assert len(found.writing.desk.given) == sum(warming.ROWS) and not any(found.writing.desk.load.values())
    if ROWS[name] is not None:
        (wanted,) = found.preprocess.batches(found.preprocess.open([ROWS[name]]), 8)
        given = asked[0][1]
        assert given.keys() | {"layout"} == wanted.keys() | {"layout"}  # a row alone may come without one
        assert all(len(given[key].lengths) == 1 for key in given if key.endswith("layout"))


def test_nobody_sees_them(tmp_path) -> None:
    """Nothing is counted, no lane is left; the first text is as any other."""
    shelf = shelf_of(tmp_path, "language", "table", desk=Watched)
    assert len(shelf.bundles["language"].writing.desk.given) == sum(warming.ROWS)
    assert len(shelf.scheduler._lanes) == 3
    with running(shelf) as url:
        metrics = httpx2.get(f"{url}/metrics").text
        assert count(metrics, "variorum_batch_rows_count", {"bundle": "table"}) == 0
        assert count(metrics, "variorum_tokens_total", {"of": "answer"}) == 0
        first, second = (
            httpx2.post(f"{url}/v1/completions", json=WRITE, timeout=60).json()["choices"] for _ in range(2)
        )
        assert first == second


def test_the_old_bundle_answers_until_the_new_one_has(tmp_path) -> None:
    """Read again, it takes the name when it has answered, and not before."""
    shelf = shelf_of(tmp_path, "language", desk=Watched)
    with looping(shelf) as (_, loop):
        old = shelf.bundles["language"]
        Watched.door.clear()
        save(served("language", seed=1), shelf.folders["language"])
        reading = asyncio.run_coroutine_threadsafe(shelf.reload("language"), loop)
        with pytest.raises(TimeoutError):
            reading.result(0.3)
        assert shelf.bundles["language"] is old
        Watched.door.set()
        assert reading.result(60) and shelf.bundles["language"] is not old


def test_a_bundle_that_fails_at_them_serves_nevertheless(tmp_path: Path, caplog) -> None:
    """The terminal is told; what clients send may be answered."""
    shelf = shelf_of(tmp_path, "language", desk=Failing)
    assert "bundle language did not answer a made-up request: not yet" in caplog.text
    with running(shelf) as url:
        assert httpx2.post(f"{url}/v1/completions", json=WRITE, timeout=60).status_code == 200
