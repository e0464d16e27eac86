"""The model learns what it is shown, and learns it from the pictures (kosmos-1 facts, check 11)."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from kosmos.batch import Sequence, collate
from kosmos.config import DecoderConfig, ModelConfig, OptimizerConfig, ResamplerConfig, VisionConfig
from kosmos.data.packing import join
from kosmos.document import Document, Image, Text
from kosmos.inference.engine import Engine
from kosmos.model.kosmos import Kosmos
from kosmos.processor import Processor
from kosmos.tokenizer import Tokenizer
from kosmos.training.optimizer import Optimizer
from kosmos.training.step import TrainingModule, train_step
from kosmos.training.world import World

ALONE = World(0, 1, torch.device("cpu"))

SIZE = 16
STEPS = 300
COLOURS = {
    "red": (220, 30, 30),
    "green": (30, 200, 40),
    "blue": (40, 60, 230),
    "yellow": (240, 230, 40),
    "white": (250, 250, 250),
    "violet": (150, 40, 200),
    "orange": (250, 140, 20),
    "grey": (120, 120, 120),
}
PATTERNS = ("plain cloth", "level stripes", "upright stripes", "checked board")


def picture(colour: str, pattern: str) -> np.ndarray:
    """uint8 [SIZE, SIZE, 3]: a colour on black."""
    rows, columns = np.indices((SIZE, SIZE)) // 4 % 2
    shown = {
        "plain cloth": np.ones((SIZE, SIZE), int),
        "level stripes": rows,
        "upright stripes": columns,
        "checked board": (rows + columns) % 2,
    }[pattern]
    return (shown[..., None] * np.array(COLOURS[colour])).astype(np.uint8)


NAMES = list(itertools.product(COLOURS, PATTERNS))
PICTURES = [picture(colour, pattern) for colour, pattern in NAMES]
CAPTIONS = [f"a {pattern} in {colour}." for colour, pattern in NAMES]


@pytest.fixture(scope="module")
def processor(tmp_path_factory: pytest.TempPathFactory) -> Processor:
    path: Path = tmp_path_factory.mktemp("overfit") / "tokenizer.model"
    tokenizer = Tokenizer.train(CAPTIONS, path, vocab_size=60, hard_vocab_limit=False)
    config = ModelConfig(
        decoder=DecoderConfig(
            num_layers=2,
            hidden_size=64,
            ffn_size=128,
            num_heads=4,
            vocab_size=tokenizer.vocab_size,
            max_positions=64,
            dropout=0.0,
            attention_dropout=0.0,
        ),
        vision=VisionConfig(kind="conv", trainable="all", image_size=SIZE, hidden_size=32, channels=(16, 32)),
        resampler=ResamplerConfig(num_latents=2, num_heads=4, attention_dropout=0.0),
    )
    return Processor(tokenizer, config)


def trained(processor: Processor, redeal: bool) -> Kosmos:
    """A model trained on all 32 pairs at every step; with `redeal` each step pairs them anew at random."""
    torch.manual_seed(0)
    model = Kosmos(processor.config, random_vision=True).train()
    module = TrainingModule(model)
    optimizer = Optimizer(model, OptimizerConfig(lr=2e-3, warmup_steps=10), STEPS)
    dealer = np.random.default_rng(0)

    def encode(shown: int, said: int) -> Sequence:
        return processor.encode(Document(Image(PICTURES[shown]), Text(CAPTIONS[said])), training=True)

    for step in range(1, STEPS + 1):
        order = dealer.permutation(len(PICTURES))
        pairs = [encode(shown, int(order[shown]) if redeal else shown) for shown in range(len(PICTURES))]
        rows = [join(pairs[first : first + 4], separate=True) for first in range(0, len(pairs), 4)]
        batch = collate(rows, processor.tokenizer.pad_id)
        train_step(module, optimizer, [batch], step=step, seed=0, world=ALONE, precision="fp32")
    return model


def captions(model: Kosmos, processor: Processor, pictures: list[np.ndarray]) -> list[str]:
    engine = Engine(model, processor)
    documents = [Document(Image(pixels)) for pixels in pictures]
    return [generation.text.strip() for generation in engine.generate(documents, max_new_tokens=40)]


def test_32_pairs_are_learned_by_heart_and_captions_follow_the_pictures(processor: Processor) -> None:
    model = trained(processor, redeal=False)
    assert captions(model, processor, PICTURES) == CAPTIONS
    order = np.random.default_rng(1).permutation(len(PICTURES))
    assert any(order != np.arange(len(PICTURES)))
    assert captions(model, processor, [PICTURES[i] for i in order]) == [CAPTIONS[i] for i in order]


def test_with_the_pairing_dealt_anew_at_every_step_nothing_is_learned_of_the_pictures(processor: Processor) -> None:
    model = trained(processor, redeal=True)
    said = captions(model, processor, PICTURES)
    assert sum(a == b for a, b in zip(said, CAPTIONS, strict=True)) <= 4  # chance is 1 of 32
