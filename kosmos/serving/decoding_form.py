"""From the fields of a request to a Decoding, within the server's limits."""

from __future__ import annotations

import secrets

from kosmos.errors import UsageError
from kosmos.inference.generation import Decoding
from kosmos.serving.options import ServeOptions
from kosmos.serving.refusals import Refusal
from kosmos.serving.schemas import DecodingForm


def decoding_of(
    form: DecodingForm, max_tokens: int | None, default: int, options: ServeOptions, name: str = "max_tokens"
) -> Decoding:
    """What is asked for; `default`: most tokens when the request says nothing; `name`: the field that says it.

    Raises Refusal.
    """
    results, beams = form.n or 1, form.num_beams or 1
    _limit("n", results, options.max_results)
    _limit("num_beams", beams, options.max_beams)
    _limit(name, max_tokens or 0, options.max_new_tokens)
    if form.stream_options is not None and not form.stream:
        raise Refusal(400, "stream_options: only with stream", param="stream_options")
    temperature = form.temperature or 0.0
    seed = form.seed
    if seed is None:
        seed = secrets.randbits(63) if temperature else 0
    stop = (form.stop,) if isinstance(form.stop, str) else tuple(form.stop or ())
    # 0 tokens are asked for with an echo alone, and then nothing is decoded.
    most = min(default, options.max_new_tokens) if max_tokens is None else max(1, max_tokens)
    try:
        return Decoding(
            max_new_tokens=most,
            min_new_tokens=form.min_tokens or 0,
            temperature=temperature,
            top_k=form.top_k or 0,
            top_p=1.0 if form.top_p is None else form.top_p,
            seed=seed,
            stop=stop,
            num_beams=beams,
            length_penalty=1.0 if form.length_penalty is None else form.length_penalty,
            early_stopping=form.early_stopping or False,
            num_results=results,
        )
    except UsageError as error:
        raise Refusal(400, _in_their_words(str(error))) from error


def check_model(name: str | None, options: ServeOptions) -> None:
    """Raises Refusal for another model than the one that is served."""
    if name is not None and name != options.model_name:
        raise Refusal(
            404,
            f"there is no model '{name[:100]}' here; it is called '{options.model_name}'",
            code="model_not_found",
            param="model",
        )


def _limit(name: str, value: int, most: int) -> None:
    if value > most:
        raise Refusal(400, f"{name} is {value}; this server's limit is {most}", param=name)


def _in_their_words(message: str) -> str:
    for ours, theirs in (("num_results", "n"), ("max_new_tokens", "max_tokens"), ("min_new_tokens", "min_tokens")):
        message = message.replace(ours, theirs)
    return message
