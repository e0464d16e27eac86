"""Augmentation in batches: what may change in a picture, and what may not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from kosmos.data.picture_corpus import BatchAugmenter, PictureCorpus

SIZE = 16


def corpus(images: np.ndarray, strength: float = 1.0, flip: bool = True) -> PictureCorpus:
    captions = tuple(str(index) for index in range(len(images)))
    return PictureCorpus(images, captions, strength, np.full(len(images), flip))


def opaque(gray: np.ndarray) -> np.ndarray:
    """Gray values uint8 [n, S, S] as opaque pictures."""
    pictures = np.repeat(gray[..., None], 4, axis=3)
    pictures[..., 3] = 255
    return pictures


def draw(pictures: PictureCorpus, count: int, seed: int = 0, size: int = SIZE) -> Tensor:
    """`count` times the first picture."""
    indices = torch.zeros(count, dtype=torch.int64)
    return BatchAugmenter(pictures, size).draw(indices, torch.Generator().manual_seed(seed))


@pytest.fixture
def noise() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE, 4), dtype=np.uint8)


def test_range_shape_and_seed(noise: np.ndarray) -> None:
    augmenter = BatchAugmenter(corpus(noise), 24)
    indices = torch.tensor([2, 0, 1, 1])
    drawn = [augmenter.draw(indices, torch.Generator().manual_seed(seed)) for seed in (5, 5, 6)]
    assert drawn[0].shape == (4, 3, 24, 24) and drawn[0].dtype == torch.float32
    assert drawn[0].min() >= 0.0 and drawn[0].max() <= 1.0
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    # One picture twice in a batch is drawn in two ways.
    assert (drawn[0][2] - drawn[0][3]).abs().mean() > 0.02
    assert augmenter.draw(indices[:0], torch.Generator()).shape == (0, 3, 24, 24)


def test_at_strength_0_nothing_changes() -> None:
    gray = np.random.default_rng(0).integers(0, 255, (1, SIZE, SIZE), dtype=np.uint8)
    drawn = draw(corpus(opaque(gray), strength=0.0, flip=False), 32)
    picture = torch.from_numpy(gray[0]).float() / 255.0
    torch.testing.assert_close(drawn, picture.expand_as(drawn), rtol=1e-4, atol=1e-5)


def test_strength_scales_the_change_of_light() -> None:
    gray = np.full((1, SIZE, SIZE), 100, dtype=np.uint8)
    spread = {}
    for strength in (0.3, 1.0):
        # Plain gray has no place and no saturation; what is left is a gain for each colour.
        gain = draw(corpus(opaque(gray), strength=strength, flip=False), 64)[:, :, 8, 8] * 255 / 100
        low, high = (1 - 0.25 * strength) * (1 - 0.2 * strength), (1 + 0.25 * strength) * (1 + 0.2 * strength)
        assert gain.min() >= low - 1e-4 and gain.max() <= high + 1e-4
        spread[strength] = gain.std().item()
    assert 0.05 < spread[0.3] < 0.5 * spread[1.0]


def test_a_larger_or_smaller_size_shows_the_same_picture() -> None:
    gray = np.zeros((1, SIZE, SIZE), dtype=np.uint8)
    gray[:, :, : SIZE // 2] = 100
    drawn = draw(corpus(opaque(gray), strength=0.0, flip=False), 4, size=2 * SIZE)
    assert drawn.shape[-1] == 32
    assert drawn[..., :15].min() > 0.2 and drawn[..., 17:].max() == 0.0


def test_only_what_may_be_mirrored_is() -> None:
    gray = np.zeros((1, SIZE, SIZE), dtype=np.uint8)
    gray[:, :, : SIZE // 4] = 255
    for flip in (False, True):
        drawn = draw(corpus(opaque(gray), flip=flip), 200).mean((1, 2))
        left, right = drawn[:, : SIZE // 2].mean(1), drawn[:, SIZE // 2 :].mean(1)
        mirrored = (right > left).float().mean().item()
        assert (0.35 < mirrored < 0.65) if flip else mirrored == 0.0


def test_how_far_a_picture_moves() -> None:
    gray = np.zeros((1, 64, 64), dtype=np.uint8)
    gray[:, 28:36, 28:36] = 255
    places = torch.arange(64).float()

    def spread(strength: float) -> float:
        weights = draw(corpus(opaque(gray), strength), 200, size=64).mean(1)
        across = (weights.sum(1) * places).sum(1) / weights.sum((1, 2))
        return (across - 31.5).abs().max().item()

    assert spread(0.0) == pytest.approx(0.0, abs=1e-3)
    full, third = spread(1.0), spread(0.3)
    # A shift of 0.12 of half the picture's side, more where it is turned, stretched and enlarged.
    assert 3.0 < full < 8.0
    assert third < 0.5 * full


def test_nothing_is_around_a_cut_out_picture() -> None:
    pictures = np.zeros((1, SIZE, SIZE, 4), dtype=np.uint8)
    pictures[:, 6:10, 6:10] = (255, 0, 0, 255)
    # What is transparent has a colour too, and it must not show.
    pictures[:, :4] = (0, 255, 0, 0)
    drawn = draw(corpus(pictures), 200)
    corners = torch.stack((drawn[:, :, 0, 0], drawn[:, :, 0, -1], drawn[:, :, -1, 0], drawn[:, :, -1, -1]))
    grounds = corners[0]
    torch.testing.assert_close(corners, grounds.expand(4, -1, -1), rtol=0, atol=1e-6)
    # The ground is white every other time, else a light colour.
    white = (grounds == 1.0).all(1)
    assert 0.35 < white.float().mean() < 0.65
    assert grounds.min() >= 0.5 and grounds[~white].std(1).mean() > 0.05
    middle = drawn[:, :, 7:9, 7:9].mean((2, 3))
    assert (middle[:, 0] > middle[:, 1] + 0.2).all()


def test_an_opaque_picture_goes_on_past_its_edge() -> None:
    gray = np.full((1, SIZE, SIZE), 200, dtype=np.uint8)
    drawn = draw(corpus(opaque(gray)), 50)
    # One colour from edge to edge, whichever way it was moved.
    assert (drawn.amax((2, 3)) - drawn.amin((2, 3))).max() < 1e-5


def test_scaling_does_not_bleed_the_colour_of_what_is_transparent() -> None:
    pictures = np.zeros((1, SIZE, SIZE, 4), dtype=np.uint8)
    pictures[..., 1] = 255
    pictures[:, 4:12, 4:12] = (0, 0, 0, 255)
    drawn = draw(corpus(pictures), 100)
    # Black on a ground: no place is brighter than the ground in any colour.
    ground = drawn[:, :, :1, :1]
    assert (drawn <= ground + 1e-5).all()


class AllAsFloats(BatchAugmenter):
    """Every picture converted ahead: what converting batch by batch must equal."""

    def __init__(self, pictures: PictureCorpus, size: int) -> None:
        super().__init__(pictures, size)
        pixels = torch.from_numpy(pictures.images).permute(0, 3, 1, 2).float() / 255.0
        self.pixels = torch.cat((pixels[:, :3] * pixels[:, 3:], pixels[:, 3:]), dim=1)

    def _premultiplied(self, indices: Tensor) -> Tensor:
        return self.pixels[indices]


@pytest.mark.parametrize("count", [1, 7, 64])
def test_pictures_are_kept_as_bytes_and_converted_to_the_same_bits(count: int) -> None:
    pictures = corpus(np.random.default_rng(1).integers(0, 256, (40, SIZE, SIZE, 4), dtype=np.uint8))
    indices = torch.randint(40, (count,), generator=torch.Generator().manual_seed(2))
    one, other = (
        kind(pictures, SIZE).draw(indices, torch.Generator().manual_seed(3)) for kind in (BatchAugmenter, AllAsFloats)
    )
    assert torch.equal(one, other)
    held = [value for value in vars(BatchAugmenter(pictures, SIZE)).values() if isinstance(value, Tensor)]
    assert sum(tensor.nbytes for tensor in held) == pictures.images.nbytes + 40
