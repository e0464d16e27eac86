"""POST /v1/completions: prompts with pictures by placeholder, continued; echo, log-probabilities, draws, beams."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

from kosmos.inference.generation import Generation
from kosmos.serving.answers import completion_logprobs, new_id, reason, usage
from kosmos.serving.asks import Complete, Finished, Kind, Piece, PromptScored, Started, TokenScore
from kosmos.serving.decoding_form import check_model, decoding_of
from kosmos.serving.refusals import Refusal
from kosmos.serving.schemas import CompletionRequest
from kosmos.serving.service import Service, Ticket

Chunk = dict[str, Any]

# OpenAI's default of this endpoint.
_DEFAULT_TOKENS = 16
# Of the paper's search for a name.
_NAME_BEAMS = 2


class Completions:
    """Answers one request; made for each. Choice c of prompt p has the index p * n + c."""

    def __init__(self, service: Service, form: CompletionRequest, ticket: Ticket) -> None:
        self._service = service
        self._form = form
        self._ticket = ticket
        self._id = new_id("cmpl")
        self._created = int(time.time())
        self._prompts = [form.prompt] if isinstance(form.prompt, str) else form.prompt
        self._only_echo = form.max_tokens == 0
        self._num_choices = form.n or 1
        self._searched = False  # what a search finds is known at its end only, and comes in one piece
        self._scored: dict[int, tuple[TokenScore, ...]] = {}  # by prompt, where it is echoed

    async def submit(self) -> None:
        """Read the pictures and hand the prompts to the engine. Raises Refusal."""
        form, options = self._form, self._service.options
        check_model(form.model, options)
        if self._only_echo and (not form.echo or self._num_choices > 1 or (form.num_beams or 1) > 1):
            raise Refusal(400, "max_tokens is 0, which is for one echo without beams", param="max_tokens")
        if form.best_of is not None and form.best_of != self._num_choices:
            raise Refusal(400, "best_of is not supported: give n, or num_beams", param="best_of")
        if form.names is not None and form.num_beams is None:
            form.num_beams = max(_NAME_BEAMS, self._num_choices)
        decoding = decoding_of(form, form.max_tokens, _DEFAULT_TOKENS, options)
        if (count := len(self._prompts) * self._num_choices) > options.max_choices:
            raise Refusal(400, f"{count} answers in all are over the limit of {options.max_choices}", param="n")
        if form.names is not None:
            self._check_names(form.names)
        if form.logprobs and decoding.num_beams > 1:
            raise Refusal(400, "logprobs: 0 with num_beams, which gives the tokens' own alone", param="logprobs")
        documents = await self._service.prompts.completion(self._prompts, form.images)
        self._searched = decoding.num_beams > 1 or form.names is not None
        kind: Kind = "echo" if self._only_echo else "beams" if self._searched else "decode"
        await self._ticket.ask(
            documents,
            "prompt",
            kind,
            decoding,
            top=form.logprobs,
            echo=bool(form.echo and form.logprobs is not None),
            stream=bool(form.stream),
            names=[f" {name}" for name in form.names or ()],
        )

    def _check_names(self, names: list[str]) -> None:
        most = self._service.options.max_candidates
        if len(names) > most:
            raise Refusal(400, f"{len(names)} names are over the limit of {most}", param="names")
        if len(set(names)) < len(names):
            raise Refusal(400, "names: the same one is there twice", param="names")
        if self._form.temperature or self._only_echo or self._form.stop:
            raise Refusal(
                400, "names: a name is searched for; leave out temperature, stop, max_tokens 0", param="names"
            )

    async def whole(self) -> Chunk:
        """The complete answer. Raises Refusal."""
        choices: dict[int, Chunk] = {}
        count = 0
        async for prompt, event in self._ticket.events():
            if isinstance(event, PromptScored):
                self._scored[prompt] = event.tokens
            elif isinstance(event, Finished):
                count += len(event.generation.token_ids)
                index = self._index(prompt, event.choice)
                choices[index] = self._choice(prompt, event.choice, event.generation, event.tokens)
            elif isinstance(event, Complete) and self._only_echo:
                choices[prompt] = self._choice(prompt, 0, _NOTHING, ())
        used = usage(self._ticket.num_prompt_tokens, count)
        return {**self._head(), "choices": [choice for _, choice in sorted(choices.items())], "usage": used}

    async def chunks(self) -> AsyncIterator[Chunk | None]:
        """None once a prompt was read, then the chunks of the answers. Raises Refusal."""
        count = 0
        begun: set[int] = set()
        async for prompt, event in self._ticket.events():
            if isinstance(event, Started):
                yield None
                continue
            if isinstance(event, PromptScored):
                self._scored[prompt] = event.tokens
            elif isinstance(event, Piece | Finished):
                index = self._index(prompt, event.choice)
                if self._form.echo and index not in begun:
                    yield self._chunk(prompt, event.choice, self._prompts[prompt], self._scored.get(prompt, ()), 0)
                begun.add(index)
                if isinstance(event, Piece):
                    yield self._chunk(prompt, event.choice, event.text, event.tokens, self._offset(prompt))
                    continue
                made = event.generation
                count += len(made.token_ids)
                text = made.text if self._searched else ""
                yield self._chunk(
                    prompt, event.choice, text, event.tokens, self._offset(prompt), reason(made.finish_reason)
                )
            elif isinstance(event, Complete) and self._only_echo:
                yield self._chunk(prompt, 0, self._prompts[prompt], self._scored.get(prompt, ()), 0, "length")
        if self._wants_usage:
            yield {**self._head(), "choices": [], "usage": usage(self._ticket.num_prompt_tokens, count)}

    @property
    def _wants_usage(self) -> bool:
        return bool(self._form.stream_options and self._form.stream_options.include_usage)

    def _index(self, prompt: int, choice: int) -> int:
        return prompt * self._num_choices + choice

    def _offset(self, prompt: int) -> int:
        """Characters of the answer's text before what was generated."""
        return len(self._prompts[prompt]) if self._form.echo else 0

    def _head(self) -> Chunk:
        name = self._service.options.model_name
        return {"id": self._id, "object": "text_completion", "created": self._created, "model": name}

    def _choice(self, prompt: int, choice: int, made: Generation, tokens: tuple[TokenScore, ...]) -> Chunk:
        text, logprobs = made.text, self._logprobs(tokens, self._offset(prompt))
        if self._form.echo:
            text = self._prompts[prompt] + text
            before = self._logprobs(self._scored.get(prompt, ()), 0)
            if before is not None and logprobs is not None:
                logprobs = {key: None if before[key] is None else before[key] + logprobs[key] for key in logprobs}
        return {
            "index": self._index(prompt, choice),
            "text": text,
            "logprobs": logprobs,
            "finish_reason": reason(made.finish_reason),
        }

    def _chunk(
        self,
        prompt: int,
        choice: int,
        text: str,
        tokens: tuple[TokenScore, ...],
        offset: int,
        finish: str | None = None,
    ) -> Chunk:
        logprobs = self._logprobs(tokens, offset) if tokens else None
        made = {"index": self._index(prompt, choice), "text": text, "logprobs": logprobs, "finish_reason": finish}
        return {**self._head(), "choices": [made], **({"usage": None} if self._wants_usage else {})}

    def _logprobs(self, tokens: tuple[TokenScore, ...], offset: int) -> Chunk | None:
        top = self._form.logprobs
        if top is None:
            return None
        return completion_logprobs(self._service.engine.processor.tokenizer, tokens, top, offset)


_NOTHING = Generation("", (), (), "length")
