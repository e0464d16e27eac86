"""Contrastive pretraining of a small vision tower on pictures with captions, as CLIP is.

The text side is small on purpose: a bag of the caption's pieces and of its letters with their places. Every caption
that comes again and again is a candidate for every picture; the loss is the picture's cross-entropy over candidates.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from kosmos.config import VisionPretrainingConfig
from kosmos.config_files import save_config
from kosmos.data.permutation import seed_of
from kosmos.data.picture_corpus import BatchAugmenter, PictureCorpus
from kosmos.errors import ConfigError, Interrupted, UsageError
from kosmos.model.conv_tower import ConvTower
from kosmos.storage import make_folder, write_manifest
from kosmos.tokenizer import Tokenizer
from kosmos.training.interrupt import StopRequest
from kosmos.training.metrics import LineLog
from kosmos.training.precision import autocast, choose_device, choose_precision
from kosmos.training.progress import open_progress
from kosmos.training.threads import set_threads

_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789 "
_PLACES = 12


class CaptionBag(nn.Module):
    """Captions as the sum of embeddings of their pieces and of their first letters with their places."""

    def __init__(self, captions: Sequence[str], tokenizer: Tokenizer, size: int) -> None:
        super().__init__()
        features: list[int] = []
        offsets: list[int] = []
        for caption in captions:
            offsets.append(len(features))
            features += tokenizer.encode(caption)
            for place, letter in enumerate(caption[:_PLACES].lower()):
                if (index := _LETTERS.find(letter)) >= 0:
                    features.append(tokenizer.vocab_size + place * len(_LETTERS) + index)
        self.features: Tensor
        self.offsets: Tensor
        self.register_buffer("features", torch.tensor(features))
        self.register_buffer("offsets", torch.tensor(offsets))
        self.bag = nn.EmbeddingBag(tokenizer.vocab_size + _PLACES * len(_LETTERS), size, mode="sum")
        nn.init.normal_(self.bag.weight, std=0.3)

    def forward(self) -> Tensor:
        """-> one unit vector for each caption [captions, E]."""
        result: Tensor = F.normalize(self.bag(self.features, self.offsets), dim=-1)
        return result


class Contrast(nn.Module):
    """Tower and text side with the loss between them."""

    def __init__(self, tower: ConvTower, captions: CaptionBag, size: int, label_smoothing: float) -> None:
        super().__init__()
        self.tower, self.captions = tower, captions
        self.projection = nn.Linear(tower.hidden_size, size)
        self.log_scale = nn.Parameter(torch.tensor(math.log(12.0)))
        self.label_smoothing = label_smoothing

    def logits(self, pixels: Tensor) -> Tensor:
        """Normalised pixels [N, 3, S, S] -> similarity to every caption [N, captions]."""
        # Features have norm 1 at each position; sqrt(C) brings their parts back to about 1.
        pooled = self.tower(pixels).float().mean(dim=1) * self.tower.hidden_size**0.5
        pictures = F.normalize(self.projection(pooled), dim=-1)
        result: Tensor = pictures.float() @ self.captions().T * self.log_scale.exp()
        return result

    def forward(self, pixels: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """-> (loss, number of pictures whose caption is the most similar)."""
        logits = self.logits(pixels)
        right = (logits.argmax(dim=-1) == targets).sum()
        return F.cross_entropy(logits, targets, label_smoothing=self.label_smoothing), right


class TowerOptimizer:
    """Muon on the filters (as matrices [outputs, inputs * height * width]), AdamW on the rest; linear decay to 0."""

    def __init__(self, model: nn.Module, config: VisionPretrainingConfig) -> None:
        self._filters = [parameter for parameter in model.parameters() if parameter.ndim == 4]
        rest = [parameter for parameter in model.parameters() if parameter.ndim != 4]
        # A matrix that shares the filter's memory: torch's Muon takes nothing but matrices.
        self._matrices = [nn.Parameter(_as_matrix(parameter.data)) for parameter in self._filters]
        self._muon = torch.optim.Muon(
            self._matrices, lr=config.matrix_lr, momentum=0.9, weight_decay=config.weight_decay, ns_steps=4
        )
        self._adamw = torch.optim.AdamW(
            rest, lr=config.lr, betas=(0.9, 0.98), weight_decay=config.weight_decay, fused=True
        )
        self._config = config

    def step(self, step: int) -> None:
        """Apply the gradients of step t = 1 .. steps."""
        config = self._config
        share = min(step / config.warmup_steps, 1.0) * (1.0 - (step - 1) / config.steps)
        for matrix, parameter in zip(self._matrices, self._filters, strict=True):
            assert parameter.grad is not None
            matrix.grad = _as_matrix(parameter.grad)
        for optimizer, rate in ((self._muon, config.matrix_lr), (self._adamw, config.lr)):
            for group in optimizer.param_groups:
                group["lr"] = rate * share
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        for parameter in self._filters:
            parameter.grad = None


def _as_matrix(filters: Tensor) -> Tensor:
    """[O, I, H, W] -> [O, H * W * I], a view when the memory is channels-last."""
    return filters.permute(0, 2, 3, 1).reshape(len(filters), -1)


def pretrain_vision(
    config: VisionPretrainingConfig, corpora: Sequence[PictureCorpus], out: Path, *, quiet: bool = False
) -> Path:
    """Pretrain a tower on `corpora` (one for each of config.corpora) and write it to the new folder `out`.

    The folder appears whole or not at all; an interrupted pretraining starts again. `vision.pretrained` takes it.
    Raises UsageError when `out` exists, ConfigError, Interrupted, StorageError.
    """
    out = Path(out)
    if out.exists():
        raise UsageError(f"{out}: exists already; choose another folder")
    vision = config.vision
    if vision.kind != "conv" or vision.trainable != "all":
        raise ConfigError("vision pretraining wants vision.kind: conv and vision.trainable: all")
    set_threads(config.threads)
    device = choose_device("auto")
    precision = choose_precision(config.precision, device)
    torch.manual_seed(config.seed)
    captions = list(dict.fromkeys(caption for corpus in corpora for caption in corpus.captions))
    index_of = {caption: index for index, caption in enumerate(captions)}
    tower = ConvTower(vision)
    tower.train_statistics()
    bag = CaptionBag(captions, Tokenizer.load(config.tokenizer), config.embedding_size)
    model = Contrast(tower, bag, config.embedding_size, config.label_smoothing).to(device)
    optimizer = TowerOptimizer(model, config)
    targets = [torch.tensor([index_of[caption] for caption in corpus.captions]) for corpus in corpora]
    augmenters = [BatchAugmenter(corpus, vision.image_size) for corpus in corpora]
    counts = _shares([corpus.share for corpus in config.corpora], config.batch_size)
    mean = torch.tensor(vision.image_mean, device=device).view(1, 3, 1, 1)
    std = torch.tensor(vision.image_std, device=device).view(1, 3, 1, 1)

    temporary = out.with_name(f".{out.name}.partial")
    shutil.rmtree(temporary, ignore_errors=True)
    make_folder(temporary)
    try:
        with LineLog(temporary / "metrics.jsonl", 0) as metrics, StopRequest(quiet) as stop:
            with open_progress(config.steps, 0, config.log_every, quiet) as progress:
                for step in range(1, config.steps + 1):
                    begin = time.perf_counter()
                    generator = torch.Generator().manual_seed(seed_of(config.seed, step) >> 1)
                    drawn, wanted = [], []
                    for count, augmenter, target in zip(counts, augmenters, targets, strict=True):
                        indices = torch.randint(len(target), (count,), generator=generator)
                        drawn.append(augmenter.draw(indices, generator))
                        wanted.append(target[indices])
                    pixels = ((torch.cat(drawn).to(device) - mean) / std).contiguous(memory_format=torch.channels_last)
                    with autocast(precision, device):
                        loss, right = model(pixels, torch.cat(wanted).to(device))
                    loss.backward()
                    optimizer.step(step)
                    record = _record(step, config, loss, right, sum(counts), time.perf_counter() - begin)
                    metrics.write(record)
                    progress.step(record)
                    if stop.requested:
                        raise Interrupted(
                            f"{out}: vision pretraining stopped at step {step}; it starts again next time"
                        )
        state = {name: tensor.detach().cpu().contiguous() for name, tensor in tower.state_dict().items()}
        save_file(state, temporary / "model.safetensors")
        save_config(config, temporary / "config.yaml")
        write_manifest(temporary)
        temporary.rename(out)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return out


def _shares(shares: list[float], batch_size: int) -> list[int]:
    """Whole numbers that add up to the batch, as near to the shares as can be."""
    total = sum(shares)
    edges = [round(batch_size * sum(shares[:index]) / total) for index in range(len(shares) + 1)]
    return [after - before for before, after in pairwise(edges)]


def _record(
    step: int, config: VisionPretrainingConfig, loss: Tensor, right: Tensor, pictures: int, seconds: float
) -> dict[str, Any]:
    return {
        "step": step,
        "loss": loss.item(),
        "sources": {"pictures": {"loss": loss.item()}},
        "right": right.item() / pictures,
        "pictures": pictures,
        "lr": config.lr * min(step / config.warmup_steps, 1.0) * (1.0 - (step - 1) / config.steps),
        "timing": {"seconds": seconds, "images_per_second": pictures / seconds, "tokens_per_second": 0.0},
    }
