"""The process that HTML is parsed in: whatever a page does, it is answered for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.importorskip("trafilatura")
pytest.importorskip("resiliparse")

from kosmos.data.web.extractor import CRASHED, TOO_SLOW, Extractor
from kosmos.data.web.settings import PageLimits
from kosmos.errors import ConfigError

GOOD = b"<html><body><p>The keeper climbed the winding stairs to light the lamp of the old tower.</p></body></html>"


@pytest.fixture
def extractor() -> Iterator[Extractor]:
    made = Extractor(PageLimits(cpu_seconds=0.6))
    yield made
    made.close()


def test_a_page_that_takes_too_long_is_ended_and_the_next_one_answered(extractor: Extractor) -> None:
    assert extractor.ask("language", b"<p>" * 1_300_000, language="en") == TOO_SLOW
    answer = extractor.ask("language", GOOD, language="en")
    assert isinstance(answer, dict) and answer["found"] is True and answer["cpu"] > 0


def test_a_dead_process_is_replaced(extractor: Extractor) -> None:
    assert isinstance(extractor.ask("language", GOOD, language="en"), dict)
    assert extractor._process is not None
    extractor._process.kill()
    said = [extractor.ask("language", GOOD, language="en") for _ in range(2)]
    assert isinstance(said[1], dict) and said[1]["found"] is True
    assert isinstance(said[0], dict) or said[0] == CRASHED


def test_limits_that_cannot_work_are_named_before_any_page_is_blamed() -> None:
    with pytest.raises(ConfigError, match="1,000 bytes of memory"):
        Extractor(PageLimits(memory_bytes=1_000)).check()


@pytest.mark.parametrize("page", [b"", b"\0" * 100_000, b"\xff\xfe\x00", b"<" * 10_000, b"<div>" * 20_000 + b"deep"])
def test_broken_pages_have_an_answer(extractor: Extractor, page: bytes) -> None:
    answer = extractor.ask("extract", page)
    assert isinstance(answer, str) or answer["pictures"] == []
