"""A recipe of the smallest size with text and pictures, and everything it needs, in one folder."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

from PIL import Image

from kosmos.cli.main import main
from tests.cli.process import write_corpus

COLOURS = {"red": (200, 30, 30), "green": (30, 180, 60), "blue": (40, 60, 200), "white": (240, 240, 240)}

RECIPE = """\
model: {preset: tiny, decoder: {vocab_size: 41}}
tokenizer: tokenizer
data:
  sources:
    text:
      {rows_per_step: 4, micro_batch_rows: 2, row_length: 48, leading_start: false,
       corpora: [{reader: jsonl, path: corpus.jsonl}]}
    pairs:
      {rows_per_step: 2, micro_batch_rows: 2, row_length: 48, document_mask: true,
       corpora: [{reader: pairs_tar, path: pairs.tar}]}
optimizer: {lr: 3.0e-3, warmup_steps: 5}
steps: 100
precision: fp32
threads: 1
log_every: 25
checkpoint_every: 25
random_vision: true
"""


def png(colour: tuple[int, int, int], size: int = 32) -> bytes:
    """One square of a colour."""
    file = io.BytesIO()
    Image.new("RGB", (size, size), colour).save(file, "PNG")
    return file.getvalue()


def write_pairs(file: Path) -> None:
    """A tar of coloured squares with captions, as img2dataset writes it."""
    with tarfile.open(file, "w") as archive:
        for index, (name, colour) in enumerate(COLOURS.items()):
            for suffix, data in (("png", png(colour)), ("txt", f"a {name} square".encode())):
                member = tarfile.TarInfo(f"{index:05}.{suffix}")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))


def prepare(folder: Path) -> Path:
    """Write corpus, pictures, tokenizer and recipe into `folder`, and return the recipe."""
    write_corpus(folder / "corpus.jsonl")
    write_pairs(folder / "pairs.tar")
    captions = folder / "captions.txt"
    captions.write_text("".join(f"a {name} square\n" for name in COLOURS), encoding="utf-8")
    files = [str(folder / "corpus.jsonl"), str(captions)]
    assert main(["tokenizer", "train", *files, "--out", str(folder / "tokenizer"), "--vocab-size", "34"]) == 0
    recipe = folder / "recipe.yaml"
    recipe.write_text(RECIPE, encoding="utf-8")
    return recipe
