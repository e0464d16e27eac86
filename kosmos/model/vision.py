"""Vision towers: pixels [N, 3, S, S] to features [N, P, C], each position L2-normalised.

Features follow Kosmos-2's code: the last block's output at all positions (CLS too), post-LayerNorm, L2 norm; no
projection. Trainable by default is what the paper calls the last layer: the last block and the post-LayerNorm.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModel
from transformers.utils import logging as transformers_logging

from kosmos.config import VisionConfig
from kosmos.errors import ConfigError, DataError, StorageError, UsageError
from kosmos.model.conv_tower import ConvTower

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
_ACTIVATIONS: tuple[Literal["quick_gelu", "gelu"], ...] = ("quick_gelu", "gelu")


class ClipTower(nn.Module):
    """CLIP's ViT, made of transformers' modules.

    With `trainable: last_layer` everything below the last block runs without gradients, and the tower stays in
    evaluation mode so that the frozen part is deterministic.
    """

    def __init__(self, config: VisionConfig, source: CLIPVisionModel | None = None) -> None:
        super().__init__()
        if source is None:
            source = CLIPVisionModel(_clip_config(config))
        self.trainable = config.trainable
        self.hidden_size = config.hidden_size
        self.num_positions = (config.image_size // config.patch_size) ** 2 + 1
        self.embeddings = source.embeddings
        self.pre_layernorm = source.pre_layrnorm
        self.layers = source.encoder.layers
        self.post_layernorm = source.post_layernorm
        freeze(self, config.trainable, [self.layers[-1], self.post_layernorm])

    def train(self, mode: bool = True) -> ClipTower:
        super().train(mode and self.trainable == "all")
        return self

    def _below_last(self, pixels: Tensor) -> Tensor:
        hidden = self.pre_layernorm(self.embeddings(pixels))
        for layer in self.layers[:-1]:
            hidden = layer(hidden, attention_mask=None)
        result: Tensor = hidden
        return result

    def forward(self, pixels: Tensor) -> Tensor:
        """Normalised pixels [N, 3, S, S] -> features [N, P, C], P = patches + 1."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.trainable == "all"):
            hidden = self._below_last(pixels)
        hidden = self.layers[-1](hidden, attention_mask=None)
        return F.normalize(self.post_layernorm(hidden), dim=-1)

    def materialize(self) -> None:
        """Give the one buffer that no file stores its values, after building on the meta device."""
        embeddings = self.embeddings
        device = embeddings.class_embedding.device
        positions = torch.arange(embeddings.num_positions, device=device).expand((1, -1))
        embeddings.register_buffer("position_ids", positions, persistent=False)


def freeze(tower: nn.Module, trainable: str, last_layer: list[nn.Module]) -> None:
    """Let gradients into all of `tower`, its `last_layer` or nothing, as `trainable` says."""
    tower.requires_grad_(trainable == "all")
    if trainable == "last_layer":
        for module in last_layer:
            module.requires_grad_(True)
    tower.train(trainable == "all")


def _clip_config(config: VisionConfig) -> CLIPVisionConfig:
    fields: dict[str, Any] = {theirs: getattr(config, ours) for ours, theirs in _CLIP_FIELDS.items()}
    fields["attn_implementation"] = "sdpa"
    return CLIPVisionConfig(**fields, hidden_act=config.activation, attention_dropout=0.0)


def check_random_vision(config: VisionConfig, random_vision: bool) -> None:
    """Refuse a tower that would stay random: UsageError unless `random_vision` asks for it."""
    if config.pretrained is None and config.trainable != "all" and not random_vision:
        raise UsageError(
            f"vision: the tower would be random and frozen (trainable: {config.trainable}, pretrained: null); "
            "set model.vision.pretrained, or trainable: all, or pass --random-vision"
        )


def build_vision(config: VisionConfig, random_vision: bool = False) -> ClipTower | ConvTower:
    """The tower of `config`, with pretrained weights where it names them.

    Raises UsageError for a random frozen tower without `random_vision`, ConfigError when the weights are of another
    shape than the configuration, DataError or StorageError when they are missing or damaged.
    """
    check_random_vision(config, random_vision)
    if config.kind == "clip":
        if config.pretrained is None:
            return ClipTower(config)
        return ClipTower(config, _load_clip(config, config.pretrained))
    tower = ConvTower(config)
    freeze(tower, config.trainable, tower.trainable_when_frozen())
    if config.pretrained is not None:
        _load_conv(tower, Path(config.pretrained))
    return tower


def resolve_vision(config: VisionConfig) -> VisionConfig:
    """`config` with the activation of its pretrained CLIP folder (OpenAI's use quick_gelu, LAION's gelu)."""
    if config.kind != "clip" or config.pretrained is None:
        return config
    theirs = _read_clip_config(config.pretrained)
    for activation in _ACTIVATIONS:
        if theirs.hidden_act == activation:
            return replace(config, activation=activation)
    raise ConfigError(
        f"{config.pretrained}: hidden_act '{theirs.hidden_act}' is not supported, only {', '.join(_ACTIVATIONS)}"
    )


def _read_clip_config(name: str) -> CLIPVisionConfig:
    """The vision part of a CLIP folder's or hub model's configuration."""
    try:
        return CLIPVisionConfig.from_pretrained(name)
    except (OSError, ValueError, json.JSONDecodeError) as error:
        raise DataError(f"{name}: no CLIP configuration here: {_first_line(error)}") from error


def _load_clip(config: VisionConfig, name: str) -> CLIPVisionModel:
    theirs = _read_clip_config(name)
    for ours, field in _CLIP_FIELDS.items():
        wanted, found = getattr(config, ours), getattr(theirs, field)
        if wanted != found:
            raise ConfigError(f"{name}: {field} is {found}, but vision.{ours} is {wanted}; set vision.{ours}: {found}")
    theirs.hidden_act = resolve_vision(config).activation
    theirs.attention_dropout = 0.0
    verbosity = transformers_logging.get_verbosity()
    # A whole CLIP model holds a text tower, about which transformers would print a table.
    transformers_logging.set_verbosity_error()
    try:
        model, report = _from_pretrained(name, theirs)
    finally:
        transformers_logging.set_verbosity(verbosity)
    missing = sorted(report["missing_keys"])
    unused = sorted(key for key in report["unexpected_keys"] if not is_text_tensor(key))
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
    except Exception as error:  # transformers raises many types for a damaged file
        raise StorageError(f"{name}: cannot load the CLIP weights: {_first_line(error)}") from error
    model, report = loaded
    return model, report


def is_text_tensor(key: str) -> bool:
    """True for the tensors of a whole CLIP model that do not belong to its vision tower."""
    return key.startswith(("text_model.", "text_projection", "visual_projection", "logit_scale", "logit_bias")) or (
        key.endswith("embeddings.position_ids")
    )


def _load_conv(tower: ConvTower, folder: Path) -> None:
    file = folder / "model.safetensors"
    if not file.is_file():
        raise DataError(f"{file}: no such file; make it with 'kosmos train-vision', or set vision.pretrained: null")
    try:
        weights = load_file(file)
    except Exception as error:  # safetensors' error type is not public
        raise StorageError(f"{file}: damaged weights: {_first_line(error)}") from error
    try:
        tower.load_state_dict(weights)
    except RuntimeError as error:
        raise ConfigError(f"{file}: not the tower that vision.channels says: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
