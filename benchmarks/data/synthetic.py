"""Synthetic corpora for the benchmarks: the same seed gives the same files.

Text is made of sentences of Python's own manual, which every Python brings along. Pictures are smooth shapes with some
grain, so that a JPEG of quality 95 has the size that photographs have.
"""

from __future__ import annotations

import io
import json
import re
from functools import cache
from pathlib import Path
from pydoc_data import topics

import numpy as np
import PIL.Image

from kosmos.data.tar_writer import InterleavedTarWriter, PairsTarWriter
from kosmos.tokenizer import Tokenizer

_MARKUP = re.compile(r"[*`|^\\]+|\s+")
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")


@cache
def sentences() -> tuple[str, ...]:
    """Sentences of 4 to 60 words of the Python manual."""
    found = []
    for page in topics.topics.values():
        for paragraph in page.split("\n\n"):
            text = _MARKUP.sub(" ", paragraph).strip()
            found += [s for s in _SENTENCE.split(text) if s[:1].isupper() and 4 <= len(s.split()) <= 60]
    return tuple(found)


def caption(rng: np.random.Generator) -> str:
    """About 11 words, as alt texts have."""
    words = sentences()[int(rng.integers(len(sentences())))].rstrip(".").split()
    return " ".join(words[: max(3, int(rng.lognormal(2.3, 0.5)))])


def paragraph(rng: np.random.Generator, most: int = 8) -> str:
    """1 to `most` sentences."""
    chosen = rng.integers(len(sentences()), size=int(rng.integers(1, most + 1)))
    return " ".join(sentences()[int(number)] for number in chosen)


def text_document(rng: np.random.Generator) -> str:
    """Lines (paragraphs), a lognormal number of them: 13 in the median."""
    return "\n".join(paragraph(rng) for _ in range(int(rng.lognormal(2.5, 0.8)) + 1))


def jpeg(rng: np.random.Generator) -> bytes:
    """A JPEG of quality 95 whose short side has 256 pixels."""
    long = int(rng.integers(256, 384))
    width, height = (long, 256) if rng.random() < 0.7 else (256, long)
    coarse = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    smooth = np.asarray(PIL.Image.fromarray(coarse).resize((width, height), PIL.Image.Resampling.BICUBIC))
    fine = rng.integers(0, 256, (height // 4, width // 4, 3), dtype=np.uint8)
    grain = np.asarray(PIL.Image.fromarray(fine).resize((width, height), PIL.Image.Resampling.BICUBIC))
    pixels = (smooth.astype(np.uint16) * 5 + grain.astype(np.uint16)) // 6
    out = io.BytesIO()
    PIL.Image.fromarray(pixels.astype(np.uint8)).save(out, "JPEG", quality=95)
    return out.getvalue()


def write_pairs(folder: Path, shards: int, records: int, seed: int = 1, pictures: int = 0) -> int:
    """`00000.tar` ... in img2dataset's layout; `pictures` > 0 draws from a pool of so many. The bytes written."""
    rng = np.random.default_rng(seed)
    pool = [jpeg(rng) for _ in range(pictures)]
    total = 0
    for shard in range(shards):
        with PairsTarWriter(folder / f"{shard:05d}.tar") as tar:
            for record in range(records):
                picture = pool[int(rng.integers(pictures))] if pool else jpeg(rng)
                key = f"{shard:05d}{record:04d}"
                tar.add(key, picture, caption(rng), {"url": f"https://example.org/{key}.jpg", "width": 256})
        total += tar.path.stat().st_size
    return total


def write_interleaved(folder: Path, shards: int, records: int, seed: int = 2, pictures: int = 0) -> int:
    """Tars of documents of 1 to 5 pictures with paragraphs around them. The bytes written."""
    rng = np.random.default_rng(seed)
    pool = [jpeg(rng) for _ in range(pictures)]
    total = 0
    for shard in range(shards):
        with InterleavedTarWriter(folder / f"{shard:05d}.tar") as tar:
            for record in range(records):
                texts: list[str | None] = []
                images: list[bytes | None] = []
                for _ in range(min(5, 1 + int(rng.geometric(0.45)))):
                    texts += [paragraph(rng, 4) + "\n", None]
                    images += [None, pool[int(rng.integers(pictures))] if pool else jpeg(rng)]
                tar.add(f"{shard:05d}{record:04d}", [*texts, paragraph(rng)], [*images, None])
        total += tar.path.stat().st_size
    return total


def write_text(folder: Path, shards: int, shard_bytes: int, seed: int = 3, documents: int = 4096) -> int:
    """`00000.jsonl` ... of `{"text", "id"}`, drawn from a pool of so many documents. The bytes written."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    documents = max(32, min(documents, shards * shard_bytes // 8000))  # a pool no larger than what is written
    pool = [json.dumps(text_document(rng)) for _ in range(documents)]
    total = 0
    for shard in range(shards):
        written = 0
        with open(folder / f"{shard:05d}.jsonl", "w", encoding="utf-8") as file:
            for number in range(1 << 40):
                written += file.write(f'{{"text": {pool[int(rng.integers(documents))]}, "id": {number}}}\n')
                if written >= shard_bytes:
                    break
        total += written
    return total


def tokenizer(path: str, folder: Path) -> Tokenizer:
    """The SentencePiece model at `path`, or without one a small one trained on the spot into `folder`."""
    if path:
        return Tokenizer.load(path)
    place = folder / "tokenizer.model"
    return Tokenizer.load(place) if place.exists() else Tokenizer.train(sentences(), place, 3000)
