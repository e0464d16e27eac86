"""The programs in examples/, run on a small run: those for pictures of one's own, and those of the gallery."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

from kosmos.config import replace
from kosmos.data.picturebook.templates import RAVEN_CANDIDATES
from kosmos.model.kosmos import Kosmos
from kosmos.processor import Processor
from tests.cli.conftest import kosmos, tiny_files, tiny_run
from tests.cli.process import environment
from tests.cli.test_documents import need_packages
from tests.cli.tiny_run import COLOURS, png
from tests.inference.tiny import tiny_config, tiny_tokenizer

__all__ = ["kosmos", "tiny_files", "tiny_run"]

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
GALLERY = sorted((EXAMPLES / "gallery").glob("[0-9]*.py"))


@pytest.mark.parametrize(
    ("program", "arguments", "beginnings"),
    [
        ("generate.py", ["red.png", "blue.png"], ["caption:", "answer: ", "seed 0:", "seed 1:", "seed 2:"]),
        ("score.py", ["red.png", "red", "blue"], ["greedy:"]),
    ],
)
def test_an_example_runs(
    tiny_run: Path, tmp_path: Path, program: str, arguments: list[str], beginnings: list[str]
) -> None:
    for name in ("red", "blue"):
        (tmp_path / f"{name}.png").write_bytes(png(COLOURS[name]))
    command = [sys.executable, str(EXAMPLES / program), str(tiny_run), *arguments]
    finished = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=120, env=environment(), check=True
    )
    lines = finished.stdout.splitlines()
    assert [line[: len(start)] for line, start in zip(lines, beginnings, strict=False)] == beginnings
    if program == "score.py":
        # One line a name with its sum and mean, best first.
        scores = [line.split() for line in lines[1:]]
        assert {words[-1] for words in scores} == {"red", "blue"} and len(scores) == 2
        assert 0 > float(scores[0][0]) >= float(scores[1][0])


def test_every_example_is_run_here() -> None:
    assert sorted(path.name for path in EXAMPLES.glob("*.py")) == ["generate.py", "score.py"]
    assert [path.name[:2] for path in GALLERY] == [f"{number:02}" for number in range(1, len(GALLERY) + 1)]
    beside = {path.name for path in (EXAMPLES / "gallery").glob("*.py")} - {path.name for path in GALLERY}
    assert beside == {"showing.py", "make_page.py"}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model that is long enough for every prompt of the gallery, and sees pictures large enough for words."""
    folder = tmp_path_factory.mktemp("gallery")
    tokenizer = tiny_tokenizer(folder)
    config = tiny_config(tokenizer.vocab_size, max_positions=1024)
    vision = replace(config.vision, image_size=48)
    torch.manual_seed(0)
    made = Kosmos(replace(config, vision=vision), random_vision=True)
    made.save_pretrained(folder / "model", Processor(tokenizer, made.config))
    return folder / "model"


@pytest.fixture
def beside(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gallery's folder on the path, as `python FILE` has it."""
    monkeypatch.syspath_prepend(str(EXAMPLES / "gallery"))


@pytest.mark.parametrize("program", GALLERY, ids=lambda program: program.stem)
def test_an_example_of_the_gallery_runs(
    program: Path,
    model: Path,
    beside: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    need_packages()
    monkeypatch.setattr(sys, "argv", [str(program), str(model), "--items", "2", "--out", str(tmp_path)])
    runpy.run_path(str(program), run_name="__main__")
    said = capsys.readouterr().out
    assert said.count("prompt: ") == said.count("answer:") >= 2
    if program.stem in ("14_language", "15_common_sense"):
        assert list(tmp_path.glob("*.png")) == []
        return
    assert said.count("truth: ") == 2
    pictures = sorted(tmp_path.glob("*.png"))
    assert len(pictures) == 2 * {"09_raven": 3 + RAVEN_CANDIDATES, "13_few_shot": 5}.get(program.stem, 1)
    with PIL.Image.open(pictures[0]) as picture:
        assert picture.mode == "RGB" and len(picture.getcolors(100_000) or []) > 2
    assert all(f"[{file}]" in said for file in pictures)


def test_a_run_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    command = [sys.executable, str(EXAMPLES / "gallery" / "03_ocr.py"), "missing"]
    finished = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=120, env=environment(), check=False
    )
    assert finished.returncode == 1 and finished.stderr.startswith("03_ocr.py: error: ")
    assert len(finished.stderr.splitlines()) == 1


def test_the_page_is_made(model: Path, beside: None, tmp_path: Path) -> None:
    need_packages()
    make = runpy.run_path(str(EXAMPLES / "gallery" / "make_page.py"))["main"]
    make(str(model), tmp_path)
    page = (tmp_path / "gallery.md").read_text(encoding="utf-8")
    kept = (EXAMPLES.parent / "docs" / "gallery.md").read_text(encoding="utf-8")
    headings = [line for line in page.splitlines() if line.startswith("#")]
    assert (
        headings == [line for line in kept.splitlines() if line.startswith("#")] and len(headings) == len(GALLERY) + 1
    )
    made = sorted(file.name for file in (tmp_path / "images" / "gallery").iterdir())
    assert made == sorted(os.listdir(EXAMPLES.parent / "docs" / "images" / "gallery")) and len(made) == 15
    # Pictures are those of the held-out sets, whatever the model.
    first = [
        np.asarray(PIL.Image.open(at / "images/gallery/03_ocr-0.png")) for at in (tmp_path, EXAMPLES.parent / "docs")
    ]
    assert np.array_equal(first[0], first[1])
