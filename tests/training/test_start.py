"""`start_from`: another run's weights, a new optimizer, the same tokenizer, the same model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from kosmos.config import TrainConfig
from kosmos.config import replace as change
from kosmos.config_files import save_config
from kosmos.errors import ConfigError
from kosmos.model.weights import read_tensors
from kosmos.runs import resolve
from kosmos.tokenizer import Tokenizer
from kosmos.training.loop import train
from kosmos.training.start import start_tokenizer
from tests.training.test_ranks import torchrun


@pytest.fixture(scope="module")
def base(recipe: TrainConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(recipe, tmp_path_factory.mktemp("base") / "run", quiet=True)


@pytest.fixture
def going_on(recipe: TrainConfig, base: Path) -> TrainConfig:
    made: TrainConfig = change(recipe, start_from=str(base), tokenizer="")
    return made


def rows(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("where", ["", "checkpoints/step-12", "checkpoints/step-12/weights"])
def test_the_weights_are_those_of_the_run(going_on: TrainConfig, base: Path, tmp_path: Path, where: str) -> None:
    # A rate so small that no weight moves.
    still = change(going_on, start_from=str(base / where), **{"optimizer.lr": 1e-30, "model.decoder.dropout": 0.0})
    run = train(still, tmp_path / "run", quiet=True)
    before, after = read_tensors(resolve(base)), read_tensors(resolve(run))
    assert before.keys() == after.keys()
    assert all(before[name].equal(after[name]) for name in before)
    assert Tokenizer.load(resolve(run)) == Tokenizer.load(resolve(base))


def test_the_optimizer_and_the_schedule_begin_anew(going_on: TrainConfig, base: Path, tmp_path: Path) -> None:
    found, before = rows(train(going_on, tmp_path / "run", quiet=True)), rows(base)
    assert [line["lr"] for line in found] == [line["lr"] for line in before]
    assert [line["sources"]["text"]["tokens"] for line in found] == [
        line["sources"]["text"]["tokens"] for line in before
    ]
    assert found[0]["loss"] < before[0]["loss"] - 0.3


def test_a_run_goes_on_when_its_base_is_gone(going_on: TrainConfig, base: Path, tmp_path: Path) -> None:
    copy = tmp_path / "base"
    shutil.copytree(base, copy)
    config: TrainConfig = change(going_on, start_from=str(copy))
    whole = rows(train(config, tmp_path / "whole", quiet=True))

    def stop(record: dict[str, Any]) -> None:
        if record["step"] == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "cut", quiet=True, on_step=stop)
    shutil.rmtree(copy)
    resumed = rows(train(config, tmp_path / "cut", resume=True, quiet=True))
    assert [line["loss"] for line in resumed] == [line["loss"] for line in whole]


def test_another_model_is_refused(going_on: TrainConfig, base: Path, tmp_path: Path) -> None:
    other = change(going_on, **{"model.decoder.sub_ln": False, "model.vision.image_size": 32})
    with pytest.raises(ConfigError) as caught:
        train(other, tmp_path / "run", quiet=True)
    message = str(caught.value)
    assert "decoder.sub_ln is true there, false here" in message and "vision.image_size is 16 there, 32" in message
    without: TrainConfig = change(going_on, **{"model.vision": None})
    with pytest.raises(ConfigError, match=r"vision.kind is conv there, absent here"):
        train(without, tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_another_tokenizer_is_refused(going_on: TrainConfig, recipe: TrainConfig, tmp_path: Path) -> None:
    assert start_tokenizer(change(going_on, tokenizer=recipe.tokenizer)) == start_tokenizer(going_on)
    words = ["a b c d e f g h", "bad cab fed", "egg had", "a dab", "beef deaf", "head cafe"]
    other = tmp_path / "other.model"
    Tokenizer.train(words * 5, other, vocab_size=14)
    with pytest.raises(ConfigError, match=r"other.model is not the one of start_from"):
        start_tokenizer(change(going_on, tokenizer=str(other)))
    with pytest.raises(ConfigError, match="tokenizer: name a SentencePiece model file"):
        start_tokenizer(change(recipe, tokenizer=""))


def test_nothing_to_start_from(going_on: TrainConfig, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"start_from: .*none: no such run, step or model folder; train it first"):
        train(change(going_on, start_from=str(tmp_path / "none")), tmp_path / "run", quiet=True)


def test_two_ranks_start_as_one(going_on: TrainConfig, tmp_path: Path) -> None:
    config: TrainConfig = change(going_on, steps=3)
    save_config(config, tmp_path / "recipe.yaml")
    torchrun(2, "train", tmp_path / "recipe.yaml", tmp_path / "two", 0)
    one, two = rows(train(config, tmp_path / "one", quiet=True)), rows(tmp_path / "two")
    assert len(one) == len(two) == 3
    for line, wanted in zip(two, one, strict=True):
        assert line["loss"] == pytest.approx(wanted["loss"], abs=1e-6)
        assert line["grad_norm"] == pytest.approx(wanted["grad_norm"], abs=1e-6)
