"""Requests in a JSON Lines file: one prompt a line, with its own options where it has any.

    {"prompt": ["Here is a picture:", {"image": "cat.png"}, "An image of"], "id": "7", "temperature": 0.5}

`prompt` is a string or a list of strings and {"image": path}; paths are relative to the file. Other keys are `id`,
which comes back with the answer, and the fields of `Decoding`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kosmos.document import Document, Image, Segment, Text
from kosmos.errors import DataError, KosmosError
from kosmos.inference.generation import Decoding, Generation


@dataclass(frozen=True)
class Request:
    """One line: `id` is the line's own, or its number counted from 1."""

    id: Any
    document: Document
    decoding: Decoding


def read_requests(path: Path, defaults: Decoding) -> list[Request]:
    """All requests of a file; empty lines are passed over. Raises DataError that names the file and the line."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise DataError(f"{path}: cannot read the prompts: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not a text file in UTF-8") from error
    requests = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            requests.append(_parse(line, number, path.parent, defaults))
        except json.JSONDecodeError as error:
            raise DataError(f"{path}:{number}: not JSON: {error.msg} at column {error.colno}") from error
        except KosmosError as error:
            raise DataError(f"{path}:{number}: {error}") from error
    if not requests:
        raise DataError(f'{path}: no prompts in it; each line is like {{"prompt": ["An image of"]}}')
    return requests


def answer_line(request: Request, generation: Generation) -> str:
    """One line of the answer file, newline included."""
    return json.dumps({"id": request.id, **asdict(generation)}, ensure_ascii=False) + "\n"


def _parse(line: str, number: int, folder: Path, defaults: Decoding) -> Request:
    fields = json.loads(line)
    if not isinstance(fields, dict) or "prompt" not in fields:
        raise DataError('a line is an object with "prompt"')
    prompt = fields.pop("prompt")
    identity = fields.pop("id", number)
    parts: Sequence[Any] = [prompt] if isinstance(prompt, str) else prompt
    if not isinstance(parts, list):
        raise DataError('"prompt" is a string, or a list of strings and {"image": path}')
    document = Document(*(_segment(part, folder) for part in parts))
    return Request(identity, document, Decoding.from_fields(fields, defaults))


def _segment(part: Any, folder: Path) -> Segment:
    if isinstance(part, str):
        return Text(part)
    if not isinstance(part, dict) or list(part) != ["image"] or not isinstance(part["image"], str):
        raise DataError(f'a part of a prompt is a string or {{"image": path}}, not {json.dumps(part)[:80]}')
    path = folder / part["image"]
    if not path.is_file():  # said now, before hours of work on the lines above
        raise DataError(f"{path}: no such picture")
    return Image(path)
