"""A tiny corpus of text and of pictures with captions, a tokenizer for it, and a recipe that trains in seconds."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

from kosmos.config import (
    CorpusConfig,
    DataConfig,
    DecoderConfig,
    ModelConfig,
    OptimizerConfig,
    ResamplerConfig,
    SourceConfig,
    TrainConfig,
    VisionConfig,
    VisionPretrainingConfig,
)
from kosmos.data.picture_corpus import PictureCorpus
from kosmos.tokenizer import Tokenizer
from tests.training.patterns import make_patterns, pretraining_config

WORDS = (
    *("a", "the", "red", "green", "blue", "cat", "dog", "bird", "sits", "runs", "on", "under", "near", "house"),
    *("tree", "river", "and", "then", "it", "went", "home"),
)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """`train` sets the number of threads for the whole process; leave it as it was."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with text.jsonl, pairs.tar and tokenizer.model."""
    folder = tmp_path_factory.mktemp("corpus")
    generator = np.random.default_rng(0)

    def sentence() -> str:
        return " ".join(generator.choice(WORDS, generator.integers(3, 9))) + "."

    texts = ["\n".join(sentence() for _ in range(generator.integers(1, 4))) for _ in range(40)]
    (folder / "text.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    with tarfile.open(folder / "pairs.tar", "w") as archive:
        for number in range(12):
            out = io.BytesIO()
            pixels = generator.integers(0, 255, (20, 24, 3), dtype=np.uint8)
            PIL.Image.fromarray(pixels).save(out, "PNG")
            for suffix, data in (("png", out.getvalue()), ("txt", sentence().encode())):
                info = tarfile.TarInfo(f"{number:05d}.{suffix}")
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    Tokenizer.train(texts, folder / "tokenizer.model", vocab_size=40)
    return folder


@pytest.fixture(scope="session")
def recipe(corpus: Path) -> TrainConfig:
    """12 steps of text and pairs with dropout 0.1, in fp32 on one thread."""
    tokenizer = Tokenizer.load(corpus / "tokenizer.model")
    model = ModelConfig(
        decoder=DecoderConfig(
            num_layers=2, hidden_size=32, ffn_size=64, num_heads=4, vocab_size=tokenizer.vocab_size, max_positions=64
        ),
        vision=VisionConfig(kind="conv", trainable="all", image_size=16, hidden_size=16, channels=(8, 16)),
        resampler=ResamplerConfig(num_latents=2, num_heads=4),
    )
    text = SourceConfig(4, 2, 32, (CorpusConfig("jsonl", str(corpus / "text.jsonl")),), leading_start=False)
    pairs = SourceConfig(2, 2, 48, (CorpusConfig("pairs_tar", str(corpus / "pairs.tar")),), document_mask=True)
    return TrainConfig(
        model=model,
        data=DataConfig(sources={"text": text, "pairs": pairs}),
        optimizer=OptimizerConfig(lr=3e-3, warmup_steps=2),
        tokenizer=str(corpus / "tokenizer.model"),
        steps=12,
        precision="fp32",
        device="cpu",
        threads=1,
        checkpoint_every=4,
        random_vision=True,
    )


@pytest.fixture(scope="session")
def patterns() -> PictureCorpus:
    """Each of two colours with each of four shapes, cut out."""
    return make_patterns()


@pytest.fixture(scope="session")
def pretraining(corpus: Path) -> VisionPretrainingConfig:
    """60 steps on `patterns`, of a tower that fits the model of the fixture `recipe`, but for its norm."""
    return pretraining_config(corpus)
