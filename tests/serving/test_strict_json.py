from __future__ import annotations

import json
import time

import pytest

from kosmos.serving.refusals import Refusal
from kosmos.serving.strict_json import MAX_DEPTH, MAX_SIGNS, parse_json


def refused(body: bytes) -> str | None:
    with pytest.raises(Refusal) as caught:
        parse_json(body)
    assert caught.value.status == 400
    return caught.value.code


def test_what_json_is() -> None:
    value = {"a": [1, -2.5e3, True, None, 'x"\\{[,:\n', "猫🐱", "\u001f"], "": {}}
    assert parse_json(json.dumps(value).encode()) == value
    assert parse_json(json.dumps(value, ensure_ascii=False).encode()) == value
    assert parse_json(b' {"a" :\t1}\r\n') == {"a": 1}


@pytest.mark.parametrize(
    "body, code",
    [
        (b"", "invalid_json"),
        (b"{", "invalid_json"),
        (b'{"a":1}x', "invalid_json"),
        (b"{'a':1}", "invalid_json"),
        (b'{"a":NaN}', "invalid_json"),
        (b"[Infinity]", "invalid_json"),
        (b"[-Infinity]", "invalid_json"),
        (b"[1e999]", "invalid_json"),
        (b'{"a":1,"a":2}', "invalid_json"),
        (b'{"a":1,"\\u0061":2}', "invalid_json"),
        (b'"\xff"', "invalid_utf8"),
        (b'"\xed\xa0\x80"', "invalid_utf8"),
        ('"é"'.encode("utf-16"), "invalid_utf8"),
        (b'\xef\xbb\xbf"a"', "invalid_json"),
        (b'"a\0b"', "invalid_json"),
        (b'"a\\u0000b"', "invalid_text"),
        (b'{"\\u0000":1}', "invalid_text"),
        (b'"\\ud83d"', "invalid_text"),
        (b'["\\udc00\\ud800"]', "invalid_text"),
        (b"[" + b"9" * 41 + b"]", "json_number_too_long"),
        (b"[0." + b"9" * 1_000_000 + b"]", "json_number_too_long"),
        (b"[" * 33 + b"]" * 33, "json_too_deep"),
        (b'{"a":' * 33 + b"1" + b"}" * 33, "json_too_deep"),
        (b"[" * 10_000_000, "json_too_large"),
        (b"[" + b"{}," * 5_000_000 + b"{}]", "json_too_large"),
    ],
)
def test_what_harms(body: bytes, code: str) -> None:
    assert refused(body) == code


def test_pairs_of_surrogates_are_characters() -> None:
    assert parse_json(b'"\\ud83d\\udc31"') == "🐱"
    assert parse_json(b'"\\\\ud83d and \\\\u0000"') == "\\ud83d and \\u0000"


def test_up_to_the_limits() -> None:
    assert parse_json(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)
    assert len(parse_json(b"[" + b"0," * (MAX_SIGNS - 2) + b"0]")) == MAX_SIGNS - 1
    assert parse_json(json.dumps("[{,:" * MAX_SIGNS).encode()) == "[{,:" * MAX_SIGNS  # inside a string they are text


def test_thirty_megabytes_of_anything_take_little_time() -> None:
    size = 30 << 20
    for body in (b'{"a":"' + b"A" * size + b'"}', b'"' * size, b" " * size, b'"' + b"\\" * size, b"\\" * size):
        start = time.process_time()
        try:
            parse_json(body)
        except Refusal as refusal:
            assert refusal.status == 400
        assert time.process_time() - start < 1.5  # of this process, however busy the machine
