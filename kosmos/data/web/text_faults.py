"""Spam, gibberish and other text that is no prose: which rule a page's text breaks."""

from __future__ import annotations

import re

import numpy as np

from kosmos.data.web.settings import TextRules
from kosmos.data.web.words import run_hashes, word_hashes

_WORD = re.compile(r"\S+")
_LETTERS = re.compile(r"[^\W\d_]+")
_LINK = re.compile(r"(?:https?://|www\.)\S+", re.IGNORECASE)
_HASHTAG = re.compile(r"(?<!\S)#[^\W\d_]\w*")
# Pictographs, dingbats, flags, and the marks that join and vary them count once through their first character.
_EMOJI = re.compile("[\U0001f000-\U0001faff\u2600-\u27bf\u2b50\u2b55\u231a\u231b\u23e9-\u23f3\u3030\u303d]")
_DAMAGED = re.compile("[\ufffd\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_COMMONEST = "the be to of and that have with a in is are for on this it you as by from"
_FUNCTION_WORDS = frozenset(_COMMONEST.split())
_UNPRONOUNCEABLE = re.compile(r"[^aeiouy]+|.*[bcdfghjklmnpqrstvwxz]{7}.*")
_RUN = 10  # words


def text_fault(text: str, rules: TextRules) -> str | None:
    """The first rule that the text breaks, by name, or None."""
    words = _WORD.findall(text)
    if len(words) < rules.min_words:
        return "too little text"
    if len(_DAMAGED.findall(text)) > rules.max_damaged * len(text):
        return "wrong encoding"
    for name, pattern, most in (
        ("emoji", _EMOJI, rules.max_emoji),
        ("hashtags", _HASHTAG, rules.max_hashtags),
        ("links in the text", _LINK, rules.max_links),
    ):
        if len(pattern.findall(text)) > most * len(words):
            return name
    return _prose_fault(text, words, rules) or _repetition_fault(text, words, rules)


def _prose_fault(text: str, words: list[str], rules: TextRules) -> str | None:
    letter_runs = [run.lower() for run in _LETTERS.findall(text)]
    if sum(any(map(str.isalpha, word)) for word in words) < rules.min_wordlike * len(words):
        return "few words with letters"
    if not rules.min_word_length <= sum(map(len, letter_runs)) / len(letter_runs) <= rules.max_word_length:
        return "word length"
    if len(_FUNCTION_WORDS.intersection(letter_runs)) < rules.min_function_words:
        return "no function words"
    long_runs = [run for run in letter_runs if len(run) >= 4 and run.isascii()]
    odd = sum(_UNPRONOUNCEABLE.fullmatch(run) is not None for run in long_runs)
    if odd > rules.max_unpronounceable * len(long_runs):
        return "unpronounceable words"
    return None


def _repetition_fault(text: str, words: list[str], rules: TextRules) -> str | None:
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    if 1 - len(set(lines)) / len(lines) > rules.max_repeated_lines:
        return "repeated lines"
    runs = run_hashes(word_hashes(words), _RUN)
    if len(runs) and 1 - len(np.unique(runs)) / len(runs) > rules.max_repeated_runs:
        return "repeated words"
    return None
