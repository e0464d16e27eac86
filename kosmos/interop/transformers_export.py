"""A model as a transformers folder: configuration, weights, processor, and the code that runs them without kosmos."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file

from kosmos.errors import StorageError, UsageError
from kosmos.interop.processor_export import CODE_FOLDER, save_processor
from kosmos.interop.transformers_config import config_to_transformers, to_transformers_config
from kosmos.interop.transformers_names import to_transformers_names
from kosmos.interop.transformers_probe import ProbeRow, probe
from kosmos.model.kosmos import Kosmos
from kosmos.model.weights import write_folder
from kosmos.processor import Processor
from kosmos.runs import resolve
from kosmos.storage import write_atomic
from kosmos.tokenizer import Tokenizer

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

CODE_FILES = (
    "configuration_kosmos.py",
    "modeling_kosmos.py",
    "modeling_kosmos_text.py",
    "modeling_kosmos_vision.py",
)
# Of the largest logit, or of 1 where all are smaller.
TOLERANCE = 1e-5
SHARD_BYTES = 5 * 10**9


def export_folder(source: Path, out: Path) -> float:
    """Write the model of `source` (a run, a step or a model folder) into the new folder `out`, or nothing at all.

    What was written is loaded as a stranger would load it and computes a probe of text and pictures; its logits must
    be the model's. Raises UsageError when `out` is not empty, ConfigError for what transformers cannot express,
    StorageError when the probe comes out differently or the disk refuses. Returns the largest difference of logits, in
    parts of the largest logit.
    """
    out = out.absolute()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out}: exists already; choose another folder or remove it")
    folder = resolve(source)
    processor = Processor.load(folder)
    model = Kosmos.from_pretrained(folder)
    rows = probe(model, processor.tokenizer)
    worst = 0.0

    def fill(temporary: Path) -> None:
        nonlocal worst
        write_model(model, processor.tokenizer, temporary)
        save_processor(processor, temporary)
        worst = check(temporary, rows)

    write_folder(out, fill)
    return worst


def write_model(model: Kosmos, tokenizer: Tokenizer, folder: Path, shard_bytes: int = SHARD_BYTES) -> None:
    """config.json, generation_config.json, the weights and the model's code, into an existing folder."""
    config = to_transformers_config(model.config, tokenizer)
    config.architectures = ["KosmosForConditionalGeneration"]
    config.dtype = next(model.parameters()).dtype
    config.save_pretrained(folder)
    _write_json(folder / "generation_config.json", generation_config(model.config.decoder.vocab_size, tokenizer))
    _write_weights(to_transformers_names(dict(model.state_dict())), folder, shard_bytes)
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


def check(folder: Path, rows: list[ProbeRow]) -> float:
    """Largest difference of logits between an exported folder and the model, in parts of the largest logit.

    The folder is loaded from its own code, as the Auto classes do. Raises StorageError above the tolerance.
    """
    model = load_exported(folder)
    differences = [torch.zeros(())]
    with torch.no_grad():
        for row in rows:
            found: Tensor = model(input_ids=row.token_ids, pixel_values=row.pixels, use_cache=False).logits
            differences.append((found - row.logits).abs().max() / row.logits.abs().max().clamp(min=1.0))
    worst = float(torch.stack(differences).max())  # Python's max would pass over NaN
    if not worst <= TOLERANCE:
        raise StorageError(
            f"{folder.name}: not exported: the logits of the folder differ from the model's by {worst:.1e} of the "
            f"largest, {TOLERANCE:.0e} is allowed; please report it with the model's config.yaml"
        )
    return worst


def load_exported(folder: Path) -> PreTrainedModel:
    """The model of an exported folder, in fp32, from the code in the folder.

    Not through an Auto class: `kosmos.interop.transformers.register` would give it our own. transformers copies the
    code into a cache of its own, by the folder's name; the copy is taken away again.
    """
    from transformers.dynamic_module_utils import get_class_from_dynamic_module
    from transformers.utils import logging

    reference = json.loads((folder / "config.json").read_text(encoding="utf-8"))["auto_map"]
    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        kind: Any = get_class_from_dynamic_module(
            reference["AutoModelForImageTextToText"], folder, local_files_only=True
        )
        loaded: PreTrainedModel = kind.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    finally:
        if bars:
            logging.enable_progress_bar()
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
