"""A transformers folder of `export_folder` back to a model folder of ours, the weights bit for bit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from kosmos.config import VisionConfig
from kosmos.errors import DataError, StorageError, UsageError
from kosmos.interop.stored_weights import read_stored_weights
from kosmos.interop.transformers_config import from_transformers_config
from kosmos.interop.transformers_names import from_transformers_names
from kosmos.model import weights
from kosmos.model.kosmos import Kosmos
from kosmos.processor import Processor
from kosmos.tokenizer import MODEL_FILE, Tokenizer


def is_kosmos_folder(folder: Path) -> bool:
    """True where config.json names this model, exported by us or saved again by transformers."""
    file = folder / "config.json"
    return file.is_file() and _read(file).get("model_type") == "kosmos1"


def import_folder(folder: Path, out: Path) -> None:
    """Write the model of a transformers folder into the new model folder `out`, or nothing at all.

    The other way than `export_folder`; also for a folder that was trained further with transformers and saved with its
    processor. Raises UsageError for a folder of another model and when `out` is not empty, DataError when a file is
    missing, StorageError when one is damaged, ConfigError when weights and configuration do not fit.
    """
    from kosmos.interop.remote_code.configuration_kosmos import KosmosConfig

    if not is_kosmos_folder(folder):
        raise UsageError(f"{folder}: not a KOSMOS-1 folder of transformers (config.json: model_type kosmos1)")
    fields = _read(folder / "config.json")
    theirs = KosmosConfig(**{name: value for name, value in fields.items() if name != "model_type"})
    defaults = VisionConfig()
    images: dict[str, Any] = {}
    if theirs.vision_config is not None:
        images = _image_processor(folder)
    config = from_transformers_config(
        theirs, images.get("image_mean", defaults.image_mean), images.get("image_std", defaults.image_std)
    )
    tokenizer = _tokenizer(folder)
    if tokenizer.slot_id != theirs.image_token_id:
        raise DataError(
            f"{folder}: image_token_id is {theirs.image_token_id}, but the tokenizer's <mask> is {tokenizer.slot_id}; "
            "the tokenizer is another model's"
        )
    model = weights.without_values(Kosmos, config)
    tensors = from_transformers_names(read_stored_weights(folder))
    weights.assign(model, tensors, folder)
    model.save_pretrained(out, Processor(tokenizer, config))


def _tokenizer(folder: Path) -> Tokenizer:
    file = folder / "tokenizer_config.json"
    if not file.is_file():
        raise DataError(f"{folder}: tokenizer_config.json is missing; save the processor beside the model")
    return Tokenizer.load(folder / MODEL_FILE, _read(file).get("extra_specials") or ())


def _image_processor(folder: Path) -> dict[str, Any]:
    """The image processor's settings: a file of their own, or within the processor's."""
    for name, key in (("preprocessor_config.json", None), ("processor_config.json", "image_processor")):
        if (folder / name).is_file():
            fields = _read(folder / name)
            found = fields if key is None else fields.get(key)
            if isinstance(found, dict) and "image_mean" in found:
                return found
    raise DataError(f"{folder}: no settings of the image processor here; save the processor beside the model")


def _read(file: Path) -> dict[str, Any]:
    try:
        fields = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StorageError(f"{file}: damaged: not JSON") from error
    if not isinstance(fields, dict):
        raise StorageError(f"{file}: damaged: not a JSON object")
    return fields
