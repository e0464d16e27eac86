"""One request, or one kind of work, does not keep the others out."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from kosmos.batch import Sequence as Row
from kosmos.document import Document
from kosmos.inference import scoring
from kosmos.inference.generation import Decoding
from kosmos.serving.asks import Ask, Kind
from tests.serving.running import MODEL, running, tiny_engine

pytest.importorskip("fastapi", reason="the extra `serve` is not installed")
openai = pytest.importorskip("openai", reason="the openai client is not installed")


def asked(request: object, tokens: int, kind: Kind = "decode", *, beams: int = 1, draws: int = 1) -> Ask:
    options = Decoding(tokens, num_beams=beams, num_results=draws, temperature=float(draws > 1))
    row = Row(np.zeros(4, np.int64), np.zeros(4, bool))
    return Ask(Document("a"), kind, options, 1e9, lambda _: None, request=request, row=row)


def order(asks: Sequence[Ask]) -> list[int]:
    from kosmos.serving.waiting_line import WaitingLine

    line = WaitingLine()
    for ask in asks:
        line.add(ask)
    found = []
    while (first := line.first()) is not None:
        line.take(first)
        found.append(asks.index(first))
    return found


def test_equal_requests_come_in_their_order() -> None:
    assert order([asked(number, 10) for number in range(5)]) == [0, 1, 2, 3, 4]


def test_many_prompts_in_a_request_wait_for_others() -> None:
    asks = [*(asked("many", 10) for _ in range(4)), asked("one", 10), asked("two", 10)]
    assert order(asks) == [0, 4, 5, 1, 2, 3]


def test_short_ones_pass_long_ones_but_not_for_ever() -> None:
    from kosmos.serving.waiting_line import WaitingLine

    line = WaitingLine()
    long = asked("long", 96)
    line.add(long)
    begun = 0
    while True:
        short = asked(object(), 6)
        line.add(short)
        first = line.first()
        assert first is not None
        line.take(first)
        if first is long:
            break
        begun += 1
    assert begun == 9  # as much work as the long one is


def test_those_that_leave_the_line() -> None:
    from kosmos.serving.waiting_line import WaitingLine

    line = WaitingLine()
    asks = [asked("one", 5), asked("one", 5), asked("two", 50)]
    for ask in asks:
        line.add(ask)
    line.remove(asks[0])
    assert list(line) == asks[1:]
    assert line.first(lambda ask: ask.request == "two") is asks[2]
    assert line.first(lambda ask: ask.request == "three") is None
    line.remove(asks[1])
    line.remove(asks[2])
    assert not line


def test_large_ones_leave_slots_to_others(tmp_path: Path) -> None:
    from kosmos.serving.memory_room import MemoryRoom

    room = MemoryRoom(tiny_engine(tmp_path, max_slots=8))
    beams = [asked(number, 4, "beams", beams=2) for number in range(8)]
    assert [room.take(ask) for ask in beams] == [True] * 6 + [False] * 2
    assert room.is_kept_out(asked("many", 4, draws=2))
    same = [asked("same", 4), asked("same", 4)]
    assert [room.take(ask) for ask in same] == [True, False]
    assert room.is_kept_out(same[1])
    assert room.take(asked("other", 4))
    assert not room.take(asked("full", 4))
    for ask in [*beams, *same]:
        room.give_back(ask)
        room.give_back(ask)
    assert room.num_slots == 1
    assert room.take(asked("all but one", 4, draws=7))


def test_scores_of_many_candidates_let_others_between(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A score of many passes, half a second in all: a short answer comes meanwhile, and so do the right sums."""
    monkeypatch.setattr(scoring, "_ROW_TOKENS", 4)
    engine, plain = tiny_engine(tmp_path / "a"), tiny_engine(tmp_path / "b")
    candidates = [f"{one} {two} cat dogs," for one in ("red", "two", "green", "an") for two in ("a", "of", "the", "is")]
    (expected,) = plain.score([Document("an image")], [f" {text}" for text in candidates])
    with (
        running(engine) as live,
        openai.OpenAI(base_url=f"{live.url}/v1", api_key="none", max_retries=0) as client,
        ThreadPoolExecutor(1) as pool,
    ):
        live.brake.seconds = 0.03
        job = pool.submit(client.post, "/score", body={"prompt": "an image", "candidates": candidates}, cast_to=object)
        live.wait_until(lambda: live.brake.num_steps > 0)
        client.completions.create(model=MODEL, prompt="two dogs", max_tokens=3)
        assert not job.done()
        made = job.result()["results"]
    np.testing.assert_allclose([one["sum"] for one in made], [score.sum for score in expected], atol=1e-4)
    assert engine.pool.num_free == 8


def test_a_score_whose_client_leaves_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "_ROW_TOKENS", 4)
    engine = tiny_engine(tmp_path)
    candidates = [f"{one} {two} cat dogs," for one in ("red", "two", "green", "an") for two in ("a", "of", "the", "is")]
    with running(engine) as live:
        live.brake.seconds = 0.05
        with openai.OpenAI(base_url=f"{live.url}/v1", api_key="none", max_retries=0, timeout=0.3) as client:
            with pytest.raises(openai.APITimeoutError):
                client.post("/score", body={"prompt": "an image", "candidates": candidates}, cast_to=object)
        live.wait_until(lambda: live.service.num_promised == 0 and live.service.thread.num_slots_used == 0)
        assert live.brake.num_steps < len(candidates)
    assert engine.pool.num_free == 8
