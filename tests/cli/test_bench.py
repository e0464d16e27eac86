"""`kosmos bench infer`: the card's figures, the JSON line, refused options. No time is asserted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kosmos.cli.main import main

SHORT = ["--batch-sizes", "1,2", "--prompt-tokens", "20", "--new-tokens", "3", "--repeats", "1"]


def test_a_shape(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["bench", "infer", "--shape", "tiny", "--layers", "3", "--vocabulary", "250", *SHORT])
    lines = capsys.readouterr().out.splitlines()
    assert code == 0
    found = json.loads(lines[-1])
    card, speeds = found["card"], found["speeds"]
    weights = 3 * (4 * 64**2 + 2 * 64 * 128) + 250 * 64
    assert card["weight_bytes"] == 4 * weights
    assert card["kv_bytes_per_token"] == 2 * 3 * 64 * 4
    assert (card["precision"], card["quantization"]) == ("fp32", None)
    assert lines[1].split()[1:] == [f"{card['parameters']:,}", "(fp32)"]
    assert 10 <= speeds["prompt_tokens"] <= 20 and speeds["new_tokens"] == 3
    assert [speed["batch_size"] for speed in speeds["decode"]] == [1, 2]
    for speed in speeds["decode"]:
        context = speeds["prompt_tokens"] + 1.5
        per_step = card["weight_bytes"] + speed["batch_size"] * context * card["kv_bytes_per_token"]
        assert speed["ceiling"] == pytest.approx(speed["batch_size"] * card["bandwidth"] / per_step)
        assert speed["fraction"] == pytest.approx(speed["tokens_per_second"] / speed["ceiling"])
    assert found["effect"] is None


def test_int8_says_what_it_changes(tiny_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "infer", str(tiny_run), "--quantization", "int8", *SHORT]) == 0
    lines = capsys.readouterr().out.splitlines()
    found = json.loads(lines[-1])
    assert found["card"]["quantization"] == "int8"
    assert 0 < found["effect"]["mean"] <= found["effect"]["largest"] < 0.5
    assert lines[-2].startswith("scores           log-probabilities change by")


def test_bf16_weights_of_a_shape(capsys: pytest.CaptureFixture[str]) -> None:
    """They are bf16 from the start: half the bytes, and int8 is compared with them."""
    options = ["--precision", "bf16", "--quantization", "int8", "--static-decode"]
    assert main(["bench", "infer", "--shape", "tiny", *options, *SHORT]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["card"]["weight_bytes"] == 2 * (4 * 64**2 + 2 * 64 * 128) + 307 * 64
    assert found["card"]["kv_bytes_per_token"] == 2 * 2 * 64 * 2
    assert 0 < found["effect"]["largest"] < 0.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give a RUN or a --shape, one of them"),
        (["run", "--shape", "tiny"], "give a RUN or a --shape, one of them"),
        (["run", "--width", "64"], "change a --shape; a RUN has its own"),
        (["--shape", "tiny", "--new-tokens", "1"], "give 2 or more"),
        (["--shape", "tiny", "--prompt-tokens", "120", "--new-tokens", "60"], "exceed the model's 128 positions"),
        (["--shape", "tiny", "--new-tokens", "200"], "--new-tokens is 200, but the model has 128 positions"),
        (["--shape", "tinny"], "did you mean 'tiny'"),
    ],
)
def test_refused(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "infer", *arguments]) == 2
    assert message in capsys.readouterr().err
