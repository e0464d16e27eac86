"""Generated readers: records are pure functions of (seed, epoch, record)."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from kosmos.config import CorpusConfig
from kosmos.data.picturebook.concepts import PictureBook
from kosmos.data.picturebook.reader import GeneratedReader, open_world, stream
from kosmos.data.picturebook.worlds import WORLDS, get_world
from kosmos.data.readers import open_reader
from kosmos.document import Document
from kosmos.errors import ConfigError


@pytest.mark.parametrize("world", ["ocr", "raven", "digits"])
def test_records_are_pure(world: str) -> None:
    first, second = open_world(world, "", 7), open_world(world, "", 7)
    shard = first.shards()[2]
    expected = first.read(shard, 5, 0)
    second.read(shard, 9, 3)
    assert second.read(shard, 5, 0) == expected
    assert first.read(shard, 6, 0) != expected != first.read(shard, 5, 1)
    assert open_world(world, "", 8).read(shard, 5, 0) != expected != first.read(first.shards()[3], 5, 0)


def test_drawn_records_are_pure(book: PictureBook) -> None:
    for name, world in WORLDS.items():
        if world.needs_book and name != "pages":
            readers = [GeneratedReader(world, 7, book=book) for _ in range(2)]
            shard = readers[0].shards()[1]
            readers[1].read(shard, 3, 2)
            assert readers[0].read(shard, 3, 0) == readers[1].read(shard, 3, 0)


def test_an_epoch_of_pictures_shows_each_once(book: PictureBook) -> None:
    reader = GeneratedReader(get_world("pictures"), 1, book=book)
    assert sum(reader.num_records(shard) for shard in reader.shards()) == 2715
    orders = []
    for epoch in (0, 1):
        seen = []
        for shard in reader.shards():
            for record in range(reader.num_records(shard)):
                meta = reader.example(shard, record, epoch).meta
                seen.append((meta["concept"], meta["artist"]))
        assert len(set(seen)) == len(seen) == 2715
        orders.append(seen)
    assert orders[0] != orders[1]
    assert Counter(artist for _, artist in orders[0])["fxemoji"] == 367


def test_streams_of_training_and_test_differ() -> None:
    keys = [
        (w, s, seed, e, r) for w in ("ocr", "raven") for s in ("train", "test") for seed, e, r in np.ndindex(2, 2, 2)
    ]
    assert len({stream(*key).integers(1 << 62) for key in keys}) == len(keys)


def test_the_registry_opens_worlds() -> None:
    reader = open_reader(CorpusConfig("picturebook.equations", "size=64"), 1)
    document = reader.read(reader.shards()[0], 0, 0)
    assert isinstance(document, Document)
    assert document.images[0].source.shape == (64, 64, 3)
    assert document.text.startswith("Question: what is the result? Answer: ")


@pytest.mark.parametrize("path", ["48", "size=8", "size=big", "side=48"])
def test_a_wrong_path_is_an_error(path: str) -> None:
    with pytest.raises(ConfigError, match="must be empty or size=N"):
        open_world("ocr", path, 1)


def test_an_unknown_world_suggests_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'captions'"):
        open_world("caption", "", 1)
