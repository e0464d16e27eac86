"""A transformers folder of ours, perhaps trained further elsewhere, back as a model folder: checked, with a card."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from kosmos.config import ModelConfig
from kosmos.errors import ConfigError, DataError
from kosmos.interop.model_card import returned_card
from kosmos.interop.native_folder import checked_config, fitting_tensors, write_native
from kosmos.interop.preprocessing import image_processor_settings, normalization
from kosmos.interop.self_check import Probe, check_conversion, native_logits, transformers_loads
from kosmos.interop.stored_json import read_json
from kosmos.interop.stored_weights import read_stored_weights
from kosmos.interop.transformers.config import from_transformers_config
from kosmos.interop.transformers.names import EMBEDDING, HEAD, from_transformers_names, their_name
from kosmos.model import weights
from kosmos.processor import Processor
from kosmos.tokenizer import MODEL_FILE, Tokenizer

if TYPE_CHECKING:
    from kosmos.interop.remote_code.configuration_kosmos import KosmosConfig

Say = Callable[[str], None]


def import_exported(folder: Path, out: Path, *, check: bool = True, say: Say = print) -> None:
    """Write the model of a folder of `kosmos export --format transformers` into the new folder `out`, or nothing.

    fp32 weights come back to the bit, halves widened. The code that lies in the folder is never run: this package's
    own, of the same form, computes the other side. Raises DataError when a file is missing, does not fit or gives other
    logits, StorageError when one is damaged, UsageError when `out` exists.
    """
    weights.refuse_existing(out)
    config, image_token = _config(folder)
    tokenizer = _tokenizer(folder)
    if tokenizer.slot_id != image_token:
        raise DataError(
            f"{folder}: image_token_id is {image_token}, but the tokenizer's <mask> is {tokenizer.slot_id}; the "
            "tokenizer is another model's"
        )
    processor = Processor(tokenizer, config)
    stored = read_stored_weights(folder)
    if HEAD in stored and EMBEDDING in stored and not torch.equal(stored[HEAD], stored[EMBEDDING]):
        raise ConfigError(f"{folder}: {HEAD} is not the embedding matrix; here the two are one")
    named = from_transformers_names(stored)
    tensors = fitting_tensors(named, config, str(folder), their_name)

    def fill(temporary: Path) -> None:
        write_native(temporary, processor, tensors, returned_card(folder, processor))
        check_conversion(processor, partial(_their_logits, folder), partial(native_logits, temporary), say, check)

    weights.write_folder(out.absolute(), fill)


@torch.no_grad()
def _their_logits(folder: Path, probes: list[Probe]) -> list[Tensor]:
    """Logits [T, V] of transformers' form of the model for each probe."""
    from kosmos.interop.remote_code.modeling_kosmos import KosmosForConditionalGeneration

    with transformers_loads(folder):
        model: Any = KosmosForConditionalGeneration.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    return logits_in_transformers(model.eval(), probes)


def logits_in_transformers(model: Any, probes: list[Probe]) -> list[Tensor]:
    """Logits [T, V] of a KosmosForConditionalGeneration for each probe."""
    outputs = (model(input_ids=probe.batch.token_ids, pixel_values=probe.pixels, use_cache=False) for probe in probes)
    return [output.logits[0].float() for output in outputs]


def _config(folder: Path) -> tuple[ModelConfig, int]:
    """The configuration, and the id that stands in a picture's slots."""
    from kosmos.interop.remote_code.configuration_kosmos import KosmosConfig

    file = folder / "config.json"
    fields = read_json(file)
    try:
        theirs = KosmosConfig(**{name: value for name, value in fields.items() if name != "model_type"})
        config = from_transformers_config(theirs, **_normalization(theirs, folder))
    except (ValueError, TypeError, AttributeError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise DataError(f"{file}: not a configuration of this model: {lines[0]}") from error
    return checked_config(config, str(file)), theirs.image_token_id


def _normalization(theirs: KosmosConfig, folder: Path) -> dict[str, Any]:
    if theirs.vision_config is None:
        return {}
    settings = image_processor_settings(folder)
    if settings is None:
        raise DataError(f"{folder}: no settings of the image processor here; save the processor beside the model")
    return normalization(settings, folder)


def _tokenizer(folder: Path) -> Tokenizer:
    file = folder / "tokenizer_config.json"
    if not file.is_file():
        raise DataError(f"{folder}: tokenizer_config.json is missing; save the processor beside the model")
    extras = read_json(file).get("extra_specials") or []
    if not isinstance(extras, list) or not all(isinstance(name, str) for name in extras):
        raise DataError(f"{file}: extra_specials is {extras!r}; it is a list of tokens")
    return Tokenizer.load(folder / MODEL_FILE, extras)
