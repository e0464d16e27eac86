"""The bytes of a SentencePiece model: read what its Python face does not tell, and write one from its pieces.

It is a protobuf message; the few fields needed are read and written here, so that no protobuf package is.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

from kosmos.errors import DataError

# Numbers of fields: ModelProto 1 pieces, 2 trainer_spec, 3 normalizer_spec.
_PIECES, _TRAINER, _NORMALIZER = 1, 2, 3
_PIECE_TEXT, _PIECE_SCORE, _PIECE_TYPE = 1, 2, 3
_UNKNOWN, _CONTROL = 2, 3  # types of pieces; a normal one is 1, the default
_MODEL_TYPE, _UNIGRAM = 3, 1
_VOCAB_SIZE = 4
_NORMALIZER_NAME, _CHARSMAP = 1, 2
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types


def precompiled_charsmap(model: bytes) -> bytes:
    """The normalisation table of a serialized model; empty when it has none. Raises DataError."""
    for number, value in _fields(model):
        if number == _NORMALIZER and isinstance(value, bytes):
            for inner, table in _fields(value):
                if inner == _CHARSMAP and isinstance(table, bytes):
                    return table
    return b""


def unigram_model(pieces: Sequence[tuple[str, float]], charsmap: bytes) -> bytes:
    """A serialized unigram model: `<unk>`, `<s>`, `</s>`, then `pieces` with their scores; nmt_nfkc's `charsmap`."""
    out = bytearray()
    for text, kind in (("<unk>", _UNKNOWN), ("<s>", _CONTROL), ("</s>", _CONTROL)):
        out += _message(_PIECES, _text(text) + _score(0.0) + _number(_PIECE_TYPE, kind))
    for text, score in pieces:
        out += _message(_PIECES, _text(text) + _score(score))
    trainer = _number(_MODEL_TYPE, _UNIGRAM) + _number(_VOCAB_SIZE, len(pieces) + 3)
    out += _message(_TRAINER, trainer)
    out += _message(_NORMALIZER, _message(_NORMALIZER_NAME, b"nmt_nfkc") + _message(_CHARSMAP, charsmap))
    return bytes(out)


def _fields(data: bytes) -> Iterator[tuple[int, bytes | int]]:
    """(number, value) of a message's fields. Raises DataError when it is not one."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            value, at = _varint(data, at)
            yield number, value
            continue
        if wire == _BYTES:
            size, at = _varint(data, at)
        elif wire in (_FIXED64, _FIXED32):
            size = 8 if wire == _FIXED64 else 4
        else:
            raise DataError("not a SentencePiece model: an unknown kind of field")
        if at + size > len(data):
            raise DataError("not a SentencePiece model: it ends in the middle of a field")
        yield number, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 64:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
    raise DataError("not a SentencePiece model: a number has no end")


def _encode_varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _message(number: int, content: bytes) -> bytes:
    return _encode_varint(number << 3 | _BYTES) + _encode_varint(len(content)) + content


def _number(number: int, value: int) -> bytes:
    return _encode_varint(number << 3 | _VARINT) + _encode_varint(value)


def _text(text: str) -> bytes:
    return _message(_PIECE_TEXT, text.encode())


def _score(score: float) -> bytes:
    return _encode_varint(_PIECE_SCORE << 3 | _FIXED32) + struct.pack("<f", score)
