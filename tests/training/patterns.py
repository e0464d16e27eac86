"""Eight coloured patterns with captions, and a pretraining that learns them in seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from kosmos.config import PictureCorpusConfig, ResamplerConfig, VisionConfig, VisionPretrainingConfig
from kosmos.data.picture_corpus import PictureCorpus

SIZE = 16
VISION = VisionConfig(kind="conv", trainable="all", image_size=SIZE, hidden_size=16, channels=(8, 16), norm="batch")
COLOURS = {"red": (230, 30, 30), "blue": (30, 30, 230)}
SHAPES = ("bird", "house", "tree", "river")


def draw(shape: str) -> np.ndarray:
    """bool [16, 16]: two bars across, two bars down, a square, a frame."""
    mask = np.zeros((SIZE, SIZE), dtype=bool)
    if shape == "bird":
        mask[3:6, 2:14] = mask[10:13, 2:14] = True
    elif shape == "house":
        mask[2:14, 3:6] = mask[2:14, 10:13] = True
    else:
        mask[3:13, 3:13] = True
        if shape == "river":
            mask[6:10, 6:10] = False
    return mask


def make_patterns() -> PictureCorpus:
    """Each of the colours with each of the shapes, cut out; captions as "red bird"."""
    images, captions = [], []
    for colour, rgb in COLOURS.items():
        for shape in SHAPES:
            alpha = draw(shape)[..., None] * 255
            images.append(np.concatenate((np.broadcast_to(rgb, (SIZE, SIZE, 3)), alpha), axis=2).astype(np.uint8))
            captions.append(f"{colour} {shape}")
    return PictureCorpus(np.stack(images), tuple(captions), strength=0.5, flip=np.ones(8, dtype=bool))


def pretraining_config(corpus: Path) -> VisionPretrainingConfig:
    """A tower that fits the model of the fixture `recipe`, but for its norm."""
    return VisionPretrainingConfig(
        vision=VISION,
        resampler=ResamplerConfig(num_latents=2, num_heads=4, attention_dropout=0.0),
        hidden_size=32,
        corpora=(PictureCorpusConfig("patterns", 1.0),),
        tokenizer=str(corpus / "tokenizer.model"),
        steps=60,
        batch_size=32,
        warmup_steps=5,
        embedding_size=16,
        threads=1,
        precision="fp32",
    )
