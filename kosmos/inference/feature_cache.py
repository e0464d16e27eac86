"""Features of pictures, kept by content, so that one that comes again is not decoded and resized again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np

from kosmos.batch import SlotInput
from kosmos.config import ModelConfig
from kosmos.document import Segment
from kosmos.inference.embedding_cache import content_key
from kosmos.modality import Modality

# What is made of a segment depends on the modality's own functions, and on whether it is for training.
_Key = tuple[Modality, bool, str]


@dataclass
class _Held:
    features: np.ndarray
    content: str = ""  # what `content_key` says, once it was asked for


class FeatureCache:
    """Makes a segment's features once, and forgets the least recently used beyond `max_bytes` (0: keeps nothing).

    Arrays that it gives are shared, so they cannot be written to. Threads may use it together. It is meant for one
    configuration: asked for another, it forgets everything.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._held: OrderedDict[_Key, _Held] = OrderedDict()
        self._by_array: dict[int, _Held] = {}  # by the id of an array that is held, and therefore alive
        self._num_bytes = 0
        self._config: ModelConfig | None = None
        self._lock = threading.Lock()
        self.num_made = 0
        self.num_reused = 0

    def features(self, modality: Modality, segment: Segment, config: ModelConfig, training: bool) -> np.ndarray:
        """As `modality.features(segment, config, training)`, and raises what that raises."""
        if self._max_bytes < 1:
            return modality.features(segment, config, training)
        key = (modality, training, segment.sha256)
        with self._lock:
            if config is not self._config:
                self._clear()
                self._config = config
            held = self._held.get(key)
            if held is not None:
                self._held.move_to_end(key)
                self.num_reused += 1
                return held.features
        made = modality.features(segment, config, training).view()  # a view: the array itself may be the modality's
        made.flags.writeable = False
        with self._lock:
            self.num_made += 1
            self._forget(key)  # another thread may have made the same meanwhile
            if config is self._config:
                self._hold(key, _Held(made))
        return made

    def content_key(self, item: SlotInput) -> str:
        """As `embedding_cache.content_key`; computed once for an array that is held."""
        with self._lock:
            held = self._by_array.get(id(item.features))
            if held is not None and held.content:
                return held.content
        content = content_key(item)
        if held is not None:
            held.content = content
        return content

    def clear(self) -> None:
        """Give back the memory."""
        with self._lock:
            self._clear()

    def _clear(self) -> None:
        self._held.clear()
        self._by_array.clear()
        self._num_bytes = 0

    def _hold(self, key: _Key, made: _Held) -> None:
        self._held[key] = made
        self._by_array[id(made.features)] = made
        self._num_bytes += made.features.nbytes
        while self._num_bytes > self._max_bytes:
            self._forget(next(iter(self._held)))

    def _forget(self, key: _Key) -> None:
        if (dropped := self._held.pop(key, None)) is not None:
            del self._by_array[id(dropped.features)]
            self._num_bytes -= dropped.features.nbytes
