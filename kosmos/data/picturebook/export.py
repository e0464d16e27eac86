"""The picture book written out in the on-disk forms that corpora have, for the readers of files.

text/00000.jsonl            {"text": ...}
pairs/00000.tar             as img2dataset writes: key.png, key.txt, key.json; 00000_stats.json beside it
interleaved/00000.tar       key.json {"texts", "images"}, members key.N.png
instructions/00000.jsonl    {"instruction", "input", "output"}
pages/*.html                the interleaved pages of the dictionary as web pages, pictures in pages/pictures/
corpus.txt                  what the tokenizer is trained on
CREDITS.txt                 the artists and licences
MANIFEST.sha256
"""

from __future__ import annotations

import json
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kosmos.data.picturebook.canvas import SIZE
from kosmos.data.picturebook.concepts import PictureBook
from kosmos.data.picturebook.corpus import tokenizer_corpus
from kosmos.data.picturebook.heldout import add_member, interleaved, png_bytes
from kosmos.data.picturebook.packages import PACKAGES
from kosmos.data.picturebook.reader import shared_book, stream, training_examples
from kosmos.data.picturebook.templates import training_document
from kosmos.data.picturebook.wordnet import load_wordnet
from kosmos.data.picturebook.worlds import WORLDS
from kosmos.data.picturebook.worlds.pages import page_html
from kosmos.errors import StorageError, UsageError
from kosmos.example import Example
from kosmos.storage import make_folder, write_manifest

# img2dataset's width of the shard's and the record's number in a key.
SHARD_DIGITS, RECORD_DIGITS = 5, 4
RECORDS_PER_SHARD = 1000


@dataclass(frozen=True)
class ExportSizes:
    """How many documents of each kind are written."""

    text: int = 2000
    pairs: int = 4000
    interleaved: int = 2000
    instructions: int = 1000
    pages: int = 100


def build(
    out: str | Path, sizes: ExportSizes | None = None, seed: int = 1, size: int = SIZE, book: PictureBook | None = None
) -> Path:
    """Write all forms below `out`, which must not exist; it appears whole or not at all.

    The same seed gives the same texts and pictures. Raises UsageError when `out` exists, StorageError when the disk
    is full, DataError when the packages cannot be had.
    """
    out, sizes = Path(out), sizes or ExportSizes()
    if out.exists():
        raise UsageError(f"{out} exists: choose another folder, nothing was written")
    book = book or shared_book()
    make_folder(out.parent)
    part = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        _text(part / "text", sizes.text, seed)
        _pairs(part / "pairs", sizes.pairs, seed, size)
        _interleaved(part / "interleaved", sizes.interleaved, seed, size)
        _instructions(part / "instructions", sizes.instructions, seed, book)
        _pages(part / "pages", sizes.pages, seed, size)
        (part / "corpus.txt").write_text("".join(f"{line}\n" for line in tokenizer_corpus(book)), encoding="utf-8")
        credit = "".join(f"{package.credit}: {package.spec}, {package.licence}\n" for package in PACKAGES)
        (part / "CREDITS.txt").write_text(credit, encoding="utf-8")
        write_manifest(part)
        part.chmod(0o755)
        part.rename(out)
    except OSError as error:
        raise StorageError(f"{out}: cannot write the picture book: {error.strerror or error}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return out


def _text(folder: Path, count: int, seed: int) -> None:
    folder.mkdir()
    examples = training_examples("glosses", count, seed)
    lines = [json.dumps({"text": training_document(example).text}) + "\n" for example in examples]
    (folder / "00000.jsonl").write_text("".join(lines), encoding="utf-8")


def _pairs(folder: Path, count: int, seed: int, size: int) -> None:
    """Three of four pairs name one picture, the fourth is a scene."""
    folder.mkdir()
    scenes = count // 4
    examples = training_examples("pictures", count - scenes, seed, size)
    examples += training_examples("captions", scenes, seed, size)
    order = np.random.default_rng(seed).permutation(count).tolist()
    for shard in range(0, count, RECORDS_PER_SHARD):
        name = f"{shard // RECORDS_PER_SHARD:0{SHARD_DIGITS}d}"
        members = order[shard : shard + RECORDS_PER_SHARD]
        with tarfile.open(folder / f"{name}.tar", "w", format=tarfile.USTAR_FORMAT) as archive:
            for number, index in enumerate(members):
                _add_pair(archive, f"{name}{number:0{RECORD_DIGITS}d}", examples[index], size)
        stats = {
            "count": len(members),
            "successes": len(members),
            "failed_to_download": 0,
            "failed_to_resize": 0,
            "duration": 0.0,
            "status_dict": {"success": len(members)},
        }
        (folder / f"{name}_stats.json").write_text(json.dumps(stats, indent=1), encoding="utf-8")


def _add_pair(archive: tarfile.TarFile, key: str, example: Example, size: int) -> None:
    caption = training_document(example).text
    row = {
        "caption": caption,
        "key": key,
        "status": "success",
        "error_message": None,
        "width": size,
        "height": size,
        "original_width": size,
        "original_height": size,
    }
    add_member(archive, f"{key}.json", json.dumps(row, ensure_ascii=False).encode())
    add_member(archive, f"{key}.png", png_bytes(example.images[0].source))
    add_member(archive, f"{key}.txt", caption.encode())


def _interleaved(folder: Path, count: int, seed: int, size: int) -> None:
    """All interleaved worlds in turn."""
    folder.mkdir()
    names = [name for name, world in WORLDS.items() if world.source == "interleaved"]
    by_world = {name: iter(training_examples(name, -(-count // len(names)), seed, size)) for name in names}
    for shard in range(0, count, RECORDS_PER_SHARD):
        path = folder / f"{shard // RECORDS_PER_SHARD:0{SHARD_DIGITS}d}.tar"
        with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
            for number in range(shard, min(shard + RECORDS_PER_SHARD, count)):
                _add_interleaved(archive, f"{number:09d}", next(by_world[names[number % len(names)]]))


def _add_interleaved(archive: tarfile.TarFile, key: str, example: Example) -> None:
    document = training_document(example)
    layout = interleaved(document, example)
    add_member(archive, f"{key}.json", json.dumps(layout, ensure_ascii=False).encode())
    for name in layout["images"]:
        if name is not None:
            add_member(archive, f"{key}.{name}", png_bytes(example.images[int(name.partition(".")[0])].source))


def _instructions(folder: Path, count: int, seed: int, book: PictureBook) -> None:
    folder.mkdir()
    lines = [json.dumps(item, ensure_ascii=False) + "\n" for item, _ in zip(instructions(book, seed), range(count))]
    (folder / "00000.jsonl").write_text("".join(lines), encoding="utf-8")


def instructions(book: PictureBook, seed: int) -> Iterator[dict[str, str]]:
    """Endless instructions on WordNet's definitions and the concepts' groups, text only."""
    rng = stream("instructions", "train", seed, 0, 0)
    wordnet = load_wordnet()
    groups = sorted({concept.group for concept in book.concepts})
    while True:
        synset = wordnet.synsets[int(rng.integers(len(wordnet.synsets)))]
        concept = book.concepts[int(rng.integers(len(book)))]
        kind = int(rng.integers(4))
        if kind == 0:
            yield {"instruction": "Define the word.", "input": synset.words[0], "output": synset.definition}
        elif kind == 1:
            yield {"instruction": "Which word is meant?", "input": synset.definition, "output": synset.words[0]}
        elif kind == 2 and synset.parent >= 0:
            parent = wordnet.synsets[synset.parent].words[0]
            yield {"instruction": "What is it a kind of?", "input": synset.words[0], "output": parent}
        elif kind == 3:
            offered = f"{concept.label}: {', '.join(groups)}"
            yield {"instruction": "Which group does it belong to?", "input": offered, "output": concept.group}


def _pages(folder: Path, count: int, seed: int, size: int) -> None:
    (folder / "pictures").mkdir(parents=True)
    for number, example in enumerate(training_examples("pages", count, seed, size)):
        sources = [f"pictures/{number:05d}-{index}.png" for index in range(len(example.images))]
        for source, image in zip(sources, example.images):
            (folder / source).write_bytes(png_bytes(image.source))
        (folder / f"{number:05d}.html").write_text(page_html(example, sources), encoding="utf-8")
