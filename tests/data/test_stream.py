from __future__ import annotations

import json
from dataclasses import replace
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kosmos.config import SourceConfig
from kosmos.data.readers import BadRecord
from kosmos.document import Document, Image, Text
from kosmos.errors import DataError
from tests.data.memory import contents, corpus, rows, source, stream
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
    whole = list(islice(stream(layout, seed=seed, look_ahead=look_ahead), 10))
    first = stream(layout, seed=seed, look_ahead=look_ahead)
    state = first.state()
    for _ in range(stop):
        state = next(first).state
    next(first)  # made ahead, and not consumed
    resumed = stream(layout, seed=seed, look_ahead=look_ahead)
    resumed.load_state(json.loads(json.dumps(state)))
    for expected in whole[stop:]:
        step = next(resumed)
        assert step.number == expected.number
        assert contents(step) == contents(expected)
        assert step.counts == expected.counts
        assert step.state == expected.state
        assert step.bad == expected.bad


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


def test_state_is_small_at_the_papers_layout() -> None:
    pairs = source(corpus("p", [Document(Image(b"a"), Text("w1"))] * 9), rows=244, length=128, document_mask=True)
    text = source(corpus("t", [Document("w1 w2 .")] * 9), rows=244, length=64, leading_start=False)
    pages = source(corpus("i", [Document(Image(b"a"), Text("w1"))] * 9), rows=98, length=128)
    step = next(stream(look_ahead=16, text=text, pairs=pairs, pages=pages))
    assert len(json.dumps(step.state)) < 256_000


def test_a_state_of_other_data_is_refused() -> None:
    before = stream(t=source(corpus("t", [Document("w1")] * 5)))
    state = next(before).state
    with pytest.raises(DataError, match="6 records, but 5 when the checkpoint was made"):
        stream(t=source(corpus("t", [Document("w1")] * 6))).load_state(state)
    with pytest.raises(DataError, match="sources are t"):
        stream(u=source(corpus("t", [Document("w1")] * 5))).load_state(state)
