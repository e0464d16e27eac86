"""The 853 concepts and their drawings: which there are, who drew them, and the pixels.

A concept is an emoji of emojibase's groups 3 to 7 (animals, food, travel, activities, objects) that at least two of
the four training artists and the held-out artist drew. Its key is its code points without the variation selector
FE0F. Noto, Fluent and Twemoji are matched by code points, EmojiOne and FxEmoji by the slug of the label.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PILImage

from kosmos.data.picturebook.packages import (
    ARTISTS,
    EMOJIBASE,
    HELD_OUT_ARTIST,
    TRAINING_ARTISTS,
    cache_directory,
    fetch,
    read_members,
)
from kosmos.errors import DataError
from kosmos.storage import file_sha256, make_folder, write_atomic

GROUPS = {3: "animals-nature", 4: "food-drink", 5: "travel-places", 6: "activities", 7: "objects"}
MASTER_SIZE = 64
NUM_CONCEPTS = 853
NUM_TRAINING_PICTURES = 2715
# sha256 of the lines "key<TAB>label<TAB>artists" in emojibase's order.
LIST_SHA256 = "0090399e1452dd201667efaf68365e8787e7e0cdfaa5deafb27a19baeb9ec59d"
# Raised whenever the stored form changes; a cache of another version is left alone and a new one is made.
CACHE_VERSION = 1


@dataclass(frozen=True)
class Concept:
    """One thing that is drawn. `label` is emojibase's, in lower case; `group` one of GROUPS' names."""

    key: str
    label: str
    tags: tuple[str, ...]
    group: str
    subgroup: int
    artists: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class PictureBook:
    """All concepts and drawings.

    pictures[artist]   uint8 [n, 64, 64, 4], RGBA with straight (not premultiplied) alpha
    indices[artist]    int64 [n], the concept of each picture, ascending
    """

    concepts: tuple[Concept, ...]
    pictures: dict[str, np.ndarray]
    indices: dict[str, np.ndarray]
    training_artists: tuple[str, ...] = tuple(TRAINING_ARTISTS)
    held_out_artist: str = HELD_OUT_ARTIST
    _premultiplied: dict[str, np.ndarray] = field(default_factory=dict, repr=False)
    _sprites: dict[tuple[int, str, int], np.ndarray] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.concepts)

    @cached_property
    def labels(self) -> tuple[str, ...]:
        return tuple(concept.label for concept in self.concepts)

    @cached_property
    def index_of(self) -> dict[str, int]:
        """Concept index by label."""
        return {concept.label: i for i, concept in enumerate(self.concepts)}

    @cached_property
    def rows(self) -> dict[str, np.ndarray]:
        """rows[artist][concept] is the row in pictures[artist], or -1 when the artist did not draw it."""
        table = {}
        for artist, indices in self.indices.items():
            rows = np.full(len(self.concepts), -1, dtype=np.int64)
            rows[indices] = np.arange(len(indices))
            table[artist] = rows
        return table

    def artists_of(self, concept: int, split: str) -> tuple[str, ...]:
        """Who may draw this concept: the training artists that did, or the held-out one for the split `test`."""
        if split == "test":
            return (self.held_out_artist,)
        return tuple(a for a in self.training_artists if a in self.concepts[concept].artists)

    def picture(self, concept: int, artist: str) -> np.ndarray:
        """uint8 [64, 64, 4] RGBA. Raises KeyError when the artist did not draw the concept."""
        row = self.rows[artist][concept]
        if row < 0:
            raise KeyError(f"{artist} did not draw {self.concepts[concept].label}")
        return self.pictures[artist][row]

    def premultiplied(self, artist: str) -> np.ndarray:
        """uint8 [n, 64, 64, 4] with colour already multiplied by alpha: what scaling and pasting must work on."""
        if artist not in self._premultiplied:
            self._premultiplied[artist] = premultiply(self.pictures[artist])
        return self._premultiplied[artist]

    def sprite(self, concept: int, artist: str, size: int) -> np.ndarray:
        """uint8 [size, size, 4]: one drawing scaled down, premultiplied; kept for the next call. Do not write to it."""
        key = (concept, artist, size)
        if key not in self._sprites:
            picture = self.premultiplied(artist)[self.rows[artist][concept]]
            image = PILImage.frombuffer("RGBa", (MASTER_SIZE, MASTER_SIZE), picture, "raw", "RGBa", 0, 1)
            self._sprites[key] = np.asarray(image.resize((size, size), PILImage.Resampling.BOX))
        return self._sprites[key]

    def composited(self, artist: str, size: int = 48, background: Sequence[int] = (255, 255, 255)) -> np.ndarray:
        """uint8 [n, size, size, 3]: every picture of an artist, scaled down and laid on a plain background."""
        out = np.empty((len(self.pictures[artist]), size, size, 3), dtype=np.uint8)
        colour = np.asarray(background, dtype=np.float32)
        for row, picture in enumerate(self.pictures[artist]):
            small = np.asarray(PILImage.fromarray(picture, "RGBA").resize((size, size), PILImage.Resampling.BOX))
            alpha = small[..., 3:].astype(np.float32) / 255.0
            out[row] = (small[..., :3] * alpha + colour * (1.0 - alpha) + 0.5).astype(np.uint8)
        return out


def premultiply(rgba: np.ndarray) -> np.ndarray:
    """RGBA uint8 [..., 4] with the colour multiplied by alpha / 255, rounded."""
    out = rgba.copy()
    alpha = rgba[..., 3:].astype(np.uint16)
    out[..., :3] = ((rgba[..., :3].astype(np.uint16) * alpha + 127) // 255).astype(np.uint8)
    return out


def slug(label: str) -> str:
    """The label as icon sets write names: ASCII, lower case, runs of anything else as one hyphen."""
    folded = unicodedata.normalize("NFKD", label).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", folded.lower()).strip("-")


def concept_key(code_points: str) -> str:
    return code_points.lower().replace("-fe0f", "")


class _IconSet:
    """One artist's `icons.json` and `chars.json`."""

    def __init__(self, icons: bytes, chars: bytes) -> None:
        loaded = json.loads(icons)
        self.icons: dict[str, dict[str, Any]] = loaded["icons"]
        self.aliases: dict[str, dict[str, Any]] = loaded.get("aliases", {})
        self.size = (loaded.get("width", 16), loaded.get("height", 16))
        self.by_key = {concept_key(points): name for points, name in json.loads(chars).items()}

    def find(self, key: str, label: str) -> str | None:
        """The icon's name, by code points where the set lists them, by the label's slug otherwise."""
        if self.by_key:
            return self.by_key.get(key)
        name = slug(label)
        # FxEmoji writes its names without hyphens.
        return next((n for n in (name, name.replace("-", "")) if n in self.icons), None)

    def svg(self, name: str) -> str:
        icon: dict[str, Any] = {}
        while name not in self.icons:
            alias = self.aliases[name]
            icon = {**alias, **icon}
            name = alias["parent"]
        icon = {**self.icons[name], **icon}
        width, height = icon.get("width", self.size[0]), icon.get("height", self.size[1])
        body = icon["body"]
        if icon.get("hFlip"):
            body = f'<g transform="translate({width} 0) scale(-1 1)">{body}</g>'
        return (
            '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
            f'width="{MASTER_SIZE}" height="{MASTER_SIZE}" viewBox="0 0 {width} {height}">{body}</svg>'
        )


def rasterize(svg: str) -> np.ndarray:
    """uint8 [64, 64, 4] RGBA, straight alpha. Raises DataError when resvg-py is missing."""
    try:
        import resvg_py
    except ImportError as error:
        raise DataError("drawing the picture book needs resvg-py: python -m pip install resvg-py") from error
    png = resvg_py.svg_to_bytes(svg_string=svg, skip_system_fonts=True)
    return np.asarray(PILImage.open(io.BytesIO(png)).convert("RGBA"))


def list_sha256(concepts: Sequence[Concept]) -> str:
    lines = "".join(f"{c.key}\t{c.label}\t{','.join(c.artists)}\n" for c in concepts)
    return hashlib.sha256(lines.encode()).hexdigest()


def _select(data: bytes, sets: dict[str, _IconSet]) -> tuple[list[Concept], dict[str, list[str]]]:
    """The concepts in emojibase's order, and per artist the icon names of those drawn."""
    concepts: list[Concept] = []
    names: dict[str, list[str]] = {artist: [] for artist in sets}
    for item in json.loads(data):
        if item.get("group") not in GROUPS:
            continue
        key = concept_key(item["hexcode"])
        found = {artist: name for artist, icons in sets.items() if (name := icons.find(key, item["label"]))}
        if HELD_OUT_ARTIST not in found or len(found) - 1 < 2:
            continue
        for artist, name in found.items():
            names[artist].append(name)
        group, tags = GROUPS[item["group"]], tuple(item.get("tags", ()))
        concepts.append(Concept(key, item["label"].lower(), tags, group, item["subgroup"], tuple(found)))
    return concepts, names


def build_picturebook(cache: Path | None = None, *, download: bool = True) -> Path:
    """Fetch, verify, choose and draw; returns the folder of the stored book. Does nothing when it is there already."""
    cache = cache or cache_directory()
    folder = cache / f"picturebook-{CACHE_VERSION}"
    manifest = folder / "manifest.json"
    if manifest.exists():
        return folder
    sets = {}
    for artist, package in ARTISTS.items():
        sets[artist] = _IconSet(*read_members(fetch(package, cache, download=download), ["icons.json", "chars.json"]))
    [data] = read_members(fetch(EMOJIBASE, cache, download=download), ["en/data.json"])
    concepts, names = _select(data, sets)
    _check(concepts)
    make_folder(folder)
    files = {}
    for artist, icons in sets.items():
        pictures = np.stack([rasterize(icons.svg(name)) for name in names[artist]])
        indices = np.array([i for i, c in enumerate(concepts) if artist in c.artists], dtype=np.int64)
        buffer = io.BytesIO()
        np.savez_compressed(buffer, pictures=pictures, indices=indices)
        write_atomic(folder / f"{artist}.npz", buffer.getvalue())
        files[f"{artist}.npz"] = {"sha256": hashlib.sha256(buffer.getvalue()).hexdigest(), "pictures": len(pictures)}
    stored = {"concepts": [vars(c) for c in concepts], "list_sha256": list_sha256(concepts), "files": files}
    # The manifest comes last: a folder without it counts as not built.
    write_atomic(manifest, json.dumps(stored, ensure_ascii=False, indent=0).encode())
    return folder


def load_picturebook(cache: Path | None = None, *, download: bool = True) -> PictureBook:
    """The picture book, built first when it is not in the cache yet.

    Raises DataError when it is absent and `download` is off, or when a stored file is not what was stored.
    """
    folder = build_picturebook(cache, download=download)
    stored = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    concepts = tuple(
        Concept(c["key"], c["label"], tuple(c["tags"]), c["group"], c["subgroup"], tuple(c["artists"]))
        for c in stored["concepts"]
    )
    _check(concepts)
    pictures, indices = {}, {}
    for artist in ARTISTS:
        path = folder / f"{artist}.npz"
        entry = stored["files"][path.name]
        if not path.exists() or file_sha256(path) != entry["sha256"]:
            raise DataError(f"{path} is missing or damaged: delete {folder} and run `kosmos data picturebook`")
        with np.load(path) as arrays:
            pictures[artist], indices[artist] = arrays["pictures"], arrays["indices"]
    return PictureBook(concepts, pictures, indices)


def _check(concepts: Sequence[Concept]) -> None:
    """The counts and the list that every figure of the project is stated for."""
    drawn = sum(len(c.artists) - 1 for c in concepts)
    if (len(concepts), drawn) != (NUM_CONCEPTS, NUM_TRAINING_PICTURES) or list_sha256(concepts) != LIST_SHA256:
        raise DataError(
            f"the picture book has {len(concepts)} concepts and {drawn} training pictures, list "
            f"{list_sha256(concepts)[:12]}; expected {NUM_CONCEPTS}, {NUM_TRAINING_PICTURES}, {LIST_SHA256[:12]}"
        )
