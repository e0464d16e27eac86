"""Generated readers `picturebook.<world>`: Documents made on the fly, record i a pure function of (seed, epoch, i)."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import replace
from functools import cache, lru_cache

import numpy as np

from kosmos.data.permutation import Permutation, seed_of
from kosmos.data.picturebook.canvas import SIZE
from kosmos.data.picturebook.concepts import PictureBook, load_picturebook
from kosmos.data.picturebook.templates import training_document
from kosmos.data.picturebook.worlds import World, digits, get_world, pictures
from kosmos.data.readers import BadRecord
from kosmos.document import Document
from kosmos.errors import ConfigError
from kosmos.example import Example

# Shards and records are only addresses: lanes want some of each.
NUM_SHARDS = 16
RECORDS_PER_SHARD = 1024
SPLITS = ("train", "test", "plain")


def stream(world: str, split: str, seed: int, epoch: int, record: int) -> np.random.Generator:
    """The random numbers of one record. Splits and worlds never share a stream."""
    entropy = [SPLITS.index(split), zlib.crc32(world.encode()), seed, epoch, record]
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy)))


@cache
def shared_book() -> PictureBook:
    """The picture book of the default cache, loaded once per process."""
    return load_picturebook()


class GeneratedReader:
    """Records of one world. `pictures` shows every training picture once an epoch, in an order of the epoch's own."""

    def __init__(self, world: World, seed: int, size: int = SIZE, book: PictureBook | None = None) -> None:
        self.world, self.seed, self.size = world, seed, size
        self.book = book if book is not None or not world.needs_book else shared_book()
        self._pairs = pictures.training_pairs(self.book) if world.name == "pictures" and self.book else None

    def shards(self) -> list[str]:
        return [f"{self.world.name}-{number:02d}" for number in range(NUM_SHARDS)]

    def num_records(self, shard: str) -> int:
        if self._pairs is None:
            return RECORDS_PER_SHARD
        number, total = self._number(shard), len(self._pairs)
        return (number + 1) * total // NUM_SHARDS - number * total // NUM_SHARDS

    def read(self, shard: str, record: int, epoch: int) -> Document | BadRecord:
        return training_document(self.example(shard, record, epoch))

    def example(self, shard: str, record: int, epoch: int) -> Example:
        """The Example behind a record."""
        number = self._number(shard)
        if self._pairs is not None and self.book is not None:
            index = number * len(self._pairs) // NUM_SHARDS + record
            rng = stream(self.world.name, "train", self.seed, epoch, index)
            shuffled = Permutation(len(self._pairs), seed_of(self.seed, epoch))(index)
            concept, artist = self._pairs[shuffled].tolist()
            made = pictures.draw(self.book, concept, self.book.training_artists[artist], rng, "train", self.size)
        else:
            index = number * RECORDS_PER_SHARD + record
            rng = stream(self.world.name, "train", self.seed, epoch, index)
            made = self.world.sample(self.book, rng, "train", self.size)
        return replace(made, id=f"{self.world.name}/train/{epoch}/{index}")

    def _number(self, shard: str) -> int:
        return int(shard.rsplit("-", 1)[1])


def open_world(name: str, path: str, seed: int) -> GeneratedReader:
    """Reader of a world. `path` is empty or `size=N`, the side of the pictures in pixels (48)."""
    size = SIZE
    if path:
        key, _, value = path.partition("=")
        if key != "size" or not value.isdigit() or not 16 <= int(value) <= 512:
            raise ConfigError(f"picturebook.{name}: path '{path}' must be empty or size=N with N from 16 to 512")
        size = int(value)
    return GeneratedReader(get_world(name), seed, size)


def training_examples(name: str, count: int, seed: int = 0, size: int = SIZE) -> list[Example]:
    """The first `count` training Examples of a world."""
    reader = GeneratedReader(get_world(name), seed, size)
    made: list[Example] = []
    epoch = 0
    while len(made) < count:
        for shard in reader.shards():
            for record in range(reader.num_records(shard)):
                if len(made) == count:
                    return made
                made.append(reader.example(shard, record, epoch))
        epoch += 1
    return made


# The largest list is 70 MB at 48 pixels, and tasks that follow one another share them.
@lru_cache(maxsize=3)
def plain_training_examples(name: str, count: int, size: int = SIZE) -> tuple[Example, ...]:
    """Up to `count` Examples with training's content, rendered as plainly as the test: for pixel nearest neighbour.

    `pictures` and `digits` are given whole, each training picture once; `vqa` is half `colors`, half `scenes`.
    """
    if name == "vqa":
        # The colour questions' own list, so that they are drawn once for both tasks.
        colors, scenes = (plain_training_examples(part, count, size) for part in ("colors", "scenes"))
        return (*colors[: (count + 1) // 2], *scenes[: count // 2])
    world = get_world(name)
    book = shared_book() if world.needs_book else None
    return tuple(
        replace(made, id=f"{name}/plain/{number}") for number, made in enumerate(_plain(world, book, count, size))
    )


def _plain(world: World, book: PictureBook | None, count: int, size: int) -> Iterator[Example]:
    rng = np.random.default_rng(0)
    if world.name == "pictures" and book is not None:
        for concept, artist in pictures.training_pairs(book)[:count].tolist():
            yield pictures.draw(book, concept, book.training_artists[artist], rng, "plain", size)
    elif world.name == "digits":
        for index in range(min(count, digits.NUM_TRAIN)):
            yield digits.draw(index, rng, "plain", size)
    else:
        for number in range(count):
            yield world.sample(book, stream(world.name, "plain", 0, 0, number), "plain", size)
