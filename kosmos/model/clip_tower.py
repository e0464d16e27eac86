"""CLIP's vision tower, built from a configuration or loaded from a folder or hub id in transformers' format."""

from __future__ import annotations

import pickle
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModel
from transformers.utils import logging as transformers_logging

from kosmos.config import VisionConfig
from kosmos.errors import ConfigError, DataError, StorageError
from kosmos.model.tower import VisionTower
from kosmos.storage import PICKLED

# Our name of each architecture field, and transformers' name of it in config.json.
_CLIP_FIELDS = {
    "hidden_size": "hidden_size",
    "ffn_size": "intermediate_size",
    "num_layers": "num_hidden_layers",
    "num_heads": "num_attention_heads",
    "image_size": "image_size",
    "patch_size": "patch_size",
    "layer_norm_eps": "layer_norm_eps",
}
Activation = Literal["quick_gelu", "gelu"]
_ACTIVATIONS: tuple[Activation, ...] = ("quick_gelu", "gelu")


class ClipTower(VisionTower):
    """CLIP's ViT, made of transformers' modules.

    Features follow Kosmos-2's code: the last block's output at all positions (CLS too), post-LayerNorm, L2 norm; no
    projection. The last layer is the last block and the post-LayerNorm.
    """

    def __init__(self, config: VisionConfig, source: CLIPVisionModel | None = None) -> None:
        super().__init__(config, (config.image_size // config.patch_size) ** 2 + 1)
        if source is None:
            source = CLIPVisionModel(_clip_config(config))
        self.embeddings = source.embeddings
        self.pre_layernorm = source.pre_layrnorm
        self.layers = source.encoder.layers
        self.post_layernorm = source.post_layernorm
        self.freeze()

    def last_layer_modules(self) -> list[nn.Module]:
        return [self.layers[-1], self.post_layernorm]

    def forward(self, pixels: Tensor) -> Tensor:
        """Normalised pixels [N, 3, S, S] -> features [N, P, C], P = patches + 1."""
        with self.gradients_below_last_layer():
            hidden = self.pre_layernorm(self.embeddings(pixels))
            for layer in self.layers[:-1]:
                hidden = layer(hidden, attention_mask=None)
        hidden = self.layers[-1](hidden, attention_mask=None)
        return F.normalize(self.post_layernorm(hidden), dim=-1)

    def materialize(self) -> None:
        # The one buffer that no file stores.
        embeddings = self.embeddings
        device = embeddings.class_embedding.device
        positions = torch.arange(embeddings.num_positions, device=device).expand((1, -1))
        embeddings.register_buffer("position_ids", positions, persistent=False)


def _clip_config(config: VisionConfig) -> CLIPVisionConfig:
    fields: dict[str, Any] = {theirs: getattr(config, ours) for ours, theirs in _CLIP_FIELDS.items()}
    fields["attn_implementation"] = "sdpa"
    return CLIPVisionConfig(**fields, hidden_act=config.activation, attention_dropout=0.0)


def stored_activation(name: str) -> Activation:
    """The activation that the CLIP folder or hub model `name` was trained with."""
    theirs = _read_clip_config(name)
    for activation in _ACTIVATIONS:
        if theirs.hidden_act == activation:
            return activation
    raise ConfigError(f"{name}: hidden_act '{theirs.hidden_act}' is not supported, only {', '.join(_ACTIVATIONS)}")


def stored_vision(name: str, **fields: Any) -> VisionConfig:
    """The configuration that fits the CLIP folder or hub model `name`, with further `fields` as given."""
    theirs = _read_clip_config(name)
    shape = {ours: getattr(theirs, field) for ours, field in _CLIP_FIELDS.items()}
    return VisionConfig(kind="clip", activation=stored_activation(name), **shape, **fields)


def _read_clip_config(name: str) -> CLIPVisionConfig:
    """The vision part of a CLIP folder's or hub model's configuration."""
    try:
        return CLIPVisionConfig.from_pretrained(name)
    except Exception as error:  # transformers and its strict dataclasses raise many types
        raise DataError(f"{name}: no CLIP configuration here: {first_line(error)}") from error


def load_clip(config: VisionConfig, name: str) -> ClipTower:
    """The tower with the weights of the folder or hub model `name`.

    Raises ConfigError when it has another shape than `config`, DataError or StorageError when weights are missing or
    damaged.
    """
    theirs = _read_clip_config(name)
    for ours, field in _CLIP_FIELDS.items():
        wanted, found = getattr(config, ours), getattr(theirs, field)
        if wanted != found:
            raise ConfigError(f"{name}: {field} is {found}, but vision.{ours} is {wanted}; set vision.{ours}: {found}")
    return ClipTower(config, read_clip(name))


def read_clip(name: str) -> CLIPVisionModel:
    """The vision tower of the folder or hub model `name`, alone and in fp32.

    Raises DataError when tensors are missing or unknown, StorageError when a file is damaged.
    """
    theirs = _read_clip_config(name)
    theirs.attention_dropout = 0.0
    verbosity = transformers_logging.get_verbosity()
    # A whole CLIP model holds a text tower, about which transformers would print a table.
    transformers_logging.set_verbosity_error()
    try:
        model, report = _from_pretrained(name, theirs)
    finally:
        transformers_logging.set_verbosity(verbosity)
    missing = sorted(report["missing_keys"])
    unused = sorted(key for key in report["unexpected_keys"] if not _is_text_tensor(key))
    if missing or unused:
        raise DataError(
            f"{name}: not a whole CLIP vision tower: {len(missing)} tensors missing, {len(unused)} unknown "
            f"({', '.join((missing + unused)[:3])})"
        )
    return model


def _from_pretrained(name: str, theirs: CLIPVisionConfig) -> tuple[CLIPVisionModel, dict[str, Any]]:
    # Whatever the file's precision, weights are held in fp32: a frozen tower must not lose bits when saved again.
    options: dict[str, Any] = {"dtype": torch.float32, "attn_implementation": "sdpa", "output_loading_info": True}
    try:
        loaded: Any = CLIPVisionModel.from_pretrained(name, config=theirs, **options)
    except pickle.UnpicklingError as error:  # torch's own message advises to run the code
        raise StorageError(f"{name}: cannot load the CLIP weights: {PICKLED}") from error
    except Exception as error:  # transformers raises many types for a damaged file
        raise StorageError(f"{name}: cannot load the CLIP weights: {first_line(error)}") from error
    model, report = loaded
    return model, report


def _is_text_tensor(key: str) -> bool:
    """True for the tensors of a whole CLIP model that do not belong to its vision tower."""
    return key.startswith(("text_model.", "text_projection", "visual_projection", "logit_scale", "logit_bias")) or (
        key.endswith("embeddings.position_ids")
    )


def first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
