"""Random tiny Kosmos-2 folders as transformers itself writes them, with tokenizer and processor."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import Kosmos2Config, Kosmos2ForConditionalGeneration, XLMRobertaTokenizer
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.kosmos2.processing_kosmos2 import Kosmos2Processor

from kosmos.interop.kosmos2.conversion import export_kosmos2, import_kosmos2
from kosmos.interop.kosmos2.processor import SENTENCEPIECE_FILE
from kosmos.interop.kosmos2.sentencepiece_file import precompiled_charsmap
from kosmos.tokenizer import Tokenizer
from tests.model.their_configs import small_kosmos2_config
from tests.model.tiny import shake

NUM_LATENTS = 4
WEIGHTS = "model.safetensors"
IMAGE_SIZE = 28
PATCHES = 3  # grounding tokens of places; the released one has 1,024
# Lines that hold every letter, digit and mark of the conversion's own sentences.
LINES = (
    "An image of a cat in a field of grass.",
    "Question: what color is the cat? Answer: black and white",
    'It has 12,345 parts - e.g. "wheels", a half (1⁄2), the ligature fi, naïve café.',
    "67890 quick zebras jump over boxes.",
    "Two puppies sit with vexed ducks.",
)


def small_tokenizer(folder: Path) -> Tokenizer:
    """A tokenizer of some 70 pieces over English letters."""
    return Tokenizer.train(LINES * 4, folder / "small.model", 70)


def small_model(config: Kosmos2Config, seed: int = 0) -> Kosmos2ForConditionalGeneration:
    """Random weights, biases and norms too."""
    torch.manual_seed(seed)
    model = Kosmos2ForConditionalGeneration(config).eval()
    shake(model)
    return model


def their_processor(tokenizer: Tokenizer, size: int = IMAGE_SIZE, patches: int = PATCHES) -> Kosmos2Processor:
    """transformers' processor over our tokenizer's pieces, made with transformers' classes."""
    specials = [(name, 0.0) for name in ("<s>", "<pad>", "</s>", "<unk>")]
    made: Any = XLMRobertaTokenizer(
        vocab=[*specials, *tokenizer.scored_pieces(), ("<mask>", 0.0)],
        _spm_precompiled_charsmap=precompiled_charsmap(tokenizer.model),  # type: ignore[arg-type]
    )
    pictures = CLIPImageProcessorPil(size={"height": size, "width": size}, do_center_crop=False)
    return Kosmos2Processor(pictures, made, num_patch_index_tokens=patches)


def write_kosmos2(folder: Path, tokenizer: Tokenizer, **changes: Any) -> Kosmos2ForConditionalGeneration:
    """Write model, processor and the SentencePiece model into `folder`; returns the model."""
    processor = their_processor(tokenizer)
    model = small_model(small_kosmos2_config(len(processor.tokenizer), NUM_LATENTS, **changes))
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    (folder / SENTENCEPIECE_FILE).write_bytes(tokenizer.model)
    return model


@dataclass(frozen=True)
class Folders:
    """A random Kosmos-2 as transformers wrote it, imported, and exported again; not to be changed."""

    theirs: Path
    ours: Path
    again: Path
    tokenizer: Tokenizer
    said: list[str]


def make_folders(base: Path) -> Folders:
    """A random Kosmos-2 in its three forms below `base`."""
    tokenizer = small_tokenizer(base)
    write_kosmos2(base / "theirs", tokenizer)
    said: list[str] = []
    import_kosmos2(base / "theirs", base / "ours", say=said.append)
    export_kosmos2(base / "ours", base / "again", say=said.append)
    return Folders(base / "theirs", base / "ours", base / "again", tokenizer, said)


def edit_json(file: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    values = json.loads(file.read_text(encoding="utf-8"))
    edit(values)
    file.write_text(json.dumps(values), encoding="utf-8")


def edit_weights(folder: Path, edit: Callable[[dict[str, Tensor]], object]) -> None:
    tensors = load_file(folder / WEIGHTS)
    edit(tensors)
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})


def nothing_but(folder: Path, *names: str) -> bool:
    """True when no OUT and no temporary folder was left beside `names`."""
    return {path.name for path in folder.iterdir()} == set(names)
