from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kosmos.config import DataConfig, SourceConfig
from kosmos.data.loader import deal
from kosmos.data.readers import BadRecord
from kosmos.data.rows import RowMaker, SourceRows
from kosmos.data.stream import Stream, lanes_of_rank, merge_states
from kosmos.document import Document, Image, Text
from kosmos.errors import DataError
from tests.data.memory import content, contents, corpus, rows, source, stream
from tests.data.words import WordProcessor

words = st.lists(st.sampled_from(["w1", "w2", "w3", "w4", ".", "/"]), min_size=1, max_size=30).map(" ".join)
segments = st.lists(st.one_of(words.map(Text), st.binary(min_size=1, max_size=1).map(Image)), min_size=1, max_size=4)
record = st.one_of(
    segments.map(lambda parts: Document(*parts)),
    segments.map(lambda parts: Document(*parts)),
    st.just(BadRecord("somewhere", "bad json")),
)
documents = st.lists(record, max_size=12).map(lambda found: [Document("w1"), *found])


@st.composite
def layouts(draw: st.DrawFn) -> dict[str, SourceConfig]:
    made = {}
    kinds = {"text": (False, False), "pairs": (True, True), "pages": (True, False)}
    for name, (leading_start, mask) in kinds.items():
        entries = [
            corpus(f"{name}{n}", draw(documents), draw(st.floats(0.1, 1))) for n in range(draw(st.integers(1, 2)))
        ]
        made[name] = source(
            *entries,
            rows=draw(st.integers(1, 3)),
            length=draw(st.integers(8, 24)),
            leading_start=leading_start,
            document_mask=mask,
            weigh_by=draw(st.sampled_from(["tokens", "documents"])),
        )
    return made


@settings(max_examples=25, deadline=None, derandomize=True)
@given(layout=layouts(), look_ahead=st.integers(1, 6), stop=st.integers(0, 7), seed=st.integers(0, 99))
def test_interrupted_and_resumed_equals_uninterrupted(
    layout: dict[str, SourceConfig], look_ahead: int, stop: int, seed: int
) -> None:
    whole = list(islice(stream(layout, seed=seed, look_ahead=look_ahead, window=5), 10))
    first = stream(layout, seed=seed, look_ahead=look_ahead, window=5)
    state = None
    for _ in range(stop):
        state = json.loads(json.dumps(next(first).state))
    next(first)  # made ahead, and not consumed
    resumed = stream(layout, seed=seed, look_ahead=look_ahead, window=5, state=state)
    for expected in whole[stop:]:
        step = next(resumed)
        assert step.number == expected.number
        assert contents(step) == contents(expected)
        assert step.counts == expected.counts
        assert step.state == expected.state
        assert step.bad == expected.bad


def global_steps(ranks: list[Stream]) -> Iterator[tuple[list[tuple[Any, ...]], dict[str, Any]]]:
    """The steps of all ranks as one: contents in the order of the micro-batches, and the state."""
    while True:
        steps = [next(rank) for rank in ranks]
        batches = sorted((batch.number, content(batch)) for step in steps for batch in step.batches)
        yield [made for _, made in batches], merge_states([step.state for step in steps])


@settings(max_examples=15, deadline=None, derandomize=True)
@given(layout=layouts(), worlds=st.permutations([1, 2, 3, 4, 8]), seed=st.integers(0, 99))
def test_any_number_of_ranks_and_any_change_of_it_gives_the_same_steps(
    layout: dict[str, SourceConfig], worlds: list[int], seed: int
) -> None:
    expected = list(islice(global_steps([stream(layout, seed=seed, window=7)]), 10))
    state: dict[str, Any] | None = None
    done = 0
    for world_size in worlds:
        ranks = [
            stream(layout, seed=seed, window=7, state=state, rank=r, world_size=world_size) for r in range(world_size)
        ]
        for found in islice(global_steps(ranks), 2):
            assert found == expected[done]
            state = json.loads(json.dumps(found[1]))
            done += 1


@settings(max_examples=10, deadline=None, derandomize=True)
@given(layout=layouts(), workers=st.integers(1, 4))
def test_any_division_of_the_lanes_makes_the_same_rows(layout: dict[str, SourceConfig], workers: int) -> None:
    config = DataConfig(sources=layout, look_ahead=3, max_bad_fraction=1.0)
    share = lanes_of_rank(config, 0, 1)
    makers = [RowMaker(config, WordProcessor(), 1, deal(share, number, workers)) for number in range(workers)]
    whole = RowMaker(config, WordProcessor(), 1, share)
    for _ in range(4):
        parts, expected = [next(maker) for maker in makers], next(whole)
        for name in layout:
            made = SourceRows()
            for part in parts:
                made.add(part[name])
            assert {n: row.token_ids.tolist() for n, row in made.rows.items()} == {
                n: row.token_ids.tolist() for n, row in expected[name].rows.items()
            }
            assert (made.states, made.health) == (expected[name].states, expected[name].health)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(layout=layouts())
def test_rows_are_exact_and_do_not_depend_on_micro_batches(layout: dict[str, SourceConfig]) -> None:
    one = stream(layout)
    many = stream({name: replace(s, micro_batch_rows=s.rows_per_step) for name, s in layout.items()})
    for a, b in islice(zip(one, many, strict=True), 6):
        for name, config in layout.items():
            assert rows(a, name) == rows(b, name)
            assert len(rows(a, name)) == config.rows_per_step
            assert a.counts[name] == b.counts[name]
            assert a.counts[name].tokens + a.counts[name].padding == config.rows_per_step * config.row_length
        assert all(batch.token_ids.shape[1] == layout[batch.source].row_length for batch in a.batches)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(texts=st.lists(words, min_size=1, max_size=8), length=st.integers(3, 20))
def test_text_loses_no_token(texts: list[str], length: int) -> None:
    config = source(corpus("t", [Document(text) for text in texts]), rows=1, length=length, leading_start=False)
    joined = [token for step in islice(stream(t=config), 30) for row in rows(step, "t") for token in row[1:]]
    one = {tuple([*WordProcessor().tokenizer.encode(text), 2]) for text in texts}
    position = 0
    while position + 40 < len(joined):
        found = next((d for d in sorted(one, key=len) if tuple(joined[position : position + len(d)]) == d), None)
        assert found is not None
        position += len(found)


def test_every_step_has_the_configured_shares() -> None:
    layout = {
        "text": source(corpus("t", [Document("w1 w2 / w3")] * 5), rows=5, micro=5, length=32, leading_start=False),
        "pairs": source(corpus("p", [Document(Image(b"a"), Text("w1"))]), rows=5, length=32, document_mask=True),
        "pages": source(corpus("i", [Document(Image(b"a"), Text("w1"), Image(b"b"))]), rows=2, length=32),
    }
    for step in islice(stream(layout), 200):
        assert {name: counts.rows for name, counts in step.counts.items()} == {"text": 5, "pairs": 5, "pages": 2}
        assert all(counts.supervised_tokens > 0 for counts in step.counts.values())


def test_another_seed_gives_another_order() -> None:
    def tokens(seed: int) -> list[list[int]]:
        config = source(corpus("t", [Document(f"w{n}") for n in range(50)]), length=32)
        return [row for step in islice(stream(seed=seed, t=config), 3) for row in rows(step, "t")]

    assert tokens(1) == tokens(1)
    assert tokens(1) != tokens(2)


def test_state_is_small_at_the_papers_layout_after_300000_steps() -> None:
    texts = [corpus(f"t{n}", [Document("w1 w2 .")] * 9, weight) for n, weight in enumerate(range(1, 12))]
    pairs = [corpus(f"p{n}", [Document(Image(b"a"), Text("w1"))] * 9) for n in range(4)]
    pages = corpus("i", [Document(Image(b"a"), Text("w1"))] * 9)
    layout = {
        "text": source(*texts, rows=244, length=64, leading_start=False),
        "pairs": source(*pairs, rows=244, length=128, document_mask=True),
        "pages": source(pages, rows=98, length=128, look_ahead=48),
    }
    state = next(stream(layout, look_ahead=16)).state
    # What grows: turns (documents read by a lane) and spent tokens, to those of 300,000 rows of 2,048 slots.
    for late in state["sources"].values():
        for lane in late["lanes"].values():
            shares = len(lane["turns"])
            lane["turns"] = [turn + 300_000 * 24 // shares for turn in lane["turns"]]
            lane["spent"] = [spent + 300_000 * 2048 // shares for spent in lane["spent"]]
    going_on = next(stream(layout, look_ahead=16, state=state))
    assert going_on.number == 2
    assert 100_000 < len(json.dumps(going_on.state)) < 256_000


def test_a_state_of_other_data_is_refused() -> None:
    state = next(stream(t=source(corpus("t", [Document("w1")] * 5)))).state
    with pytest.raises(DataError, match="6 records, but 5 when the checkpoint was made"):
        stream(t=source(corpus("t", [Document("w1")] * 6)), state=state)
    with pytest.raises(DataError, match="sources are t"):
        stream(u=source(corpus("t", [Document("w1")] * 5)), state=state)
    with pytest.raises(DataError, match="the checkpoint has 2 lanes, this run 3"):
        stream(t=source(corpus("t", [Document("w1")] * 5), rows=3), state=state)
