"""What a batch of vision pretraining holds: candidates, targets, shares."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kosmos.config import PictureCorpusConfig, VisionPretrainingConfig
from kosmos.data.picture_corpus import PictureCorpus
from kosmos.training import picture_stream
from kosmos.training.picture_stream import PictureStream
from tests.training.patterns import SIZE


def test_candidates_are_the_captions_that_repeat_and_those_of_the_batch(
    pretraining: VisionPretrainingConfig, patterns: PictureCorpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    rare = PictureCorpus(
        np.repeat(patterns.images, 4, axis=0), tuple(f"tree {index}" for index in range(32)), 0.5, np.zeros(32, bool)
    )
    monkeypatch.setattr(picture_stream, "_REPEATED", 16)
    shares = (PictureCorpusConfig("patterns", 3.0), PictureCorpusConfig("rare", 1.0))
    stream = PictureStream(replace(pretraining, corpora=shares, batch_size=16), [patterns, rare])
    assert len(stream.captions) == 40
    pixels, chosen, targets = stream.batch(3)
    assert pixels.shape == (16, 3, SIZE, SIZE) and len(targets) == 16
    assert chosen.tolist() == sorted(set(chosen.tolist()))
    assert chosen[:8].tolist() == list(range(8)) and 1 <= len(chosen) - 8 <= 4
    captions = [stream.captions[index] for index in chosen[targets].tolist()]
    assert all(caption in patterns.captions for caption in captions[:12])
    assert {stream.captions[index] for index in chosen[8:].tolist()} == set(captions[12:])
    # A batch is a function of its number.
    assert all(torch.equal(a, b) for a, b in zip(stream.batch(3), (pixels, chosen, targets), strict=True))
    assert not torch.equal(stream.batch(4)[0], pixels)
    # The picture that goes with a caption: red is brighter in the first channel than blue is.
    red = torch.tensor(["red" in caption for caption in captions[:12]])
    middle = pixels[:12, :, 4:12, 4:12].mean((2, 3))
    assert torch.equal(middle[:, 0] > middle[:, 2], red)


def test_pictures_of_two_corpora_with_one_caption_are_one_class(
    pretraining: VisionPretrainingConfig, patterns: PictureCorpus
) -> None:
    shares = (PictureCorpusConfig("a", 1.0), PictureCorpusConfig("b", 1.0))
    stream = PictureStream(replace(pretraining, corpora=shares), [patterns, patterns])
    assert stream.captions == list(patterns.captions)


@pytest.mark.parametrize(
    ("shares", "batch", "counts"),
    [
        ([0.8, 0.12, 0.04, 0.04], 256, [205, 31, 10, 10]),
        ([1.0], 7, [7]),
        ([1.0, 1.0, 1.0], 8, [3, 2, 3]),
        ([1.0, 0.001], 4, [4, 0]),
    ],
)
def test_shares_of_a_batch(shares: list[float], batch: int, counts: list[int]) -> None:
    assert picture_stream._shares(shares, batch) == counts


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=8), st.integers(1, 512))
def test_shares_add_up_and_are_near(shares: list[float], batch: int) -> None:
    counts = picture_stream._shares(shares, batch)
    assert sum(counts) == batch
    assert all(abs(n - batch * share / sum(shares)) <= 1 + 1e-6 for n, share in zip(counts, shares, strict=True))
