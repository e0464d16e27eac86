"""Modalities: which segment types a Document may hold, and how each becomes slots in the token row.

A modality is a segment type plus an encoder that yields embeddings [n, slots, D]. This module knows the first half
(what the data path needs: features and slot counts, without the model); the encoder is registered with
`kosmos.model.encoders.register_encoder` under the same name. Text is not listed: its tokens are the row itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from kosmos.config import ModelConfig
from kosmos.document import Segment
from kosmos.errors import UsageError, nearest


@dataclass(frozen=True)
class Modality:
    """What the data path knows of one modality.

    `features(segment, config, training)` gives one array of a fixed shape; `num_slots(config)` the embeddings per
    segment; `begin` and `end` are the special tokens around the slots. `blank(config)` gives features that say
    nothing: what a rank encodes that has no segment while others have, so only training on several ranks needs it.
    """

    name: str
    segment: type[Segment]
    num_slots: Callable[[ModelConfig], int]
    features: Callable[[Segment, ModelConfig, bool], np.ndarray]
    begin: str = "<image>"
    end: str = "</image>"
    blank: Callable[[ModelConfig], np.ndarray] | None = None


_MODALITIES: dict[str, Modality] = {}


def register_modality(modality: Modality) -> None:
    """Add a modality; registering a name again replaces it."""
    _MODALITIES[modality.name] = modality


def get_modality(name: str) -> Modality:
    """The modality called `name`. Raises UsageError when nothing of that name is registered."""
    if name not in _MODALITIES:
        raise UsageError(f"no modality '{name}' is registered{nearest(name, _MODALITIES)}")
    return _MODALITIES[name]
