"""Several ranks equal one: gradients, whole runs, and resumes on other numbers of ranks (torchrun, gloo)."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from kosmos.config import TrainConfig
from kosmos.config import replace as change
from kosmos.config_files import save_config
from kosmos.data.stream import build_stream
from kosmos.processor import Processor
from kosmos.runs import steps
from kosmos.storage import check_manifest
from kosmos.tokenizer import Tokenizer
from kosmos.training.loop import train
from kosmos.training.world import World
from tests.training.ranks import one_step

ALONE = World(0, 1, torch.device("cpu"))


def torchrun(ranks: int, *arguments: object) -> str:
    """Run ranks.py; returns what it printed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={ranks}", f"--master-port={port}"]
    script = Path(__file__).with_name("ranks.py")
    root = Path(__file__).parents[2]
    finished = subprocess.run(
        [*command, str(script), *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert finished.returncode == 0, finished.stderr[-3000:]
    assert "Warning" not in finished.stderr, finished.stderr[-3000:]
    return finished.stdout


def lines(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    "parallel", [{}, {"replicas": 2, "activation_checkpointing": "full"}], ids=["shards", "copies"]
)
def test_gradients_of_two_ranks_are_those_of_one(recipe: TrainConfig, tmp_path: Path, parallel: dict[str, Any]) -> None:
    layout = {f"parallel.{key}": value for key, value in parallel.items()}
    config: TrainConfig = change(recipe, **layout)
    save_config(config, tmp_path / "recipe.yaml")
    stream = build_stream(config.data, Processor(Tokenizer.load(config.tokenizer), config.model), 3)
    batches = next(stream).batches
    assert [batch.source for batch in batches] == ["text", "text", "pairs"]
    batches[1].supervised[:, 5:] = False  # few tokens on one rank, many on the other
    # All pictures on one rank, and two micro-batches against one; then a rank with all, the other with none.
    cases = [
        {"batches": batches, "ranks_of": ranks_of, "reduce_each": each, "by_blocks": by_blocks}
        for ranks_of, each, by_blocks in (
            ([0, 1, 0], False, False),
            ([0, 1, 0], False, True),
            ([1, 0, 0], True, True),
            ([1, 1, 1], False, False),
        )
    ]
    torch.save(cases, tmp_path / "cases.pt")
    torchrun(2, "gradients", tmp_path / "recipe.yaml", tmp_path / "cases.pt", tmp_path / "found.pt")
    alone = one_step(change(config, **{"parallel.replicas": 1}), batches, ALONE, [], False)
    for found in torch.load(tmp_path / "found.pt", weights_only=False):
        assert found["gradients"].keys() == alone["gradients"].keys()
        for name, gradient in alone["gradients"].items():
            torch.testing.assert_close(found["gradients"][name], gradient, atol=1e-6, rtol=1e-5, msg=name)
        assert found["result"].loss == pytest.approx(alone["result"].loss, abs=1e-6)
        assert found["result"].grad_norm == pytest.approx(alone["result"].grad_norm, abs=1e-6)
        assert found["result"].source_loss == pytest.approx(alone["result"].source_loss, abs=1e-6)
        assert found["weights"].keys() == alone["weights"].keys()


@pytest.fixture(scope="module")
def alone(recipe: TrainConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(recipe, tmp_path_factory.mktemp("alone") / "run", quiet=True)


def test_when_one_rank_fails_the_others_end_and_say_so(recipe: TrainConfig, tmp_path: Path) -> None:
    # A save is under way behind the training when it happens: it ends, whole.
    save_config(change(recipe, checkpoint_every=3, asynchronous_checkpoints=True), tmp_path / "recipe.yaml")
    said = torchrun(3, "failing", tmp_path / "recipe.yaml", tmp_path / "run").splitlines()
    assert said.count("ValueError: out of luck") == 1
    assert sum("another rank is gone" in line for line in said) == 2
    assert all(line.startswith("KosmosError: rank ") for line in said if "another rank" in line)
    assert [number for number, _ in steps(tmp_path / "run")] == [3]
    check_manifest(tmp_path / "run" / "checkpoints" / "step-3")


@pytest.mark.parametrize("asynchronous", [False, True], ids=["synchronous", "asynchronous"])
def test_a_run_goes_on_two_then_one_then_three_ranks(
    alone: Path, recipe: TrainConfig, tmp_path: Path, asynchronous: bool
) -> None:
    save_config(change(recipe, asynchronous_checkpoints=asynchronous), tmp_path / "recipe.yaml")
    run = tmp_path / "run"
    assert "interrupted" in torchrun(2, "train", tmp_path / "recipe.yaml", run, 4)
    # What is asked for at step 4 is agreed on in step 5.
    assert [number for number, _ in steps(run)] == [4, 5]
    assert "interrupted" in torchrun(1, "train", tmp_path / "recipe.yaml", run, 7)
    assert "interrupted" not in torchrun(3, "train", tmp_path / "recipe.yaml", run, 0)
    found, expected = lines(run), lines(alone)
    assert [line["step"] for line in found] == list(range(1, 13))
    for line, wanted in zip(found, expected, strict=True):
        assert line["loss"] == pytest.approx(wanted["loss"], abs=1e-6)
        assert line["grad_norm"] == pytest.approx(wanted["grad_norm"], abs=1e-6)
        for name, source in line["sources"].items():
            assert {k: v for k, v in source.items() if k != "loss"} == {
                k: v for k, v in wanted["sources"][name].items() if k != "loss"
            }
    states = [
        json.loads((folder / "checkpoints" / "step-12" / "state.json").read_text())["stream"] for folder in (run, alone)
    ]
    assert states[0] == states[1]
