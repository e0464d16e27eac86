"""JSON of strangers: small texts that would grow, never end, or mean two things are refused before they are parsed.

`[[[...` overflows a stack, 30 MB of `{},{},` become gigabytes of dictionaries, a number of a million digits takes
minutes, `NaN` is no JSON, a key given twice is read differently by whoever checks and whoever obeys, and half a
surrogate pair cannot be encoded again.
"""

from __future__ import annotations

import json
import re
from typing import Any

from kosmos.serving.refusals import Refusal

MAX_DEPTH = 32
MAX_SIGNS = 40_000  # brackets, commas and colons outside strings: 256 parts take about 3,000
_MAX_QUOTES = 1_000_000  # and backslashes: each takes the scan a step, and a prompt that a model can read has fewer
_LONGEST_NUMBER = 40
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_NOT_SIGNS = bytes(code for code in range(256) if code not in b"[]{},:")
_NUMBER = re.compile(rb"[-+0-9.eE]{%d,}" % (_LONGEST_NUMBER + 1))
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_NULL = re.compile(rb"\\u0000")


def parse_json(body: bytes) -> Any:
    """The value of a JSON text in UTF-8. Raises Refusal (400) for what is none, or is built to harm."""
    if body.count(b'"') + body.count(b"\\") > _MAX_QUOTES:
        raise _refusal("too many quotes and backslashes in one request", "json_too_large")
    outside = _STRING.sub(b"", body)
    signs = outside.translate(None, _NOT_SIGNS)
    if len(signs) > MAX_SIGNS:
        raise _refusal("too many values in one request", "json_too_large")
    if _depth(signs) > MAX_DEPTH:
        raise _refusal(f"nested deeper than {MAX_DEPTH} levels", "json_too_deep")
    if _NUMBER.search(outside):
        raise _refusal(f"a number of more than {_LONGEST_NUMBER} characters", "json_number_too_long")
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _refusal(f"byte {error.start} is not UTF-8", "invalid_utf8") from error
    try:
        value = json.loads(text, parse_constant=_no_constant, parse_float=_finite, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise _refusal(str(error)[:200], "invalid_json") from error
    if _SURROGATE.search(body) or _NULL.search(body):
        _check_strings(value)
    return value


def _depth(signs: bytes) -> int:
    deepest = depth = 0
    for sign in signs:
        if sign in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif sign in b"]}":
            depth -= 1
    return deepest


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _finite(digits: str) -> float:
    value = float(digits)
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"the number {digits} is too large")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("an object gives one key twice")
    return found


def _check_strings(value: Any) -> None:
    """Refuse half surrogate pairs and the null character, in keys and values."""
    if isinstance(value, str):
        if "\0" in value:
            raise _refusal("a null character in a string", "invalid_text")
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise _refusal("half of a surrogate pair in a string", "invalid_text") from error
    elif isinstance(value, list):
        for one in value:
            _check_strings(one)
    elif isinstance(value, dict):
        for key, one in value.items():
            _check_strings(key)
            _check_strings(one)


def _refusal(reason: str, code: str) -> Refusal:
    return Refusal(400, f"the body is not usable JSON: {reason}", code=code)
