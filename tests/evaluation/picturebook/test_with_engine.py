"""The runner on the real Engine with a tiny random model: one interface, deterministic results."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from kosmos.config import DecoderConfig, ModelConfig, ResamplerConfig, VisionConfig
from kosmos.evaluation.picturebook.responses import EngineLike
from kosmos.evaluation.picturebook.runner import evaluate
from kosmos.inference.engine import Engine
from kosmos.model.kosmos import Kosmos
from kosmos.processor import Processor
from kosmos.tokenizer import Tokenizer
from tests.evaluation.scripted import puzzle_task, shade_examples, shade_task

LINES = ["The shade is black dark light white", "Is it correct? Yes No", "what is the shade of it"] * 3


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> EngineLike:
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.model"
    tokenizer = Tokenizer.train(LINES, path, vocab_size=300, hard_vocab_limit=False)
    config = ModelConfig(
        decoder=DecoderConfig(
            num_layers=1, hidden_size=32, ffn_size=64, num_heads=4, vocab_size=tokenizer.vocab_size, max_positions=64
        ),
        vision=VisionConfig(kind="conv", image_size=16, hidden_size=16, channels=(8, 16)),
        resampler=ResamplerConfig(num_latents=2, num_heads=4),
    )
    torch.manual_seed(0)
    return Engine(Kosmos(config, random_vision=True), Processor(tokenizer, config), max_slots=8)


def test_all_modes_run_and_give_the_same_samples_twice(engine: EngineLike, tmp_path: Path) -> None:
    tasks = [
        shade_task(max_new_tokens=4, examples=lambda: shade_examples(12)),
        shade_task(name="choose", mode="choice", normalization="per_token"),
        puzzle_task(normalization="yes_no"),
    ]
    for name in ("a", "b"):
        results = evaluate(engine, tasks, tmp_path / name, quiet=True)
        assert [result.n for result in results.values()] == [12, 8, 6]
        assert all(0.0 <= result.score <= 1.0 for result in results.values())
    for task in tasks:
        samples = f"{task.name}.jsonl"
        assert (tmp_path / "a" / samples).read_bytes() == (tmp_path / "b" / samples).read_bytes()


def test_blank_puzzles_are_a_fair_draw_on_the_real_engine(engine: EngineLike, tmp_path: Path) -> None:
    result = evaluate(engine, [puzzle_task()], tmp_path, blank=True, quiet=True)["puzzle"]
    assert list(result.values) == pytest.approx([1 / 3] * 6)
    assert result.num_ties == 6
