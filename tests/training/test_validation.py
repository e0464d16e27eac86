"""Validation: the same rows each time, without dropout, the same on several ranks, and no trace in the training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from kosmos.config import CorpusConfig, TrainConfig, ValidationConfig
from kosmos.config import replace as change
from kosmos.config_checks import problems
from kosmos.config_files import save_config
from kosmos.data.stream import build_stream
from kosmos.errors import DataError, UsageError
from kosmos.model.kosmos import Kosmos
from kosmos.processor import Processor
from kosmos.runs import WEIGHTS, latest_step
from kosmos.tokenizer import Tokenizer
from kosmos.training.loop import train
from kosmos.training.same_recipe import check_same_recipe
from kosmos.training.step import TrainingModule
from kosmos.training.validation import Validation
from kosmos.training.world import World
from tests.training.test_ranks import lines, torchrun


@pytest.fixture
def config(recipe: TrainConfig, corpus: Path, tmp_path: Path) -> TrainConfig:
    """The recipe over 5 steps, validated after steps 2, 4 and the last on copies of a part of its files."""
    held_out = tmp_path / "held-out"
    held_out.mkdir()
    text = (corpus / "text.jsonl").read_text().splitlines(keepends=True)
    (held_out / "text.jsonl").write_text("".join(text[:15]))
    (held_out / "pairs.tar").write_bytes((corpus / "pairs.tar").read_bytes())
    sources = {
        name: replace(source, corpora=tuple(_moved(entry, held_out) for entry in source.corpora))
        for name, source in recipe.data.sources.items()
    }
    return change(recipe, steps=5, validation=ValidationConfig(2, 3, sources))


def _moved(entry: CorpusConfig, folder: Path) -> CorpusConfig:
    return replace(entry, path=str(folder / Path(entry.path).name))


def validations(run: Path) -> dict[int, dict[str, Any]]:
    return {line["step"]: line["validation"] for line in lines(run) if "validation" in line}


def test_it_is_the_loss_of_the_held_out_rows(config: TrainConfig, tmp_path: Path) -> None:
    run = train(config, tmp_path / "run", quiet=True)
    found = validations(run)
    assert list(found) == [2, 4, 5]
    folder = latest_step(run) / WEIGHTS
    model = Kosmos.from_pretrained(folder)
    module = TrainingModule(model).eval()
    stream = build_stream(replace(config.data, sources=config.validation.sources), Processor.load(folder), 0)
    sums = {"text": [0.0, 0], "pairs": [0.0, 0]}
    with torch.no_grad():
        for _ in range(3):
            for batch in next(stream).batches:
                loss, count = module(batch)
                sums[batch.source][0] += float(loss)
                sums[batch.source][1] += int(count)
    for name, (total, tokens) in sums.items():
        assert found[5][name]["loss"] == pytest.approx(total / tokens, abs=1e-6)
        assert found[5][name]["supervised_tokens"] == tokens > 0
        assert found[5][name]["supervised_tokens"] == found[2][name]["supervised_tokens"]
        assert found[5][name]["loss"] != found[2][name]["loss"]


def test_training_does_not_feel_it(config: TrainConfig, tmp_path: Path) -> None:
    validated = lines(train(config, tmp_path / "validated", quiet=True))
    plain = lines(train(replace(config, validation=ValidationConfig()), tmp_path / "plain", quiet=True))
    for line in validated:
        line.pop("validation", None)
        line.pop("timing")
    for line in plain:
        line.pop("timing")
    assert validated == plain


def test_a_model_that_stands_still_has_the_same_loss_on_one_rank_and_two(config: TrainConfig, tmp_path: Path) -> None:
    still = change(config, **{"optimizer.lr": 1e-30})
    save_config(still, tmp_path / "recipe.yaml")
    torchrun(2, "train", tmp_path / "recipe.yaml", tmp_path / "two", 0)
    alone, two = (validations(run) for run in (train(still, tmp_path / "one", quiet=True), tmp_path / "two"))
    # Dropout is 0.1: with it no two of them would be alike.
    assert alone[2] == alone[4] == alone[5]
    assert two[2] == two[4] == two[5]
    for name, values in alone[2].items():
        assert two[2][name]["supervised_tokens"] == values["supervised_tokens"]
        assert two[2][name]["loss"] == pytest.approx(values["loss"], abs=1e-6)


def test_what_is_missing_is_known_before_the_run_begins(config: TrainConfig, tmp_path: Path) -> None:
    gone = change(config, **{"validation.every": 100})
    Path(gone.validation.sources["text"].corpora[0].path).unlink()
    with pytest.raises(DataError, match="text.jsonl"):
        train(gone, tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_contradictions(recipe: TrainConfig) -> None:
    same = replace(recipe, validation=ValidationConfig(10, 1, recipe.data.sources))
    trained_on = recipe.data.sources["text"].corpora[0].path
    found = problems(same)
    assert found[0] == (
        "validation.sources.text.corpora.0.path",
        f"{trained_on} is trained on; name shards that are not",
    )
    assert len(found) == 2
    assert problems(replace(recipe, validation=ValidationConfig(10))) == [
        ("validation.sources", "must name at least one source")
    ]
    assert problems(replace(recipe, validation=ValidationConfig(-1, 0))) == [
        ("validation.every", "must be 0 (none) or more"),
        ("validation.batches", "must be above 0, not 0"),
    ]


def test_a_resumed_run_may_be_watched_otherwise(config: TrainConfig, recipe: TrainConfig, tmp_path: Path) -> None:
    check_same_recipe(change(config, trackers=("tensorboard",)), change(recipe, steps=5), tmp_path)
    with pytest.raises(UsageError, match="optimizer.lr"):
        check_same_recipe(change(config, **{"optimizer.lr": 1.0}), config, tmp_path)


def test_a_loss_that_is_not_finite_is_none(config: TrainConfig) -> None:
    """A line of JSON knows no NaN. What the ranks found is added in one order."""
    processor = Processor(Tokenizer.load(config.tokenizer), config.model)
    never = change(config, **{"validation.every": 0})
    validation = Validation(never, processor, World(0, 1, torch.device("cpu")), "fp32")
    assert not validation.due(5)
    found = [(0, 0, "text", float("nan"), 3), (0, 1, "text", 1.0, 2), (0, 2, "pairs", 1.5, 2), (1, 2, "pairs", 1.0, 3)]
    assert validation._add_up(found) == {
        "text": {"loss": None, "supervised_tokens": 5},
        "pairs": {"loss": 0.5, "supervised_tokens": 5},
    }
