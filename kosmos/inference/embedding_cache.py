"""Embeddings of pictures (and other modalities), kept by the content of their features: in memory, and on disk."""

from __future__ import annotations

import hashlib
import io
import json
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import asdict

import numpy as np
import torch
from torch import Tensor, nn

from kosmos.batch import SlotInput
from kosmos.config import ModelConfig
from kosmos.inference.embedding_store import EmbeddingStore
from kosmos.inference.memory import is_out_of_memory
from kosmos.model.kosmos import Kosmos

# Of one encoder call, which bounds its memory: segments, and bytes of their features. 8 MiB are 55 pictures of
# 224 x 224 pixels.
_CHUNK = 256
_CHUNK_BYTES = 8 << 20


def content_key(item: SlotInput) -> str:
    """Modality and a hash of the features: two pictures are the same when the encoder would see the same."""
    features = np.ascontiguousarray(item.features)
    digest = hashlib.sha256(features.data).hexdigest()
    return f"{item.modality}:{features.dtype}{features.shape}:{digest}"


class EmbeddingCache:
    """Encodes each content once, and forgets the least recently used beyond `max_bytes`.

    With a `store`, what is encoded is kept on disk too, under a key of content, preprocessing, weights and numerics,
    and read from there before it is encoded again. What is read is to the bit what was encoded when it was written.
    Encoding again may differ from it in the last bits (fp32: about 1e-6 of the largest value), as it does without any
    cache: the number of pictures in a call decides which kernels run. `per_call` fixes that number, the last call
    being filled up: then a picture's embeddings do not depend on which others were new, to the bit.
    """

    def __init__(
        self,
        model: Kosmos,
        device: torch.device,
        max_bytes: int,
        store: EmbeddingStore | None = None,
        per_call: int | None = None,
    ) -> None:
        self._model = model
        self._per_call = per_call
        self._device = device
        self._max_bytes = max_bytes
        self._store = store
        self._held: OrderedDict[str, Tensor] = OrderedDict()
        self._num_bytes = 0
        self._encoders: dict[str, str] = {}  # modality -> digest of the encoder's weights
        self.num_encoded = 0
        self.num_from_disk = 0
        self.num_halvings = 0  # encoder calls that did not fit into memory

    def embed(self, items: dict[str, SlotInput]) -> dict[str, Tensor]:
        """Content key -> embeddings [L, D]; what is held nowhere is encoded in few calls per modality.

        Raises what the encoder raises, out of memory only when a single segment does not fit.
        """
        found: dict[str, Tensor] = {}
        missing: dict[str, dict[str, SlotInput]] = {}
        for key, item in items.items():
            if key in self._held:
                self._held.move_to_end(key)
                found[key] = self._held[key]
            else:
                missing.setdefault(item.modality, {})[key] = item
        for modality, absent in missing.items():
            stored = self._read(modality, absent)
            for key, embeddings in stored.items():
                found[key] = self._hold(key, embeddings)
            for key, embeddings in self._encode(modality, {k: v for k, v in absent.items() if k not in stored}):
                found[key] = self._hold(key, embeddings)
                if self._store is not None:
                    self._store.put(self._disk_key(modality, key), embeddings)
        return found

    def clear(self) -> None:
        """Forget everything about the weights; needed after they changed. What is on disk is of other weights then."""
        self.release()
        self._encoders.clear()

    def release(self) -> None:
        """Give back the memory; the weights are the same."""
        self._held.clear()
        self._num_bytes = 0

    def _hold(self, key: str, embeddings: Tensor) -> Tensor:
        self._held[key] = embeddings
        self._num_bytes += embeddings.numel() * embeddings.element_size()
        while self._num_bytes > self._max_bytes and self._held:
            _, dropped = self._held.popitem(last=False)
            self._num_bytes -= dropped.numel() * dropped.element_size()
        return embeddings

    def _read(self, modality: str, absent: dict[str, SlotInput]) -> dict[str, Tensor]:
        if self._store is None:
            return {}
        read = {key: self._store.get(self._disk_key(modality, key)) for key in absent}
        stored = {key: embeddings.to(self._device) for key, embeddings in read.items() if embeddings is not None}
        self.num_from_disk += len(stored)
        return stored

    def _disk_key(self, modality: str, content: str) -> str:
        if modality not in self._encoders:
            self._encoders[modality] = encoder_digest(self._model.encoders[modality], self._model.config)
        parts = (content, self._encoders[modality], f"{_numerics(self._device)}, {self._per_call or 'any'} a call")
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def _encode(self, modality: str, items: dict[str, SlotInput]) -> Iterator[tuple[str, Tensor]]:
        """(key, embeddings [L, D]), in chunks; one that does not fit into memory is halved."""
        waiting = list(items)
        most = self._per_call or _CHUNK
        while waiting:
            most = min(most, max(1, _CHUNK_BYTES // max(1, items[waiting[0]].features.nbytes)))
            chunk = waiting[:most]
            filled = chunk + chunk[-1:] * (most - len(chunk) if self._per_call else 0)
            made = self._attempt(modality, [items[key].features for key in filled])
            if made is None:
                self.num_halvings += 1
                most = max(1, len(chunk) // 2)
                if self._device.type == "cuda":
                    torch.cuda.empty_cache()
                continue
            self.num_encoded += len(chunk)
            waiting = waiting[len(chunk) :]
            # Copies of their own: a view would keep the whole chunk alive after the rest is forgotten.
            yield from zip(chunk, [embeddings.clone() for embeddings in made])

    def _attempt(self, modality: str, features: list[np.ndarray]) -> Tensor | None:
        """Embeddings [N, L, D], or None when the memory did not suffice for several segments."""
        try:
            return self._model.encode_inputs(modality, torch.from_numpy(np.stack(features)).to(self._device))
        except (MemoryError, RuntimeError) as error:
            if len(features) == 1 or not is_out_of_memory(error):
                raise
            return None


def encoder_digest(encoder: nn.Module, config: ModelConfig) -> str:
    """sha256 of all that an encoder's embeddings depend on: its weights and buffers, its structure, the configuration.

    The configuration holds what no weight shows: mean and deviation of the pixels, heads, activation.
    """
    # What is fed in: the model's whole configuration, because any encoder may look at any of it.
    described = json.dumps([type(encoder).__qualname__, repr(encoder), asdict(config)], sort_keys=True, default=str)
    digest = hashlib.sha256(described.encode())
    values = dict(encoder.state_dict()) | dict(encoder.named_buffers())  # buffers that no file stores, too
    for name in sorted(values):
        digest.update(f"\n{name}\n".encode())
        _feed(digest, values[name])
    return digest.hexdigest()


def _feed(digest: hashlib._Hash, value: object) -> None:
    if isinstance(value, Tensor) and not value.is_quantized and value.layout == torch.strided:
        digest.update(f"{value.dtype} {list(value.shape)}\n".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
        return
    # Packed weights of torch's own quantisation have no bytes to look at.
    packed = io.BytesIO()
    torch.save(value, packed)
    digest.update(packed.getvalue())


def _numerics(device: torch.device) -> str:
    """What computes: the same weights give other last digits in bfloat16, TF32, or on another kind of device."""
    kind = device.type
    precision = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else "none"
    return f"{kind}, autocast {precision}, products {torch.get_float32_matmul_precision()}"
