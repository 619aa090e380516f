"""Texts written by language models, in OpenAI's interface: completions and replies."""

import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, ClassVar

from fastapi import APIRouter
from starlette.responses import Response

from variorum.runtime.serve.answered import Chatted, Completed
from variorum.runtime.serve.asked import Chat, Completion, Written
from variorum.runtime.serve.errors import ERRORS, EVENTS
from variorum.runtime.serve.events import Events
from variorum.runtime.serve.manuscript import Manuscript, prompts_of
from variorum.runtime.serve.refusal import reply
from variorum.runtime.serve.shelf import Shelf

USUAL = 16
"""New ids of a completion that does not say how many, as in OpenAI's interface."""


@dataclass
class Sheet:
    """How a manuscript is told: the objects of completions."""

    prefix: ClassVar[str] = "cmpl"
    whole: ClassVar[str] = "text_completion"
    part: ClassVar[str] = "text_completion"

    def choice(self, index: int, text: str, ended: str) -> dict[str, Any]:
        """A text, whole."""
        return {"index": index, "text": text, "logprobs": None, "finish_reason": ended}

    def piece(self, index: int, text: str, ended: str | None) -> dict[str, Any]:
        """A piece of a text."""
        return {"index": index, "text": text, "logprobs": None, "finish_reason": ended}


@dataclass
class ChatSheet:
    """How a manuscript is told: the objects of dialogues."""

    prefix: ClassVar[str] = "chatcmpl"
    whole: ClassVar[str] = "chat.completion"
    part: ClassVar[str] = "chat.completion.chunk"

    def choice(self, index: int, text: str, ended: str) -> dict[str, Any]:
        """A reply, whole."""
        message = {"role": "assistant", "content": text, "refusal": None}
        return {"index": index, "message": message, "logprobs": None, "finish_reason": ended}

    def piece(self, index: int, text: str, ended: str | None) -> dict[str, Any]:
        """A piece of a reply."""
        delta = {"role": "assistant", "content": text}
        return {"index": index, "delta": delta, "logprobs": None, "finish_reason": ended}


def texts(shelf: Shelf) -> APIRouter:
    """The routes, for the bundles of a shelf."""
    router = APIRouter(tags=["texts"])

    @router.post("/v1/completions", response_model=Completed, responses={**ERRORS, **EVENTS})
    async def complete(asked: Completion) -> Response:
        """Write texts on."""
        visit = shelf.visit(asked.model)
        try:
            prompts = await visit.served.read(lambda: prompts_of(visit.served, asked.prompt, most=shelf.limits.texts))
            script = Manuscript(shelf, visit, prompts, asked, most=asked.max_tokens, usual=USUAL, stops=asked.stops)
        except BaseException:
            visit.close()
            raise
        return await _told(script, asked, Sheet(), echo=bool(asked.echo))

    @router.post("/v1/chat/completions", response_model=Chatted, responses={**ERRORS, **EVENTS})
    async def chat(asked: Chat) -> Response:
        """Reply to a dialogue, which is written down as one text in the way that the bundle knows."""
        visit = shelf.visit(asked.model)
        try:
            turns = visit.served.language.turns
            text = turns.text([(message.role, message.text) for message in asked.messages])
            prompts = await visit.served.read(lambda: prompts_of(visit.served, text, most=1))
            most = asked.max_completion_tokens or asked.max_tokens
            stops = (*asked.stops, *turns.ends)
            script = Manuscript(shelf, visit, prompts, asked, most=most, usual=None, stops=stops)
        except BaseException:
            visit.close()
            raise
        return await _told(script, asked, ChatSheet(), echo=False)

    return router


async def _told(script: Manuscript, asked: Written, sheet: Sheet | ChatSheet, *, echo: bool) -> Response:
    """The manuscript as one answer, or piece by piece."""
    head = {"id": f"{sheet.prefix}-{secrets.token_hex(12)}", "object": sheet.whole, "created": int(time.time()),
            "model": script.served.name}  # fmt: skip
    begun = [prompt.text if echo else "" for prompt in script.prompts]
    if asked.stream:
        usage = asked.stream_options is not None and asked.stream_options.include_usage
        return Events(_pieces(script, {**head, "object": sheet.part}, sheet, begun, usage=usage), script.close)
    try:
        texts, ended, tokens = begun, [""] * len(begun), 0
        async for news in script.news():
            texts[news.place] += news.text
            tokens += news.tokens
            ended[news.place] = news.ended or ""
        choices = [sheet.choice(i, text, why) for i, (text, why) in enumerate(zip(texts, ended, strict=True))]
        return reply({**head, "choices": choices, "usage": _usage(script, tokens)})
    finally:
        script.close()


async def _pieces(
    script: Manuscript, head: dict[str, Any], sheet: Sheet | ChatSheet, begun: list[str], *, usage: bool
) -> AsyncIterator[dict[str, Any]]:
    tokens = 0
    for index, text in enumerate(begun):
        if text:
            yield {**head, "choices": [sheet.piece(index, text, None)]}
    async for news in script.news():
        tokens += news.tokens
        if news.text or news.ended:
            yield {**head, "choices": [sheet.piece(news.place, news.text, news.ended)]}
    if usage:
        yield {**head, "choices": [], "usage": _usage(script, tokens)}


def _usage(script: Manuscript, tokens: int) -> dict[str, int]:
    asked = script.prompt_tokens
    return {"prompt_tokens": asked, "completion_tokens": tokens, "total_tokens": asked + tokens}
