from __future__ import annotations

import pytest

from kosmos.serving.text_places import text_places


@pytest.mark.parametrize(
    ("prompt", "tokens", "places"),
    [
        ("A dog is", [None, " A", " dog", " is"], [0, 0, 1, 5]),
        ("the  big   dog", [None, " the", " big", " dog"], [0, 0, 3, 8]),
        ("a\ncat", [None, " a", "\n", " cat"], [0, 0, 1, 2]),
        ("<image> of <image> cats", [None, None, None, " of", None, " cats"], [0, 0, 0, 0, 10, 10]),
        ("\ufb01ne day", [None, " fi", "ne", " day"], [0, 0, 0, 3]),  # a ligature, which the tokenizer takes apart
        ("x \u732b dog", [None, " x", " ", "<unk>", " dog"], [0, 0, 1, 1, 1]),
        ("", [None], [0]),
        ("aa", [" b", "a", "a"], [0, 0, 1]),
    ],
)
def test_places(prompt: str, tokens: list[str | None], places: list[int]) -> None:
    assert text_places(prompt, tokens, "<image>") == places


def test_placeholders_without_pictures_are_text() -> None:
    assert text_places("<image> a", [None, " <", "image", ">", " a"], "") == [0, 0, 1, 6, 7]
