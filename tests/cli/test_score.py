from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from kosmos.api import load
from kosmos.cli.main import main
from kosmos.document import Document, Image
from kosmos.inference.engine import Engine
from tests.inference.tiny import save_tiny

NAMES = ["red cat", "two dogs", "a green house"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with model/, cat.png and names.txt."""
    folder = tmp_path_factory.mktemp("score")
    save_tiny(folder)
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    PIL.Image.fromarray(pixels).save(folder / "cat.png")
    (folder / "names.txt").write_text("\n".join(NAMES), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def engine(folder: Path) -> Engine:
    return load(folder / "model")


@pytest.fixture(autouse=True)
def inside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


PROMPT = ["score", "model", "-i", "cat.png", "An image of"]


def document() -> Document:
    return Document(Image(Path("cat.png")), "An image of")


def test_candidates_are_ranked(engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*PROMPT, "--candidate", NAMES[0], "-c", NAMES[1], f"--candidate={NAMES[2]}", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)["candidates"]
    (scores,) = engine.score([document()], [f" {name}" for name in NAMES])
    sums = {name: score.sum for name, score in zip(NAMES, scores)}
    assert [item["candidate"] for item in made] == sorted(NAMES, key=lambda name: -sums[name])
    total = sum(math.exp(value) for value in sums.values())
    for item in made:
        name = item["candidate"]
        assert item["sum"] == pytest.approx(sums[name], abs=1e-4)
        assert item["mean"] == pytest.approx(sums[name] / item["num_tokens"], abs=1e-4)
        assert item["per_character"] == pytest.approx(sums[name] / len(name), abs=1e-4)
        assert item["probability"] == pytest.approx(math.exp(sums[name]) / total, abs=1e-4)


def test_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*PROMPT, "--candidates", "names.txt", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)["candidates"]
    assert main([*PROMPT, "--candidates", "names.txt"]) == 0
    heading, *rows = capsys.readouterr().out.splitlines()
    assert heading.split() == ["candidate", "sum", "mean", "per", "character", "probability"]
    for row, item in zip(rows, made, strict=True):
        *name, total, mean, per_character, probability = row.split()
        assert " ".join(name) == item["candidate"]
        assert [total, mean, per_character] == [f"{item[key]:.3f}" for key in ("sum", "mean", "per_character")]
        assert probability == f"{item['probability']:.4f}"


@pytest.mark.parametrize(("by", "key"), [("mean", "mean"), ("per-character", "per_character")])
def test_another_order(by: str, key: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*PROMPT, "--candidates", "names.txt", "--by", by, "--json"]) == 0
    values = [item[key] for item in json.loads(capsys.readouterr().out)["candidates"]]
    assert values == sorted(values, reverse=True)


def test_the_end_and_the_space_are_options(engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*PROMPT, "-c", "cat", "--include-end", "--json"]) == 0
    (made,) = json.loads(capsys.readouterr().out)["candidates"]
    expected = engine.score([document()], [" cat"], include_end=True)[0][0]
    assert (made["num_tokens"], made["sum"]) == (expected.num_tokens, pytest.approx(expected.sum, abs=1e-4))
    assert main([*PROMPT, "-c", ";", "--no-space", "--json"]) == 0
    (made,) = json.loads(capsys.readouterr().out)["candidates"]
    assert made["sum"] == pytest.approx(engine.score([document()], [";"])[0][0].sum, abs=1e-4)


def test_many_prompts_from_a_file(engine: Engine, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "cat.png").write_bytes(Path("cat.png").read_bytes())
    requests: list[Any] = [
        {"prompt": [{"image": "cat.png"}, "An image of"], "id": "a"},
        {"prompt": "two", "candidates": ["dogs", "cat"]},
        {"prompt": "of", "candidates": [], "id": "none"},
        {"prompt": "of " * 125, "id": "long"},
    ]
    file = tmp_path / "questions.jsonl"
    file.write_text("\n".join(map(json.dumps, requests)), encoding="utf-8")
    out = tmp_path / "scores.jsonl"
    words = ["score", "model", "--jsonl", str(file), "--candidates", "names.txt"]
    assert main([*words, "--out", str(out)]) == 0
    first, second, none, long = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    (scores,) = engine.score([document()], [f" {name}" for name in NAMES])
    assert first["id"] == "a"
    assert first["best"] == max(zip(NAMES, scores), key=lambda pair: pair[1].sum)[0]
    assert first["sums"] == pytest.approx([score.sum for score in scores], abs=1e-4)
    assert first["num_tokens"] == [score.num_tokens for score in scores]
    (pair,) = engine.score([Document("two")], [" dogs", " cat"])
    assert second == {
        "id": 2,
        "best": "dogs" if pair[0].sum >= pair[1].sum else "cat",
        "sums": pytest.approx([score.sum for score in pair], abs=1e-4),
        "num_tokens": [score.num_tokens for score in pair],
    }
    assert none["id"] == "none" and none["error"].startswith("there are no candidates")
    assert long["id"] == "long" and "exceed the limit of 128 tokens" in long["error"]
    assert capsys.readouterr().err.splitlines()[-1] == f"{out}: 2 answers, 2 errors"
    assert main([*words, "--out", str(out), "--resume", "--by", "mean"]) == 2
    assert 'by was "sum" and is "mean"' in capsys.readouterr().err
    assert main([*words, "--out", str(out), "--resume", "--quiet"]) == 0
    assert [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()] == [first, second, none, long]
    assert main([*words, "--quiet"]) == 0
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [first, second, none, long]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["model", "an"], 2, "there are no candidates: give some (--candidate TEXT)"),
        (["model", "an", "-c", " "], 2, "a candidate is empty"),
        (["model", "an", "-c", "\u200b"], 3, "has no tokens and would win for nothing"),
        (["model", "-c", "a"], 2, "there is no prompt"),
        (["model", "an", "--candidates", "nowhere.txt"], 3, "nowhere.txt: cannot read the candidates"),
        (["model", "--jsonl", "x", "--json"], 2, "leave out --json"),
        (["model", "an", "-c", "a", "--by", "length"], 2, "invalid choice: 'length'"),
        (["model", "of " * 126, "-c", "two dogs"], 2, "exceed the limit of 128 tokens"),
        (["model", "an", "-c", "a", "--out", "x"], 2, "--out is for --jsonl"),
    ],
)
def test_bad_input_is_one_line(words: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["score", *words]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("kosmos: error: ") and captured.err.count("\n") == 1
    assert message in captured.err
