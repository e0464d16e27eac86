"""Damaged files in the stream of training: each damage is counted and named, its cost bounded, the verdict stays."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from kosmos.config import CorpusConfig, DataConfig, SourceConfig
from kosmos.data.health import TooManyBadRecords
from kosmos.data.loader import open_stream
from kosmos.data.stream import Stream
from kosmos.errors import ImageError
from kosmos.images import decode_image
from tests.data.containers import PictureProcessor, write_parquet
from tests.data.memory import contents

Write = Callable[[str, Iterable[tuple[str, bytes]]], Path]


def jpeg(seed: int) -> bytes:
    """A JPEG of noise, 24 x 16."""
    pixels = np.random.default_rng(seed).integers(0, 256, (16, 24, 3), np.uint8)
    out = io.BytesIO()
    PIL.Image.fromarray(pixels).save(out, "JPEG", quality=90)
    return out.getvalue()


def flipped(data: bytes, place: int, bit: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :]


def opened(corpora: list[CorpusConfig], max_bad: float = 0.5, state: dict[str, Any] | None = None) -> Stream:
    source = SourceConfig(2, 1, 24, tuple(corpora), document_mask=True, weigh_by="documents")
    config = DataConfig(sources={"pairs": source}, look_ahead=2, shuffle_window=64, max_bad_fraction=max_bad)
    return open_stream(config, PictureProcessor(), 1, state)


def members(pictures: list[bytes]) -> list[tuple[str, bytes]]:
    return [m for n, data in enumerate(pictures) for m in ((f"{n:02d}.jpg", data), (f"{n:02d}.txt", b"w1 w2"))]


def damaged_corpora(folder: Path, write_tar: Write) -> list[tuple[CorpusConfig, str, str]]:
    """(corpus, where its one or more bad records are, why)."""
    good = [jpeg(n) for n in range(8)]
    # A bit in the first marker after the start: the decoder finds no header.
    bits = write_tar("bits.tar", members([*good[:5], flipped(good[5], 3, 4), *good[6:]]))
    cut = write_tar("cut.tar", members(good))
    cut.write_bytes(cut.read_bytes()[: 512 * 20 + 100])
    missing = write_tar("missing.tar", [m for m in members(good) if m[0] not in ("02.txt", "03.jpg")])
    write_parquet(folder / "column" / "a.parquet", {"image": [{"bytes": g} for g in good], "caption": ["w1"] * 8})
    write_parquet(folder / "column" / "b.parquet", {"image": [{"bytes": g} for g in good[:2]], "alt": ["w1"] * 2})
    return [
        (CorpusConfig("pairs_tar", str(bits)), f"{bits} record 05", "broken picture"),
        (CorpusConfig("pairs_tar", str(cut)), f"{cut} record end", "tar cut short"),
        (CorpusConfig("pairs_tar", str(missing)), f"{missing} record 02", "no caption"),
        (CorpusConfig("pairs_tar", str(missing)), f"{missing} record 03", "no picture member"),
        (CorpusConfig("pairs_parquet", str(folder / "column")), f"{folder}/column/b.parquet row 0", "no column"),
    ]


def test_each_damage_is_counted_and_named_and_the_rest_is_read(tmp_path: Path, write_tar: Write) -> None:
    (tmp_path / "column").mkdir()
    found = damaged_corpora(tmp_path, write_tar)
    for entry, where, why in found:
        steps = list(islice(opened([entry]), 30))
        named = [record for step in steps for _, record in step.bad]
        counts = steps[-1].counts["pairs"]
        assert (where, why) in {(record.where, record.why) for record in named}
        assert sum(counts.bad_records.values()) == len(named) < counts.records / 2
        assert all(step.counts["pairs"].rows == 2 and step.counts["pairs"].images > 0 for step in steps)


def test_any_flipped_bit_of_a_jpeg_is_a_picture_or_a_broken_one_and_the_same_each_time() -> None:
    data, rng = jpeg(1), np.random.default_rng(2)
    broken = 0
    for place in range(0, len(data), 3):
        damaged = flipped(data, place, int(rng.integers(8)))
        results: list[bytes | None] = []
        for _ in range(2):
            try:
                results.append(decode_image(damaged).tobytes())
            except ImageError:
                results.append(None)
        assert results[0] == results[1]
        broken += results[0] is None
    # Most bits of a JPEG only change pixels; nothing but its decoder could tell.
    assert 5 < broken < len(data) / 6


def test_the_verdict_comes_at_the_same_step_after_a_resume(write_tar: Write) -> None:
    pictures = [flipped(jpeg(n), 3, 4) if n in (3, 9, 14) else jpeg(n) for n in range(20)]
    entry = CorpusConfig("pairs_tar", str(write_tar("some.tar", members(pictures))))

    def until_it_stops(state: dict[str, Any] | None) -> tuple[list[Any], list[dict[str, Any]], str]:
        made: list[Any] = []
        states: list[dict[str, Any]] = []
        stream = opened([entry], max_bad=0.1, state=state)
        with pytest.raises(TooManyBadRecords) as stopped:
            for step in stream:
                made.append((step.number, contents(step), step.counts, step.bad))
                states.append(step.state)
        return made, states, str(stopped.value)

    whole, states, message = until_it_stops(None)
    assert len(whole) > 5 and "12 of 72 records are bad (broken picture 12)" in message
    for stop in (1, len(whole) // 2, len(whole)):
        again, _, said = until_it_stops(states[stop - 1])
        assert (again, said) == (whole[stop:], message)
