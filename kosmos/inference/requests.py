"""Requests in a JSON Lines file: one prompt a line, with its own options where it has any.

    {"prompt": ["Here is a picture:", {"image": "cat.png"}, "An image of"], "id": "7", "temperature": 0.5}

`prompt` is a string or a list of strings and {"image": path}; paths are relative to the file. `id`, which comes back
with the answer, is the line's number where there is none. What other keys there may be depends on the command: the
fields of `Decoding`, or `candidates`.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from kosmos.document import Document, Image, Segment, Text
from kosmos.errors import DataError, KosmosError

Options = TypeVar("Options")


@dataclass(frozen=True)
class Request(Generic[Options]):
    """One line. `where` is its file and number; strings of `parts` are text, paths are pictures."""

    id: Any
    where: str
    parts: tuple[str | Path, ...]
    options: Options

    @property
    def document(self) -> Document:
        """The prompt, made anew each time, so that no picture that was read stays in memory."""
        segments: list[Segment] = [Text(part) if isinstance(part, str) else Image(part) for part in self.parts]
        return Document(*segments)


@dataclass(frozen=True)
class BadRequest:
    """A line that cannot be asked, and why."""

    id: Any
    where: str
    error: str


@dataclass(frozen=True)
class RequestFile(Generic[Options]):
    """The lines of a file in order; `sha256` is that of its bytes."""

    path: Path
    sha256: str
    items: tuple[Request[Options] | BadRequest, ...]


def key_of(identity: Any) -> str:
    """What tells one id from another: 1, 1.0, "1" and true are four."""
    return json.dumps(identity, sort_keys=True)


def read_requests(path: Path, options: Callable[[dict[str, Any]], Options]) -> RequestFile[Options]:
    """All lines of a file but the empty ones; `options` makes a line's own from the keys that are left.

    A bad line is an item too. Raises DataError when the file cannot be read or holds nothing but bad lines, and when
    two lines have the same id: their answers could not be told apart.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot read the prompts: {error.strerror or error}") from error
    items: list[Request[Options] | BadRequest] = []
    places: dict[str, str] = {}
    for number, line in enumerate(data.split(b"\n"), start=1):
        if not line.strip():
            continue
        item = _parse(line, number, f"{path}:{number}", path.parent, options)
        earlier = places.setdefault(key_of(item.id), item.where)
        if earlier != item.where:
            raise DataError(f"{item.where}: the id {key_of(item.id)} is that of {earlier} too; ids must differ")
        items.append(item)
    if not items:
        raise DataError(f'{path}: no prompts in it; each line is like {{"prompt": ["An image of"]}}')
    if all(isinstance(item, BadRequest) for item in items):
        first = next(item for item in items if isinstance(item, BadRequest))
        raise DataError(f"{path}: no line of it can be asked; the first: {first.where}: {first.error}")
    return RequestFile(path, hashlib.sha256(data).hexdigest(), tuple(items))


def candidates_of(fields: dict[str, Any], default: Sequence[str] = ()) -> tuple[str, ...]:
    """The options of a line that is to be scored: its `candidates`, or else the given ones."""
    if unknown := next((name for name in fields if name != "candidates"), None):
        raise DataError(f"unknown key '{unknown}'; there are: prompt, id, candidates")
    found = fields.get("candidates", list(default))
    if not isinstance(found, list) or not all(isinstance(text, str) and text.strip() for text in found):
        raise DataError('"candidates" is a list of strings that are not empty')
    if not found:
        raise DataError('there are no candidates: the line needs "candidates", or the command a list for all')
    return tuple(found)


def read_texts(path: Path, kind: str) -> list[str]:
    """The lines of a file without white space around them, empty ones left out. Raises DataError."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{path}: cannot read the {kind}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not a text file in UTF-8; {kind} are one a line") from error
    found = [line.strip() for line in text.split("\n") if line.strip()]
    if not found:
        raise DataError(f"{path}: no {kind} in it; write one a line")
    return found


def _parse(
    data: bytes, number: int, where: str, folder: Path, options: Callable[[dict[str, Any]], Options]
) -> Request[Options] | BadRequest:
    identity: Any = number
    try:
        fields = json.loads(data.decode("utf-8-sig" if number == 1 else "utf-8"))
        if not isinstance(fields, dict):
            raise DataError('a line is an object, like {"prompt": ["An image of"]}')
        identity = fields.pop("id", number)
        if "prompt" not in fields:
            others = f"; its keys are: {', '.join(fields)}"[:80] if fields else ""
            raise DataError(f'there is no "prompt" in the line{others}')
        prompt = fields.pop("prompt")
        parts: Sequence[Any] = [prompt] if isinstance(prompt, str) else prompt
        if not isinstance(parts, list):
            raise DataError('"prompt" is a string, or a list of strings and {"image": path}')
        return Request(identity, where, tuple(_part(part, folder) for part in parts), options(fields))
    except json.JSONDecodeError as error:
        return BadRequest(identity, where, f"not JSON: {error.msg} at column {error.colno}")
    except UnicodeDecodeError:
        return BadRequest(identity, where, "not text in UTF-8")
    except RecursionError:
        return BadRequest(identity, where, "not JSON: nested too deeply")
    except KosmosError as error:
        return BadRequest(identity, where, str(error))


def _part(part: Any, folder: Path) -> str | Path:
    if isinstance(part, str):
        return part
    if not isinstance(part, dict) or list(part) != ["image"] or not isinstance(part["image"], str):
        raise DataError(f'a part of a prompt is a string or {{"image": path}}, not {json.dumps(part)[:80]}')
    path = folder / part["image"]
    if not os.path.isfile(path):  # said now, before hours of work on the lines above
        raise DataError(f"{path}: no such picture")
    return path
