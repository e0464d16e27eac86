"""POST /v1/score: how probable candidates are as the text that follows a prompt."""

from __future__ import annotations

import math
from typing import Any

from kosmos.inference.generation import Decoding, Score
from kosmos.serving.answers import usage
from kosmos.serving.asks import Scored
from kosmos.serving.decoding_form import check_model
from kosmos.serving.refusals import Refusal
from kosmos.serving.schemas import ScoreRequest
from kosmos.serving.service import Service, Ticket


class Scoring:
    """Answers one request; made for each."""

    def __init__(self, service: Service, form: ScoreRequest, ticket: Ticket) -> None:
        self._service = service
        self._form = form
        self._ticket = ticket

    async def submit(self) -> None:
        """Read the pictures and hand the prompt to the engine. Raises Refusal."""
        form, options = self._form, self._service.options
        check_model(form.model, options)
        if len(form.candidates) > options.max_candidates:
            count = len(form.candidates)
            raise Refusal(400, f"{count} candidates are over the limit of {options.max_candidates}", param="candidates")
        if isinstance(form.prompt, str):
            (document,) = await self._service.prompts.completion([form.prompt], form.images)
        elif form.images is not None:
            raise Refusal(400, "images: only with a prompt that is a string; parts have image_url", param="images")
        else:
            document = await self._service.prompts.parts(form.prompt, "prompt")
        candidates = [f" {text}" if form.space else text for text in form.candidates]
        await self._ticket.ask(
            [document], "prompt", "score", Decoding(1), candidates=candidates, include_end=form.include_end
        )

    async def whole(self) -> dict[str, Any]:
        """The complete answer. Raises Refusal."""
        scores: tuple[Score, ...] = ()
        async for _, event in self._ticket.events():
            if isinstance(event, Scored):
                scores = event.scores
        highest = max(score.sum for score in scores)
        weights = [math.exp(score.sum - highest) for score in scores]
        results = [
            {
                "candidate": text,
                "sum": score.sum,
                "mean": score.mean,
                "num_tokens": score.num_tokens,
                "probability": weight / sum(weights),
            }
            for text, score, weight in zip(self._form.candidates, scores, weights)
        ]
        best = results[weights.index(max(weights))]["candidate"]
        used = usage(self._ticket.num_prompt_tokens, sum(score.num_tokens for score in scores))
        name = self._service.options.model_name
        return {"object": "score", "model": name, "results": results, "best": best, "usage": used}
