"""Contrastive pretraining of a small vision tower on pictures with captions, as CLIP is: the loop and its folder."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kosmos.config import VisionPretrainingConfig
from kosmos.config_checks import check_config
from kosmos.config_files import save_config
from kosmos.data.picture_corpus import PictureCorpus
from kosmos.errors import ConfigError, Interrupted, UsageError
from kosmos.model.conv_tower import ConvTower
from kosmos.model.pretrained_part import RESAMPLER_FILE, TOWER_FILE
from kosmos.model.resampler import build_resampler
from kosmos.model.weights import save_tensors
from kosmos.runs import CONFIG_FILE, METRICS_FILE
from kosmos.storage import commit_folder, make_folder, write_atomic, write_manifest
from kosmos.tokenizer import Tokenizer
from kosmos.training.contrast import CaptionBag, Contrast
from kosmos.training.interrupt import StopRequest
from kosmos.training.metrics import LineLog
from kosmos.training.picture_stream import PictureStream
from kosmos.training.precision import autocast, choose_device, choose_precision
from kosmos.training.pretraining_optimizer import PretrainingOptimizer, share_of_rate
from kosmos.training.progress import open_progress
from kosmos.training.threads import set_threads
from kosmos.training.unfinished_pretraining import UnfinishedPretraining

# A save takes a fraction of a second, and as many are lost when the process is killed.
SECONDS_BETWEEN_SAVES = 30.0


def check_pretraining(config: VisionPretrainingConfig, out: Path) -> None:
    """What `pretrain_vision` refuses before any picture is made: UsageError when `out` exists, ConfigError."""
    if out.exists():
        raise UsageError(f"{out}: exists already; choose another folder")
    check_config(config, "vision pretraining")
    if config.vision.kind != "conv" or config.vision.trainable != "all":
        raise ConfigError("vision pretraining wants vision.kind: conv and vision.trainable: all")
    if config.vision.pretrained is not None or config.resampler.pretrained is not None:
        raise ConfigError("vision pretraining starts from random weights; leave `pretrained` out")
    if not config.corpora:
        raise ConfigError("corpora: name at least one picture corpus, as {name: drawings, share: 1}")
    if not config.tokenizer:
        raise ConfigError("tokenizer: name a SentencePiece model file; `kosmos tokenizer train` makes one")


def pretrain_vision(
    config: VisionPretrainingConfig, corpora: Sequence[PictureCorpus], out: Path, *, quiet: bool = False
) -> Path:
    """Pretrain a tower on `corpora` (one for each of config.corpora) and write it to the new folder `out`.

    The folder appears whole or not at all, and `vision.pretrained` takes it. An interrupted pretraining, called again,
    goes on from its last save, to the same bits. Raises UsageError when `out` exists, ConfigError, Interrupted,
    StorageError.
    """
    out = Path(out)
    check_pretraining(config, out)
    vision = config.vision
    set_threads(config.threads)
    device = choose_device("auto")
    unfinished = UnfinishedPretraining(config, out)
    precision = choose_precision(unfinished.precision or config.precision, device)
    torch.manual_seed(config.seed)
    pictures = PictureStream(config, corpora)
    tower = ConvTower(vision)
    tower.train_statistics()
    bag = CaptionBag(pictures.captions, Tokenizer.load(config.tokenizer), config.embedding_size)
    resampler = build_resampler(config.resampler, tower.hidden_size, config.hidden_size)
    # Features have norm 1, so entries of variance 1, as the latents have, need weights of variance 1.
    nn.init.normal_(resampler.get_parameter("dense.weight"))
    model = Contrast(tower, resampler, bag, config).to(device)
    optimizer = PretrainingOptimizer(model, config)
    try:
        unfinished.begin(model, optimizer)
        first = unfinished.step
        with LineLog(unfinished.metrics, first) as metrics, StopRequest(quiet) as stop:
            with open_progress(config.steps, first, config.log_every, quiet) as progress:
                if first:
                    progress.say(f"going on from step {first}")
                saved = time.monotonic()
                for step in range(first + 1, config.steps + 1):
                    begin = time.perf_counter()
                    pixels, chosen, targets = (part.to(device) for part in pictures.batch(step))
                    with autocast(precision, device):
                        by_mean, by_latents, right = model(pixels, chosen, targets)
                    (by_mean + by_latents).backward()
                    optimizer.step(step)
                    seconds = time.perf_counter() - begin
                    record = _record(step, config, (by_mean, by_latents), right, config.batch_size, seconds)
                    metrics.write(record)
                    progress.step(record)
                    stopping = stop.requested
                    if step < config.steps and (stopping or time.monotonic() - saved >= SECONDS_BETWEEN_SAVES):
                        metrics.sync()
                        unfinished.save(step, precision, model, optimizer)
                        saved = time.monotonic()
                        if stopping:
                            raise Interrupted(
                                f"{out}: vision pretraining saved after step {step} of {config.steps} and stopped"
                            )
            _finish(config, model, unfinished, out)
    except BaseException:
        unfinished.leave()
        raise
    if stop.requested:
        raise Interrupted(f"{out}: vision pretraining finished, and stopped after it")
    return out


def _finish(config: VisionPretrainingConfig, model: Contrast, unfinished: UnfinishedPretraining, out: Path) -> None:
    """Write the finished folder, and only then let go of what the pretraining would go on from."""
    temporary = out.with_name(f".{out.name}.finished")
    shutil.rmtree(temporary, ignore_errors=True)
    make_folder(temporary)
    try:
        save_tensors(dict(model.tower.state_dict()), temporary / TOWER_FILE)
        save_tensors(dict(model.resampler.state_dict()), temporary / RESAMPLER_FILE)
        save_config(config, temporary / CONFIG_FILE)
        write_atomic(temporary / METRICS_FILE, unfinished.metrics.read_bytes())
        write_manifest(temporary)
        commit_folder(temporary, out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    unfinished.remove()


def _record(
    step: int,
    config: VisionPretrainingConfig,
    losses: tuple[Tensor, Tensor],
    right: Tensor,
    pictures: int,
    seconds: float,
) -> dict[str, Any]:
    by_mean, by_latents = (loss.item() for loss in losses)
    return {
        "step": step,
        "loss": by_mean + by_latents,
        "sources": {"mean": {"loss": by_mean}, "latents": {"loss": by_latents}},
        "right": right.item() / pictures,
        "pictures": pictures,
        "lr": config.lr * share_of_rate(step, config),
        "timing": {"seconds": round(seconds, 6), "images_per_second": round(pictures / seconds, 3)},
    }
