"""What is wrong with a request's fields, as one line in plain words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi.exceptions import RequestValidationError

from kosmos.errors import nearest
from kosmos.serving.refusals import Refusal
from kosmos.serving.schemas import REQUESTS

_FIELDS = frozenset(name for form in REQUESTS for name in form.model_fields)
_KINDS = ("text", "image_url")

# Accepted at their neutral value only, which is what a request without them has.
NEUTRAL_ONLY = (
    ("frequency_penalty",),
    ("presence_penalty",),
    ("logit_bias",),
    ("response_format",),
    ("tools",),
    ("store",),
    ("suffix",),
    ("stream_options", "include_obfuscation"),
)

# Pydantic's kinds of errors. The wrong types first: those of a field's alternatives are told together.
_TYPES = {
    "string_type": "a string",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
    "literal_error": "{expected}",
}
_WORDS = {
    "missing": "missing; it is required",
    "too_short": "it must have at least {min_length} item{s}",
    "too_long": "it may have at most {max_length} item{s}",
    "string_too_short": "it must have at least {min_length} character{s}",
    "string_too_long": "it may have at most {max_length} character{s}",
    "greater_than": "it must be above {gt}",
    "greater_than_equal": "it must be at least {ge}",
    "less_than": "it must be below {lt}",
    "less_than_equal": "it must be at most {le}",
    "finite_number": "it must be a finite number",
    "union_tag_invalid": "its type must be one of {expected_tags}",
    "union_tag_not_found": f"its type is missing; it must be one of {', '.join(map(repr, _KINDS))}",
}


def as_refusal(error: RequestValidationError) -> Refusal:
    """The first thing that is wrong; of the alternatives of a field that all fail, the one that came farthest."""
    errors = error.errors()
    # A wrong type says less than a wrong value: the other alternative was meant then.
    first = max(errors, key=lambda item: (len(_path(item["loc"])), not item["type"].endswith("_type")))
    path = _path(first["loc"])
    where = _written(path)
    neutral = next((field for field in NEUTRAL_ONLY if tuple(path[: len(field)]) == field), None)
    if neutral:
        where = _written(neutral)
        message = "not supported by this server; leave it out"
    elif first["type"] == "extra_forbidden":
        unknown = str(first["loc"][-1])[:100]
        where = f"{where}.{unknown}" if where else unknown
        message = f"unknown field{nearest(unknown, _FIELDS)}"
    else:
        message = _in_words(first, [item for item in errors if _path(item["loc"]) == path])
    return Refusal(400, f"{where or 'the body'}: {message}", param=where or None)


def _in_words(first: Mapping[str, Any], alternatives: Sequence[Mapping[str, Any]]) -> str:
    """What an error of pydantic says, with the other types that the field may have."""
    kind = first["type"]
    if kind in _TYPES:
        types = (_TYPES[a["type"]].format_map(a.get("ctx", {})) for a in alternatives if a["type"] in _TYPES)
        wanted = " or ".join(dict.fromkeys(types))
        # The names in an object are the client's, so they are no part of the path.
        free = first["loc"][1:2] == ("metadata",) and len(first["loc"]) > 2
        return f"each of its values must be {wanted}" if free else f"it must be {wanted}"
    if kind not in _WORDS:
        return str(first["msg"])
    limits = {
        name: int(value) if isinstance(value, float) and value.is_integer() else value
        for name, value in first.get("ctx", {}).items()
    }
    one = 1 in (limits.get("min_length"), limits.get("max_length"))
    return _WORDS[kind].format_map({**limits, "s": "" if one else "s"})


def _path(location: Sequence[Any]) -> list[str | int]:
    """Known fields and indices; the names of a union's alternatives, which pydantic puts between them, are left out."""
    steps = [step for step in location[1:] if isinstance(step, int) or step in _FIELDS]
    # The kind of a part, which pydantic names behind the part's index.
    return [s for i, s in enumerate(steps) if not (s in _KINDS and i and isinstance(steps[i - 1], int))]


def _written(path: Sequence[str | int]) -> str:
    """`messages[0].content`."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text
