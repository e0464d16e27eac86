"""Contrastive pretraining of a small vision tower on pictures with captions, as CLIP is.

The text side is small on purpose: a bag of the caption's pieces and of its letters with their places. The loss is the
picture's cross-entropy over candidates: the captions that come again and again, and those of the batch's pictures.
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
from torch import Tensor, nn

from kosmos.config import VisionPretrainingConfig
from kosmos.config_checks import check_config
from kosmos.config_files import save_config
from kosmos.data.permutation import seed_of
from kosmos.data.picture_corpus import BatchAugmenter, PictureCorpus
from kosmos.errors import ConfigError, Interrupted, StorageError, UsageError
from kosmos.model.conv_tower import ConvTower
from kosmos.model.pretrained_part import RESAMPLER_FILE, TOWER_FILE
from kosmos.model.resampler import build_resampler
from kosmos.model.weights import save_tensors
from kosmos.storage import make_folder, write_manifest
from kosmos.tokenizer import Tokenizer
from kosmos.training.interrupt import StopRequest
from kosmos.training.metrics import LineLog
from kosmos.training.precision import autocast, choose_device, choose_precision
from kosmos.training.progress import open_progress
from kosmos.training.threads import set_threads

_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789+-= "
_PLACES = 12
# A corpus with no more captions than this repeats them: they are compared with every picture.
_REPEATED = 1024


class CaptionBag(nn.Module):
    """Captions as the sum of embeddings of their pieces and of their first letters with their places."""

    def __init__(self, captions: Sequence[str], tokenizer: Tokenizer, size: int) -> None:
        super().__init__()
        rows: list[list[int]] = []
        for caption in captions:
            rows.append(tokenizer.encode(caption))
            for place, letter in enumerate(caption[:_PLACES].lower()):
                if (index := _LETTERS.find(letter)) >= 0:
                    rows[-1].append(tokenizer.vocab_size + place * len(_LETTERS) + index)
        nothing = tokenizer.vocab_size + _PLACES * len(_LETTERS)
        width = max(len(row) for row in rows)
        self.features: Tensor
        self.register_buffer("features", torch.tensor([row + [nothing] * (width - len(row)) for row in rows]))
        self.bag = nn.EmbeddingBag(nothing + 1, size, mode="sum", padding_idx=nothing)
        nn.init.normal_(self.bag.weight, std=0.3)

    def forward(self, chosen: Tensor) -> Tensor:
        """Captions [n] by index -> unit vectors [n, E]."""
        result: Tensor = F.normalize(self.bag(self.features[chosen]), dim=-1)
        return result


class Contrast(nn.Module):
    """Tower, resampler and text side with the loss between them.

    Pictures are compared with captions twice: by the mean of the tower's features, from which the tower learns fast,
    and by the resampler's embeddings, which the decoder will read.
    """

    def __init__(
        self, tower: ConvTower, resampler: nn.Module, captions: CaptionBag, config: VisionPretrainingConfig
    ) -> None:
        super().__init__()
        self.tower, self.resampler, self.captions = tower, resampler, captions
        size = config.embedding_size
        self.project_mean = nn.Linear(tower.hidden_size, size)
        self.project_latents = nn.Linear(config.resampler.num_latents * config.hidden_size, size)
        self.log_scale = nn.Parameter(torch.tensor(math.log(12.0)))
        self.label_smoothing = config.label_smoothing

    def logits(self, pixels: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Normalised pixels [N, 3, S, S] -> similarity to the `chosen` captions, by mean and by latents [N, chosen],
        and the share of the latents' power that is the same in every picture."""
        features = self.tower(pixels)
        # Features have norm 1 at each position; sqrt(C) brings their parts back to about 1.
        mean = features.float().mean(dim=1) * self.tower.hidden_size**0.5
        latents = self.resampler(features).float()
        constant = latents.mean(dim=0).square().mean() / latents.square().mean()
        # Normalised one by one, as the decoder will do.
        latents = F.layer_norm(latents, latents.shape[-1:]).flatten(1)
        captions = self.captions(chosen).T * self.log_scale.exp()
        pictures = (self.project_mean(mean), self.project_latents(latents))
        by_mean, by_latents = (F.normalize(picture.float(), dim=-1) @ captions for picture in pictures)
        return by_mean, by_latents, constant

    def forward(self, pixels: Tensor, chosen: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """-> (loss by mean, loss by latents, number of pictures nearest to their caption by latents); `targets` [N]
        index `chosen`.

        The constant share counts in the loss: in the decoder, it would drown what differs between pictures.
        """
        by_mean, by_latents, constant = self.logits(pixels, chosen)
        losses = [F.cross_entropy(x, targets, label_smoothing=self.label_smoothing) for x in (by_mean, by_latents)]
        return losses[0], losses[1] + constant, (by_latents.argmax(dim=-1) == targets).sum()


class PretrainingOptimizer:
    """Muon on filters (as matrices [outputs, height * width * inputs]) and on the resampler's matrices, AdamW on the
    rest; linear warm-up, linear decay to 0."""

    def __init__(self, model: Contrast, config: VisionPretrainingConfig) -> None:
        self._filters = [parameter for parameter in model.parameters() if parameter.ndim == 4]
        # A matrix that shares the filter's memory: torch's Muon takes nothing but matrices.
        self._views = [nn.Parameter(_as_matrix(parameter.data)) for parameter in self._filters]
        matrices = [module.weight for module in model.resampler.modules() if isinstance(module, nn.Linear)]
        muon = {id(parameter) for parameter in (*self._filters, *matrices)}
        slow = [p for p in model.resampler.parameters() if id(p) not in muon]
        taken = muon | {id(parameter) for parameter in slow}
        rest = [parameter for parameter in model.parameters() if id(parameter) not in taken]
        self._muon = torch.optim.Muon(
            [*self._views, *matrices], lr=config.matrix_lr, momentum=0.9, weight_decay=config.weight_decay, ns_steps=4
        )
        groups = [{"params": rest, "lr": config.lr}, {"params": slow, "lr": config.lr / 10}]
        self._adamw = torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=config.weight_decay, fused=True)
        self._optimizers = (self._muon, self._adamw)
        self._rates = [[group["lr"] for group in optimizer.param_groups] for optimizer in self._optimizers]
        self._config = config

    def step(self, step: int) -> None:
        """Apply the gradients of step t = 1 .. steps."""
        share = _share_of_rate(step, self._config)
        for view, parameter in zip(self._views, self._filters, strict=True):
            assert parameter.grad is not None
            view.grad = _as_matrix(parameter.grad)
        for optimizer, rates in zip(self._optimizers, self._rates, strict=True):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * share
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        for parameter in self._filters:
            parameter.grad = None


def _share_of_rate(step: int, config: VisionPretrainingConfig) -> float:
    return min(step / max(1, config.warmup_steps), 1.0) * (1.0 - (step - 1) / config.steps)


def _as_matrix(filters: Tensor) -> Tensor:
    """[O, I, H, W] -> [O, H * W * I], a view when the memory is channels-last."""
    return filters.permute(0, 2, 3, 1).reshape(len(filters), -1)


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


class PictureStream:
    """Batches of augmented pictures; batch t is a function of the configuration's seed and t alone."""

    def __init__(self, config: VisionPretrainingConfig, corpora: Sequence[PictureCorpus]) -> None:
        self.captions = list(dict.fromkeys(caption for corpus in corpora for caption in corpus.captions))
        index_of = {caption: index for index, caption in enumerate(self.captions)}
        self._seed = config.seed
        self._counts = _shares([corpus.share for corpus in config.corpora], config.batch_size)
        self._targets = [torch.tensor([index_of[caption] for caption in corpus.captions]) for corpus in corpora]
        repeated = [target.unique() for target in self._targets if len(target.unique()) <= _REPEATED]
        self._repeated = torch.cat(repeated).unique() if repeated else torch.zeros(0, dtype=torch.int64)
        self._augmenters = [BatchAugmenter(corpus, config.vision.image_size) for corpus in corpora]
        self._mean = torch.tensor(config.vision.image_mean).view(1, 3, 1, 1)
        self._std = torch.tensor(config.vision.image_std).view(1, 3, 1, 1)

    def batch(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """-> normalised pixels [N, 3, S, S], indices of the captions to compare with [n], the right ones in it [N]."""
        generator = torch.Generator().manual_seed(seed_of(self._seed, step) >> 1)
        drawn, wanted = [], []
        for count, augmenter, target in zip(self._counts, self._augmenters, self._targets, strict=True):
            indices = torch.randint(len(target), (count,), generator=generator)
            drawn.append(augmenter.draw(indices, generator))
            wanted.append(target[indices])
        pixels = (torch.cat(drawn) - self._mean) / self._std
        targets = torch.cat(wanted)
        chosen = torch.cat((self._repeated, targets)).unique()
        return pixels.contiguous(memory_format=torch.channels_last), chosen, torch.searchsorted(chosen, targets)


def pretrain_vision(
    config: VisionPretrainingConfig, corpora: Sequence[PictureCorpus], out: Path, *, quiet: bool = False
) -> Path:
    """Pretrain a tower on `corpora` (one for each of config.corpora) and write it to the new folder `out`.

    The folder appears whole or not at all; an interrupted pretraining starts again. `vision.pretrained` takes it.
    Raises UsageError when `out` exists, ConfigError, Interrupted, StorageError.
    """
    out = Path(out)
    check_pretraining(config, out)
    vision = config.vision
    set_threads(config.threads)
    device = choose_device("auto")
    precision = choose_precision(config.precision, device)
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
    temporary = out.with_name(f".{out.name}.partial")
    shutil.rmtree(temporary, ignore_errors=True)
    make_folder(temporary)
    try:
        with LineLog(temporary / "metrics.jsonl", 0) as metrics, StopRequest(quiet, saves=False) as stop:
            with open_progress(config.steps, 0, config.log_every, quiet) as progress:
                for step in range(1, config.steps + 1):
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
                    if stop.requested:
                        raise Interrupted(
                            f"{out}: vision pretraining stopped at step {step}; it starts again next time"
                        )
        save_tensors(dict(tower.state_dict()), temporary / TOWER_FILE)
        save_tensors(dict(resampler.state_dict()), temporary / RESAMPLER_FILE)
        save_config(config, temporary / "config.yaml")
        write_manifest(temporary)
        try:
            temporary.rename(out)
        except OSError as error:
            raise StorageError(f"{out}: cannot write the folder: {error.strerror or error}") from error
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
        "lr": config.lr * _share_of_rate(step, config),
        "timing": {"seconds": round(seconds, 6), "images_per_second": round(pictures / seconds, 3)},
    }
