"""Captions in Karpathy's splits: one JSON file for all splits, which COCO and Flickr30k share in form."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from kosmos.document import Image
from kosmos.errors import DataError
from kosmos.evaluation.benchmark import Prompt
from kosmos.evaluation.readers.dataset_files import Row, read_text
from kosmos.evaluation.readers.picture_files import PictureFile
from kosmos.evaluation.tasks.picture_prompts import free_prompt, one_line
from kosmos.example import Example

# Our split -> what the file calls it. COCO's restval is the rest of its validation pictures, used for training.
SPLITS: Mapping[str, tuple[str, ...]] = {"train": ("train", "restval"), "validation": ("val",), "test": ("test",)}
# The paper's beam of 5; the limit is ours.
CAPTION_DECODING: Mapping[str, object] = {"num_beams": 5, "max_new_tokens": 64}
CAPTION_METRICS = ("cider", "bleu1", "bleu2", "bleu3", "bleu4", "rouge_l", "meteor", "spice")
CAPTION_SHOTS = (0, 2, 4, 8)


def read_karpathy(path: Path, split: str, picture_id: str, picture: Callable[[Row], Path]) -> list[Example]:
    """The pictures of a split with their captions. `picture_id`: the key that names a picture."""
    try:
        table = json.loads(read_text(path))
    except ValueError as error:
        raise DataError(f"{path}: not JSON: {error}") from error
    images = table.get("images") if isinstance(table, dict) else None
    if not isinstance(images, list):
        raise DataError(f"{path}: must be a JSON object with a list 'images' (Karpathy's splits)")
    rows = [Row(f"{path}, images[{index}]", index, values) for index, values in enumerate(images)]
    return [
        captioned(str(row.value(picture_id)), sentences(row), PictureFile(picture(row)))
        for row in rows
        if row.filled("split") in SPLITS[split]
    ]


def sentences(row: Row) -> list[str]:
    """The captions as people wrote them: texts, or objects with the key `raw`."""
    found = row.value("sentences")
    if not isinstance(found, Sequence) or isinstance(found, str) or not found:
        raise DataError(f"{row.where}: 'sentences' must be a list of captions, not {found!r}")
    return [_raw(row, sentence) for sentence in found]


def _raw(row: Row, sentence: Any) -> str:
    raw = sentence.get("raw") if isinstance(sentence, dict) else sentence
    if not isinstance(raw, str):
        raise DataError(f"{row.where}: a sentence must be a text or have a text 'raw', not {sentence!r}")
    return raw


def captioned(name: str, captions: list[str], picture: Image) -> Example:
    """A picture with its captions as the accepted answers."""
    return Example(name, {"answers": captions}, (picture,))


def caption_prompt() -> Prompt:
    """The picture, then the paper's three words; a demonstration shows the first caption."""
    return free_prompt("paper", lambda example: "An image of", lambda example: one_line(example.fields["answers"][0]))
