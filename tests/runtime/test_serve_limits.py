"""A server under clients that ask for too much, too slowly, or leave: a clear refusal, and nobody else is harmed."""

import gzip
import io
import json
import resource
import socket
import struct
import threading
import time
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from fastapi.exceptions import RequestValidationError
from PIL import Image

from samples.served import count, running, shelf_of, wait_until
from variorum.runtime.serve import given
from variorum.runtime.serve.desk import engine_of
from variorum.runtime.serve.limits import Limits
from variorum.runtime.serve.pictures import pictures
from variorum.runtime.serve.running import allow_files

LIMITS = Limits(body=200_000, bodies=500_000, rows=300, cells=5000, columns=1500, pixels=1_000_000,
                all_pixels=1_500_000, scores=256 * 2000, waiting=4, slots=2, seconds=20, slow=1.5)  # fmt: skip
WRITE = {"model": "language", "prompt": "x", "max_tokens": 5, "temperature": 0}


class Held:
    """The usual engine behind a door that a test holds shut."""

    door = threading.Event()

    def __init__(self, model, limits, longest) -> None:
        engine = engine_of(model, limits, longest)
        self.submit, self.cancel, self._engine = engine.submit, engine.cancel, engine

    @property
    def load(self):
        return self._engine.load

    def step(self):
        self.door.wait(30)
        return self._engine.step()


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    Held.door.set()
    return shelf_of(tmp_path_factory.mktemp("b"), "language", "images", "table", limits=LIMITS, desk=Held)


@pytest.fixture(scope="module")
def url(shelf):
    with running(shelf) as url:
        yield url


@pytest.fixture(autouse=True)
def healthy(url, shelf):
    """After every test the server answers, holds no request, and writes."""
    yield
    Held.door.set()
    wait_until(lambda: shelf.bundles["language"].visits == 0 and shelf.bundles["images"].visits == 0)
    wait_until(lambda: answers(url))
    assert httpx2.post(f"{url}/v1/completions", json=WRITE).status_code == 200


def error(answer: httpx2.Response) -> str:
    return answer.json()["error"]["code"]


def raw(url: str) -> socket.socket:
    parts = urlsplit(url)
    return socket.create_connection((parts.hostname, parts.port), timeout=20)


def test_more_than_may_wait_are_told_to_come_later(url, shelf) -> None:
    """4 requests wait, the fifth gets a 429 with Retry-After; the four are answered when the model goes on."""
    Held.door.clear()
    with ThreadPoolExecutor(4) as pool:
        four = [pool.submit(httpx2.post, f"{url}/v1/completions", json=WRITE, timeout=60) for _ in range(4)]
        wait_until(lambda: shelf.bundles["language"].visits == 4)
        fifth = httpx2.post(f"{url}/v1/completions", json=WRITE)
        assert fifth.status_code == 429 and fifth.headers["retry-after"] == "1" and error(fifth) == "busy"
        metrics = httpx2.get(f"{url}/metrics").text
        assert count(metrics, "variorum_accepted", {"bundle": "language"}) == 4
        Held.door.set()
        texts = {future.result().json()["choices"][0]["text"] for future in four}
    assert len(texts) == 1
    metrics = httpx2.get(f"{url}/metrics").text
    assert count(metrics, "variorum_requests_total", {"route": "/v1/completions", "status": "429"}) == 1


def test_a_client_that_leaves_frees_its_place(url, shelf) -> None:
    """Two that write and two that wait leave without a word; the places are free though no token was written since."""
    Held.door.clear()
    body = json.dumps(WRITE).encode()
    head = f"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    gone = [raw(url) for _ in range(4)]
    for connection in gone:
        connection.sendall(head.encode() + b"\r\n\r\n" + body)
    wait_until(lambda: shelf.bundles["language"].visits == 4)
    for connection in gone:
        connection.close()
    wait_until(lambda: shelf.bundles["language"].visits == 0)
    Held.door.set()
    wait_until(lambda: not shelf.bundles["language"].writing.busy)


def test_time_is_up(tmp_path) -> None:
    """No answer within the time: a 504, and the place is free."""
    late = shelf_of(tmp_path, "language", limits=Limits(seconds=0.5, slots=1), desk=Held)
    Held.door.clear()
    with running(late) as url:
        answer = httpx2.post(f"{url}/v1/completions", json=WRITE)
        assert answer.status_code == 504 and error(answer) == "out_of_time"
        with pytest.raises(httpx2.RemoteProtocolError):  # it had begun: the connection ends without its last chunk
            httpx2.post(f"{url}/v1/completions", json={**WRITE, "stream": True})
        assert late.bundles["language"].visits == 0
        Held.door.set()


def test_too_large_a_body(url) -> None:
    """Told by its length, and found while it is read; the client reads why."""
    big = b"[" + b" " * LIMITS.body + b"]"
    for content in (big, (big[i : i + 9000] for i in range(0, len(big), 9000))):
        answer = httpx2.post(f"{url}/v1/completions", content=content, headers={"content-type": "application/json"})
        assert answer.status_code == 413 and error(answer) == "too_large"
    answer = httpx2.post(f"{url}/v1/bundles/table/predict", json={"rows": [1] * 301})
    assert answer.status_code == 413 and error(answer) == "too_many_rows"


NOT_JSON = {
    "invalid UTF-8": b'{"model": "language", "prompt": "\xff\xfe"}',
    "nothing": b"",
    "cut short": b'{"model": "language", "prompt": "x',
    "deep": b"[" * 4000,
    "a long number": b'{"model": "language", "prompt": [' + b"9" * 9000 + b"]}",
    "no object": b'"language"',
    "nan": b'{"model": "language", "prompt": "x", "temperature": NaN}',
}


@pytest.mark.parametrize("case", NOT_JSON)
def test_what_is_no_json(case: str, url) -> None:
    headers = {"content-type": "application/json"}
    for path in ("/v1/completions", "/v1/bundles/table/predict"):
        answer = httpx2.post(url + path, content=NOT_JSON[case], headers=headers)
        assert answer.status_code in (400, 422) and answer.json()["error"]["message"], answer.text


def test_json_that_is_not_said_to_be_json(url) -> None:
    """What curl -d sends unasked: the client is told which header makes it JSON."""
    headers = {"content-type": "application/x-www-form-urlencoded"}
    answer = httpx2.post(f"{url}/v1/completions", content=json.dumps(WRITE), headers=headers)
    assert answer.status_code == 422 and "Content-Type: application/json" in answer.json()["error"]["message"]


FLOODS = {
    "prompts": ("/v1/completions", b'{"model": "language", "prompt": [' + b",".join([b"null"] * 4000) + b"]}"),
    "messages": ("/v1/chat/completions", b'{"model": "language", "messages": [' + b",".join([b"{}"] * 2000) + b"]}"),
    "ids": ("/v1/embeddings", b'{"model": "language", "input": [' + b",".join([b"[-1]"] * 2000) + b"]}"),
    "biases": ("/v1/completions", json.dumps({"logit_bias": {str(i): "x" for i in range(4000)}}).encode()),
    "fields": ("/v1/completions", json.dumps({str(i): 0 for i in range(4000)}).encode()),
}


@pytest.mark.parametrize("case", FLOODS)
def test_a_flood_of_faults_is_told_in_a_few(case: str, url, monkeypatch) -> None:
    """Thousands of wrong items in few bytes are not each made an error, which would take hundreds of times more."""
    counts = []

    def count_errors(self: RequestValidationError) -> Sequence[Any]:
        counts.append(len(self._errors))
        return self._errors

    monkeypatch.setattr(RequestValidationError, "errors", count_errors)
    path, content = FLOODS[case]
    answer = httpx2.post(url + path, content=content, headers={"content-type": "application/json"})
    assert answer.status_code == 422 and len(answer.content) < 4000, answer.text
    assert counts and max(counts) < 12


def test_more_values_than_are_read(url) -> None:
    """JSON of more values than a table may have cells is not read, however few bytes it has; a file is."""
    for item in (b"1", b"[]", b"{}"):
        content = b'{"rows": [' + b",".join([item] * LIMITS.cells) + b"]}"
        answer = httpx2.post(f"{url}/v1/bundles/table/predict", content=content)
        assert answer.status_code == 413 and error(answer) == "too_many_values"
    commas = ("x.png", b"," * LIMITS.cells)
    answer = httpx2.post(f"{url}/v1/bundles/images/upload", files={"files": commas})
    assert answer.status_code == 400 and "can be decoded" in answer.text


def test_a_packed_body_is_not_opened(url) -> None:
    """A megabyte that is packed into a thousand bytes, and said to be: read as it came, which is no JSON."""
    packed = gzip.compress(b'{"rows": [' + b" " * 1_000_000 + b"]}")
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    answer = httpx2.post(f"{url}/v1/bundles/table/predict", content=packed, headers=headers)
    assert answer.status_code in (400, 422) and answer.json()["error"]["message"], answer.text


def test_many_bodies_at_a_time_are_told_to_come_later(url) -> None:
    """Three clients have each sent nearly a whole body, and no end: the next one gets a 429, and later an answer."""
    size = LIMITS.bodies // 3
    head = f"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {size + 1}\r\n\r\n"
    many = [raw(url) for _ in range(3)]
    for connection in many:
        connection.sendall(head.encode() + b" " * size)
    wait_until(lambda: httpx2.post(f"{url}/v1/completions", json={**WRITE, "user": "x" * 2000}).status_code == 429)
    assert httpx2.get(f"{url}/healthz").status_code == 200
    for connection in many:
        connection.close()
    wait_until(lambda: httpx2.post(f"{url}/v1/completions", json={**WRITE, "user": "x" * 2000}).status_code == 200)


def bomb(width: int, height: int) -> bytes:
    """A PNG of few bytes and many pixels."""
    rows = zlib.compress(b"\0" * (width // 8 + 1) * min(height, 2000), 9)

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def test_a_decompression_bomb_is_not_opened(url) -> None:
    """Images of 10^8 and 10^10 pixels, of a few hundred bytes or more: refused by their header, memory stays."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for side in (10_000, 100_000):
        answer = httpx2.post(f"{url}/v1/bundles/images/upload", files={"files": ("x.png", bomb(side, side)[:150_000])})
        assert answer.status_code in (400, 413), answer.text
    big = io.BytesIO()
    Image.new("L", (1001, 1000)).save(big, "PNG")
    answer = httpx2.post(f"{url}/v1/bundles/images/upload", files={"files": ("x.png", big.getvalue())})
    assert answer.status_code == 413 and error(answer) == "image_too_large"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kilobytes


def test_many_images_are_counted_together(url) -> None:
    """Each of two is small enough, both are not; neither is decoded."""
    one = io.BytesIO()
    Image.new("L", (1000, 1000)).save(one, "PNG")
    files = [("files", (f"{i}.png", one.getvalue())) for i in range(2)]
    assert httpx2.post(f"{url}/v1/bundles/images/upload", files=files[:1]).status_code == 200
    answer = httpx2.post(f"{url}/v1/bundles/images/upload", files=files)
    assert answer.status_code == 413 and error(answer) == "images_too_large"


def test_images_that_take_long_delay_no_other_bundle(url, monkeypatch) -> None:
    """Three requests with images are being read, or wait for that: a text is written meanwhile."""
    door, small = threading.Event(), io.BytesIO()
    Image.new("L", (8, 8)).save(small, "PNG")
    monkeypatch.setattr(given, "pictures", lambda *asked: door.wait(30) and pictures(*asked))

    def upload() -> int:
        files = {"files": ("x.png", small.getvalue())}
        return httpx2.post(f"{url}/v1/bundles/images/upload", files=files, timeout=60).status_code

    with ThreadPoolExecutor(3) as pool:
        uploads = [pool.submit(upload) for _ in range(3)]
        wait_until(lambda: count(httpx2.get(f"{url}/metrics").text, "variorum_accepted", {"bundle": "images"}) == 3)
        assert httpx2.post(f"{url}/v1/completions", json=WRITE, timeout=60).status_code == 200
        assert not any(done.done() for done in uploads)
        door.set()
        assert [done.result() for done in uploads] == [200] * 3


def test_few_bytes_that_stand_for_a_large_table(url) -> None:
    """Rows that each name another column, and short lines under a wide header: refused before the table is made."""
    answer = httpx2.post(f"{url}/v1/bundles/table/predict", json={"rows": [{f"c{i}": 1} for i in range(100)]})
    assert answer.status_code == 413 and error(answer) == "too_many_cells"
    wide = ",".join(f"c{i}" for i in range(1000)) + "\n" + "1\n" * 9
    answer = httpx2.post(f"{url}/v1/bundles/table/upload", files={"files": ("x.csv", wide)})
    assert answer.status_code == 413 and error(answer) == "too_many_cells"


def test_a_row_of_very_many_columns(url) -> None:
    """Opening a column takes long, be it empty: refused by their number, in JSON and in a file."""
    names = [f"c{i}" for i in range(LIMITS.columns + 1)]
    answer = httpx2.post(f"{url}/v1/bundles/table/predict", json={"rows": [dict.fromkeys(names, 1)]})
    assert answer.status_code == 413 and error(answer) == "too_many_columns"
    answer = httpx2.post(f"{url}/v1/bundles/table/upload", files={"files": ("x.csv", ",".join(names) + "\n1\n")})
    assert answer.status_code == 413 and error(answer) == "too_many_columns"


def test_a_text_too_long_to_be_judged(url) -> None:
    """A language model scores every id of its vocabulary for every id of a text: 2000 ids are held, 2001 are not."""
    for size, status in ((2000, 200), (2001, 413)):
        answer = httpx2.post(f"{url}/v1/bundles/language/predict", json={"rows": ["x" * size]}, timeout=60)
        assert answer.status_code == status, answer.text
    assert error(answer) == "too_many_tokens"


def test_slow_clients_are_let_go(url) -> None:
    """No head, half a head, half a body, after the time for them: closed, or told with a 408; others are answered."""
    silent, half, slow = raw(url), raw(url), raw(url)
    half.sendall(b"POST /v1/completions HTTP/1.1\r\nHost:")
    slow.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{")
    assert httpx2.post(f"{url}/v1/completions", json=WRITE).status_code == 200
    start = time.monotonic()
    assert slow.recv(9000).startswith(b"HTTP/1.1 408")
    for connection in (silent, half):
        try:
            assert connection.recv(10) == b""
        except ConnectionResetError:
            continue
    assert time.monotonic() - start < 10


def test_more_connections_than_are_allowed(tmp_path) -> None:
    """400 open connections: the next request gets a 503; when they are gone, the server answers again."""
    with running(shelf_of(tmp_path, "table", limits=Limits(connections=400))) as url:
        many = [raw(url) for _ in range(400)]
        answer = httpx2.get(f"{url}/healthz")
        assert answer.status_code == 503
        for connection in many:
            connection.close()
        wait_until(lambda: answers(url))


def test_thousands_of_connections(tmp_path) -> None:
    """3000 clients that say nothing: some are told a 503 or closed; when they are gone, the server answers again."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allow_files(4 * 3000)  # both ends are in this process
    try:
        with running(shelf_of(tmp_path, "table", limits=Limits(connections=2000))) as url:
            many = [raw(url) for _ in range(3000)]
            try:
                assert httpx2.get(f"{url}/healthz").status_code == 503
            except httpx2.TransportError:  # beyond those that are told so
                assert len(many) > 2000
            for connection in many:
                connection.close()
            wait_until(lambda: answers(url))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def answers(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/healthz").status_code == 200
    except httpx2.TransportError:
        return False


def test_as_many_files_as_connections_ask_for() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (500, hard))
        for wanted, allowed in ((600, 600), (400, 600)):
            allow_files(wanted)
            assert resource.getrlimit(resource.RLIMIT_NOFILE) == (allowed, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_what_is_no_http(url) -> None:
    for content in (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 9, b"GET /\r\n\r\n", b"\0" * 100_000):
        with raw(url) as connection:
            connection.sendall(content)
            assert connection.recv(9000).startswith(b"HTTP/1.1 400")
    with raw(url) as connection:  # two requests at once on one connection
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 2)
        wait_until(lambda: connection.recv(9000).count(b"200 OK") > 0)


def test_a_fault_of_the_model_is_a_500_and_no_more(url, shelf, monkeypatch) -> None:
    """The client is told nothing of the inside; the next request is answered."""

    def fails(*_: object) -> None:
        raise RuntimeError("a secret")

    monkeypatch.setattr(shelf.bundles["language"].bundle.model.head, "forward", fails)
    for asked in (WRITE, {**WRITE, "stream": True}):
        answer = httpx2.post(f"{url}/v1/completions", json=asked)
        assert "secret" not in answer.text and '"failed"' in answer.text
    answer = httpx2.post(f"{url}/v1/bundles/language/predict", json={"rows": ["x"]})
    assert answer.status_code == 500 and "secret" not in answer.text
