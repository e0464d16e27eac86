"""The fixed test sets: drawn once, written to the cache, loaded back as Examples.

Each set is one tar in the interleaved form (`key.json` with texts and images, members `key.N.png`) and one jsonl with
the Examples' fields, under a manifest of sha256 sums. The folder's name carries a hash of the code that draws, so a
changed world gives a new set and an old one is never taken for it.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PILImage

from kosmos.data.picturebook.canvas import SIZE
from kosmos.data.picturebook.concepts import LIST_SHA256, PictureBook
from kosmos.data.picturebook.packages import cache_directory
from kosmos.data.picturebook.reader import shared_book, stream
from kosmos.data.picturebook.templates import template
from kosmos.data.picturebook.worlds import binding, digits, get_world, ocr, pictures, raven
from kosmos.document import Document, Image, Text
from kosmos.errors import ConfigError, StorageError, nearest
from kosmos.example import Example
from kosmos.storage import check_manifest, make_folder, write_manifest

SEED = 853
# Raven, in-context binding and unseen words are there to tell chance from more; the rest, to tell two scores apart.
COUNT, SAMPLED_COUNT = 500, 800
Draw = Callable[[PictureBook | None, int, np.random.Generator, int], Example]


@dataclass(frozen=True)
class HeldOutSet:
    """One test set: `draw(book, number, rng, size)` gives its items."""

    name: str
    count: int
    draw: Draw
    needs_book: bool = True


def _sampled(world: str, book: PictureBook | None, number: int, rng: np.random.Generator, size: int) -> Example:
    return get_world(world).sample(book, rng, "test", size)


def _named(book: PictureBook | None, number: int, rng: np.random.Generator, size: int) -> Example:
    assert book is not None
    return pictures.draw(book, number, book.held_out_artist, rng, "test", size)


def _digit(book: PictureBook | None, number: int, rng: np.random.Generator, size: int) -> Example:
    return digits.draw(digits.NUM_TRAIN + number, rng, "test", size)


def _unseen_word(book: PictureBook | None, number: int, rng: np.random.Generator, size: int) -> Example:
    return ocr.sample_unseen(book, rng, "test", size)


def _raven(given: int, book: PictureBook | None, number: int, rng: np.random.Generator, size: int) -> Example:
    return raven.draw(rng, "test", given, size)


def _bound(
    shots: int, shuffled: bool, book: PictureBook | None, number: int, rng: np.random.Generator, size: int
) -> Example:
    assert book is not None
    return binding.draw(book, rng, "test", shots, shuffled=shuffled, size=size)


def _of_world(name: str, world: str) -> HeldOutSet:
    return HeldOutSet(name, SAMPLED_COUNT, partial(_sampled, world), get_world(world).needs_book)


SETS: dict[str, HeldOutSet] = {
    made.name: made
    for made in (
        HeldOutSet("naming", 853, _named),
        _of_world("captioning", "captions"),
        _of_world("vqa", "vqa"),
        _of_world("vqa_color", "colors"),
        _of_world("counting", "counting"),
        _of_world("explanation", "explanation"),
        _of_world("dialogue", "dialogue"),
        _of_world("webpage_qa", "webpages"),
        _of_world("equation", "equations"),
        HeldOutSet("number", digits.NUM_TEST, _digit, needs_book=False),
        _of_world("ocr", "ocr"),
        HeldOutSet("ocr_unseen", COUNT, _unseen_word, needs_book=False),
        _of_world("sentiment", "sentiment"),
        *(HeldOutSet(f"raven_{given}", COUNT, partial(_raven, given), needs_book=False) for given in raven.GIVEN),
        *(HeldOutSet(f"in_context_{shots}", COUNT, partial(_bound, shots, False)) for shots in binding.SHOTS),
        HeldOutSet("in_context_shuffled", COUNT, partial(_bound, max(binding.SHOTS), True)),
    )
}


def draw_set(name: str, size: int = SIZE, book: PictureBook | None = None, limit: int | None = None) -> list[Example]:
    """The items of a set, drawn anew. Raises ConfigError for an unknown name."""
    if name not in SETS:
        raise ConfigError(f"no held-out set '{name}'{nearest(name, SETS)}; there are: {', '.join(SETS)}")
    held_out = SETS[name]
    book = book if book is not None or not held_out.needs_book else shared_book()
    items = []
    for number in range(min(held_out.count, limit or held_out.count)):
        made = held_out.draw(book, number, stream(name, "test", SEED, 0, number), size)
        identifier = f"{name}/{number:04d}"
        items.append(Example(identifier, made.fields, made.images, made.cluster or identifier, made.meta))
    return items


def folder_of(size: int = SIZE, cache_folder: Path | None = None) -> Path:
    """Where the sets of one picture size live."""
    return (cache_folder or cache_directory()) / f"heldout-{size}-{_code_hash()[:12]}"


def build_heldout(size: int = SIZE, cache_folder: Path | None = None, names: Iterable[str] = tuple(SETS)) -> Path:
    """Draw and write the sets that are not stored yet; each set's folder appears whole or not at all.

    Once all of SETS are there, the same size's folders of other code hashes are removed from the cache directory.
    """
    folder = make_folder(folder_of(size, cache_folder))
    built = False
    for name in names:
        if (folder / name).exists():
            continue
        items = draw_set(name, size)
        try:
            part = Path(tempfile.mkdtemp(prefix=f".{name}.", dir=folder))
            try:
                _write(part, name, items)
                write_manifest(part)
                os.chmod(part, 0o755)
                if not (folder / name).exists():
                    part.rename(folder / name)
                    built = True
            finally:
                shutil.rmtree(part, ignore_errors=True)
        except OSError as error:
            raise StorageError(f"{folder}: cannot write the test set {name}: {error.strerror or error}") from error
    if built and all((folder / name).exists() for name in SETS):
        for old in _older(folder):
            # What another process still has open is left for the next time.
            shutil.rmtree(old, ignore_errors=True)
    return folder


def _older(folder: Path) -> list[Path]:
    """Folders beside `folder` that hold the same size's sets, drawn by other code."""
    prefix = folder.name.rsplit("-", 1)[0]
    pattern = re.compile(re.escape(prefix) + "-[0-9a-f]{12}")
    beside = sorted(folder.parent.glob(f"{prefix}-*"))
    return [p for p in beside if p != folder and pattern.fullmatch(p.name) and p.is_dir() and not p.is_symlink()]


@cache
def load_heldout(name: str, size: int = SIZE, cache_folder: Path | None = None) -> tuple[Example, ...]:
    """The Examples of a set, built first when it is not stored; its manifest is checked. Pictures are uint8 arrays."""
    if name not in SETS:
        raise ConfigError(f"no held-out set '{name}'{nearest(name, SETS)}; there are: {', '.join(SETS)}")
    folder = build_heldout(size, cache_folder, [name]) / name
    check_manifest(folder)
    members: dict[str, np.ndarray] = {}
    with tarfile.open(folder / f"{name}.tar", "r:") as archive:
        for member in archive:
            if member.name.endswith(".png") and (file := archive.extractfile(member)) is not None:
                members[member.name] = np.asarray(PILImage.open(io.BytesIO(file.read())).convert("RGB"))
    items = []
    for line in (folder / f"{name}.jsonl").read_text(encoding="utf-8").splitlines():
        item = json.loads(line)
        images = tuple(Image(members[image]) for image in item["images"])
        items.append(Example(item["id"], item["fields"], images, item["cluster"], item["meta"]))
    return tuple(items)


def _write(folder: Path, name: str, items: list[Example]) -> None:
    lines = []
    with tarfile.open(folder / f"{name}.tar", "w", format=tarfile.USTAR_FORMAT) as archive:
        for number, item in enumerate(items):
            key = f"{number:06d}"
            members = [f"{key}.{index}.png" for index in range(len(item.images))]
            add_member(archive, f"{key}.json", json.dumps(interleaved(template(item), item)).encode())
            for member, image in zip(members, item.images):
                add_member(archive, member, png_bytes(image.source))
            stored = {"id": item.id, "fields": item.fields, "images": members, "cluster": item.cluster}
            lines.append(json.dumps({**stored, "meta": item.meta}, ensure_ascii=False) + "\n")
    (folder / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")


def interleaved(document: Document, example: Example) -> dict[str, list[str | None]]:
    """The `key.json` of the interleaved tar form: texts and images of equal length, one of the two null at each place.

    Images are named `N.png` by their place in the Example; adjoining texts are joined.
    """
    texts: list[str | None] = []
    images: list[str | None] = []
    place = {id(image): index for index, image in enumerate(example.images)}
    for segment in document:
        if isinstance(segment, Image):
            texts.append(None)
            images.append(f"{place[id(segment)]}.png")
        elif isinstance(segment, Text) and texts and (last := texts[-1]) is not None:
            texts[-1] = last + segment.text
        elif isinstance(segment, Text):
            texts.append(segment.text)
            images.append(None)
    return {"texts": texts, "images": images}


def add_member(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    """Add bytes to a tar under fixed metadata, so that equal content gives equal tars."""
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))


def png_bytes(pixels: Any) -> bytes:
    """An array uint8 [h, w, 3] as PNG."""
    buffer = io.BytesIO()
    PILImage.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


@cache
def _code_hash() -> str:
    """sha256 of the sources that a set's content depends on, and of the list of concepts."""
    digest = hashlib.sha256(LIST_SHA256.encode())
    root = Path(__file__).parent
    named = ("canvas", "concepts", "heldout", "lettering", "reader", "templates", "vocabulary")
    for path in (*(root / f"{name}.py" for name in named), *sorted((root / "worlds").glob("*.py"))):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
