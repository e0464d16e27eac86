"""The "Use" of a card is what its reader types first: every form's is run as it stands."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

from kosmos.cli.main import main
from kosmos.config import replace
from kosmos.interop.export import export
from kosmos.interop.model_card import CARD_FILE, Format, exported_card
from kosmos.model.kosmos import Kosmos
from kosmos.processor import Processor
from kosmos.tokenizer import Tokenizer
from tests.cli.tiny_run import COLOURS, png
from tests.evaluation.small_model import save_small, write_datasets
from tests.interop.kosmos2_folder import Folders, make_folders
from tests.model.tiny import tiny_config


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    return make_folders(tmp_path_factory.mktemp("kosmos2"))


@pytest.fixture
def picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PIL.Image.Image:
    """Also picture.png of the working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "picture.png").write_bytes(png(COLOURS["red"]))
    return PIL.Image.open(tmp_path / "picture.png")


def use_of(card: str) -> list[str]:
    """The lines of code below "Use"."""
    section = card.split("\n## Use\n")[1].split("\n## ")[0]
    return [line[4:] for line in section.splitlines() if line.startswith("    ")]


def export_and_read(model: Path, out: Path, format: Format) -> list[str]:
    export(model, out, format, say=lambda line: None)
    return use_of((out / CARD_FILE).read_text(encoding="utf-8").replace("FOLDER", str(out)))


def run_python(lines: list[str], **names: Any) -> dict[str, Any]:
    exec("\n".join(lines), names)
    return names


def test_kosmos2_with_four_slots_says_so(folders: Folders, picture: PIL.Image.Image, tmp_path: Path) -> None:
    lines = export_and_read(folders.ours, tmp_path / "out", "kosmos2")
    assert lines[-2] == (
        'inputs = processor(text="An image of", images=picture, num_image_tokens=4, return_tensors="pt")'
    )
    made = run_python(lines, picture=picture)
    assert made["words"].shape[1] > made["inputs"]["input_ids"].shape[1]
    # What the line is for: without it the call fails.
    with pytest.raises(Exception, match="shape|size"):
        run_python([line.replace("num_image_tokens=4, ", "") for line in lines], picture=picture)


def test_kosmos2_with_sixty_four_slots_says_nothing(folders: Folders, tmp_path: Path) -> None:
    plain = Processor.load(folders.ours)
    config = replace(plain.config, **{"resampler.num_latents": 64})
    Kosmos(config, random_vision=True).save_pretrained(tmp_path / "model", Processor(plain.tokenizer, config))
    lines = use_of(exported_card(tmp_path / "model", tmp_path / "model", "kosmos2"))
    assert lines[-2] == 'inputs = processor(text="An image of", images=picture, return_tensors="pt")'


@pytest.mark.usefixtures("code_cache")
def test_transformers(folders: Folders, picture: PIL.Image.Image, tmp_path: Path) -> None:
    made = run_python(export_and_read(folders.ours, tmp_path / "out", "transformers"))
    given = made["processor"](text="<image>An image of", images=picture, return_tensors="pt")
    assert made["model"](**given).logits.shape[1] == given["input_ids"].shape[1]


@pytest.mark.usefixtures("code_cache")
def test_transformers_of_a_language_model(tokenizer: Tokenizer, tmp_path: Path) -> None:
    config = tiny_config(**{"vision": None, "decoder.vocab_size": tokenizer.vocab_size})
    Kosmos(config).save_pretrained(tmp_path / "model", Processor(tokenizer, config))
    made = run_python(export_and_read(tmp_path / "model", tmp_path / "out", "transformers"))
    given = made["tokenizer"]("a cat", return_tensors="pt")
    assert made["model"](**given).logits.shape[1] == given["input_ids"].shape[1]


def run_commands(lines: list[str]) -> None:
    assert len(lines) == 3
    for line in lines:
        program, *words = shlex.split(line)
        assert program == "kosmos"
        assert main(words) == 0, line


def test_kosmos(picture: PIL.Image.Image, tmp_path: Path) -> None:
    write_datasets(tmp_path / "eval-data", "coco_caption")
    run_commands(export_and_read(save_small(tmp_path), tmp_path / "out", "kosmos"))


def test_kosmos_of_a_language_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_datasets(tmp_path / "eval-data", "boolq", "piqa")
    small = Processor.load(save_small(tmp_path))
    config = replace(small.config, vision=None)
    Kosmos(config).save_pretrained(tmp_path / "text", Processor(small.tokenizer, config))
    run_commands(export_and_read(tmp_path / "text", tmp_path / "out", "kosmos"))
