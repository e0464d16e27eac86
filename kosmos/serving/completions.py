"""POST /v1/completions: prompts with pictures by placeholder, continued; echo, log-probabilities, draws, beams."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

from kosmos.inference.generation import Generation
from kosmos.serving.answers import completion_logprobs, new_id, reason, usage
from kosmos.serving.asks import Complete, Finished, Kind, Piece, PromptScored, Started, TokenScore
from kosmos.serving.decoding_form import check_model, decoding_of
from kosmos.serving.prompts import PLACEHOLDER
from kosmos.serving.refusals import Refusal
from kosmos.serving.schemas import CompletionRequest
from kosmos.serving.service import Service, Ticket
from kosmos.serving.text_places import text_places
from kosmos.serving.token_text import token_text

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
                self._scored[prompt] = self._placed(prompt, event.tokens)
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
                self._scored[prompt] = self._placed(prompt, event.tokens)
            elif isinstance(event, Piece | Finished):
                index = self._index(prompt, event.choice)
                before = self._before(
                    prompt, event.first if isinstance(event, Piece) else event.generation.token_ids[0]
                )
                if self._form.echo and index not in begun:
                    yield self._chunk(prompt, event.choice, before, self._scored.get(prompt, ()), 0)
                begun.add(index)
                if isinstance(event, Piece):
                    yield self._chunk(prompt, event.choice, event.text, event.tokens, len(before))
                    continue
                made = event.generation
                count += len(made.token_ids)
                text = made.text if self._searched else ""
                yield self._chunk(prompt, event.choice, text, event.tokens, len(before), reason(made.finish_reason))
            elif isinstance(event, Complete) and self._only_echo:
                yield self._chunk(prompt, 0, self._prompts[prompt], self._scored.get(prompt, ()), 0, "length")
        if self._wants_usage:
            yield {**self._head(), "choices": [], "usage": usage(self._ticket.num_prompt_tokens, count)}

    @property
    def _wants_usage(self) -> bool:
        return bool(self._form.stream_options and self._form.stream_options.include_usage)

    def _index(self, prompt: int, choice: int) -> int:
        return prompt * self._num_choices + choice

    def _before(self, prompt: int, first: int | None) -> str:
        """What stands before an answer's text when its prompt is echoed; `first`: its first token, if it has one."""
        if not self._form.echo:
            return ""
        text = self._prompts[prompt]
        new_word = first is not None and token_text(self._service.engine.processor.tokenizer, first).startswith(" ")
        return text + " " if new_word and text and not text[-1].isspace() else text

    def _placed(self, prompt: int, tokens: tuple[TokenScore, ...]) -> tuple[TokenScore, ...]:
        """The prompt's tokens with their places in its text. `<s>` and those of pictures are not in it."""
        tokenizer = self._service.engine.processor.tokenizer
        texts = [None if token.log_prob is None else token_text(tokenizer, token.token_id) for token in tokens]
        places = text_places(self._prompts[prompt], texts, PLACEHOLDER if self._form.images else "")
        return tuple(replace(token, start=place) for token, place in zip(tokens, places))

    def _head(self) -> Chunk:
        name = self._service.options.model_name
        return {"id": self._id, "object": "text_completion", "created": self._created, "model": name}

    def _choice(self, prompt: int, choice: int, made: Generation, tokens: tuple[TokenScore, ...]) -> Chunk:
        before = self._before(prompt, made.token_ids[0] if made.token_ids else None)
        text, logprobs = before + made.text, self._logprobs(tokens, len(before))
        if self._form.echo:
            echoed = self._logprobs(self._scored.get(prompt, ()), 0)
            if echoed is not None and logprobs is not None:
                logprobs = {key: None if echoed[key] is None else echoed[key] + logprobs[key] for key in logprobs}
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
