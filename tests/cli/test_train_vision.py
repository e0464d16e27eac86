"""`kosmos train-vision`: a tower from made pictures, a model that starts from it, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.cli.process import Command, one_line, snapshot

CONFIG = """\
vision: {kind: conv, trainable: all, image_size: 32, hidden_size: 32, channels: [16, 32]}
resampler: {num_latents: 4, num_heads: 4, attention_dropout: 0.0}
hidden_size: 64
corpora: [{name: equations, share: 1, pictures: 40}]
tokenizer: tokenizer
steps: 8
batch_size: 16
warmup_steps: 2
embedding_size: 16
threads: 1
precision: fp32
"""


@pytest.fixture(scope="module")
def folder(tiny_files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """vision.yaml for the model of the tiny recipe, with a tokenizer beside it; not to be changed."""
    made = tmp_path_factory.mktemp("vision")
    (made / "vision.yaml").write_text(CONFIG, encoding="utf-8")
    (made / "tokenizer").symlink_to(tiny_files / "tokenizer")
    return made


def test_a_model_starts_from_the_tower(folder: Path, tiny_files: Path, tmp_path: Path, kosmos_here: Command) -> None:
    tower, run = tmp_path / "tower", tmp_path / "run"
    finished = kosmos_here("train-vision", "vision.yaml", "--out", tower, "--log-every", "4", cwd=folder)
    said = f"{tower}: a tower and its resampler; a recipe takes them: model.vision.pretrained: {tower} and "
    assert finished.returncode == 0 and finished.stdout.startswith(said), finished.stderr
    lines = finished.stderr.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["step 4/8", "step 8/8"]
    assert all(" images/s  " in line for line in lines)
    records = [json.loads(line) for line in (tower / "metrics.jsonl").read_text().splitlines()]
    assert len(records) == 8 and records[-1]["loss"] < records[0]["loss"]

    parts = ("--model.vision.pretrained", tower, "--model.resampler.pretrained", tower)
    short = ("--steps", "3", "--optimizer.warmup_steps", "1", "--optimizer.encoder_lr_scale", "0", "--quiet")
    finished = kosmos_here("train", "recipe.yaml", "--out", run, *parts, *short, cwd=tiny_files)
    assert (finished.returncode, finished.stderr) == (0, "")
    weights = load_file(run / "checkpoints" / "step-3" / "weights" / "model.safetensors")
    for part, file in (("vision", "model"), ("resampler", "resampler")):
        # With a rate of 0 the encoder stays as it was pretrained.
        for name, tensor in load_file(tower / f"{file}.safetensors").items():
            assert torch.equal(weights[f"encoders.image.{part}.{name}"], tensor), name

    before = snapshot(tmp_path)
    again = kosmos_here("train-vision", "vision.yaml", "--out", tower, cwd=folder)
    assert again.returncode == 2 and one_line(again) == f"{tower}: exists already; choose another folder"
    assert snapshot(tmp_path) == before


def test_a_tower_of_ones_own_pictures(folder: Path, tiny_files: Path, tmp_path: Path, kosmos_here: Command) -> None:
    own = f"[{{reader: pairs_tar, path: {tiny_files / 'pairs.tar'}}}]"
    finished = kosmos_here("train-vision", "vision.yaml", "--corpora", own, "--out", tmp_path / "tower", cwd=folder)
    assert finished.returncode == 0, finished.stderr
    records = [json.loads(line) for line in (tmp_path / "tower" / "metrics.jsonl").read_text().splitlines()]
    # Four squares of four colours are soon told apart.
    assert len(records) == 8 and records[-1]["right"] > records[0]["right"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nothing.yaml"], 2, "nothing.yaml: no such file; see `kosmos train-vision --help`"),
        (["vision.yaml", "--lrr", "1"], 2, "command line: lrr: unknown key (did you mean 'lr'?)"),
        (["vision.yaml", "--steps", "1"], 2, "warmup_steps: 2 is more than steps 1"),
        (["vision.yaml", "--tokenizer", "no.model"], 3, "no.model: cannot read the tokenizer"),
        (["vision.yaml", "--tokenizer", "null"], 2, "command line: tokenizer: must be text, not null"),
        (["vision.yaml", "--corpora.0.reader", "pairs_tar"], 2, "corpora.0: wants a name (drawings, or a world), or a"),
        (["vision.yaml", "--corpora", "[{reader: pairs_tar, path: none}]"], 3, "none: no such file or folder"),
        (["vision.yaml", "--corpora", "[]"], 2, "corpora: name at least one picture corpus"),
        (["vision.yaml", "--corpora.0.name", "equation"], 2, "(did you mean 'equations'?)"),
        (["vision.yaml", "--corpora.0.pictures", "0"], 2, "say how many pictures to draw (pictures: N)"),
        (["vision.yaml", "--corpora.0.name", "raven"], 2, "pictures, not one"),
        (["vision.yaml", "--vision.trainable", "last_layer"], 2, "wants vision.kind: conv and vision.trainable: all"),
        (["vision.yaml", "--vision.pretrained", "x"], 2, "starts from random weights; leave `pretrained` out"),
    ],
)
def test_refusals_are_one_line_and_leave_nothing(
    folder: Path, tmp_path: Path, kosmos_here: Command, arguments: list[str], code: int, message: str
) -> None:
    finished = kosmos_here("train-vision", *arguments, "--out", tmp_path / "tower", cwd=folder)
    assert finished.returncode == code
    assert message in one_line(finished)
    assert list(tmp_path.iterdir()) == []


def test_the_folder_must_be_named(folder: Path, kosmos_here: Command) -> None:
    finished = kosmos_here("train-vision", "vision.yaml", cwd=folder)
    assert finished.returncode == 2
    assert one_line(finished) == "the following arguments are required: --out; see `kosmos train-vision --help`"
