from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image as Pillow

from kosmos.document import Document, Image
from kosmos.errors import DataError
from kosmos.inference.generation import Decoding, Generation
from kosmos.inference.requests import answer_line, read_requests

DEFAULTS = Decoding(max_new_tokens=5)


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
    )
    made = read_requests(file, DEFAULTS)
    assert [request.id for request in made] == [1, "k", 4]
    assert [request.document for request in made] == [
        Document("An image"),
        Document("This is", Image(tmp_path / "cat.png"), "a"),
        Document(),
    ]
    assert [request.decoding for request in made] == [
        DEFAULTS,
        Decoding(5, temperature=1.0, seed=4),
        Decoding(5, stop=(".",)),
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "prompts.jsonl:2: not JSON: .* at column 2"),
        ("[1]", 'prompts.jsonl:2: a line is an object with "prompt"'),
        ('{"text": "a"}', 'an object with "prompt"'),
        ('{"prompt": 3}', '"prompt" is a string, or a list'),
        ('{"prompt": [{"picture": "cat.png"}]}', 'or {"image": path}, not {"picture": "cat.png"}'),
        ('{"prompt": [{"image": "cat.png"}]}', "cat.png: no such picture"),
        (
            '{"prompt": "a", "temprature": 1}',
            "prompts.jsonl:2: unknown option 'temprature' .did you mean 'temperature'",
        ),
        ('{"prompt": "a", "top_p": 2}', "prompts.jsonl:2: top_p is 2.0"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_requests(write(tmp_path, '{"prompt": "a"}', line), DEFAULTS)


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere.jsonl: cannot read the prompts: No such file"):
        read_requests(tmp_path / "nowhere.jsonl", DEFAULTS)
    with pytest.raises(DataError, match="no prompts in it"):
        read_requests(write(tmp_path, ""), DEFAULTS)
    (tmp_path / "picture.jsonl").write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(DataError, match="not a text file in UTF-8"):
        read_requests(tmp_path / "picture.jsonl", DEFAULTS)


def test_answers_are_one_line_each(tmp_path: Path) -> None:
    (request,) = read_requests(write(tmp_path, '{"prompt": "a", "id": [1, null]}'), DEFAULTS)
    line = answer_line(request, Generation("a\né 猫", (5, 2), (-0.5, -0.25), "end"))
    assert line.endswith("}\n")
    assert line.count("\n") == 1
    assert "é 猫" in line
    assert json.loads(line) == {
        "id": [1, None],
        "text": "a\né 猫",
        "token_ids": [5, 2],
        "log_probs": [-0.5, -0.25],
        "finish_reason": "end",
    }
