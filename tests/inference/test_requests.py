from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Pillow

from kosmos.document import Document, Image
from kosmos.errors import DataError
from kosmos.inference.generation import Decoding
from kosmos.inference.requests import BadRequest, Request, candidates_of, key_of, read_requests, read_texts

DEFAULTS = Decoding(max_new_tokens=5)


def decoding(fields: dict[str, Any]) -> Decoding:
    return Decoding.from_fields(fields, DEFAULTS)


def write(folder: Path, *lines: str) -> Path:
    file = folder / "prompts.jsonl"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def test_prompts_of_every_form(tmp_path: Path) -> None:
    Pillow.new("RGB", (4, 4), "red").save(tmp_path / "cat.png")
    file = write(
        tmp_path,
        '{"prompt": "An image"}',
        "",
        '{"prompt": ["This is", {"image": "cat.png"}, "a"], "id": "k", "temperature": 1, "seed": 4}',
        '{"prompt": [], "stop": ["."]}',
        '{"prompt": "a\u2028b", "num_beams": 3, "early_stopping": "never"}',  # a line's end for str.splitlines
    )
    read = read_requests(file, decoding)
    made = [item for item in read.items if isinstance(item, Request)]
    assert len(made) == len(read.items) == 4
    assert read.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert [request.id for request in made] == [1, "k", 4, 5]
    assert [request.where.rpartition(":")[2] for request in made] == ["1", "3", "4", "5"]
    assert [request.document for request in made] == [
        Document("An image"),
        Document("This is", Image(tmp_path / "cat.png"), "a"),
        Document(),
        Document("a\u2028b"),
    ]
    assert [request.options for request in made] == [
        DEFAULTS,
        Decoding(5, temperature=1.0, seed=4),
        Decoding(5, stop=(".",)),
        Decoding(5, num_beams=3, early_stopping="never"),
    ]


def test_no_picture_stays_in_memory(tmp_path: Path) -> None:
    Pillow.new("RGB", (4, 4), "red").save(tmp_path / "cat.png")
    (request,) = read_requests(write(tmp_path, '{"prompt": [{"image": "cat.png"}]}'), decoding).items
    assert isinstance(request, Request)
    assert request.document.images[0].data
    assert "data" not in vars(request.document.images[0])


@pytest.mark.parametrize(
    ("line", "identity", "message"),
    [
        ("{", 2, "not JSON: Expecting property name enclosed in double quotes at column 2"),
        ("[" * 100_000, 2, "not JSON: nested too deeply"),
        ("[1]", 2, 'a line is an object, like {"prompt": ["An image of"]}'),
        ("{}", 2, 'there is no "prompt" in the line'),
        ('{"promt": "a", "id": "b", "seed": 1}', "b", 'there is no "prompt" in the line; its keys are: promt, seed'),
        ('{"id": "b", "prompt": 3}', "b", '"prompt" is a string, or a list of strings and {"image": path}'),
        ('{"prompt": [{"picture": "cat.png"}]}', 2, 'or {"image": path}, not {"picture": "cat.png"}'),
        ('{"prompt": [{"image": "cat.png"}]}', 2, "cat.png: no such picture"),
        ('{"prompt": [{"image": "a\\u0000b"}]}', 2, ": no such picture"),
        (f'{{"prompt": [{{"image": "{"x" * 5000}"}}]}}', 2, ": no such picture"),
        ('{"prompt": "a", "temprature": 1}', 2, "unknown option 'temprature' (did you mean 'temperature'?)"),
        ('{"prompt": "a", "top_p": 2}', 2, "top_p is 2.0"),
    ],
)
def test_a_bad_line_is_an_item(tmp_path: Path, line: str, identity: Any, message: str) -> None:
    good, bad = read_requests(write(tmp_path, '{"prompt": "a"}', line), decoding).items
    assert isinstance(good, Request) and isinstance(bad, BadRequest)
    assert (bad.id, bad.where) == (identity, f"{tmp_path / 'prompts.jsonl'}:2")
    assert message in bad.error


def test_a_line_that_is_no_text(tmp_path: Path) -> None:
    file = tmp_path / "prompts.jsonl"
    file.write_bytes(b'\xef\xbb\xbf{"prompt": "with a byte order mark"}\r\n{"prompt": "\xff"}\r\n')
    good, bad = read_requests(file, decoding).items
    assert isinstance(good, Request) and good.parts == ("with a byte order mark",)
    assert isinstance(bad, BadRequest) and bad.error == "not text in UTF-8"


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere.jsonl: cannot read the prompts: No such file"):
        read_requests(tmp_path / "nowhere.jsonl", decoding)
    with pytest.raises(DataError, match="no prompts in it"):
        read_requests(write(tmp_path, ""), decoding)
    (tmp_path / "picture.jsonl").write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(DataError, match="no line of it can be asked; the first: .*picture.jsonl:1: not text in UTF-8"):
        read_requests(tmp_path / "picture.jsonl", decoding)


@pytest.mark.parametrize(
    ("first", "second", "identity"),
    [
        ('{"prompt": "a", "id": "k"}', '{"prompt": "b", "id": "k"}', '"k"'),
        ('{"prompt": "a", "id": 2}', '{"prompt": "b"}', "2"),
        ('{"prompt": "a", "id": {"a": 1, "b": 2}}', '{"prompt": "b", "id": {"b": 2, "a": 1}}', '{"a": 1, "b": 2}'),
    ],
)
def test_ids_must_differ(tmp_path: Path, first: str, second: str, identity: str) -> None:
    with pytest.raises(DataError) as error:
        read_requests(write(tmp_path, first, second), decoding)
    assert f"prompts.jsonl:2: the id {identity} is that of {tmp_path}/prompts.jsonl:1 too" in str(error.value)


def test_ids_of_different_types_differ() -> None:
    assert len({key_of(identity) for identity in (1, 1.0, "1", True, None, [1])}) == 6


def test_candidates_of_a_line() -> None:
    assert candidates_of({"candidates": ["a", "b"]}, ["c"]) == ("a", "b")
    assert candidates_of({}, ["c"]) == ("c",)
    wrong: list[tuple[dict[str, Any], str]] = [
        ({}, "there are no candidates"),
        ({"candidates": []}, "there are no candidates"),
        ({"candidates": "ab"}, "a list of strings that are not empty"),
        ({"candidates": ["a", " "]}, "a list of strings that are not empty"),
        ({"candidats": ["a"]}, "unknown key 'candidats'"),
    ]
    for fields, message in wrong:
        with pytest.raises(DataError, match=message):
            candidates_of(fields)


def test_texts_one_a_line(tmp_path: Path) -> None:
    file = tmp_path / "names.txt"
    file.write_text("\ufeff cat \n\nhot dog\r\n", encoding="utf-8")
    assert read_texts(file, "names") == ["cat", "hot dog"]
    file.write_text(" \n")
    with pytest.raises(DataError, match="no names in it; write one a line"):
        read_texts(file, "names")
    file.write_bytes(b"\xff")
    with pytest.raises(DataError, match="names.txt: not a text file in UTF-8; names are one a line"):
        read_texts(file, "names")
    with pytest.raises(DataError, match="nowhere: cannot read the names: No such file"):
        read_texts(tmp_path / "nowhere", "names")
