"""VQA accuracy: how many of the people asked gave the model's answer; three of ten are enough.

The official rule of VQAv2, used for VizWiz too. For each person, min(1, matches among the others / 3); the mean over
the persons. "The others" are counted by place in the list: VizWiz's answers carry no number, and code that leaves out
a person by comparing answers leaves out everybody who said the same.

Answers are normalised only when the people do not all say the same; then the prediction is taken as it is, too.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from kosmos.errors import DataError, UsageError
from kosmos.evaluation.metrics.answered import Answered, Measured, SetMetric

ENOUGH = 3

_PUNCTUATION = frozenset(';/[]"{}()=+\\_-><@`,?!')
_COMMA_IN_NUMBER = re.compile(r"\d,\d")
_PERIOD = re.compile(r"\.(?!\d)")
# The official code hands a flag where the count belongs: only so many periods go.
_MAX_PERIODS = 32

_ARTICLES = frozenset(("a", "an", "the"))
_NUMBERS = {"none": "0"} | {
    word: str(number)
    for number, word in enumerate("zero one two three four five six seven eight nine ten".split())  # noqa: SIM905
}
# Forms that get their apostrophe back: each is known by its spellings that lack exactly one.
_CONTRACTED = """
    ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd he'd've
    he's how'd how'll how's isn't it'd it'd've it'll ma'am mightn't mightn't've might've mustn't must've needn't not've
    o'clock oughtn't 'ow's'at shan't she'd've should've shouldn't shouldn't've somebody'd've somebody'll somebody's
    someone'd someone'd've someone'll someone's something'd something'd've something'll that's there'd there'd've
    there're there's they'd they'd've they'll they're they've 'twas wasn't we'd've we've weren't what'll what're what's
    what've when's where'd where's where've who'd who'd've who'll who's who've why'll why're why's won't would've
    wouldn't wouldn't've y'all y'all'll y'all'd've you'd you'd've you'll you're you've
"""


def _contractions() -> dict[str, str]:
    table = {"somebody'd": "somebodyd"}  # the official table has this one the wrong way round
    for form in _CONTRACTED.split():
        for at, character in enumerate(form):
            if character == "'":
                table[form[:at] + form[at + 1 :]] = form
    return table


_CONTRACTIONS = _contractions()


def normalize_answer(answer: str) -> str:
    """The official normalisation of an answer that is not everybody's: punctuation, then words."""
    return normalize_words(normalize_punctuation(answer))


def normalize_punctuation(text: str) -> str:
    """Drop a mark that stands beside a space anywhere, or all of them when a number has a comma; else make it a space.

    Apostrophe and colon stay. A period goes unless a digit follows.
    """
    marks = _PUNCTUATION.intersection(text)
    if marks:
        drop_all = _COMMA_IN_NUMBER.search(text) is not None
        # Beside a space in the text as it came, not as changed so far.
        table = {ord(mark): "" if drop_all or f"{mark} " in text or f" {mark}" in text else " " for mark in marks}
        text = text.translate(table)
    return _PERIOD.sub("", text, count=_MAX_PERIODS)


def normalize_words(text: str) -> str:
    """Lower case, numbers up to ten as digits, no articles, apostrophes back in contractions, single spaces."""
    numbered = (_NUMBERS.get(word, word) for word in text.lower().split())
    return " ".join(_CONTRACTIONS.get(word, word) for word in numbered if word not in _ARTICLES)


def vqa_accuracy(prediction: str, answers: Sequence[str], forms: Forms | None = None) -> float:
    """Accuracy in [0, 1] of one prediction against all answers people gave. `forms`: what was normalised before."""
    if not answers:
        raise DataError("VQA accuracy needs the answers that people gave; this question has none (a test split?)")
    forms = Forms() if forms is None else forms
    # 0: as it came, 1: normalised.
    which = 1 if len({forms[answer][0] for answer in answers}) > 1 else 0
    wanted = forms[prediction][which]
    matches = [forms[answer][which] for answer in answers].count(wanted)
    among_others = matches * min(1.0, (matches - 1) / ENOUGH) + (len(answers) - matches) * min(1.0, matches / ENOUGH)
    return among_others / len(answers)


class Forms(dict[str, tuple[str, str]]):
    """Texts -> without white space around them, and normalised. Millions of answers are few different ones."""

    def __missing__(self, text: str) -> tuple[str, str]:
        clean = text.replace("\n", " ").replace("\t", " ").strip()
        found = self[text] = clean, normalize_answer(clean)
        return found


def _measure(answered: Sequence[Answered]) -> Measured:
    if not answered:
        raise UsageError("VQA accuracy needs at least one answer")
    forms = Forms()
    values: list[float] = []
    by_type: dict[str, list[float]] = {}
    for item in answered:
        if not item.answers:
            raise DataError(f"question {item.id} has no answers of people: this split cannot be scored here")
        values.append(vqa_accuracy(item.prediction, item.answers, forms))
        kind = item.fields.get("answer_type")
        if kind:
            by_type.setdefault(str(kind), []).append(values[-1])
    details = {f"answer_type {kind}": math.fsum(found) / len(found) for kind, found in sorted(by_type.items())}
    return Measured(math.fsum(values) / len(values), tuple(values), details)


VQA_ACCURACY = SetMetric("vqa_accuracy", _measure)
