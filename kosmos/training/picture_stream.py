"""The batches of vision pretraining, and the captions that each picture is compared with.

These are the captions that come again and again, and those of the batch's own pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from kosmos.config import VisionPretrainingConfig
from kosmos.data.permutation import seed_of
from kosmos.data.picture_corpus import BatchAugmenter, PictureCorpus

# A corpus with no more captions than this repeats them: they are compared with every picture.
_REPEATED = 1024


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


def _shares(shares: list[float], batch_size: int) -> list[int]:
    """Whole numbers that add up to the batch, as near to the shares as can be."""
    total = sum(shares)
    edges = [round(batch_size * sum(shares[:index]) / total) for index in range(len(shares) + 1)]
    return [after - before for before, after in pairwise(edges)]
