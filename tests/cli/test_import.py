"""`kosmos import` on folders as transformers writes them, and the verbs on what it made."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from kosmos.cli.main import main
from tests.cli.process import Command, one_line
from tests.interop.kosmos2_folder import small_tokenizer, write_kosmos2
from tests.interop.test_clip_folder import write_clip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with kosmos-2/, clip/ and cat.png."""
    folder = tmp_path_factory.mktemp("import")
    write_kosmos2(folder / "kosmos-2", small_tokenizer(folder))
    write_clip(folder / "clip", "gelu", whole=True)
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    PIL.Image.fromarray(pixels).save(folder / "cat.png")
    return folder


@pytest.fixture(autouse=True)
def inside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


def test_a_real_process_imports_and_generates(folder: Path, kosmos: Command) -> None:
    done = kosmos("import", "kosmos-2", "whole", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    first, check, last = done.stdout.splitlines()
    assert first.startswith("kosmos-2: Kosmos-2, 49,")
    assert check.startswith("check: logits of both sides differ by at most ")
    assert float(check.split()[9]) <= 1e-5
    assert last == 'whole: written; try: kosmos generate whole -i PICTURE "An image of"'
    answer = kosmos("generate", "whole", "-i", "cat.png", "An image of", "--max-new-tokens", 5, cwd=folder)
    assert (answer.returncode, answer.stderr) == (0, "")
    assert answer.stdout.strip()


def test_score_and_beams_on_what_was_imported(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", "kosmos-2", "model"]) == 0
    capsys.readouterr()
    assert main(["score", "model", "-i", "cat.png", "Question: is it a cat? Answer:", "-c", "yes", "-c", "no"]) == 0
    assert main(["generate", "model", "-i", "cat.png", "An image of", "--num-beams", "3", "--json"]) == 0
    generated = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert generated["token_ids"]


def test_a_truncated_vocabulary_is_warned_of(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", "kosmos-2", "short", "--truncate-vocabulary"]) == 0
    said = capsys.readouterr().out
    assert "warning: the last 9 entries of the vocabulary are left out, so every probability is another" in said
    assert main(["import", "kosmos-2", "unchecked", "--skip-check"]) == 0
    assert "warning: the check of both sides' logits was left out (--skip-check)" in capsys.readouterr().out


def test_a_clip_folder_becomes_a_tower(folder: Path, kosmos_here: Command) -> None:
    done = kosmos_here("import", "clip", "tower", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert "activation gelu" in done.stdout
    assert "check: features of both sides differ by at most " in done.stdout
    assert done.stdout.endswith(
        "tower: written; in a recipe:\n\n"
        "model:\n  vision:\n    kind: clip\n    pretrained: tower\n    image_size: 28\n    patch_size: 14\n"
        "    hidden_size: 24\n    num_layers: 3\n    num_heads: 4\n    ffn_size: 48\n    activation: gelu\n"
        "    layer_norm_eps: 1e-05\n"
    )


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nowhere", "out"], 3, "nowhere: no config.json here: give a folder in transformers' form"),
        (["bert", "out"], 3, "model_type is 'bert'; what can be imported: kosmos-2, kosmos1, clip, clip_vision_model"),
        (["broken", "out"], 3, "config.json: cannot be read as JSON"),
        (["ours", "out"], 3, "ours: a folder of kosmos already; every verb reads it as it is"),
        (["clip", "out", "--truncate-vocabulary"], 2, "--truncate-vocabulary and --tokenizer are for Kosmos-2"),
        (["kosmos-2", "cat.png"], 2, "cat.png: exists already; choose another folder or remove it"),
        (["kosmos-2", "out", "--tokenizer", "none.model"], 3, "none.model: cannot read the tokenizer"),
        (["kosmos-2"], 2, "the following arguments are required: OUT"),
    ],
)
def test_errors_are_one_line(arguments: list[str], code: int, message: str, folder: Path, kosmos_here: Command) -> None:
    for name, file, text in (
        ("bert", "config.json", '{"model_type": "bert"}'),
        ("broken", "config.json", "{"),
        ("ours", "config.yaml", "decoder: {}\n"),
    ):
        (folder / name).mkdir(exist_ok=True)
        (folder / name / file).write_text(text, encoding="utf-8")
    done = kosmos_here("import", *arguments, cwd=folder)
    assert done.returncode == code
    assert message in one_line(done)
    assert not (folder / "out").exists()
