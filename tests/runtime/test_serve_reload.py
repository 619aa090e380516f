"""Bundles read again while they answer, and a process that is told to end: nobody who was accepted is dropped."""

import asyncio
import gc
import re
import signal
import subprocess
import sys
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx2
import pytest
import torch

from samples.served import count, looping, served, shelf_of, wait_until
from variorum.core import VariorumError
from variorum.runtime.bundle import save
from variorum.runtime.generate import generate
from variorum.runtime.serve.running import bound
from variorum.runtime.serve.shelf import Shelf

ASKED = {"model": "language", "prompt": "abc", "max_tokens": 60, "temperature": 0}


def text_of(seed: int) -> str:
    (ids,) = generate(served("language", seed=seed).model, [torch.tensor(list(b"abc"))], most=60)
    return bytes(ids.tolist()).decode("utf-8", "replace")


def test_reloading_drops_no_request(tmp_path) -> None:
    """8 clients ask without a pause while weights change 3 times: every answer is wholly that of one of the weights."""
    shelf = shelf_of(tmp_path, "language")
    texts, over, found = {text_of(seed) for seed in range(4)}, threading.Event(), []
    assert len(texts) == 4

    def ask(url: str) -> None:
        while not over.is_set():
            answer = httpx2.post(f"{url}/v1/completions", json=ASKED, timeout=60)
            assert answer.status_code == 200, answer.text
            found.append(answer.json()["choices"][0]["text"])

    with looping(shelf) as (url, loop), ThreadPoolExecutor(8) as pool:
        clients = [pool.submit(ask, url) for _ in range(8)]
        for seed in (1, 2, 3):
            wait_until(lambda: len(found) > 3 * seed)  # noqa: B023  # waited for at once
            save(served("language", seed=seed), shelf.folders["language"])
            assert asyncio.run_coroutine_threadsafe(shelf.reload("language"), loop).result(60)
        wait_until(lambda: text_of(3) in found)
        (shelf.folders["language"] / "weights.safetensors").write_bytes(b"broken")
        assert not asyncio.run_coroutine_threadsafe(shelf.reload("language"), loop).result(60)
        over.set()
        for client in clients:
            client.result()
        metrics = httpx2.get(f"{url}/metrics").text
        last = httpx2.post(f"{url}/v1/completions", json=ASKED, timeout=60).json()["choices"][0]["text"]
    assert set(found) <= texts and last == text_of(3)
    assert count(metrics, "variorum_reloads_total", {"outcome": "done"}) == 3
    assert count(metrics, "variorum_reloads_total", {"outcome": "failed"}) == 1
    assert len(shelf.scheduler._lanes) == 2  # those of the newest bundle alone


def test_a_bundle_that_was_replaced_is_let_go(tmp_path) -> None:
    """Nothing holds the old weights once the last request to them is answered, though no other request follows."""
    shelf = shelf_of(tmp_path, "language")
    with looping(shelf) as (url, loop):
        assert httpx2.post(f"{url}/v1/completions", json=ASKED, timeout=60).status_code == 200
        old = weakref.ref(shelf.bundles["language"])
        assert asyncio.run_coroutine_threadsafe(shelf.reload("language"), loop).result(60)

        def gone() -> bool:
            gc.collect()
            return old() is None

        wait_until(gone)


def test_a_file_that_is_written_over_changes_nothing(tmp_path) -> None:
    """Weights that serve are in memory: what is written into their file in place reaches them with a reload at most."""
    shelf = shelf_of(tmp_path, "language")
    path = shelf.folders["language"] / "weights.safetensors"
    before = [tensor.clone() for tensor in shelf.bundles["language"].model.parameters()]
    with path.open("r+b") as file:
        file.seek(-4000, 2)
        file.write(bytes(4000))
    after = shelf.bundles["language"].model.parameters()
    assert all(torch.equal(a, b) for a, b in zip(after, before, strict=True))
    with shelf:
        assert not asyncio.run(shelf.reload("language"))


def test_a_bundle_is_served_by_its_plan(tmp_path) -> None:
    """The model that answers is the compiled one; texts and scores are those of the engine."""
    made = served("language")
    engine = made.compile(precision="float32", tell=lambda line: None)
    with Shelf({"language": save(made, tmp_path / "language")}, threads=1) as shelf:
        found = shelf.bundles["language"]
        assert found.model is not found.bundle.model
        ids = torch.tensor(list(b"abc"))
        inputs = found.packed([ids.tolist()])
        future = found.rows.submit(found.predicted, inputs)
        shelf.scheduler.ring()
        torch.testing.assert_close(future.result(30), engine(**inputs), rtol=0, atol=1e-5)


@contextmanager
def process(*bundles: str, **options: object):
    """``variorum serve`` as a process; its address."""
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    command = [sys.executable, "-m", "variorum", "serve", *bundles, "--port", "0", "--threads", "1", *words]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        line = server.stdout.readline()
        found = re.search(r"http://\S+", line)
        assert found, server.stderr.read()
        yield server, found[0]
    finally:
        server.kill()
        server.communicate()


@pytest.mark.slow
def test_a_signal_as_soon_as_it_serves(tmp_path) -> None:
    """A SIGHUP before the loop can hear it is not the end, and is heard then."""
    with process(str(save(served("table"), tmp_path / "iris"))) as (server, url):
        server.send_signal(signal.SIGHUP)
        wait_until(lambda: count(httpx2.get(f"{url}/metrics").text, "variorum_reloads_total", {"bundle": "iris"}) == 1)
        assert server.poll() is None


@pytest.mark.slow
def test_the_command_ends_when_all_is_answered(tmp_path) -> None:
    """SIGHUP reads new weights; SIGTERM amid answers: all are whole, new ones are refused, the code is 0."""
    folder = save(served("language"), tmp_path / "language")
    table = save(served("table"), tmp_path / "iris")
    with process(str(folder), f"flowers={table}", slots=2) as (server, url):
        assert httpx2.get(f"{url}/healthz").json()["bundles"] == ["flowers", "language"]
        save(served("language", seed=1), folder)
        server.send_signal(signal.SIGHUP)
        wait_until(
            lambda: count(httpx2.get(f"{url}/metrics").text, "variorum_reloads_total", {"bundle": "language"}) == 1
        )
        with ThreadPoolExecutor(7) as pool:
            answers = [pool.submit(httpx2.post, f"{url}/v1/completions", json=ASKED, timeout=60) for _ in range(6)]
            stream = pool.submit(httpx2.post, f"{url}/v1/completions", json={**ASKED, "stream": True}, timeout=60)
            wait_until(
                lambda: count(httpx2.get(f"{url}/metrics").text, "variorum_accepted", {"bundle": "language"}) == 7
            )
            server.send_signal(signal.SIGTERM)
            texts = {answer.result().json()["choices"][0]["text"] for answer in answers}
            assert stream.result().text.endswith("data: [DONE]\n\n")
        assert texts == {text_of(1)}
        assert server.wait(30) == 0
        with pytest.raises(httpx2.ConnectError):
            httpx2.get(f"{url}/healthz")


def test_leaving_a_shelf_finishes_what_was_accepted(tmp_path) -> None:
    shelf = shelf_of(tmp_path, "table")
    with shelf:
        bundle = shelf.bundles["table"]
        rows = torch.randn(3, 4)
        futures = [bundle.rows.submit(bundle.predicted, {"inputs": rows}) for _ in range(20)]
        shelf.scheduler.ring()
    assert all(future.done() and future.result().shape == (3, 3) for future in futures)


def test_an_address_that_is_taken_and_a_folder_that_is_no_bundle(tmp_path) -> None:
    with bound("127.0.0.1", 0) as taken, pytest.raises(VariorumError, match="Choose another --port"):
        bound("127.0.0.1", taken.getsockname()[1])
    with pytest.raises(VariorumError, match="the folder of a bundle"):
        Shelf({"x": tmp_path / "nothing"})
