"""POST /v1/chat/completions: turns with text and pictures, answered whole or in pieces."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

from kosmos.inference.generation import Generation
from kosmos.serving.answers import chat_logprobs, new_id, reason, usage
from kosmos.serving.asks import Finished, Kind, Piece, Started, TokenScore
from kosmos.serving.decoding_form import check_model, decoding_of
from kosmos.serving.refusals import Refusal
from kosmos.serving.schemas import ChatRequest
from kosmos.serving.service import Service, Ticket

Chunk = dict[str, Any]


class ChatCompletions:
    """Answers one request; made for each."""

    def __init__(self, service: Service, form: ChatRequest, ticket: Ticket) -> None:
        self._service = service
        self._form = form
        self._ticket = ticket
        self._id = new_id("chatcmpl")
        self._created = int(time.time())
        self._logprobs = bool(form.logprobs)

    async def submit(self) -> None:
        """Read the pictures and hand the prompt to the engine. Raises Refusal."""
        form, options = self._form, self._service.options
        check_model(form.model, options)
        if form.top_logprobs and not form.logprobs:
            raise Refusal(400, "top_logprobs: only with logprobs", param="top_logprobs")
        if form.max_tokens == 0:
            raise Refusal(400, "max_tokens is 0; it must be at least 1", param="max_tokens")
        newer = form.max_completion_tokens is not None
        most, name = (form.max_completion_tokens, "max_completion_tokens") if newer else (form.max_tokens, "max_tokens")
        decoding = decoding_of(form, most, options.max_new_tokens, options, name)
        top = (form.top_logprobs or 0) if self._logprobs else None
        if top and decoding.num_beams > 1:
            raise Refusal(400, "top_logprobs: not with num_beams, only logprobs", param="top_logprobs")
        document = await self._service.prompts.chat(form.messages)
        kind: Kind = "beams" if decoding.num_beams > 1 else "decode"
        await self._ticket.ask([document], "messages", kind, decoding, top=top, stream=bool(form.stream))

    async def whole(self) -> Chunk:
        """The complete answer. Raises Refusal."""
        made: dict[int, tuple[Generation, tuple[TokenScore, ...]]] = {}
        async for _, event in self._ticket.events():
            if isinstance(event, Finished):
                made[event.choice] = event.generation, event.tokens
        choices = [
            {
                "index": index,
                "message": {"role": "assistant", "content": generation.text, "refusal": None},
                "logprobs": self._of(tokens),
                "finish_reason": reason(generation.finish_reason),
            }
            for index, (generation, tokens) in sorted(made.items())
        ]
        count = sum(len(generation.token_ids) for generation, _ in made.values())
        body = {"id": self._id, "object": "chat.completion", "created": self._created}
        used = usage(self._ticket.num_prompt_tokens, count)
        return {**body, "model": self._service.options.model_name, "choices": choices, "usage": used}

    async def chunks(self) -> AsyncIterator[Chunk | None]:
        """None once the prompt was read, then the chunks of the answer. Raises Refusal."""
        count = 0
        begun: set[int] = set()
        async for _, event in self._ticket.events():
            if isinstance(event, Started):
                yield None
            elif isinstance(event, Piece | Finished):
                if event.choice not in begun:
                    begun.add(event.choice)
                    yield self._chunk(event.choice, {"role": "assistant", "content": "", "refusal": None})
                if isinstance(event, Piece):
                    yield self._chunk(event.choice, {"content": event.text}, event.tokens)
                    continue
                count += len(event.generation.token_ids)
                if self._form.num_beams and self._form.num_beams > 1:  # known at the end only, so in one piece
                    yield self._chunk(event.choice, {"content": event.generation.text}, event.tokens)
                elif event.tokens:
                    yield self._chunk(event.choice, {"content": ""}, event.tokens)
                yield self._chunk(event.choice, {}, (), reason(event.generation.finish_reason))
        if self._wants_usage:
            yield {**self._head(), "choices": [], "usage": usage(self._ticket.num_prompt_tokens, count)}

    @property
    def _wants_usage(self) -> bool:
        return bool(self._form.stream_options and self._form.stream_options.include_usage)

    def _head(self) -> Chunk:
        name = self._service.options.model_name
        return {"id": self._id, "object": "chat.completion.chunk", "created": self._created, "model": name}

    def _chunk(self, index: int, delta: Chunk, tokens: tuple[TokenScore, ...] = (), finish: str | None = None) -> Chunk:
        logprobs = self._of(tokens) if tokens else None
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
        return {**self._head(), "choices": [choice], **({"usage": None} if self._wants_usage else {})}

    def _of(self, tokens: tuple[TokenScore, ...]) -> Chunk | None:
        return chat_logprobs(self._service.engine.processor.tokenizer, tokens) if self._logprobs else None
