"""Embeddings of pictures (and other modalities), kept by the content of their features."""

from __future__ import annotations

import hashlib
from collections import OrderedDict

import numpy as np
import torch
from torch import Tensor

from kosmos.batch import SlotInput
from kosmos.model.kosmos import Kosmos

# Segments per encoder call: bounds the memory of a call over a large batch.
_CHUNK = 256


def content_key(item: SlotInput) -> str:
    """Modality and a hash of the features: two pictures are the same when the encoder would see the same."""
    features = np.ascontiguousarray(item.features)
    digest = hashlib.blake2b(features.data, digest_size=16).hexdigest()
    return f"{item.modality}:{features.dtype}{features.shape}:{digest}"


class EmbeddingCache:
    """Encodes each content once, and forgets the least recently used beyond `max_bytes`."""

    def __init__(self, model: Kosmos, device: torch.device, max_bytes: int) -> None:
        self._model = model
        self._device = device
        self._max_bytes = max_bytes
        self._held: OrderedDict[str, Tensor] = OrderedDict()
        self._num_bytes = 0

    def embed(self, items: dict[str, SlotInput]) -> dict[str, Tensor]:
        """Content key -> embeddings [L, D]; everything not held is encoded in one call per modality (and chunk)."""
        found: dict[str, Tensor] = {}
        missing: dict[str, list[str]] = {}
        for key, item in items.items():
            if key in self._held:
                self._held.move_to_end(key)
                found[key] = self._held[key]
            else:
                missing.setdefault(item.modality, []).append(key)
        for modality, keys in missing.items():
            for first in range(0, len(keys), _CHUNK):
                chunk = keys[first : first + _CHUNK]
                features = torch.from_numpy(np.stack([items[key].features for key in chunk])).to(self._device)
                for key, embeddings in zip(chunk, self._model.encode_inputs(modality, features)):
                    # A copy of its own: a view would keep the whole chunk alive after the rest is forgotten.
                    found[key] = embeddings.clone()
                    self._hold(key, found[key])
        return found

    def clear(self) -> None:
        """Forget everything; needed after the model's weights changed."""
        self._held.clear()
        self._num_bytes = 0

    def _hold(self, key: str, embeddings: Tensor) -> None:
        self._held[key] = embeddings
        self._num_bytes += embeddings.numel() * embeddings.element_size()
        while self._num_bytes > self._max_bytes and self._held:
            _, dropped = self._held.popitem(last=False)
            self._num_bytes -= dropped.numel() * dropped.element_size()
