"""What vision pretraining minimises: each picture must find its own caption, as in CLIP.

The text side is small on purpose: a bag of the caption's pieces and of its letters with their places.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kosmos.config import VisionPretrainingConfig
from kosmos.model.conv_tower import ConvTower
from kosmos.tokenizer import Tokenizer

_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789+-= "
_PLACES = 12


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
