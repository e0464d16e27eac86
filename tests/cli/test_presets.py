"""`kosmos presets`: the paper's numbers, and copies that never write over."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kosmos.cli.main import main
from kosmos.config import ModelConfig
from kosmos.config_files import load_config
from kosmos.presets import load_preset
from tests.cli.process import Command, one_line


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["presets"]) == 0
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert {"kosmos-1", "llm-baseline", "picturebook", "tiny"} <= set(names)


def test_kosmos_1_is_the_papers(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["presets", "show", "kosmos-1", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    decoder, vision, resampler = (shown["config"][part] for part in ("decoder", "vision", "resampler"))
    assert [decoder[key] for key in ("num_layers", "hidden_size", "ffn_size", "num_heads")] == [24, 2048, 8192, 32]
    assert (decoder["dropout"], decoder["attention_dropout"], decoder["max_positions"]) == (0.1, 0.1, 2048)
    assert (decoder["vocab_size"], decoder["position"], decoder["sub_ln"]) == (64007, "xpos", True)
    assert (vision["image_size"], vision["hidden_size"], vision["trainable"]) == (224, 1024, "last_layer")
    assert resampler["num_latents"] == 64
    parameters = shown["parameters"]
    assert (parameters["text"], parameters["vision"], parameters["resampler"]) == (1340180480, 303179776, 19015680)
    assert parameters["total"] == 1662375936


def test_the_baseline_has_no_pictures(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["presets", "show", "llm-baseline", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["config"]["vision"] is None
    assert shown["parameters"]["total"] == 1340180480


def test_a_copy_reads_back_equal(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    assert main(["presets", "copy", "picturebook", str(file)]) == 0
    assert load_config(file, ModelConfig) == load_preset("picturebook")


def test_a_copy_never_writes_over(kosmos: Command, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("precious")
    finished = kosmos("presets", "copy", "tiny", file)
    assert finished.returncode == 2
    assert "is there already" in one_line(finished)
    assert file.read_text() == "precious"


def test_unknown_name(kosmos: Command) -> None:
    finished = kosmos("presets", "show", "kosmos1")
    assert finished.returncode == 2
    assert one_line(finished).startswith("no preset 'kosmos1' (did you mean 'kosmos-1'?)")
