"""Megatron-Energon, as its documentation says to use it. Only the rivals' environment can import what this needs."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

warnings.filterwarnings("ignore")


def prepare(folder: Path, fields: dict[str, str], sample: str) -> None:
    """`energon prepare`: the index and the description of a folder of tars, made once."""
    if (folder / ".nv-meta" / "dataset.yaml").exists():
        return
    command = [str(Path(sys.executable).parent / "energon"), "prepare", "--non-interactive", "--no-progress"]
    command += ["--num-workers", "1", "--split-ratio", "1,0,0", "--sample-type", sample]
    done = subprocess.run(
        [*command, "--field-map", json.dumps(fields), str(folder)], capture_output=True, text=True, check=False
    )
    if not (folder / ".nv-meta" / "dataset.yaml").exists():
        raise RuntimeError(f"energon prepare failed: {(done.stdout + done.stderr)[-300:]}")


def pairs_loader(folder: Path, pixels_of: Callable[[bytes], np.ndarray], batch: int, buffer: int) -> Any:
    """Batches with `.pixels`, uint8 [N, 3, S, S], and `.captions`; without worker processes."""
    from megatron.energon import (
        Batch,
        DefaultTaskEncoder,
        Sample,
        WorkerConfig,
        edataclass,
        get_loader,
        get_train_dataset,
        stateless,
    )

    @edataclass
    class Pair(Sample):
        pixels: Any
        caption: str

    @edataclass
    class Pairs(Batch):
        pixels: torch.Tensor
        captions: list[str]

    class Encoder(DefaultTaskEncoder):
        decoder = None

        def __init__(self) -> None:
            super().__init__(encoded_sample_type=Pair, raw_batch_type=Pairs, batch_type=Pairs)

        @stateless
        def encode_sample(self, sample: Any) -> Pair:
            caption = sample.caption.decode() if isinstance(sample.caption, bytes) else sample.caption
            return Pair.derive_from(sample, pixels=pixels_of(sample.image), caption=caption)

        def batch(self, samples: list[Any]) -> Pairs:
            pixels = torch.from_numpy(np.stack([sample.pixels for sample in samples]))
            return Pairs.from_samples(samples, pixels=pixels, captions=[sample.caption for sample in samples])

        def encode_batch(self, batch: Pairs) -> Pairs:
            return batch

    workers = WorkerConfig(rank=0, world_size=1, num_workers=0)
    dataset = get_train_dataset(
        folder,
        worker_config=workers,
        batch_size=batch,
        shuffle_buffer_size=buffer,
        max_samples_per_sequence=100,
        task_encoder=Encoder(),
    )
    return get_loader(dataset, watchdog_timeout_seconds=None)


def text_loader(folder: Path, rank: int, world_size: int, workers: int, batch: int, buffer: int) -> Any:
    """A savable loader of TextSamples; its batches have `.text`, a list of strings."""
    from megatron.energon import DefaultTaskEncoder, WorkerConfig, get_savable_loader, get_train_dataset

    config = WorkerConfig(rank=rank, world_size=world_size, num_workers=workers)
    dataset = get_train_dataset(
        folder,
        worker_config=config,
        batch_size=batch,
        shuffle_buffer_size=buffer,
        max_samples_per_sequence=20,
        task_encoder=DefaultTaskEncoder(),
    )
    return get_savable_loader(dataset, checkpoint_every_sec=1, watchdog_timeout_seconds=None)
