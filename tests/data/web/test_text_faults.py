"""Which text is spam or gibberish."""

from __future__ import annotations

import pytest

from kosmos.data.web.settings import TextRules
from kosmos.data.web.text_faults import text_fault

PROSE = (
    "The lighthouse at the end of the pier was built in the year of the great storm, and it has stood ever since. "
    "Its keeper climbed the winding stairs every evening to light the lamp, which could be seen for twenty miles."
)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (PROSE, None),
        ("Only the few words of a caption.", "too little text"),
        (PROSE.replace("e", "\ufffd"), "wrong encoding"),
        (PROSE + " \U0001f600\U0001f680\u2728" * 3, "emoji"),
        (PROSE + " #summer #sea #light", "hashtags"),
        (PROSE + " issue #1 and #2 and #3", None),
        (PROSE + " https://a.example/x www.b.example/y http://c.example", "links in the text"),
        (" ".join(["17", "3.5", "%", "the", "to"] * 8), "few words with letters"),
        (" ".join(["a", "b", "the", "to", "i"] * 8), "word length"),
        ("Donaudampfschifffahrtsgesellschaft the to " * 20, "word length"),
        ("lamp tower stairs keeper pier storm view gallery light miles " * 3, "no function words"),
        ("the tree to xkcdqw bgtrfv mnbvcx " * 10, "unpronounceable words"),
        (PROSE + "\nBuy it now" * 12, "repeated lines"),
        ("Click on the button and have a look at the offer of the day. " * 8, "repeated words"),
    ],
)
def test_rules(text: str, fault: str | None) -> None:
    assert text_fault(text, TextRules()) == fault


def test_thresholds_can_be_set() -> None:
    assert text_fault(PROSE, TextRules(min_words=1_000)) == "too little text"
