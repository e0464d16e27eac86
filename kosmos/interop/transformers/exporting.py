"""A model as a transformers folder: configuration, weights, processor, and the code that runs them without kosmos."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file

from kosmos.errors import StorageError
from kosmos.interop.model_card import CARD_FILE
from kosmos.interop.self_check import Probe, check_conversion, native_logits, quiet_transformers
from kosmos.interop.transformers.config import config_to_transformers, to_transformers_config
from kosmos.interop.transformers.importing import logits_in_transformers
from kosmos.interop.transformers.names import to_transformers_names
from kosmos.interop.transformers.processor import CODE_FOLDER, save_processor
from kosmos.model.weights import read_tensors, refuse_existing, write_folder
from kosmos.processor import Processor
from kosmos.storage import write_atomic
from kosmos.tokenizer import Tokenizer

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

Say = Callable[[str], None]
CODE_FILES = (
    "configuration_kosmos.py",
    "modeling_kosmos.py",
    "modeling_kosmos_text.py",
    "modeling_kosmos_vision.py",
)
SHARD_BYTES = 5 * 10**9


def export_folder(
    source: Path, out: Path, *, card: Callable[[], str] | None = None, check: bool = True, say: Say = print
) -> None:
    """Write the model folder `source` of ours into the new folder `out`, or nothing at all.

    What was written is loaded as a stranger would load it and computes rows of text and pictures; its logits must be
    the model's. Raises ConfigError for what transformers cannot express, DataError when the logits differ, UsageError
    when `out` exists, StorageError when the disk refuses.
    """
    refuse_existing(out)
    processor = Processor.load(source)
    tensors = read_tensors(source)

    def fill(temporary: Path) -> None:
        write_model(processor, tensors, temporary)
        save_processor(processor, temporary)
        if card is not None:
            write_atomic(temporary / CARD_FILE, card().encode())
        check_conversion(processor, partial(native_logits, source), partial(exported_logits, temporary), say, check)

    write_folder(out.absolute(), fill)


def write_model(processor: Processor, tensors: dict[str, Tensor], folder: Path, shard_bytes: int = SHARD_BYTES) -> None:
    """config.json, generation_config.json, our `tensors` and the model's code, into an existing folder."""
    config = to_transformers_config(processor.config, processor.tokenizer)
    config.architectures = ["KosmosForConditionalGeneration"]
    config.dtype = torch.float32
    config.save_pretrained(folder)
    made = generation_config(processor.config.decoder.vocab_size, processor.tokenizer)
    _write_json(folder / "generation_config.json", made)
    _write_weights(to_transformers_names(tensors), folder, shard_bytes)
    for name in CODE_FILES:
        write_atomic(folder / name, (CODE_FOLDER / name).read_bytes())


def generation_config(vocab_size: int, tokenizer: Tokenizer) -> dict[str, Any]:
    """What `generate` starts from: as the Engine, it writes no special token but `</s>` and `</line>`."""
    kept = (tokenizer.eos_id, tokenizer.line_id)
    low, high = range(tokenizer.unk_id + 1), range(tokenizer.slot_id, vocab_size)
    return {
        "bos_token_id": tokenizer.bos_id,
        "pad_token_id": tokenizer.pad_id,
        "eos_token_id": tokenizer.eos_id,
        "suppress_tokens": [token for token in (*low, *high) if token not in kept],
    }


@torch.no_grad()
def exported_logits(folder: Path, probes: list[Probe]) -> list[Tensor]:
    """Logits [T, V] of an exported folder, from its own code, for each probe."""
    return logits_in_transformers(load_exported(folder), probes)


def load_exported(folder: Path) -> PreTrainedModel:
    """The model of an exported folder, in fp32, from the code in the folder.

    Not through an Auto class: `kosmos.interop.transformers.register` would give it our own. transformers copies the
    code into a cache of its own, by the folder's name; the copy is taken away again.
    """
    from transformers.dynamic_module_utils import get_class_from_dynamic_module

    reference = json.loads((folder / "config.json").read_text(encoding="utf-8"))["auto_map"]
    with quiet_transformers():
        kind: Any = get_class_from_dynamic_module(
            reference["AutoModelForImageTextToText"], folder, local_files_only=True
        )
        loaded: PreTrainedModel = kind.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    _forget_code(kind.__module__)
    return loaded.eval()


def _forget_code(module: str) -> None:
    """Remove the copied code of a folder that was only looked at: transformers_modules.FOLDER.HASH.modeling_kosmos."""
    package = ".".join(module.split(".")[:2])
    file = sys.modules[module].__file__
    if file is None or not package.startswith("transformers_modules."):
        raise StorageError(f"{module}: the exported code was not what transformers ran")
    for _ in range(len(module.split(".")) - 2):
        file = str(Path(file).parent)
    shutil.rmtree(file, ignore_errors=True)


def _write_weights(tensors: dict[str, Tensor], folder: Path, shard_bytes: int) -> None:
    from huggingface_hub import split_torch_state_dict_into_shards

    whole = {name: tensor.detach().to("cpu").contiguous() for name, tensor in tensors.items()}
    split = split_torch_state_dict_into_shards(whole, max_shard_size=shard_bytes)
    try:
        for file, names in split.filename_to_tensors.items():
            path = folder / file
            path.touch()
            mode = path.stat().st_mode
            save_file({name: whole[name] for name in names}, path, metadata={"format": "pt"})
            path.chmod(mode)  # safetensors makes files that only their owner reads
    except Exception as error:  # safetensors wraps the system's error in its own type
        raise StorageError(f"{folder}: cannot write the weights: {error}") from error
    if split.is_sharded:
        index = {"metadata": split.metadata, "weight_map": split.tensor_to_filename}
        _write_json(folder / "model.safetensors.index.json", index)


def _write_json(path: Path, values: dict[str, Any]) -> None:
    write_atomic(path, (json.dumps(values, indent=2, sort_keys=True) + "\n").encode())


__all__ = ["CODE_FILES", "config_to_transformers", "export_folder"]
