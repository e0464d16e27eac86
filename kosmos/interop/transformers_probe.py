"""The probe that tells whether an exported folder computes what the model does: rows with text and with pictures."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from kosmos.batch import Batch, ModalityInputs
from kosmos.model.kosmos import Kosmos
from kosmos.tokenizer import Tokenizer

_TEXT = 6  # tokens between two pictures


@dataclass(frozen=True)
class ProbeRow:
    """One row: token ids [1, T], its normalised pictures [N, 3, S, S] or None, and the model's logits [1, T, V]."""

    token_ids: Tensor
    pixels: Tensor | None
    logits: Tensor


@torch.no_grad()
def probe(model: Kosmos, tokenizer: Tokenizer) -> list[ProbeRow]:
    """Rows of random text with no, one and three pictures, as many as fit into the model's positions."""
    generator = torch.Generator().manual_seed(20230227)
    config = model.config
    counts = [0]
    if config.vision is not None:
        one = config.resampler.num_latents + 2 + _TEXT
        counts += [count for count in (1, 3) if 1 + _TEXT + count * one <= config.decoder.max_positions]
    return [_row(model, tokenizer, count, generator) for count in counts]


def _row(model: Kosmos, tokenizer: Tokenizer, num_images: int, generator: torch.Generator) -> ProbeRow:
    def text() -> list[int]:
        return torch.randint(tokenizer.unk_id + 1, tokenizer.slot_id, (_TEXT,), generator=generator).tolist()

    ids = [tokenizer.bos_id, *text()]
    slots = []
    for _ in range(num_images):
        first = len(ids) + 1
        slots.append(list(range(first, first + model.config.resampler.num_latents)))
        ids += [
            tokenizer.special_id("<image>"),
            *[tokenizer.slot_id] * len(slots[-1]),
            tokenizer.special_id("</image>"),
        ]
        ids += text()
    token_ids = torch.tensor([ids])
    batch = Batch(token_ids, torch.zeros_like(token_ids, dtype=torch.bool))
    pixels = None
    if num_images:
        assert model.config.vision is not None
        size = model.config.vision.image_size
        pixels = torch.randn(num_images, 3, size, size, generator=generator)
        batch.inputs["image"] = ModalityInputs(pixels, torch.tensor(slots))
    return ProbeRow(token_ids, pixels, model.head(model(batch)))
