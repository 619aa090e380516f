"""Predictions over HTTP, of every kind of data, as JSON and as files: what the bundle itself answers."""

import base64
import io
import json
import math
from pathlib import Path

import httpx2
import numpy as np
import pandas as pd
import pytest
import soundfile
from PIL import Image

from samples.served import count, running, served, shelf_of

NAMES = ("table", "trees", "regression", "images", "language", "labelled texts", "pairs", "series", "forecast",
         "sounds", "clouds")  # fmt: skip
IS_JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    with running(shelf_of(tmp_path_factory.mktemp("bundles"), *NAMES)) as url:
        yield url


def same(told: list[dict], wanted: pd.DataFrame) -> None:
    """Every cell: numbers to 1e-5, for a batch's other rows may change their last digits."""
    assert len(told) == len(wanted)
    for row, line in zip(told, wanted.to_dict("records"), strict=True):
        assert list(row) == list(line)
        for name, value in line.items():
            if isinstance(value, float):
                assert row[name] is None if math.isnan(value) else row[name] == pytest.approx(value, abs=1e-5, rel=1e-5)
            else:
                assert row[name] == value


def predicted(url: str, name: str, rows: list) -> list[dict]:
    answer = httpx2.post(f"{url}/v1/bundles/{name}/predict", json={"rows": rows}, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.json()["answers"]


def uploaded(url: str, name: str, *files: tuple[str, bytes]) -> httpx2.Response:
    return httpx2.post(f"{url}/v1/bundles/{name}/upload", files=[("files", file) for file in files], timeout=60)


def rows_of(name: str) -> tuple[list, object]:
    """Rows in JSON, and the same as Python takes them."""
    rng = np.random.default_rng(0)
    if name in ("table", "trees", "regression"):
        frame = tables()[name].head(7)
        return frame.to_dict("records"), frame
    if name == "images":
        arrays = [rng.integers(0, 256, size) for size in ((8, 8), (20, 12), (9, 9, 3))]
        return [array.tolist() for array in arrays], [array.astype(np.int64) for array in arrays]
    if name == "series":
        rows = [[[0.5, 1.0, None], [1, 2, 3]], [[0.1] * 4, [0.2] * 4]]
        return rows, [np.array(row, dtype=float) for row in rows]
    if name == "forecast":
        rows = [{"year": 1900.0 + i, "spots": float(i * i % 7)} for i in range(9)]
        return rows, pd.DataFrame(rows)
    if name == "sounds":
        sound = rng.standard_normal(900).round(3)
        return [{"samples": sound.tolist(), "rate": 8000}], [(sound, 8000)]
    if name == "clouds":
        rows = rng.standard_normal((2, 5, 3)).round(3)
        return rows.tolist(), list(rows)
    texts = {"language": ["Wie geht es? 🙂", "ja"], "pairs": ["a b", "b"], "labelled texts": ["a b a", "b", "x.csv"]}
    return texts[name], texts[name]


def tables() -> dict[str, pd.DataFrame]:
    from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris

    loaders = {"table": load_iris, "trees": load_breast_cancer, "regression": load_diabetes}
    return {name: load(as_frame=True).data for name, load in loaders.items()}


@pytest.mark.parametrize("name", NAMES)
def test_rows_in_json_get_the_bundles_own_answers(name: str, url: str) -> None:
    sent, rows = rows_of(name)
    same(predicted(url, name.replace(" ", "-"), sent), served(name).predict(rows))


def test_what_was_repaired_is_told(tmp_path: Path) -> None:
    """What a command prints as a warning reaches the client as a note, and no other client; null is a missing value."""
    # Its own server: pytest puts Python's way of showing warnings back between tests.
    with running(shelf_of(tmp_path, "table", "language", "series")) as url:
        rows, _ = rows_of("table")
        rows[0] = {**rows[0], "sepal length (cm)": None, "another": 1}
        answer = httpx2.post(f"{url}/v1/bundles/table/predict", json={"rows": rows}).json()
        assert answer["kind"] == "table" and answer["notes"] == [] and len(answer["answers"]) == len(rows)
        rows[1] = {**rows[1], "\ud800": "\ud800", "sepal length (cm)": "\udfff"}
        sent = json.dumps({"rows": rows})
        halves = httpx2.post(f"{url}/v1/bundles/table/predict", content=sent, headers=IS_JSON).json()
        assert any(note.startswith("Half characters (lone surrogates) in the rows") for note in halves["notes"])
        assert len(halves["answers"]) == len(rows) and halves["answers"][0] == answer["answers"][0]
        halves = httpx2.post(f"{url}/v1/bundles/language/predict", content=b'{"rows": ["a\\ud800b"]}',
                            headers=IS_JSON).json()  # fmt: skip
        assert halves["notes"] == ["Half characters (lone surrogates) in 1 texts stand as '\ufffd'."]
        told = httpx2.post(f"{url}/v1/bundles/series/predict", json={"rows": rows_of("series")[0]}).json()
        assert told["notes"] == ["1 missing values in 1 series lie on the line between their neighbours."]
        told = uploaded(url, "language", ("my.txt", b"a\xffb")).json()
        assert told["notes"] == ["upload.txt: Line 1 is not UTF-8: read as Windows-1252."]


# -- files -------------------------------------------------------------------------------------------------------------
def encoded(image: Image.Image, form: str) -> bytes:
    out = io.BytesIO()
    image.save(out, form)
    return out.getvalue()


def test_images_as_files_and_in_base64(url: str, tmp_path: Path) -> None:
    """Grey, colour, with transparency, of 16 bits: files, base64 and data URLs give what files on disk give."""
    rng = np.random.default_rng(0)
    images = {
        "a.png": encoded(Image.fromarray(rng.integers(0, 256, (30, 20, 3), np.uint8)), "PNG"),
        "b.jpg": encoded(Image.fromarray(rng.integers(0, 256, (8, 8), np.uint8)), "JPEG"),
        "c.webp": encoded(Image.fromarray(rng.integers(0, 256, (9, 7, 4), np.uint8), "RGBA"), "WEBP"),
        "d.png": encoded(Image.fromarray(rng.integers(0, 60000, (12, 8)).astype(np.uint16)), "PNG"),
    }
    for name, content in images.items():
        (tmp_path / name).write_bytes(content)
    wanted = served("images").predict(tmp_path)
    told = uploaded(url, "images", *images.items())
    assert told.status_code == 200, told.text
    same(told.json()["answers"], wanted)
    codes = [base64.b64encode(content).decode() for content in images.values()]
    codes[0] = f"data:image/png;base64,{codes[0]}"
    same(predicted(url, "images", codes), wanted)


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg"])
def test_sounds_as_files_and_in_base64(suffix: str, url: str, tmp_path: Path) -> None:
    """Longer than the model hears, two channels, another rate: what the same file gives on disk."""
    path = tmp_path / f"s.{suffix}"
    soundfile.write(path, 0.3 * np.random.default_rng(0).standard_normal((40000, 2)).clip(-3, 3), 16000)
    wanted = served("sounds").predict(path)
    same(uploaded(url, "sounds", (path.name, path.read_bytes())).json()["answers"], wanted)
    same(predicted(url, "sounds", [base64.b64encode(path.read_bytes()).decode()]), wanted)


def test_tables_texts_and_series_as_files(url: str, tmp_path: Path) -> None:
    frame = tables()["table"].head(5)
    same(uploaded(url, "table", ("../../etc/x.csv", frame.to_csv(index=False).encode())).json()["answers"],
         served("table").predict(frame))  # fmt: skip
    same(uploaded(url, "labelled-texts", ("t.txt", b"a b\nb a\n")).json()["answers"],
         served("labelled texts").predict(["a b", "b a"]))  # fmt: skip
    same(uploaded(url, "language", ("t.txt", "größer\n".encode())).json()["answers"],
         served("language").predict(["größer\n"]))  # fmt: skip
    text = "@problemName x\n@univariate false\n@classLabel true yes no\n@data\n1,2,3:4,5,6:yes\n1,?,2:3,4,5:no\n"
    (tmp_path / "s.ts").write_text(text)
    same(
        uploaded(url, "series", ("s.ts", text.encode())).json()["answers"], served("series").predict(tmp_path / "s.ts")
    )


def test_a_large_file_is_no_request_that_was_given_up(url: str) -> None:
    """Files above a megabyte are closed by another thread after the answer: the client has not left before it."""
    content = encoded(Image.new("RGB", (700, 700), "red"), "BMP")
    assert len(content) > 1 << 20
    for _ in range(3):
        assert uploaded(url, "images", ("x.bmp", content)).status_code == 200
    metrics = httpx2.get(f"{url}/metrics").text
    assert count(metrics, "variorum_cancelled_total", {"route": "/v1/bundles/{name}/upload"}) == 0
    assert count(metrics, "variorum_requests_total", {"route": "/v1/bundles/{name}/upload", "status": "200"}) >= 3


# -- what is refused ---------------------------------------------------------------------------------------------------
WRONG_FILES = {
    "no image": ("images", ("x.png", b"\x89PNG\r\n\x1a\nand no more"), 400, "an image that can be decoded"),
    "a program": ("images", ("x.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"), 400, "can be decoded"),
    "no sound": ("sounds", ("x.wav", b"RIFF\x00\x00\x00\x00WAVE"), 400, "expected a sound"),
    "cut short": ("sounds", ("x.wav", b"RIFF"), 400, "expected a sound"),
    "a packed table": ("table", ("x.parquet", b"PAR1"), 415, ".csv, .tsv"),
    "no rows": ("table", ("x.csv", b"sepal length (cm)\n"), 400, "upload.csv: expected rows under the header"),
    "another table": ("table", ("x.csv", b"a,b\n1,2\n"), 400, "the column 'sepal length (cm)'"),
    "arrays": ("series", ("x.npz", b"PK\x03\x04"), 415, ".ts"),
    "points": ("clouds", ("x.obj", b"v 1 2 3"), 415, "as JSON"),
}


@pytest.mark.parametrize("case", WRONG_FILES)
def test_a_wrong_file_is_named_and_no_path_is_told(case: str, url: str) -> None:
    bundle, file, status, says = WRONG_FILES[case]
    answer = uploaded(url, bundle, file)
    assert answer.status_code == status and says in answer.json()["error"]["message"], answer.text
    assert "/tmp" not in answer.text and "variorum-" not in answer.text


WRONG_ROWS = {
    "no object": ("table", [1], 400, "row 0: expected an object"),
    "nested": ("table", [{"sepal length (cm)": [1]}], 400, "found a list"),
    "a column is missing": ("table", [{"sepal length (cm)": 1}], 400, "the column 'sepal width (cm)'"),
    "a number beyond": ("table", [{"sepal length (cm)": 10**400}], 400, "a number below 2^63"),
    "no text": ("labelled-texts", [["a"]], 400, "row 0: expected a text"),
    "a path": ("images", ["/etc/passwd"], 400, "a file in base64"),
    "a ragged image": ("images", [[[1, 2], [3]]], 400, "equal length"),
    "words": ("images", [[["a"]]], 400, "expected numbers"),
    "an empty image": ("images", [[[]]], 400, "none empty"),
    "too deep": ("images", [[[[[1]]]]], 400, "at most 3 deep"),
    "a bool": ("series", [[True, False]], 400, "numbers or null"),
    "too many channels": ("series", [[[1, 2]] * 3], 400, "an array (2, time)"),
    "no rate": ("sounds", [{"samples": [0.1] * 900}], 400, "samples and their rate"),
    "a silly rate": ("sounds", [{"samples": [0.1] * 900, "rate": 10**12}], 400, "rate"),
    "an odd rate": ("sounds", [{"samples": [0.1] * 900, "rate": 999_983}], 400, "smaller terms"),
    "flat points": ("clouds", [[[1, 2], [3, 4]]], 400, "(n, 3)"),
    "an empty text": ("language", [""], 400, "at least one character"),
    "no rows": ("table", [], 422, "rows"),
}


@pytest.mark.parametrize("case", WRONG_ROWS)
def test_wrong_rows_are_named(case: str, url: str) -> None:
    bundle, rows, status, says = WRONG_ROWS[case]
    answer = httpx2.post(f"{url}/v1/bundles/{bundle}/predict", json={"rows": rows})
    assert answer.status_code == status and says in answer.json()["error"]["message"], answer.text


def test_what_is_served_is_shown(url: str) -> None:
    shown = {bundle["name"]: bundle for bundle in httpx2.get(f"{url}/v1/bundles").json()["bundles"]}
    assert shown["images"]["labels"] == [str(digit) for digit in range(10)] and "base64" in shown["images"]["rows"]
    assert [name for name, bundle in shown.items() if bundle["writes"]] == ["language"]
    assert httpx2.get(f"{url}/healthz").json() == {"status": "ok", "bundles": sorted(shown)}
    for path in ("/v1/bundles/nobody/predict", "/v1/bundles/..%2F..%2Fetc/predict"):
        answer = httpx2.post(url + path, json={"rows": [1]})
        assert answer.status_code == 404 and answer.json()["error"]["type"] == "invalid_request_error"
