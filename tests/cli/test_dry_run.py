"""`kosmos train RECIPE --dry-run`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.process import Command, one_line, snapshot


def test_kosmos_1_for_people(kosmos_here: Command, tmp_path: Path) -> None:
    finished = kosmos_here("train", "kosmos-1", "--dry-run", "--ranks", "8", cwd=tmp_path)
    assert (finished.returncode, finished.stderr) == (0, "")
    said = finished.stdout
    assert "1,662,375,936, of which 1,371,794,432 trained" in said
    assert "1,200,128 tokens, about 5,999 pictures (assumed, --measure counts)" in said
    assert "11.3 PFLOP a step: decoder 8.7 PFLOP, attention 725 TFLOP, head 944 TFLOP, vision tower 972 TFLOP" in said
    assert "MFU does not count: backward of the tower 80.8 TFLOP, resampler 139 TFLOP\n" in said
    assert "MFU counts, though left out: 316 TFLOP of the head, without supervision\n" in said
    assert "293 micro-batches a step (text 122, pairs 122, interleaved 49)" in said
    assert "8 ranks, 37 rounds, 3 of them idle in the last" in said
    assert "8 x H100 SXM (bf16 at 40 % of 989 TFLOP/s)" in said
    assert list(tmp_path.iterdir()) == []


def test_without_pictures_and_with_activations_made_again(kosmos_here: Command, tmp_path: Path) -> None:
    plain = kosmos_here("train", "llm-baseline", "--dry-run", cwd=tmp_path)
    assert (plain.returncode, plain.stderr) == (0, "") and "MFU" not in plain.stdout
    assert "300,000 steps: 37.9 days" in plain.stdout
    again = kosmos_here(
        "train",
        "llm-baseline",
        "--dry-run",
        "--hardware=1",
        "--parallel.activation_checkpointing=full",
        cwd=tmp_path,
    )
    # A third of 3.62 + 0.30 PFLOP.
    assert "MFU does not count: the decoder's forward pass again 1.31 PFLOP\n" in again.stdout
    assert "300,000 steps: 37,471 days" in again.stdout


def test_as_json_with_counted_pictures(kosmos_here: Command, tiny_files: Path) -> None:
    before = snapshot(tiny_files)
    words = ["train", "recipe.yaml", "--dry-run", "--measure", "--hardware", "100", "--mfu", "0.5", "--json"]
    finished = kosmos_here(*words, "--steps", "1K", cwd=tiny_files)
    assert (finished.returncode, finished.stderr) == (0, "")
    found = json.loads(finished.stdout)
    assert found["step"]["sources"]["pairs"]["measured"] is True
    assert found["step"]["images"] >= 2
    assert found["time"]["steps"] == 1000
    # The recipe says fp32; a bare number is the peak of whatever it multiplies.
    assert found["hardware"]["precision"] == "fp32"
    assert found["time"]["step_seconds"] == pytest.approx(found["flops"]["counted"] / 50e12)
    assert snapshot(tiny_files) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--hardware", "h10"], "no device 'h10' (did you mean 'h100'?)"),
        (["--mfu", "40"], "argument --mfu: 40: must be above 0 and at most 1, as 0.4"),
        (["--ranks", "0"], "argument --ranks: 0: must be at least 1"),
        (["--measure", "--images", "9"], "--images and --measure say the same thing in two ways"),
        (["--optimizer.lrr", "1"], "(did you mean 'optimizer.lr'?)"),
    ],
)
def test_bad_calls(kosmos_here: Command, tiny_files: Path, arguments: list[str], message: str) -> None:
    finished = kosmos_here("train", "recipe.yaml", "--dry-run", *arguments, cwd=tiny_files)
    assert message in one_line(finished)
    assert finished.returncode == 2
