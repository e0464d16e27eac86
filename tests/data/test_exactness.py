"""The data path's promises, on corpora that lie on disk in every container, with pictures."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kosmos.config import DataConfig, SourceConfig
from kosmos.data.loader import open_stream
from kosmos.data.stream import Step, Stream, merge_states
from tests.data.containers import FIRST_OWN_WORD, INTERLEAVED, PAIRS, TEXT, Corpora, PictureProcessor
from tests.data.memory import content

START, PAD = 0, 1


def opened(layout: dict[str, SourceConfig], seed: int = 1, workers: int = 0, **options: Any) -> Stream:
    where = {key: options.pop(key) for key in ("state", "rank", "world_size") if key in options}
    settings = {"max_bad_fraction": 1.0, "look_ahead": 4, "shuffle_window": 16} | options
    config = DataConfig(sources=layout, workers=workers, **settings)
    return open_stream(config, PictureProcessor(), seed, **where)


def in_one(streams: list[Stream]) -> Iterator[tuple[list[tuple[Any, ...]], dict[str, Any]]]:
    """The steps of all ranks: the global micro-batches in order, and the merged state."""
    while True:
        steps = [next(stream) for stream in streams]
        batches = {batch.number: content(batch) for step in steps for batch in step.batches}
        yield [batches[number] for number in sorted(batches)], merge_states([step.state for step in steps])


def assert_same_on_any_layout(layout: dict[str, SourceConfig], seed: int, stages: list[tuple[int, int, int]]) -> None:
    """Stages of (ranks, workers, steps), each resumed from the one before, equal one rank that never stopped."""
    expected = in_one([opened(layout, seed)])
    state: dict[str, Any] | None = None
    for ranks, workers, steps in stages:
        streams = [opened(layout, seed, workers, state=state, rank=r, world_size=ranks) for r in range(ranks)]
        try:
            for found in islice(in_one(streams), steps):
                assert found == next(expected)
                state = json.loads(json.dumps(found[1]))
        finally:
            for stream in streams:
                stream.close()


budgets = st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 3))


@settings(max_examples=12, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 999),
    records=st.integers(1, 7),
    rows=budgets,
    micro=st.integers(1, 3),
    ranks=st.permutations([1, 2, 3, 4, 8]),
    stops=st.lists(st.integers(1, 3), min_size=5, max_size=5),
)
def test_ranks_and_resumes_change_nothing(
    seed: int, records: int, rows: tuple[int, int, int], micro: int, ranks: list[int], stops: list[int]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        layout = Corpora(Path(folder), seed, records).layout(rows, micro)
        assert_same_on_any_layout(layout, seed, [(r, 0, s) for r, s in zip(ranks, stops, strict=True)])


@settings(max_examples=3, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 999), rows=budgets, stops=st.lists(st.integers(1, 3), min_size=3, max_size=3))
def test_worker_processes_change_nothing(seed: int, rows: tuple[int, int, int], stops: list[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        layout = Corpora(Path(folder), seed, 5).layout(rows, 2)
        assert_same_on_any_layout(layout, seed, [(1, 2, stops[0]), (2, 1, stops[1]), (1, 0, stops[2])])


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> Corpora:
    return Corpora(tmp_path_factory.mktemp("corpora"), seed=7, records=9)


def own_words(step: Step, name: str) -> list[int]:
    """The words of a source's rows that belong to one document each, in order."""
    rows = [row for batch in step.batches if batch.source == name for row in batch.token_ids.tolist()]
    return [token for row in rows for token in row if token >= FIRST_OWN_WORD + 10]


def test_every_record_comes_once_an_epoch_from_every_container(corpora: Corpora) -> None:
    for name in (*TEXT, *PAIRS, *INTERLEAVED):
        kinds = {"leading_start": False} if name in TEXT else {"document_mask": name in PAIRS}
        entry = corpora.entries[name]
        # Rows so long that a step holds several epochs; every record's words are its own.
        layout = {"s": SourceConfig(1, 1, 4000, (entry,), **kinds)}  # type: ignore[arg-type]
        # With a look-ahead of one, documents leave in the order in which they are read.
        first, second = islice(opened(layout, look_ahead=1), 2)
        words = own_words(first, "s") + own_words(second, "s")
        records = len(dict.fromkeys(words))
        epochs = [words[n : n + records] for n in range(0, len(words) - records, records)]
        assert len(epochs) >= 4
        assert all(set(Counter(epoch).values()) == {1} and len(epoch) == records for epoch in epochs)
        assert len({tuple(epoch) for epoch in epochs}) > 1


def test_the_composition_is_exact_for_1000_steps(corpora: Corpora) -> None:
    layout = corpora.layout((3, 2, 1), 2)
    stream = opened(layout)
    for step in islice(stream, 1000):
        assert {name: counts.rows for name, counts in step.counts.items()} == {"text": 3, "pairs": 2, "interleaved": 1}
        assert [tuple(batch.token_ids.shape) for batch in step.batches] == [(2, 24), (1, 24), (2, 24), (1, 24)]
        for counts, rows in zip(step.counts.values(), (3, 2, 1), strict=True):
            assert counts.tokens + counts.padding == rows * 24


def row_hashes(step: Step) -> Iterator[bytes]:
    """One hash a row: its tokens, its loss mask, its document ids, and the pixels of its pictures."""
    for batch in step.batches:
        count, length = batch.token_ids.shape
        ids = np.zeros((count, length), np.int32) if batch.segment_ids is None else batch.segment_ids.numpy()
        images = batch.inputs.get("image")
        owner = [] if images is None else (images.slots[:, 0] // length).tolist()
        for row in range(count):
            hashed = hashlib.sha256(batch.token_ids[row].numpy().astype("<i8").tobytes())
            hashed.update(batch.supervised[row].numpy().astype("u1").tobytes())
            hashed.update(ids[row].astype("<i4").tobytes())
            for index in [n for n, which in enumerate(owner) if which == row]:
                assert images is not None
                hashed.update(images.slots[index].numpy().astype("<i8").tobytes())
                hashed.update(hashlib.sha256(images.features[index].numpy().tobytes()).digest())
            yield hashed.digest()


def test_the_first_10000_rows_of_a_fixture_are_pinned(tmp_path: Path) -> None:
    made = Corpora(tmp_path, seed=853, records=40)
    layout = made.layout((8, 8, 4), 4, length=32)
    total, count = hashlib.sha256(), 0
    for step in opened(layout, look_ahead=8, shuffle_window=32):
        for digest in row_hashes(step):
            total.update(digest)
            count += 1
        if count == 10_000:
            break
    assert total.hexdigest() == "bdd04cd4cfaa9fb5ba4d4510d93f156ffce32e5517448a2c59c5b28871ffcd4c"


def corrupt(folder: Path, rng: np.random.Generator) -> None:
    """Damage about 3 % of the records in place: bytes of a line or of a picture, never a length."""
    for path in sorted(folder.rglob("*.jsonl")):
        lines = path.read_bytes().splitlines(keepends=True)
        for number in range(len(lines)):
            if rng.random() < 0.03:
                lines[number] = b"\xff" + lines[number][1:]
        path.write_bytes(b"".join(lines))
    for path in sorted(folder.rglob("*.tar")):
        data = bytearray(path.read_bytes())
        at = data.find(b"\x89PNG")
        while at >= 0:
            if rng.random() < 0.03:
                data[at + 40] ^= 0xFF
            at = data.find(b"\x89PNG", at + 1)
        path.write_bytes(bytes(data))


def test_3_percent_of_corruption_changes_nothing_in_the_order_of_the_rest(tmp_path: Path) -> None:
    whole = Corpora(tmp_path / "whole", seed=3, records=150)
    shutil.copytree(tmp_path / "whole", tmp_path / "broken")
    for index in (tmp_path / "broken").rglob("*.kosmos-index"):
        index.unlink()
    corrupt(tmp_path / "broken", np.random.default_rng(5))
    for name in ("jsonl", "pairs_tar", "interleaved_tar", "instructions"):
        kinds = {"leading_start": False} if name == "jsonl" else {"document_mask": name != "interleaved_tar"}
        found: dict[str, list[int]] = {}
        bad = Counter[str]()
        for state in ("whole", "broken"):
            entry = whole.entries[name].__class__(name, str(tmp_path / state / name))
            layout = {"s": SourceConfig(1, 1, 6000, (entry,), **kinds)}  # type: ignore[arg-type]
            step = next(opened(layout, look_ahead=1, max_bad_fraction=0.2))
            found[state] = own_words(step, "s")
            bad += Counter(step.counts["s"].bad_records)
        lost = set(found["whole"]) - set(found["broken"])
        rest = [word for word in found["whole"] if word not in lost]
        assert rest == found["broken"][: len(rest)]
        assert 1 <= len(lost) <= 40 and bad.total() >= 1
        assert set(bad) <= {"bad json", "not utf-8", "broken picture"}
