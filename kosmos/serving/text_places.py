"""Where the tokens of an echoed prompt stand in its text."""

from __future__ import annotations

from collections.abc import Sequence

_LONGEST_GAP = 16  # characters that one token which is not found may stand for


def text_places(prompt: str, tokens: Sequence[str | None], placeholder: str) -> list[int]:
    """The character of `prompt` behind the token before, for each token; None is one that is not in the text.

    Runs of white space, and the placeholders of pictures, belong to the word behind them. A token that the text does
    not have as such (the tokenizer knows other forms of the same letters, and unknown ones) ends where the next
    one that it has begins.
    """
    places, place, lost = [], 0, 0
    for token in tokens:
        places.append(place)
        if token is None:
            continue
        word = token if token == "\n" else token.strip()
        found = prompt.find(word, place) if word else -1
        gap = prompt[place:found].replace(placeholder, "").strip(" ") if found >= 0 else ""
        if found >= 0 and len(gap) <= lost * _LONGEST_GAP:
            place, lost = found + len(word), 0
        elif word:
            lost += 1
    return places
