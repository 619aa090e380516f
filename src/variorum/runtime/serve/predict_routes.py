"""Answers to rows of any kind: tables, texts, images, sounds, series, shapes; as JSON or uploaded files."""

import asyncio
import base64
import json
from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, UploadFile
from fastapi import File as Uploaded
from starlette.responses import Response
from torch import Tensor

from variorum.data.decode import whole
from variorum.runtime.serve.answered import Embedded, Predicted
from variorum.runtime.serve.asked import Embeddings, Rows
from variorum.runtime.serve.errors import ERRORS
from variorum.runtime.serve.heard import notes
from variorum.runtime.serve.joined import Inputs, rows_and_tokens
from variorum.runtime.serve.manuscript import prompts_of
from variorum.runtime.serve.refusal import Refusal, reply
from variorum.runtime.serve.rows_lane import Ask
from variorum.runtime.serve.served import Served
from variorum.runtime.serve.shelf import Shelf
from variorum.runtime.serve.upload import File


def predictions(shelf: Shelf) -> APIRouter:
    """The routes, for the bundles of a shelf."""
    router = APIRouter(tags=["predictions"])

    @router.post("/v1/bundles/{name}/predict", response_model=Predicted, responses=ERRORS)
    async def predict(name: str, asked: Rows) -> Response:
        """Answer rows that are sent as JSON."""
        _check_count(len(asked.rows), shelf)
        with shelf.visit(name) as served:
            return await _predicted(shelf, served, lambda: served.reader.rows(asked.rows, shelf.limits))

    @router.post("/v1/bundles/{name}/upload", response_model=Predicted, responses=ERRORS)
    async def upload(name: str, files: Annotated[list[UploadFile], Uploaded()]) -> Response:
        """Answer rows that are sent as files; their names only say what kind of file they are."""
        with shelf.visit(name) as served:
            found = [File(file.filename or "file", await file.read()) for file in files]
            return await _predicted(shelf, served, lambda: served.reader.files(found, shelf.limits))

    @router.post("/v1/embeddings", response_model=Embedded, responses=ERRORS)
    async def embed(asked: Embeddings) -> Response:
        """The mean of the tokens before a model's head, of length 1, for each text."""
        with shelf.visit(asked.model) as served:
            served.check_embeds()
            batches = await served.read(lambda: _texts(served, asked.input, shelf))
            found = [row for part in await _asked(shelf, served, served.embedded, batches) for row in part]
            if asked.dimensions not in (None, len(found[0])):
                raise Refusal(400, "dimensions", f"Vectors of {served.name!r} have {len(found[0])} numbers.")
            vectors = [_vector(row, asked.encoding_format) for row in found]
        data = [{"object": "embedding", "index": i, "embedding": vector} for i, vector in enumerate(vectors)]
        tokens = sum(rows_and_tokens(batch)[1] for batch in batches)
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return reply({"object": "list", "model": served.name, "data": data, "usage": usage})

    return router


async def _predicted(shelf: Shelf, served: Served, open_rows: Callable[[], Any]) -> Response:
    """Read, compute, and tell: reading and telling are done by the threads for that, computing by the scheduler's."""
    preprocess = served.preprocess

    def read() -> tuple[Any, list[Inputs]]:
        rows = open_rows()
        _check_count(len(rows), shelf)
        batches = list(preprocess.batches(rows, served.together))
        served.check_scores(sum(rows_and_tokens(batch)[1] for batch in batches))
        return rows, batches

    def tell(rows: Any, outputs: list[Any]) -> list[dict[str, Any]]:
        frame = preprocess.answers(rows, outputs)
        return json.loads(frame.to_json(orient="records", date_format="iso", double_precision=15))

    with notes() as said:
        rows, batches = await served.read(read)
        outputs = await _asked(shelf, served, served.predicted, batches)
        answers = await served.read(lambda: tell(rows, outputs))
    kind = preprocess.reads
    return reply({"bundle": served.name, "kind": kind, "answers": answers, "notes": said})


async def _asked(shelf: Shelf, served: Served, ask: Ask, batches: list[Inputs]) -> list[Any]:
    """The answers to all batches; if one fails or the request is cancelled, the others give up their places."""
    futures = [shelf.ask(served, ask, batch) for batch in batches]
    try:
        return list(await asyncio.gather(*futures))
    finally:
        for future in futures:
            future.cancel()


def _texts(served: Served, given: Any, shelf: Shelf) -> list[Inputs]:
    """Texts or ids as batches of packed rows, one row a text."""
    size = served.together
    if served.writing is not None:
        rows = [prompt.ids for prompt in prompts_of(served, given, most=shelf.limits.rows)]
        length = served.language.length
        if (longest := max(len(row) for row in rows)) > length:
            raise Refusal(400, "context_length_exceeded", f"Bundle {served.name!r} reads {length} ids of a text, one "
                          f"has {longest}. Shorten it.")  # fmt: skip
        return [served.packed(rows[i : i + size]) for i in range(0, len(rows), size)]
    texts = [given] if isinstance(given, str) else given
    if not all(isinstance(text, str) for text in texts):
        raise Refusal(400, "no_language_model", f"Bundle {served.name!r} reads texts: its ids are its own.")
    _check_count(len(texts), shelf)
    return list(served.preprocess.batches(served.preprocess.open([whole(text) for text in texts]), size))


def _vector(row: Tensor, form: str | None) -> list[float] | str:
    if form == "base64":
        return base64.b64encode(row.numpy().astype("<f4").tobytes()).decode()
    return np.asarray(row, np.float64).tolist()


def _check_count(rows: int, shelf: Shelf) -> None:
    if rows > shelf.limits.rows:
        raise Refusal(413, "too_many_rows", f"One request may have {shelf.limits.rows:,} rows, this one has {rows:,}. "
                      "Send it in parts.")  # fmt: skip
