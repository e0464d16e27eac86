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
from safetensors.torch import load_file
from torch import Tensor

from kosmos.config import PictureCorpusConfig, TrainConfig, VisionConfig, VisionPretrainingConfig
from kosmos.config import replace as change
from kosmos.config_files import load_config
from kosmos.data.picture_corpus import BatchAugmenter, PictureCorpus
from kosmos.errors import ConfigError, DataError, Interrupted, StorageError, UsageError
from kosmos.model.kosmos import Kosmos
from kosmos.model.resampler import build_resampler
from kosmos.model.vision import build_vision
from kosmos.storage import check_manifest
from kosmos.training.contrast import Contrast
from kosmos.training.metrics import LineLog
from kosmos.training.vision_pretraining import pretrain_vision
from tests.cli.process import snapshot
from tests.training.patterns import SIZE, VISION


@pytest.fixture(scope="module")
def folder(
    pretraining: VisionPretrainingConfig, patterns: PictureCorpus, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    return pretrain_vision(pretraining, [patterns], tmp_path_factory.mktemp("towers") / "tower", quiet=True)


def records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_it_learns_to_match(folder: Path) -> None:
    lines = records(folder)
    assert [line["step"] for line in lines] == list(range(1, 61))
    assert all(line["pictures"] == 32 for line in lines)
    assert lines[0]["right"] < 0.5
    assert np.mean([line["right"] for line in lines[-10:]]) > 0.97


def test_two_runs_are_equal_to_the_bit(
    pretraining: VisionPretrainingConfig, patterns: PictureCorpus, folder: Path, tmp_path: Path
) -> None:
    again = pretrain_vision(pretraining, [patterns], tmp_path / "again", quiet=True)
    names = {"model.safetensors", "resampler.safetensors", "config.yaml", "metrics.jsonl", "MANIFEST.sha256"}
    assert {path.name for path in again.iterdir()} == names
    for name in ("model.safetensors", "resampler.safetensors", "config.yaml"):
        assert (again / name).read_bytes() == (folder / name).read_bytes(), name
    first, second = records(folder), records(again)
    for line in (*first, *second):
        assert line.pop("timing")["images_per_second"] > 0
    assert first == second
    assert load_config(again / "config.yaml", VisionPretrainingConfig) == pretraining
    check_manifest(again)


def test_another_seed_is_another_run(
    pretraining: VisionPretrainingConfig, patterns: PictureCorpus, tmp_path: Path
) -> None:
    runs = [
        pretrain_vision(replace(pretraining, steps=5, seed=seed), [patterns], tmp_path / str(seed), quiet=True)
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
    folder: Path, pretraining: VisionPretrainingConfig, patterns: PictureCorpus
) -> None:
    tower = build_vision(replace(VISION, pretrained=str(folder))).train()
    before = {name: value.clone() for name, value in tower.named_buffers()}
    assert all(
        int(value) == pretraining.steps for name, value in before.items() if name.endswith("num_batches_tracked")
    )
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
    pretraining: VisionPretrainingConfig,
    patterns: PictureCorpus,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    logits = Contrast.logits

    def without_share(self: Contrast, pixels: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        by_mean, by_latents, constant = logits(self, pixels, chosen)
        return by_mean, by_latents, torch.zeros_like(constant)

    monkeypatch.setattr(Contrast, "logits", without_share)
    free = pretrain_vision(pretraining, [patterns], tmp_path / "free", quiet=True)
    pixels = BatchAugmenter(patterns, SIZE).draw(torch.arange(8).repeat(8), torch.Generator().manual_seed(1))
    pixels = (pixels - torch.tensor(VISION.image_mean).view(3, 1, 1)) / torch.tensor(VISION.image_std).view(3, 1, 1)
    share, share_without = (constant_share(f, pretraining, pixels) for f in (folder, free))
    assert 3 * share < share_without and share < 0.05


def test_a_share_too_small_for_the_batch(
    pretraining: VisionPretrainingConfig, patterns: PictureCorpus, tmp_path: Path
) -> None:
    shares = (PictureCorpusConfig("patterns", 1.0), PictureCorpusConfig("rare", 0.001))
    short = replace(pretraining, corpora=shares, steps=2, batch_size=4, warmup_steps=0)
    lines = records(pretrain_vision(short, [patterns, patterns], tmp_path / "tower", quiet=True))
    assert [line["pictures"] for line in lines] == [4, 4]
    # Without a warm-up the first step has the whole rate; the last has 1 / steps of it.
    assert [line["lr"] for line in lines] == [pretraining.lr, pretraining.lr / 2]


def test_bf16_learns_too(pretraining: VisionPretrainingConfig, patterns: PictureCorpus, tmp_path: Path) -> None:
    short = replace(pretraining, precision="bf16", steps=20, warmup_steps=2)
    lines = records(pretrain_vision(short, [patterns], tmp_path / "tower", quiet=True))
    assert lines[-1]["loss"] < 0.7 * lines[0]["loss"]
    stored = load_file(tmp_path / "tower" / "model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.float32, torch.int64}


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
    pretraining: VisionPretrainingConfig,
    patterns: PictureCorpus,
    tmp_path: Path,
    changes: dict[str, Any],
    message: str,
) -> None:
    with pytest.raises(ConfigError, match=message):
        pretrain_vision(change(pretraining, **changes), [patterns], tmp_path / "runs" / "tower", quiet=True)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_tokenizer(pretraining: VisionPretrainingConfig, patterns: PictureCorpus, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no\.model: cannot read the tokenizer"):
        pretrain_vision(replace(pretraining, tokenizer="no.model"), [patterns], tmp_path / "tower", quiet=True)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_left_alone(
    pretraining: VisionPretrainingConfig, patterns: PictureCorpus, tmp_path: Path
) -> None:
    (tmp_path / "note.txt").write_text("mine")
    before = snapshot(tmp_path)
    with pytest.raises(UsageError, match="exists already; choose another folder"):
        pretrain_vision(pretraining, [patterns], tmp_path, quiet=True)
    assert snapshot(tmp_path) == before


def stop_at(monkeypatch: pytest.MonkeyPatch, step: int, number: int = signal.SIGINT) -> list[int]:
    """Send this process a signal while batch `step` of this call is drawn; the sizes of all batches drawn."""
    draw_batch = BatchAugmenter.draw
    calls: list[int] = []

    def draw_and_interrupt(self: BatchAugmenter, indices: Tensor, generator: torch.Generator) -> Tensor:
        calls.append(len(indices))
        if len(calls) == step:
            os.kill(os.getpid(), number)
        return draw_batch(self, indices, generator)

    monkeypatch.setattr(BatchAugmenter, "draw", draw_and_interrupt)
    return calls


def without_timing(folder: Path) -> list[dict[str, Any]]:
    return [{key: value for key, value in line.items() if key != "timing"} for line in records(folder)]


def test_interrupted_and_called_again_equals_never_interrupted(
    pretraining: VisionPretrainingConfig,
    patterns: PictureCorpus,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    # Attention dropout draws from the generator whose state must come back too.
    dropping = change(pretraining, steps=12, warmup_steps=3, **{"resampler.attention_dropout": 0.3})
    whole = pretrain_vision(dropping, [patterns], tmp_path / "whole", quiet=True)
    for stop_after in (3, 4):
        with monkeypatch.context() as patched:
            calls = stop_at(patched, stop_after)
            done = 3 if stop_after == 3 else 7
            with pytest.raises(Interrupted, match=rf"tower: vision pretraining saved after step {done} of 12 and stop"):
                pretrain_vision(dropping, [patterns], tmp_path / "tower")
            assert len(calls) == stop_after
        assert sorted(path.name for path in tmp_path.iterdir()) == [".tower.partial", "whole"]
    said = capfd.readouterr().err
    assert "stopping after this step and a save; Ctrl-C again stops at once" in said and "going on from step 3" in said
    tower = pretrain_vision(dropping, [patterns], tmp_path / "tower", quiet=True)
    assert capfd.readouterr().err == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tower", "whole"]
    for name in ("model.safetensors", "resampler.safetensors", "config.yaml"):
        assert (tower / name).read_bytes() == (whole / name).read_bytes(), name
    assert without_timing(tower) == without_timing(whole) and len(records(tower)) == 12
    check_manifest(tower)


def test_a_killed_one_goes_on_from_its_last_save(
    pretraining: VisionPretrainingConfig, patterns: PictureCorpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = replace(pretraining, steps=6, warmup_steps=1)
    whole = pretrain_vision(short, [patterns], tmp_path / "whole", quiet=True)
    monkeypatch.setattr("kosmos.training.vision_pretraining.SECONDS_BETWEEN_SAVES", 0.0)

    class Killed(BaseException):
        pass

    with monkeypatch.context() as patched:
        draw_batch = BatchAugmenter.draw
        calls: list[int] = []

        def draw_and_die(self: BatchAugmenter, indices: Tensor, generator: torch.Generator) -> Tensor:
            calls.append(1)
            if len(calls) == 5:
                raise Killed
            return draw_batch(self, indices, generator)

        patched.setattr(BatchAugmenter, "draw", draw_and_die)
        with pytest.raises(Killed):
            pretrain_vision(short, [patterns], tmp_path / "tower", quiet=True)
    drawn = stop_at(monkeypatch, 1000)
    tower = pretrain_vision(short, [patterns], tmp_path / "tower", quiet=True)
    assert len(drawn) == 2  # steps 5 and 6
    assert (tower / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    assert without_timing(tower) == without_timing(whole)


def test_a_stop_at_the_last_step_keeps_the_finished_tower(
    pretraining: VisionPretrainingConfig, patterns: PictureCorpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = stop_at(monkeypatch, 2, signal.SIGTERM)
    with pytest.raises(Interrupted, match="vision pretraining finished, and stopped after it"):
        pretrain_vision(replace(pretraining, steps=2, warmup_steps=1), [patterns], tmp_path / "tower", quiet=True)
    assert len(calls) == 2 and [path.name for path in tmp_path.iterdir()] == ["tower"]
    check_manifest(tmp_path / "tower")


@pytest.mark.parametrize("change_of", ["settings", "captions", "version"])
def test_what_another_pretraining_left_is_not_gone_on_from(
    pretraining: VisionPretrainingConfig,
    patterns: PictureCorpus,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change_of: str,
) -> None:
    short = replace(pretraining, steps=3, warmup_steps=1)
    with monkeypatch.context() as patched:
        stop_at(patched, 1)
        with pytest.raises(Interrupted):
            pretrain_vision(short, [patterns], tmp_path / "tower", quiet=True)
    if change_of == "settings":
        short = replace(short, lr=short.lr / 2)
    elif change_of == "captions":
        patterns = replace(patterns, captions=tuple(f"{caption} here" for caption in patterns.captions))
    else:
        (tmp_path / ".tower.partial" / "config.yaml").write_text("gone: 1\n")
    calls = stop_at(monkeypatch, 1000)
    tower = pretrain_vision(short, [patterns], tmp_path / "tower", quiet=True)
    assert len(calls) == 3 and [line["step"] for line in records(tower)] == [1, 2, 3]
    assert [path.name for path in tmp_path.iterdir()] == ["tower"]


def test_a_damaged_save_is_named(
    pretraining: VisionPretrainingConfig, patterns: PictureCorpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = replace(pretraining, steps=3, warmup_steps=1)
    stop_at(monkeypatch, 1)
    with pytest.raises(Interrupted):
        pretrain_vision(short, [patterns], tmp_path / "tower", quiet=True)
    state = tmp_path / ".tower.partial" / "state.pt"
    state.write_bytes(state.read_bytes()[:1000])
    with pytest.raises(
        StorageError, match=r"state\.pt: damaged; remove .*\.tower\.partial to have the pretraining start"
    ):
        pretrain_vision(short, [patterns], tmp_path / "tower", quiet=True)
    assert state.exists()


def test_a_full_disk_leaves_nothing(
    pretraining: VisionPretrainingConfig, patterns: PictureCorpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: LineLog, record: dict[str, Any]) -> None:
        raise StorageError("cannot write: No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(LineLog, "write", refuse)
        with pytest.raises(StorageError, match="No space left"):
            pretrain_vision(pretraining, [patterns], tmp_path / "tower", quiet=True)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_run_left_goes_away(
    pretraining: VisionPretrainingConfig, patterns: PictureCorpus, tmp_path: Path
) -> None:
    (tmp_path / ".tower.partial").mkdir()
    (tmp_path / ".tower.partial" / "metrics.jsonl").write_text('{"step": 1}\n')
    folder = pretrain_vision(replace(pretraining, steps=2, warmup_steps=1), [patterns], tmp_path / "tower", quiet=True)
    assert [line["step"] for line in records(folder)] == [1, 2]
    assert [path.name for path in tmp_path.iterdir()] == ["tower"]
    assert (folder / "model.safetensors").stat().st_mode & 0o777 == (folder / "config.yaml").stat().st_mode & 0o777
