"""Names of weights: ours and those of `remote_code/modeling_kosmos.py`, one to one in both directions."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from kosmos.errors import DataError

HEAD = "lm_head.weight"
EMBEDDING = "model.language_model.embed_tokens.weight"
# Ours, theirs; the first that fits the beginning of a name holds. `*` stands for the number of a layer.
_PREFIXES = (
    ("decoder.embedding.", "model.language_model.embed_tokens."),
    ("decoder.layer_norm.", "model.language_model.norm."),
    ("decoder.layers.*.attention_pre_norm.", "model.language_model.layers.*.input_layernorm."),
    ("decoder.layers.*.attention.", "model.language_model.layers.*.self_attn."),
    ("decoder.layers.*.ffn_pre_norm.", "model.language_model.layers.*.post_attention_layernorm."),
    ("decoder.layers.*.ffn.", "model.language_model.layers.*.mlp."),
    ("encoders.image.vision.pre_layernorm.", "model.vision_tower.pre_layrnorm."),  # sic
    ("encoders.image.vision.layers.", "model.vision_tower.encoder.layers."),
    ("encoders.image.vision.", "model.vision_tower."),
    ("encoders.image.resampler.", "model.multi_modal_projector."),
)


def to_transformers_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a Kosmos under the names of KosmosForConditionalGeneration; the tied head is not there."""
    return {their_name(name): tensor for name, tensor in tensors.items()}


def from_transformers_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What `to_transformers_names` was given; a stored head is left out. Raises DataError for an unknown name."""
    return {_renamed(name, ours=1): tensor for name, tensor in tensors.items() if name != HEAD}


def their_name(name: str) -> str:
    """KosmosForConditionalGeneration's name of a tensor of ours. Raises DataError when there is none."""
    return _renamed(name, ours=0)


def _renamed(name: str, ours: int) -> str:
    for pair in _PREFIXES:
        before, after = pair[ours], pair[1 - ours]
        pattern = re.escape(before).replace(r"\*", r"(\d+)")
        if found := re.match(pattern, name):
            number = found[1] if found.groups() else ""
            return after.replace("*", number) + name[found.end() :]
    raise DataError(f"{name}: a weight that a KOSMOS-1 model does not have")
