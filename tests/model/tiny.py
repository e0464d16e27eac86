"""Small models, batches and a plain cache for the tests of the model."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from kosmos.batch import Batch, ModalityInputs
from kosmos.config import DecoderConfig, ModelConfig, ResamplerConfig, VisionConfig, replace
from kosmos.model.kosmos import Kosmos

NUM_LATENTS = 4
SLOT_ID = 114
BEGIN_ID, END_ID = 116, 117


def tiny_config(**changes: Any) -> ModelConfig:
    """2 layers of width 32, a CLIP tower of 2 blocks on 28 pixels, 4 latents, no dropout; dotted `changes` on top."""
    config = ModelConfig(
        decoder=DecoderConfig(
            num_layers=2,
            hidden_size=32,
            ffn_size=64,
            num_heads=4,
            vocab_size=120,
            max_positions=64,
            dropout=0.0,
            attention_dropout=0.0,
        ),
        vision=VisionConfig(image_size=28, hidden_size=24, num_layers=2, num_heads=4, ffn_size=48),
        resampler=ResamplerConfig(num_latents=NUM_LATENTS, num_heads=4, attention_dropout=0.0),
    )
    changed: ModelConfig = replace(config, **changes)
    return changed


def tiny_model(**changes: Any) -> Kosmos:
    """A model in evaluation mode whose every parameter is random, LayerNorms and biases too; `seed` besides keys."""
    torch.manual_seed(changes.pop("seed", 0))
    model = Kosmos(tiny_config(**changes), random_vision=True)
    shake(model)
    return model.eval()


@torch.no_grad()
def shake(module: torch.nn.Module) -> None:
    """Add noise to every parameter, so that a norm or bias used wrongly shows."""
    for parameter in module.parameters():
        parameter.add_(0.1 * torch.randn(parameter.shape))


def tiny_batch(rows: list[str], seed: int = 0) -> Batch:
    """Rows of `t` (a random token), `i` (an image: begin, 4 slots, end) and `.` (padding); all of one length.

    Segment ids are given only when there is padding. Pixels are random uint8 [N, 3, 28, 28].
    """
    generator = torch.Generator().manual_seed(seed)
    ids: list[list[int]] = []
    slots: list[list[int]] = []
    for row in rows:
        made: list[int] = []
        starts: list[int] = []
        for mark in row:
            if mark == "t":
                made.append(int(torch.randint(4, SLOT_ID, (), generator=generator)))
            elif mark == ".":
                made.append(1)
            else:
                starts.append(len(made) + 1)
                made += [BEGIN_ID, *[SLOT_ID] * NUM_LATENTS, END_ID]
        width = len(made)
        slots += [[len(ids) * width + start + k for k in range(NUM_LATENTS)] for start in starts]
        ids.append(made)
    token_ids = torch.tensor(ids)
    padding = token_ids == 1
    pixels = torch.randint(0, 256, (len(slots), 3, 28, 28), generator=generator, dtype=torch.uint8)
    supervised = ~padding & (token_ids < SLOT_ID)
    supervised[:, 0] = False
    return Batch(
        token_ids=token_ids,
        supervised=supervised,
        segment_ids=(~padding).int() if padding.any() else None,
        inputs={"image": ModalityInputs(pixels, torch.tensor(slots))} if slots else {},
    )


class ConcatenatingCache:
    """The plainest KeyValueCache: tensors joined at every step, padding hidden by `valid`."""

    def __init__(self) -> None:
        self.keys: dict[int, Tensor] = {}
        self.values: dict[int, Tensor] = {}
        self.valid = torch.empty(0, 0, dtype=torch.bool)

    def begin(self, valid: Tensor) -> ConcatenatingCache:
        """Announce new tokens, bool [B, T], False for padding."""
        self.valid = torch.cat((self.valid, valid), dim=1) if self.valid.numel() else valid
        return self

    def positions(self, num_tokens: int) -> Tensor:
        return (self.valid.cumsum(1) - 1).clamp(min=0)[:, -num_tokens:]

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        if layer in self.keys:
            keys = torch.cat((self.keys[layer], keys), dim=2)
            values = torch.cat((self.values[layer], values), dim=2)
        self.keys[layer], self.values[layer] = keys, values
        return keys, values

    def mask(self, num_tokens: int) -> Tensor:
        length = self.valid.shape[1]
        causal = torch.ones(length, length, dtype=torch.bool).tril()[-num_tokens:]
        itself = torch.eye(length, dtype=torch.bool)[-num_tokens:]  # a padding row must see something
        return ((causal & self.valid[:, None]) | itself)[:, None]


def loss(model: Kosmos, batch: Batch) -> Tensor:
    """Mean negative log-likelihood of the supervised tokens."""
    logits = model.head(model(batch))[:, :-1]
    wanted = batch.supervised[:, 1:]
    return torch.nn.functional.cross_entropy(logits[wanted].float(), batch.token_ids[:, 1:][wanted])
