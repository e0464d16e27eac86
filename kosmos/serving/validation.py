"""What is wrong with a request's fields, as one line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi.exceptions import RequestValidationError

from kosmos.errors import nearest
from kosmos.serving.refusals import Refusal
from kosmos.serving.schemas import REQUESTS

_FIELDS = frozenset(name for form in REQUESTS for name in form.model_fields)
_KINDS = ("text", "image_url")


def as_refusal(error: RequestValidationError) -> Refusal:
    """The first thing that is wrong; of the alternatives of a field that all fail, the one that came farthest."""
    # A wrong type says less than a wrong value: the other alternative was meant then.
    first = max(error.errors(), key=lambda item: (len(_path(item["loc"])), not item["type"].endswith("_type")))
    path = _path(first["loc"])
    where = _written(path)
    if first["type"] == "extra_forbidden":
        unknown = str(first["loc"][-1])[:100]
        where = f"{where}.{unknown}" if where else unknown
        message = f"unknown field{nearest(unknown, _FIELDS)}"
    else:
        message = str(first["msg"])
    return Refusal(400, f"{where}: {message}" if where else message, param=where or None)


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
