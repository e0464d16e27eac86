from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kosmos.document import Document, Segment
from kosmos.errors import UsageError
from kosmos.inference import batching
from kosmos.inference import engine as engine_module
from kosmos.inference.batching import rows_that_fit
from kosmos.inference.cache import SlotPool
from kosmos.inference.engine import Engine
from kosmos.inference.generation import Decoding
from kosmos.inference.sharing import Stretch, batches, common_length, identities, stretches
from kosmos.model.kosmos import Kosmos
from kosmos.processor import Processor
from tests.inference.oracle import PICTURES

prompts = st.lists(
    st.lists(st.integers(0, 2), min_size=1, max_size=9).map(lambda ids: np.array(ids, dtype=np.int64)),
    min_size=1,
    max_size=8,
)


@given(prompts, st.integers(1, 4))
def test_stretches_cover_every_prompt_once(found: list[np.ndarray], min_shared: int) -> None:
    made = stretches(found, min_shared)
    for index, prompt in enumerate(found):
        mine = [stretch for stretch in made if index in stretch.members]
        assert [stretch.depth for stretch in mine] == list(range(len(mine)))
        assert [stretch.start for stretch in mine] == [0, *(stretch.end for stretch in mine[:-1])]
        assert mine[-1].end == len(prompt) and mine[-1].members == (index,)
        for stretch in mine[:-1]:
            assert stretch.end - stretch.start >= min_shared and len(stretch.members) > 1
            other = found[stretch.members[0]]
            assert prompt[: stretch.end].tolist() == other[: stretch.end].tolist()


def test_stretches_of_a_family() -> None:
    found = [np.array(ids) for ids in ([1, 2, 3, 4], [9], [1, 2, 3, 5], [1, 2, 7], [1, 2, 3, 4])]
    assert stretches(found, 1) == [
        Stretch(0, 2, (0, 4, 2, 3), 0),
        Stretch(0, 1, (1,), 0),
        Stretch(2, 3, (0, 4, 2), 1),
        Stretch(2, 3, (3,), 1),
        Stretch(3, 4, (0,), 2),
        Stretch(3, 4, (4,), 2),
        Stretch(3, 4, (2,), 2),
    ]


@given(prompts, st.integers(1, 4), st.integers(1, 40))
def test_batches_hold_each_prompt_once(found: list[np.ndarray], max_rows: int, budget: int) -> None:
    made = batches(found, lambda longest: max_rows, budget)
    assert sorted(index for batch in made for index in batch) == list(range(len(found)))
    assert all(1 <= len(batch) <= max_rows for batch in made)
    for batch in made:
        assert len(batch) == 1 or sum(len(found[index]) for index in batch) <= budget


def test_batches_keep_families_together() -> None:
    family = [np.arange(100) for _ in range(3)]
    for number, prompt in enumerate(family):
        prompt[90 + number :] = 1000 + number
    strangers = [np.full(size, 7 + size) for size in (80, 120)]
    found = [family[0], strangers[0], family[1], strangers[1], family[2]]
    # 100 + 10 + 9: a family is cheap, and fits where three strangers would not.
    assert [sorted(batch) for batch in batches(found, lambda longest: 8, 130)] == [[3], [0, 2, 4], [1]]


def test_pictures_are_told_apart() -> None:
    ids = np.array([0, 9, 9, 5, 9, 9])
    contents: dict[str, int] = {}
    one = identities(ids, [(1, 2, "cat"), (4, 2, "dog")], contents)
    two = identities(ids, [(1, 2, "cat"), (4, 2, "cat")], contents)
    assert common_length(one, two) == 4
    assert common_length(one, identities(ids, [(1, 2, "cat"), (4, 2, "dog")], contents)) == 6
    assert len({*one.tolist()}) == 6


@pytest.fixture
def counted(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Tokens that the model was given, padding included, pass by pass."""
    seen: list[int] = []
    forward = engine._forward

    def count(token_ids: Any, *args: Any) -> Any:
        seen.append(token_ids.numel())
        return forward(token_ids, *args)

    monkeypatch.setattr(engine, "_forward", count)
    return seen


DEMONSTRATIONS: tuple[Segment | str, ...] = (
    PICTURES[0],
    "an image of the red cat and two dogs, a green house;",
    PICTURES[1],
    "an image of the red cat and two dogs;",
)


def questions() -> list[Document]:
    return [Document(*DEMONSTRATIONS, PICTURES[2 + n % 2], "an image" + " of" * (n // 2)) for n in range(6)]


def test_few_shot_demonstrations_are_run_once(engine: Engine, counted: list[int]) -> None:
    asked = questions()
    lengths = [len(engine.encode(document)) for document in asked]
    prefixes = engine.prefill(asked)
    assert sum(counted) < sum(lengths) / 2
    made = engine.decode(prefixes, [Decoding(6)] * len(prefixes))
    for document, prefix, generation in zip(asked, prefixes, made):
        with engine.prefill(document) as alone:
            np.testing.assert_allclose(prefix.last_logits, alone.last_logits, atol=1e-5)
            assert alone.greedy(6).token_ids == generation.token_ids
        prefix.free()
    assert engine.pool.num_free == 8


def test_sharing_does_not_change_results(model: Kosmos, processor: Processor, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = questions() + [Document("red"), Document(PICTURES[0], "an image of")]
    engine = Engine(model, processor, max_slots=3)
    with_sharing = engine.generate(asked, options=Decoding(6, num_beams=2))
    scores = engine.score(asked, [" red", " the house"])
    monkeypatch.setattr(engine_module, "stretches", lambda found: stretches(found, 10**6))
    without = engine.generate(asked, options=Decoding(6, num_beams=2))
    assert [made.token_ids for made in with_sharing] == [made.token_ids for made in without]
    for row, plain in zip(scores, engine.score(asked, [" red", " the house"])):
        np.testing.assert_allclose([s.sum for s in row], [s.sum for s in plain], atol=1e-4)


def test_reread_runs_only_what_is_new(engine: Engine, counted: list[int]) -> None:
    first = Document(*DEMONSTRATIONS)
    longer = Document(*DEMONSTRATIONS, "two dogs", PICTURES[3])
    with engine.prefill(first) as prefix, engine.prefill(longer) as whole:
        counted.clear()
        again = prefix.reread(longer)
        assert sum(counted) <= len(whole) - len(prefix) + 2  # a token or two of the seam
        np.testing.assert_allclose(again.last_logits, whole.last_logits, atol=1e-5)
        assert again.greedy(8).token_ids == whole.greedy(8).token_ids
        counted.clear()
        back = again.reread(Document(DEMONSTRATIONS[0], "red"), take=True)
        assert sum(counted) <= 4
        with pytest.raises(UsageError, match="freed"):
            again.greedy(2)
        with engine.prefill(Document(DEMONSTRATIONS[0], "red")) as short:
            np.testing.assert_allclose(back.last_logits, short.last_logits, atol=1e-5)
        same = back.reread(back.document, take=True)
        assert same.token_ids == back.token_ids
        same.free()
        assert prefix.greedy(3) is not None
    assert engine.pool.num_free == 8


def test_out_of_memory_halves_the_batch(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = [Document("two dogs" + " of" * n) for n in range(7)]
    wanted = [made.token_ids for made in engine.generate(asked, 5)]
    forward = engine._forward
    sizes: list[int] = []

    def narrow(token_ids: Any, *args: Any) -> Any:
        sizes.append(len(token_ids))
        if len(token_ids) > 2:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp:1] . DefaultCPUAllocator: can't allocate memory")
        return forward(token_ids, *args)

    monkeypatch.setattr(engine, "_forward", narrow)
    assert [made.token_ids for made in engine.generate(asked, 5)] == wanted
    assert engine.num_halvings == 3 and max(sizes) == 7
    assert [len(row) for row in engine.score(asked, [" red", " a dog"])] == [2] * 7
    assert engine.pool.num_free == 8

    def never(token_ids: Any, *args: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(engine, "_forward", never)
    with pytest.raises(UsageError, match="out of memory with a single prompt"):
        engine.generate(asked[:2], 5)
    assert engine.pool.num_free == 8

    def broken(token_ids: Any, *args: Any) -> Any:
        raise RuntimeError("shape mismatch")

    monkeypatch.setattr(engine, "_forward", broken)
    with pytest.raises(RuntimeError, match="shape mismatch"):
        engine.generate(asked[:2], 5)


def test_out_of_memory_beside_a_held_prefix(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Buffers that cannot grow: smaller batches must do, and the prefix goes on as before."""
    asked = [Document("of " * 20) for _ in range(6)]
    wanted = [made.token_ids for made in engine.generate(asked, 4)]
    engine.clear()
    with engine.prefill(Document("an image")) as prefix:
        before = prefix.greedy(3)
        grown = SlotPool._grown

        def narrow(pool: SlotPool, held: Any, slots: int) -> Any:
            if slots * pool.length_capacity > 4 * 32:
                raise MemoryError
            return grown(pool, held, slots)

        monkeypatch.setattr(SlotPool, "_grown", narrow)
        assert [made.token_ids for made in engine.generate(asked, 4)] == wanted
        assert engine.num_halvings > 0
        assert prefix.greedy(3) == before
    assert engine.pool.num_free == 8


def test_draws(engine: Engine) -> None:
    """Several draws are those of their own seeds, whatever the number of free slots."""
    asked = [Document("two dogs"), Document(PICTURES[0], "an"), Document("of")]
    option = Decoding(6, temperature=1.0, seed=5, num_results=4)
    made = engine.generate(asked, options=option)
    assert all(len(generation.all) == 4 for generation in made)
    assert len({result.token_ids for generation in made for result in generation.all}) > 8
    for document, generation in zip(asked, made):
        alone = [engine.generate([document], options=option.of_draw(draw))[0] for draw in range(4)]
        assert [result.token_ids for result in generation.all] == [a.token_ids for a in alone]
    cramped = Engine(engine.model, engine.processor, max_slots=3)
    again = cramped.generate(asked, options=option)
    assert [[r.token_ids for r in g.all] for g in again] == [[r.token_ids for r in g.all] for g in made]
    assert cramped.pool.num_free == 3


def test_keys_and_values_bound_a_batch(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """64 long prompts with one beginning are cheap to read, but their keys and values must fit too."""
    assert [rows_that_fit(1000, length) for length in (100, 128, 129, 600, 2000)] == [4, 4, 2, 1, 1]
    config = engine.model.config.decoder
    column = 2 * config.num_layers * config.hidden_size * 4
    asked = questions()
    wanted = [made.token_ids for made in engine.generate(asked, 6)]
    sizes: list[int] = []
    decode = engine.decode

    def counting(prefixes: Any, *rest: Any) -> Any:
        sizes.append(len(prefixes))
        return decode(prefixes, *rest)

    monkeypatch.setattr(engine, "decode", counting)
    monkeypatch.setattr(batching, "_CPU_BYTES", 2 * 64 * column)
    assert batching.room(engine) == 128
    assert [made.token_ids for made in engine.generate(asked, 6)] == wanted
    assert sizes == [2, 2, 2]
