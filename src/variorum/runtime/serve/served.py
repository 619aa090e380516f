"""One bundle that is being served: what it can be asked, and who is waiting for it."""

import asyncio
import contextvars
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

from variorum.core import Layout, Part, Streaming, Tower, VariorumError
from variorum.core.layout import pool_rows
from variorum.data.continuing import Continuing
from variorum.runtime.bundle import Bundle
from variorum.runtime.serve.desk import Desk, engine_of
from variorum.runtime.serve.given import Reader, reader
from variorum.runtime.serve.joined import Inputs
from variorum.runtime.serve.limits import Limits
from variorum.runtime.serve.metrics import Metrics
from variorum.runtime.serve.refusal import Refusal, busy
from variorum.runtime.serve.rows_lane import RowsLane
from variorum.runtime.serve.scheduler import Lane
from variorum.runtime.serve.writing_lane import WritingLane
from variorum.runtime.written import answer

T = TypeVar("T")
READERS = 2
"""Threads of a bundle that read what its clients send: decoding images, parsing tables."""
EMBEDDED = ("labelled texts",)
"""Kinds of texts, beside those of language models, whose models make embeddings."""


class Served:
    """A loaded bundle with its lanes. ``visits`` counts requests that hold it; see :class:`Visit`.

    model: the bundle's, compiled by the plan that it may have.    readers: threads of its own, so that large images for
    one bundle do not keep texts for another waiting.
    desk: makes what writes the texts of a language model.
    """

    def __init__(
        self, name: str, bundle: Bundle, limits: Limits, metrics: Metrics,
        *, desk: Callable[[Part, Limits, int], Desk] = engine_of,
    ) -> None:  # fmt: skip
        if bundle.preprocess is None:
            raise VariorumError(f"bundle {name}", expected="a preprocess that reads rows", found="none",
                                do="Save it with Bundle.of(model, task).")  # fmt: skip
        self.name, self.bundle, self.limits, self.metrics = name, bundle, limits, metrics
        self.preprocess = bundle.preprocess.build()
        self.model = bundle.model if bundle.plan is None else cast(Part, bundle.compile().model)
        self.visits = 0
        self.readers = ThreadPoolExecutor(READERS, thread_name_prefix="variorum-read")
        rows = metrics.batch_rows.labels(name)
        self.rows = RowsLane(limits, told=lambda count: rows.observe(count))
        self.lanes: list[Lane] = [self.rows]
        self.writing: WritingLane | None = None
        model = self.model
        if isinstance(self.preprocess, Continuing) and isinstance(model, Streaming) and model.traits.streams:
            tokens = metrics.tokens.labels(name, "answer")
            self.writing = WritingLane(
                desk(model, limits, self.preprocess.length), told=lambda count: tokens.inc(count)
            )
            self.lanes.append(self.writing)
        metrics.watch(name, lambda: self.visits, lambda: sum(self._waiting()), lambda: sum(self._writing()))

    @property
    def reader(self) -> Reader:
        """How a client gives rows; a :class:`Refusal` for kinds that are not served."""
        return reader(self.preprocess)

    @property
    def language(self) -> Continuing:
        """How the texts of a language model are read and written; a :class:`Refusal` if it is none."""
        if self.writing is None or not isinstance(self.preprocess, Continuing):
            raise Refusal(400, "no_language_model", f"Bundle {self.name!r} does not write texts: ask it to predict.")
        return self.preprocess

    async def read(self, make: Callable[[], T]) -> T:
        """``make()``, done by one of the readers, in a copy of the caller's context."""
        context = contextvars.copy_context()
        return await asyncio.get_running_loop().run_in_executor(self.readers, lambda: context.run(make))

    def predicted(self, inputs: Inputs) -> Any:
        """The model's answers to a batch."""
        return answer(self.model, inputs, self.preprocess)

    def embedded(self, inputs: Inputs) -> Tensor:
        """(rows, dim): the mean of the tokens that the model's head is given, of length 1."""
        hidden, layout = cast(Tower, self.model).hidden(**inputs)
        pooled = pool_rows(lambda x: x.mean(1), layout, hidden)
        return torch.nn.functional.normalize(pooled.float(), dim=-1)

    @property
    def together(self) -> int:
        """Rows of a request that are made into one batch: of a language model as many as have ``batch_tokens``."""
        length = self.preprocess.length if isinstance(self.preprocess, Continuing) else 1
        return max(1, min(self.limits.batch_rows, self.limits.batch_tokens // length))

    def check_scores(self, tokens: int) -> None:
        """Raise a :class:`Refusal` if a language model would give more scores for so many tokens than are held."""
        if not isinstance(self.preprocess, Continuing):
            return
        most = max(1, self.limits.scores // self.preprocess.vocab)
        if tokens > most:
            raise Refusal(413, "too_many_tokens", f"Bundle {self.name!r} judges {most:,} ids at a time, these are "
                          f"{tokens:,}. Send them in parts.")  # fmt: skip

    @property
    def embeds(self) -> bool:
        """Does the model make embeddings of texts?"""
        texts = isinstance(self.preprocess, Continuing) or self.preprocess.reads in EMBEDDED
        return texts and isinstance(self.model, Tower)

    def check_embeds(self) -> None:
        """Raise a :class:`Refusal` if the model makes no embeddings of texts."""
        if not self.embeds:
            raise Refusal(400, "no_embeddings", f"Bundle {self.name!r} makes no embeddings of texts.")

    def packed(self, rows: Sequence[Sequence[int]]) -> Inputs:
        """Rows of ids as a model of texts is given them."""
        ids = torch.tensor([i for row in rows for i in row], dtype=torch.int64)
        return {"inputs": ids, "layout": Layout.ragged([len(row) for row in rows])}

    def _waiting(self) -> list[int]:
        return [self.rows.waiting, *([self.writing.waiting] if self.writing else [])]

    def _writing(self) -> list[int]:
        return [self.writing.writing] if self.writing else []


class Visit:
    """A request's hold on a bundle: until it is closed the bundle stays, even if a newer one has taken its name.

    Opened and closed in the event loop only. closed: is called once, after the last.
    """

    def __init__(self, served: Served, closed: Callable[[Served], None]) -> None:
        if served.visits >= served.limits.waiting:
            raise busy(f"{served.visits} requests to {served.name!r} are waiting")
        self.served, self._closed, self._open = served, closed, True
        served.visits += 1

    def close(self) -> None:
        """The request is answered, or given up."""
        if self._open:
            self._open = False
            self.served.visits -= 1
            self._closed(self.served)

    def __enter__(self) -> Served:
        return self.served

    def __exit__(self, *_: object) -> None:
        self.close()
