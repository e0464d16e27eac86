"""`kosmos generate --jsonl`: saved batch by batch, gone on with, bad lines counted and named."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from kosmos.api import generate, load
from kosmos.cli.main import main
from kosmos.document import Document
from kosmos.inference.embedding_cache import EmbeddingCache
from kosmos.inference.engine import Engine
from kosmos.inference.generation import Generation
from tests.cli.process import environment
from tests.inference.tiny import save_tiny

PROMPTS = [
    "an image",
    "two dogs",
    "the red cat and two dogs",
    "a green house; it is",
    "what is it?",
    "of",
    "Yes No one",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with model/, cat.png, text.png (which is none) and prompts.jsonl."""
    folder = tmp_path_factory.mktemp("generate_file")
    save_tiny(folder)
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    PIL.Image.fromarray(pixels).save(folder / "cat.png")
    (folder / "text.png").write_text("not a picture", encoding="utf-8")
    write(folder / "prompts.jsonl", [{"prompt": text} for text in PROMPTS])
    return folder


@pytest.fixture(autouse=True)
def inside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "answers.jsonl"


def write(path: Path, requests: Sequence[dict[str, Any] | str]) -> Path:
    texts = [line if isinstance(line, str) else json.dumps(line) for line in requests]
    path.write_text("\n".join(texts) + "\n", encoding="utf-8")
    return path


def words(out: Path, *more: str, file: str = "prompts.jsonl") -> list[str]:
    options = ["--max-new-tokens", "5", "--batch-size", "2", "--out", str(out)]
    return ["generate", "model", "--jsonl", file, *options, *more]


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def whole(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The finished file of answers."""
    path = tmp_path_factory.mktemp("whole") / "answers.jsonl"
    given = words(path)
    given[1], given[3] = str(folder / "model"), str(folder / "prompts.jsonl")
    assert main(given) == 0
    return path.read_bytes()


def counting(numbers: list[int], dies_at: int = -1, error: BaseException | None = None) -> Any:
    """`Engine.generate` that notes the size of every batch, and raises `error` in one of them."""
    plain = Engine.generate

    def generate(self: Engine, documents: Sequence[Document], *args: Any, **options: Any) -> list[Generation]:
        numbers.append(len(documents))
        if len(numbers) - 1 == dies_at and error is not None:
            raise error
        return plain(self, documents, *args, **options)

    return generate


def test_answers_have_the_order_of_the_prompts(whole: bytes, folder: Path) -> None:
    engine = load(folder / "model")
    made = [json.loads(line) for line in whole.splitlines()]
    assert [answer["id"] for answer in made] == list(range(1, len(PROMPTS) + 1))
    expected = [generate(engine, text, max_new_tokens=5) for text in PROMPTS]
    assert [answer["token_ids"] for answer in made] == [list(one.token_ids) for one in expected]
    assert all(set(answer) == {"id", "text", "token_ids", "log_probs", "finish_reason"} for answer in made)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("died")])
def test_what_was_answered_is_kept_and_gone_on_with(
    out: Path,
    whole: bytes,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
) -> None:
    interrupted = isinstance(error, KeyboardInterrupt)
    with monkeypatch.context() as patch:
        patch.setattr(Engine, "generate", counting([], 2, error))
        assert main(words(out)) == (4 if interrupted else 1)
    said = capsys.readouterr().err
    assert (f"{out}: interrupted; 3 of 7 lines are saved: add --resume to go on" in said) == interrupted
    assert len(lines(out)) == 3
    with out.open("ab") as file:
        file.write(b'{"id": 7, "te')
    sizes: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr(Engine, "generate", counting(sizes))
        assert main(words(out, "--resume")) == 0
    assert out.read_bytes() == whole  # to the last digit of the log-probabilities
    assert sum(sizes) == 4
    assert f"{out}: 7 answers" in capsys.readouterr().err
    assert main(words(out, "--resume")) == 0
    assert f"{out}: all 7 answers are there" in capsys.readouterr().err
    assert out.read_bytes() == whole


def test_pictures_are_encoded_so_many_at_a_time(
    out: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a resumed file, which lacks the pictures of earlier batches, would differ in last digits."""
    requests: list[dict[str, Any]] = []
    for seed in range(5):
        pixels = np.random.default_rng(seed).integers(0, 256, (20, 30, 3), dtype=np.uint8)
        PIL.Image.fromarray(pixels).save(tmp_path / f"{seed}.png")
        requests.append({"prompt": [{"image": f"{seed}.png"}, {"image": "0.png"}, "an image"]})
    file = write(tmp_path / "pictures.jsonl", requests)
    calls: list[int] = []
    plain = EmbeddingCache._attempt

    def attempt(self: EmbeddingCache, modality: str, features: list[np.ndarray]) -> Any:
        calls.append(len(features))
        return plain(self, modality, features)

    monkeypatch.setattr(EmbeddingCache, "_attempt", attempt)
    assert main(words(out, file=str(file))) == 0
    assert calls == [8, 8, 8]
    undisturbed = out.read_bytes()
    out.unlink()
    with monkeypatch.context() as patch:
        patch.setattr(Engine, "generate", counting([], 1, KeyboardInterrupt()))
        assert main(words(out, file=str(file))) == 4
    assert main(words(out, "--resume", file=str(file))) == 0
    assert out.read_bytes() == undisturbed
    assert set(calls) == {8}


def test_sigterm_ends_with_code_4_after_what_is_done_is_saved(out: Path, folder: Path) -> None:
    """As a real process; the engine sends itself the signal in the third batch."""
    program = (
        "import os, signal\n"
        "from kosmos.cli.main import entry_point\n"
        "from kosmos.inference.engine import Engine\n"
        "plain, batches = Engine.generate, []\n"
        "def generate(self, *args, **options):\n"
        "    batches.append(1)\n"
        "    if len(batches) == 3: os.kill(os.getpid(), signal.SIGTERM)\n"
        "    return plain(self, *args, **options)\n"
        "Engine.generate = generate\n"
        "entry_point()\n"
    )
    command = [sys.executable, "-c", program, *words(out)]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment(), cwd=folder)
    assert finished.returncode == 4
    assert finished.stderr == f"kosmos: error: {out}: interrupted; 3 of 7 lines are saved: add --resume to go on\n"
    assert len(lines(out)) == 3


def test_without_resume_nothing_is_touched(out: Path, whole: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    out.write_bytes(whole)
    assert main(words(out)) == 2
    assert f"{out} is there already; go on with it (--resume)" in capsys.readouterr().err
    assert main(words(out, "--resume")) == 2
    assert "is not beside it" in capsys.readouterr().err
    assert out.read_bytes() == whole


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--temperature", "0.5"], "temperature was 0.0 and is 0.5"),
        (["--num-beams", "2"], "num_beams was 1 and is 2"),
        (["--precision", "bf16"], 'precision was "fp32" and is "bf16"'),
        (["--quantization", "int8"], 'quantization was null and is "int8"'),
        (["--max-new-tokens", "6"], "max_new_tokens was 5 and is 6"),
    ],
)
def test_other_options_are_refused(
    out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], more: list[str], message: str
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Engine, "generate", counting([], 1, KeyboardInterrupt()))
        assert main(words(out)) == 4
    capsys.readouterr()
    before = out.read_bytes()
    assert main(words(out, "--resume", *more)) == 2
    assert f"{out}: cannot be resumed: {message}. Give what it was begun with" in capsys.readouterr().err
    assert out.read_bytes() == before


def test_other_prompts_and_weights_are_refused(
    out: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path / "prompts.jsonl", [{"prompt": "an image"}])
    assert main(words(out, file=str(file))) == 0
    write(file, [{"prompt": "an image"}, {"prompt": "of"}])
    assert main(words(out, "--resume", file=str(file))) == 2
    assert "the requests are others now" in capsys.readouterr().err
    write(file, [{"prompt": "an image"}])
    other = tmp_path / "model"
    other.mkdir()
    for path in (folder / "model").iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    (other / "model.safetensors").write_bytes((folder / "model" / "model.safetensors").read_bytes() + b" ")
    given = words(out, "--resume", file=str(file))
    given[1] = str(other)
    assert main(given) == 2
    assert "the weights are others now" in capsys.readouterr().err


def test_bad_lines_are_answered_with_their_error(out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("cat.png", "text.png"):
        (tmp_path / name).write_bytes(Path(name).read_bytes())
    requests: list[Any] = [
        {"prompt": "an image", "id": "good"},
        "{",
        {"prompt": [{"image": "text.png"}], "id": "damaged"},
        {"prompt": "of " * 200, "id": "long"},
        {"prompt": ["of", {"image": "cat.png"}]},
        {"prompt": [{"image": "nowhere.png"}], "id": "missing"},
    ]
    file = write(tmp_path / "prompts.jsonl", requests)
    assert main(words(out, "--batch-size", "8", file=str(file))) == 0
    made = {str(answer["id"]): answer for answer in lines(out)}
    assert list(made) == ["good", "2", "damaged", "long", "5", "missing"]
    assert set(made["damaged"]) == {"id", "error"}
    assert made["damaged"]["error"].startswith(f"{tmp_path / 'text.png'}: not a PNG")
    assert made["2"]["error"].startswith("not JSON: ")
    assert "the prompt is 201 tokens long" in made["long"]["error"]
    assert made["missing"]["error"] == f"{tmp_path / 'nowhere.png'}: no such picture"
    assert made["good"]["token_ids"] and made["5"]["token_ids"]
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith(f"{file}:2: not JSON")
    assert said[-1] == f"{out}: 2 answers, 4 errors"
    assert len(said) == 5
    # A mended picture: only what failed is asked again.
    (tmp_path / "text.png").write_bytes(Path("cat.png").read_bytes())
    assert main(words(out, "--resume", file=str(file))) == 0
    again = lines(out)
    assert [answer["id"] for answer in again] == ["good", 2, "damaged", "long", 5, "missing"]
    assert [("error" in answer) for answer in again] == [False, True, False, True, False, True]
    assert capsys.readouterr().err.splitlines()[-1] == f"{out}: 3 answers, 3 errors"


def test_too_many_errors_end_the_run(out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.png").write_text("no picture")
    requests: list[Any] = [{"prompt": [{"image": "text.png"}]}, {"prompt": "of"}] * 6
    file = write(tmp_path / "prompts.jsonl", requests)
    assert main(words(out, "--max-errors", "3", file=str(file))) == 3
    said = capsys.readouterr().err
    assert "4 lines failed, the last: " in said and f"--max-errors allows more; what was answered is in {out}" in said
    assert 4 <= len(lines(out)) < 12
    assert main(words(out, "--resume", "--quiet", file=str(file))) == 0
    assert sum("error" in answer for answer in lines(out)) == 6 and len(lines(out)) == 12
    assert capsys.readouterr().err == ""


def test_nothing_but_errors_is_an_error(out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path / "prompts.jsonl", [{"prompt": "of " * 200}])
    assert main(words(out, file=str(file))) == 3
    assert "every line failed; the last error: the prompt is 201 tokens long" in capsys.readouterr().err


def test_progress_is_shown_now_and_then(
    out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("kosmos.cli.line_progress._EVERY", 0.0)
    assert main(words(out)) == 0
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith("2 of 7 lines  about 0:") and said[0].endswith(" left")
    assert said[-1] == f"{out}: 7 answers"
    assert len(said) == 4


def test_beams_draws_and_names(out: Path, folder: Path, tmp_path: Path) -> None:
    requests: list[Any] = [{"prompt": "an image"}, {"prompt": "an image", "num_beams": 4, "num_results": 3}]
    file = write(tmp_path / "prompts.jsonl", requests)
    assert main(words(out, file=str(file))) == 0
    plain, beams = lines(out)
    engine = load(folder / "model")
    expected = generate(engine, "an image", max_new_tokens=5, num_beams=4, num_results=3)
    assert "score" not in plain and "others" not in plain
    assert beams["score"] == pytest.approx(expected.score)
    assert [other["token_ids"] for other in beams["others"]] == [list(other.token_ids) for other in expected.others]
    (tmp_path / "names.txt").write_text("red cat\ngreen house\n")
    named = tmp_path / "named.jsonl"
    assert main(words(named, "--names", str(tmp_path / "names.txt"))) == 0
    assert {answer["text"] for answer in lines(named)} <= {"red cat", "green house"}
    write(file, [{"prompt": "of"}, {"prompt": "of", "temperature": 1, "num_beams": 1}])
    drawn = tmp_path / "drawn.jsonl"
    assert main(words(drawn, "--names", str(tmp_path / "names.txt"), file=str(file))) == 0
    assert lines(drawn)[1] == {"id": 2, "error": "a name is searched for, not drawn; leave out temperature"}
