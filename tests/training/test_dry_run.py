"""The dry run reproduces what is known of KOSMOS-1, and lays micro-batches out as the trainer does."""

from __future__ import annotations

import pytest
import torch

from kosmos.config import TrainConfig
from kosmos.config import replace as change
from kosmos.data.stream import build_stream
from kosmos.errors import UsageError
from kosmos.presets import load_recipe
from kosmos.processor import Processor
from kosmos.tokenizer import Tokenizer
from kosmos.training.dry_run import dry_run
from kosmos.training.expectations import expected_step, measured_step
from kosmos.training.hardware import find_hardware, this_machine
from kosmos.training.step import StepPlan
from kosmos.training.world import World

H100 = find_hardware("h100")


def test_kosmos_1_on_one_h100() -> None:
    config = load_recipe("kosmos-1")
    found = dry_run(config, expected_step(config), H100, ranks=1, mfu=0.4)
    assert found.parameters.total == 1_662_375_936
    assert found.parameters.trainable == 1_340_180_480 + 12_596_224 + 2_048 + 19_015_680
    assert found.tokens == 499_712 + 499_712 + 200_704
    assert found.images == pytest.approx(6_000, rel=0.01)
    assert found.flops.counted / 1e15 == pytest.approx(11.3, abs=0.05)
    assert found.step_seconds == pytest.approx(28.7, abs=0.1)
    assert found.tokens / found.step_seconds == pytest.approx(41_900, rel=0.005)
    assert found.images / found.step_seconds == pytest.approx(209, rel=0.005)
    assert found.device_days == pytest.approx(100, abs=1)
    assert found.fits
    assert found.checkpoint_bytes == 4 * 1_662_375_936 + 8 * 1_371_794_432


def test_more_ranks_wait_for_each_other() -> None:
    config = load_recipe("kosmos-1")
    one, many = (dry_run(config, expected_step(config), H100, ranks) for ranks in (1, 64))
    assert (many.layout.rounds, many.layout.spare) == (5, 64 * 5 - 293)
    assert sum(many.layout.micro_batches.values()) == 122 + 122 + 49
    assert one.layout.busy == pytest.approx(1)
    assert 0.8 < many.layout.busy < 293 / 320
    assert many.step_seconds * many.layout.busy * 64 == pytest.approx(one.step_seconds)
    assert many.device_days > one.device_days
    assert many.memory.weights == pytest.approx(one.memory.weights / 64)


@pytest.mark.parametrize("ranks", [1, 2, 3, 5])
def test_the_layout_is_the_trainers(recipe: TrainConfig, ranks: int) -> None:
    found = dry_run(recipe, expected_step(recipe), H100, ranks)
    processor = Processor(Tokenizer.load(recipe.tokenizer), recipe.model)
    dealt = [len(next(build_stream(recipe.data, processor, 1, None, rank, ranks)).batches) for rank in range(ranks)]
    world = World(0, ranks, this_device())
    assert found.layout.rounds == StepPlan.of(recipe.data, world).rounds == max(dealt)
    assert found.layout.spare == sum(max(dealt) - number for number in dealt)


def this_device() -> torch.device:

    return torch.device("cpu")


def test_pictures_as_told_or_counted(recipe: TrainConfig) -> None:
    told = expected_step(recipe, images=30)
    assert told["pairs"].images == pytest.approx(30)
    assert told["text"].images == 0 and told["text"].supervised == told["text"].tokens == 128
    measured = measured_step(recipe)
    counts = next(
        build_stream(recipe.data, Processor(Tokenizer.load(recipe.tokenizer), recipe.model), recipe.seed)
    ).counts
    for name, source in measured.items():
        assert source.measured
        assert (source.images, source.supervised) == (counts[name].images, counts[name].supervised_tokens)
    half = measured["pairs"].share(1)
    assert (half.rows, half.images, half.tokens) == (1, counts["pairs"].images / 2, 48)


def test_a_model_without_eyes_expects_no_pictures() -> None:
    config = load_recipe("llm-baseline")
    found = dry_run(config, expected_step(config, images=100), H100)
    assert (found.images, found.flops.tower_forward, found.tokens) == (0, 0, 499_712)


def test_as_plain_data(recipe: TrainConfig) -> None:
    data = dry_run(recipe, expected_step(recipe), this_machine(), mfu=0.5).to_json()
    assert data["hardware"]["name"].startswith("this CPU") or data["hardware"]["bf16"] > 1e13
    assert data["memory"]["fits"] is True
    assert data["step"]["tokens"] == 4 * 32 + 2 * 48
    assert data["time"]["days"] * 86_400 == pytest.approx(12 * data["time"]["step_seconds"])
    assert data["flops"]["counted"] < data["flops"]["done"]
    assert data["disk"]["checkpoints"] == 2


def test_what_cannot_be(recipe: TrainConfig) -> None:
    with pytest.raises(UsageError, match="replicas 4 does not divide --ranks 6"):
        dry_run(change(recipe, **{"parallel.replicas": 4}), expected_step(recipe), H100, ranks=6)
    with pytest.raises(UsageError, match="V100 does not multiply bf16; say --precision fp32"):
        dry_run(change(recipe, precision="bf16"), expected_step(recipe), find_hardware("v100"))
    with pytest.raises(UsageError, match=r"no data\.sources"):
        dry_run(TrainConfig(), {}, H100)
