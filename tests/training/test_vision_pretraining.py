"""Vision pretraining on eight coloured patterns: it learns, it repeats itself, and it leaves all or nothing."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor, nn

from kosmos.config import PictureCorpusConfig, ResamplerConfig, TrainConfig, VisionConfig, VisionPretrainingConfig
from kosmos.config import replace as change
from kosmos.config_files import load_config
from kosmos.data.picture_corpus import BatchAugmenter, PictureCorpus
from kosmos.errors import ConfigError, DataError, Interrupted, StorageError, UsageError
from kosmos.model.conv_tower import ConvTower
from kosmos.model.kosmos import Kosmos
from kosmos.model.resampler import build_resampler
from kosmos.model.vision import build_vision
from kosmos.storage import check_manifest
from kosmos.tokenizer import Tokenizer
from kosmos.training import vision_pretraining
from kosmos.training.metrics import LineLog
from kosmos.training.vision_pretraining import (
    CaptionBag,
    Contrast,
    PictureStream,
    PretrainingOptimizer,
    pretrain_vision,
)
from tests.cli.process import snapshot

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


@pytest.fixture(scope="module")
def patterns() -> PictureCorpus:
    """Each of the colours with each of the shapes, cut out; captions as "red bird"."""
    images, captions = [], []
    for colour, rgb in COLOURS.items():
        for shape in SHAPES:
            alpha = draw(shape)[..., None] * 255
            images.append(np.concatenate((np.broadcast_to(rgb, (SIZE, SIZE, 3)), alpha), axis=2).astype(np.uint8))
            captions.append(f"{colour} {shape}")
    return PictureCorpus(np.stack(images), tuple(captions), strength=0.5, flip=np.ones(8, dtype=bool))


@pytest.fixture(scope="module")
def config(corpus: Path) -> VisionPretrainingConfig:
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


@pytest.fixture(scope="module")
def folder(config: VisionPretrainingConfig, patterns: PictureCorpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pretrain_vision(config, [patterns], tmp_path_factory.mktemp("towers") / "tower", quiet=True)


def records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_it_learns_to_match(folder: Path) -> None:
    lines = records(folder)
    assert [line["step"] for line in lines] == list(range(1, 61))
    assert all(line["pictures"] == 32 for line in lines)
    assert lines[0]["right"] < 0.5
    assert np.mean([line["right"] for line in lines[-10:]]) > 0.97


def test_two_runs_are_equal_to_the_bit(
    config: VisionPretrainingConfig, patterns: PictureCorpus, folder: Path, tmp_path: Path
) -> None:
    again = pretrain_vision(config, [patterns], tmp_path / "again", quiet=True)
    names = {"model.safetensors", "resampler.safetensors", "config.yaml", "metrics.jsonl", "MANIFEST.sha256"}
    assert {path.name for path in again.iterdir()} == names
    for name in ("model.safetensors", "resampler.safetensors", "config.yaml"):
        assert (again / name).read_bytes() == (folder / name).read_bytes(), name
    first, second = records(folder), records(again)
    for line in (*first, *second):
        assert line.pop("timing")["images_per_second"] > 0
    assert first == second
    assert load_config(again / "config.yaml", VisionPretrainingConfig) == config
    check_manifest(again)


def test_another_seed_is_another_run(config: VisionPretrainingConfig, patterns: PictureCorpus, tmp_path: Path) -> None:
    runs = [
        pretrain_vision(replace(config, steps=5, seed=seed), [patterns], tmp_path / str(seed), quiet=True)
        for seed in (1, 2)
    ]
    assert records(runs[0])[0]["loss"] != records(runs[1])[0]["loss"]


def test_a_model_starts_from_the_folder_and_needs_it_no_more(folder: Path, recipe: TrainConfig, tmp_path: Path) -> None:
    copy = tmp_path / "tower"
    copy.mkdir()
    for file in folder.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    starting = change(recipe.model, vision=VISION, **{"vision.pretrained": str(copy)})
    starting = change(starting, **{"resampler.pretrained": str(copy)})
    model = Kosmos(starting)
    encoder = model.encoders["image"]
    for part, name in (("vision", "model"), ("resampler", "resampler")):
        stored = load_file(folder / f"{name}.safetensors")
        tensors = encoder.get_submodule(part).state_dict()
        assert tensors.keys() == stored.keys() and len(stored) >= 9
        assert all(torch.equal(tensors[key], stored[key]) for key in stored)
    model.save_pretrained(tmp_path / "model")
    for file in copy.iterdir():
        file.unlink()
    loaded = Kosmos.from_pretrained(tmp_path / "model")
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in loaded.state_dict().items())


def test_features_no_longer_depend_on_neighbours(
    folder: Path, config: VisionPretrainingConfig, patterns: PictureCorpus
) -> None:
    tower = build_vision(replace(VISION, pretrained=str(folder))).train()
    before = {name: value.clone() for name, value in tower.named_buffers()}
    assert all(int(value) == config.steps for name, value in before.items() if name.endswith("num_batches_tracked"))
    assert all(value.abs().max() > 0.01 for name, value in before.items() if name.endswith("running_mean"))
    pixels = BatchAugmenter(patterns, SIZE).draw(torch.arange(8), torch.Generator().manual_seed(0)) - 0.5
    with torch.no_grad():
        together = tower(pixels)
        alone = torch.cat([tower(pixels[index : index + 1]) for index in range(8)])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    assert all(torch.equal(value, before[name]) for name, value in tower.named_buffers())


def constant_share(folder: Path, config: VisionPretrainingConfig, pixels: Tensor) -> float:
    """The share of the latents' power that is the same in every picture."""
    tower = build_vision(replace(config.vision, pretrained=str(folder)))
    resampler = build_resampler(replace(config.resampler, pretrained=str(folder)), 16, config.hidden_size)
    with torch.no_grad():
        latents = resampler(tower(pixels))
    return float(latents.mean(0).square().mean() / latents.square().mean())


def test_what_is_the_same_in_every_picture_goes_away(
    folder: Path,
    config: VisionPretrainingConfig,
    patterns: PictureCorpus,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    logits = Contrast.logits

    def without_share(self: Contrast, pixels: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        by_mean, by_latents, constant = logits(self, pixels, chosen)
        return by_mean, by_latents, torch.zeros_like(constant)

    monkeypatch.setattr(Contrast, "logits", without_share)
    free = pretrain_vision(config, [patterns], tmp_path / "free", quiet=True)
    pixels = BatchAugmenter(patterns, SIZE).draw(torch.arange(8).repeat(8), torch.Generator().manual_seed(1))
    pixels = (pixels - torch.tensor(VISION.image_mean).view(3, 1, 1)) / torch.tensor(VISION.image_std).view(3, 1, 1)
    share, share_without = (constant_share(f, config, pixels) for f in (folder, free))
    assert 3 * share < share_without and share < 0.05


class Unchanged(nn.Module):
    """A tower whose features are its input [N, P, C]."""

    hidden_size = 2

    def forward(self, pixels: Tensor) -> Tensor:
        return pixels


def test_the_share_by_hand(corpus: Path) -> None:
    torch.manual_seed(0)
    config = VisionPretrainingConfig(
        resampler=ResamplerConfig(num_latents=1), hidden_size=2, embedding_size=4, label_smoothing=0.0
    )
    captions = CaptionBag(["red cat", "tree", "blue dog"], Tokenizer.load(corpus / "tokenizer.model"), 4)
    chosen = torch.tensor([0, 2])
    tower: Any = Unchanged()
    model = Contrast(tower, nn.Identity(), captions, config)
    # The mean is (3, 0), so of the power 9 + 1 nine parts are the same in both.
    latents = torch.tensor([[[3.0, 1.0]], [[3.0, -1.0]]], requires_grad=True)
    by_mean, by_latents, constant = model.logits(latents, chosen)
    assert constant.item() == pytest.approx(0.9)
    assert by_mean.shape == by_latents.shape == (2, 2)
    # Cosines times the scale that starts at 12.
    assert by_latents.abs().max() <= 12.0001
    targets = torch.tensor([1, 0])
    loss_by_mean, loss_by_latents, right = model(latents, chosen, targets)
    assert loss_by_mean.item() == pytest.approx(nn.functional.cross_entropy(by_mean, targets).item())
    assert loss_by_latents.item() == pytest.approx(nn.functional.cross_entropy(by_latents, targets).item() + 0.9)
    assert int(right) == int((by_latents.argmax(1) == targets).sum())
    for values, share in (([[1.0, 2.0], [1.0, 2.0]], 1.0), ([[1.0, 2.0], [-1.0, -2.0]], 0.0)):
        assert model.logits(torch.tensor(values)[:, None], chosen)[2].item() == pytest.approx(share)


def test_captions_are_told_apart_by_letters_and_pieces(corpus: Path) -> None:
    tokenizer = Tokenizer.load(corpus / "tokenizer.model")
    torch.manual_seed(0)
    vectors = CaptionBag(["cat", "act", "Cat", "cat.", "a" * 12 + "b", "a" * 12 + "c"], tokenizer, 64)(torch.arange(6))
    torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(6))
    cosines = vectors @ vectors.T
    assert cosines[0, 1] < 0.9 and cosines[0, 3] < 0.999
    # Beyond the twelfth letter only the pieces differ.
    assert cosines[4, 5] < 0.9999
    with torch.no_grad():
        bag = CaptionBag(["cat", "Cat"], tokenizer, 64)
        bag.bag.weight[: tokenizer.vocab_size] = 0
        upper, lower = bag(torch.tensor([1, 0]))
        assert torch.equal(upper, lower)  # letters in lower case
        assert torch.equal(bag(torch.tensor([1, 0, 1]))[2], upper)


def test_candidates_are_the_captions_that_repeat_and_those_of_the_batch(
    config: VisionPretrainingConfig, patterns: PictureCorpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    rare = PictureCorpus(
        np.repeat(patterns.images, 4, axis=0), tuple(f"tree {index}" for index in range(32)), 0.5, np.zeros(32, bool)
    )
    monkeypatch.setattr(vision_pretraining, "_REPEATED", 16)
    shares = (PictureCorpusConfig("patterns", 3.0), PictureCorpusConfig("rare", 1.0))
    stream = PictureStream(replace(config, corpora=shares, batch_size=16), [patterns, rare])
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
    config: VisionPretrainingConfig, patterns: PictureCorpus
) -> None:
    shares = (PictureCorpusConfig("a", 1.0), PictureCorpusConfig("b", 1.0))
    stream = PictureStream(replace(config, corpora=shares), [patterns, patterns])
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
    assert vision_pretraining._shares(shares, batch) == counts


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=8), st.integers(1, 512))
def test_shares_add_up_and_are_near(shares: list[float], batch: int) -> None:
    counts = vision_pretraining._shares(shares, batch)
    assert sum(counts) == batch
    assert all(abs(n - batch * share / sum(shares)) <= 1 + 1e-6 for n, share in zip(counts, shares, strict=True))


def test_a_share_too_small_for_the_batch(
    config: VisionPretrainingConfig, patterns: PictureCorpus, tmp_path: Path
) -> None:
    shares = (PictureCorpusConfig("patterns", 1.0), PictureCorpusConfig("rare", 0.001))
    short = replace(config, corpora=shares, steps=2, batch_size=4, warmup_steps=0)
    lines = records(pretrain_vision(short, [patterns, patterns], tmp_path / "tower", quiet=True))
    assert [line["pictures"] for line in lines] == [4, 4]
    # Without a warm-up the first step has the whole rate; the last has 1 / steps of it.
    assert [line["lr"] for line in lines] == [config.lr, config.lr / 2]


def test_bf16_learns_too(config: VisionPretrainingConfig, patterns: PictureCorpus, tmp_path: Path) -> None:
    short = replace(config, precision="bf16", steps=20, warmup_steps=2)
    lines = records(pretrain_vision(short, [patterns], tmp_path / "tower", quiet=True))
    assert lines[-1]["loss"] < 0.7 * lines[0]["loss"]
    stored = load_file(tmp_path / "tower" / "model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.float32, torch.int64}


@pytest.fixture
def contrast(config: VisionPretrainingConfig, patterns: PictureCorpus) -> Contrast:
    torch.manual_seed(0)
    tower = ConvTower(replace(VISION, stem_stride=4, blocks=2))
    tower.train_statistics()
    captions = CaptionBag(patterns.captions, Tokenizer.load(config.tokenizer), config.embedding_size)
    return Contrast(tower, build_resampler(config.resampler, 16, config.hidden_size), captions, config)


def test_the_optimizer_moves_every_parameter_itself(contrast: Contrast, config: VisionPretrainingConfig) -> None:
    optimizer = PretrainingOptimizer(contrast, config)
    filters = {name: p for name, p in contrast.named_parameters() if p.ndim == 4}
    assert len(filters) == 2 + 2 * 2 + 1
    for view, parameter in zip(optimizer._views, filters.values(), strict=True):
        # The matrix is the filter's own memory: moving one moves the other.
        assert view.data_ptr() == parameter.data_ptr() and view.numel() == parameter.numel()
    by_muon = {tuple(p.shape) for group in optimizer._muon.param_groups for p in group["params"]}
    assert {(8, 48), (8, 72), (16, 72), (16, 144), (32, 16), (32, 32)} == by_muon
    held = [p for o in optimizer._optimizers for group in o.param_groups for p in group["params"]]
    assert len(held) == len({id(p) for p in held}) == len(list(contrast.parameters()))
    before = {name: p.detach().clone() for name, p in contrast.named_parameters()}
    generator = torch.Generator().manual_seed(0)
    for step in (1, 2):
        pixels = torch.randn(16, 3, SIZE, SIZE, generator=generator)
        losses = contrast(pixels, torch.arange(8), torch.arange(16) % 8)
        (losses[0] + losses[1]).backward()
        optimizer.step(step)
    still = [name for name, p in contrast.named_parameters() if torch.equal(p, before[name])]
    assert still == []
    assert all(p.grad is None for p in contrast.parameters())
    for view, parameter in zip(optimizer._views, filters.values(), strict=True):
        assert torch.equal(view, parameter.permute(0, 2, 3, 1).flatten(1))


def test_the_rates(contrast: Contrast, config: VisionPretrainingConfig) -> None:
    optimizer = PretrainingOptimizer(contrast, replace(config, steps=10, warmup_steps=4, matrix_lr=1.0, lr=0.1))
    for step, share in ((1, 0.25), (2, 0.5 * 0.9), (4, 0.7), (10, 0.1)):
        two = torch.tensor([0, 1])
        sum(contrast(torch.ones(2, 3, SIZE, SIZE), two, two)[:2]).backward()
        optimizer.step(step)
        rates = [group["lr"] for o in optimizer._optimizers for group in o.param_groups]
        # Matrices; all else; what is no matrix in the resampler.
        assert rates == pytest.approx([share, 0.1 * share, 0.01 * share])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vision": VisionConfig(trainable="all")}, "wants vision.kind: conv"),
        ({"vision.trainable": "last_layer"}, "wants vision.kind: conv and vision.trainable: all"),
        ({"vision.pretrained": "old"}, "starts from random weights"),
        ({"resampler.pretrained": "old"}, "starts from random weights"),
        ({"corpora": ()}, "corpora: name at least one"),
        ({"tokenizer": ""}, "tokenizer: name a SentencePiece model"),
        ({"warmup_steps": 61}, "vision pretraining: warmup_steps: 61 is more than steps 60"),
        ({"warmup_steps": -1}, "warmup_steps: must be 0 or more"),
        ({"resampler.num_heads": 5}, "resampler.num_heads: 5 does not divide hidden_size 32"),
    ],
)
def test_what_cannot_be_is_refused(
    config: VisionPretrainingConfig,
    patterns: PictureCorpus,
    tmp_path: Path,
    changes: dict[str, Any],
    message: str,
) -> None:
    with pytest.raises(ConfigError, match=message):
        pretrain_vision(change(config, **changes), [patterns], tmp_path / "runs" / "tower", quiet=True)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_tokenizer(config: VisionPretrainingConfig, patterns: PictureCorpus, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no\.model: cannot read the tokenizer"):
        pretrain_vision(replace(config, tokenizer="no.model"), [patterns], tmp_path / "tower", quiet=True)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_left_alone(
    config: VisionPretrainingConfig, patterns: PictureCorpus, tmp_path: Path
) -> None:
    (tmp_path / "note.txt").write_text("mine")
    before = snapshot(tmp_path)
    with pytest.raises(UsageError, match="exists already; choose another folder"):
        pretrain_vision(config, [patterns], tmp_path, quiet=True)
    assert snapshot(tmp_path) == before


def test_an_interruption_leaves_nothing(
    config: VisionPretrainingConfig,
    patterns: PictureCorpus,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    draw_batch = BatchAugmenter.draw
    calls: list[int] = []

    def draw_and_interrupt(self: BatchAugmenter, indices: Tensor, generator: torch.Generator) -> Tensor:
        calls.append(len(indices))
        if len(calls) == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return draw_batch(self, indices, generator)

    monkeypatch.setattr(BatchAugmenter, "draw", draw_and_interrupt)
    with pytest.raises(Interrupted, match="stopped at step 3; it starts again next time"):
        pretrain_vision(config, [patterns], tmp_path / "tower")
    assert calls == [32, 32, 32]
    assert list(tmp_path.iterdir()) == []
    assert "stopping after this step; Ctrl-C again stops at once" in capfd.readouterr().err


def test_a_full_disk_leaves_nothing(
    config: VisionPretrainingConfig, patterns: PictureCorpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: LineLog, record: dict[str, Any]) -> None:
        raise StorageError("cannot write: No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(LineLog, "write", refuse)
        with pytest.raises(StorageError, match="No space left"):
            pretrain_vision(config, [patterns], tmp_path / "tower", quiet=True)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_run_left_goes_away(
    config: VisionPretrainingConfig, patterns: PictureCorpus, tmp_path: Path
) -> None:
    (tmp_path / ".tower.partial").mkdir()
    (tmp_path / ".tower.partial" / "metrics.jsonl").write_text('{"step": 1}\n')
    folder = pretrain_vision(replace(config, steps=2, warmup_steps=1), [patterns], tmp_path / "tower", quiet=True)
    assert [line["step"] for line in records(folder)] == [1, 2]
    assert [path.name for path in tmp_path.iterdir()] == ["tower"]
    assert (folder / "model.safetensors").stat().st_mode & 0o777 == (folder / "config.yaml").stat().st_mode & 0o777
