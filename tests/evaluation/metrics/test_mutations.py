"""Planted errors: each must make a metric disagree with what was computed by hand, plainly, or by official code."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from kosmos.evaluation.metrics import (
    accuracy,
    bleu,
    captions,
    category_name,
    cider,
    exact_name,
    ngrams,
    ptb_tokenizer,
    roc_auc,
    rouge_l,
    vqa_accuracy,
    web_answer,
)
from kosmos.evaluation.metrics.answered import Answered, set_metric
from tests.evaluation.metrics import plain

# Tokenized by hand, so that a tokenizer's error shows.
TOKENS = [
    ("a man rides a brown horse", ["a man riding a horse", "someone on a brown horse in a field"]),
    ("a cat", ["a black cat sleeps on a bed", "a cat -lrb- black -rrb- on a bed", "cat on bed"]),
    ("two dogs play with a ball", ["two dogs ball game", "two dogs play with a red ball"]),
    ("he is n't on main st.", ["a plate that is n't clean", "on main st. food that he ca n't see"]),
]
CAPTIONS = [
    Answered("0", "A man rides a brown horse.", ("A man riding a horse.", "Someone on a brown horse, in a field.")),
    Answered("1", "a cat", ("A black cat sleeps on a bed.", "A cat (black) on a bed.", "cat on bed")),
    Answered("2", "Two dogs play with a ball", ("Two dogs' ball game.", "Two dogs play with a red ball!")),
    Answered("3", "He isn't on Main St.", ("A plate that isn't clean.", "On Main St. food that he can't see;")),
]
PREDICTIONS = [prediction for prediction, _ in TOKENS]
REFERENCES = [references for _, references in TOKENS]

# Question, prediction, answers of people, accuracy by the official rule.
PEOPLE = [
    ("the cat", ["cat"] * 3 + ["dog"] * 7, 0.9),
    ("cat", ["cat"] * 2 + ["dog"] * 8, 0.6),
    ("cat", ["cat"] * 1 + ["dog"] * 9, 0.3),
    ("Cat.", ["cat"] * 10, 0.0),
    ("two", ["2"] * 5 + ["3"] * 5, 1.0),
    ("dont know", ["don't know"] * 4 + ["x"] * 6, 1.0),
    ("dog's", ["dogs"] * 5 + ["x"] * 5, 0.0),
    ("5:30", ["5 30"] * 5 + ["x"] * 5, 0.0),
    ("1,000-2", ["10002"] * 5 + ["x"] * 5, 1.0),
    ("red/blue", ["red blue"] * 5 + ["x"] * 5, 1.0),
    ("5.", ["5"] * 5 + ["x"] * 5, 1.0),
    ("a." * 33, ["a" * 33] * 5 + ["x"] * 5, 0.0),
]
WEB = [
    ("The 20 MPG.", "20 mpg", 1.0, 1.0),
    ("20", "20 MPG", 0.0, 2 / 3),
    ("red red blue", "red red green", 0.0, 2 / 3),
    ("then", "n", 0.0, 0.0),
    ("", "yes", 0.0, 0.0),
]
CHOICES = [
    Answered("0", "", label=0, scores=(-1.0, -2.0, -3.0)),
    Answered("1", "", label=0, scores=(-1.0, -2.0, -3.0)),
    Answered("2", "", label=1, scores=(-2.0, -1.0, -1.0)),
    Answered("3", "", label=1, scores=(-1.0, -2.0, -3.0)),
    Answered("4", "", label=2, scores=(-3.0, -2.0, -1.0)),
]
# Log-probs near -200; of 2 x 2 pairs the positive is above in 2, tied in 1, below in 1.
YES_NO = [
    Answered("0", "", label=1, scores=(-200.0, -195.0)),
    Answered("1", "", label=1, scores=(-200.0, -199.0)),
    Answered("2", "", label=0, scores=(-202.0, -201.0)),
    Answered("3", "", label=0, scores=(-232.0, -230.0)),
]
NAMES = [("missile", "missile", 1.0), ("Missile", "missile", 0.0), (" tench\n", "tench", 1.0), ("tench.", "tench", 0.0)]
BIRDS = [
    ("a downy woodpecker", ("three toed woodpecker", "downy woodpecker"), 1, 1.0),
    ("Downy", ("three toed woodpecker", "downy woodpecker"), 1, 1.0),
    ("downy or three toed", ("three toed woodpecker", "downy woodpecker"), 1, 0.0),
    ("woodpecker", ("three toed woodpecker", "downy woodpecker"), 0, 0.0),
    ("the wren", ("the fox", "a wren"), 1, 1.0),
]


def agrees_tokens() -> bool:
    wanted = [text for prediction, references in TOKENS for text in (prediction, *references)]
    texts = [text for item in CAPTIONS for text in (item.prediction, *item.answers)]
    return ptb_tokenizer.ptb_tokenize(texts) == wanted


def agrees_cider() -> bool:
    expected = plain.cider(PREDICTIONS, REFERENCES, REFERENCES)
    return set_metric("cider").measure(CAPTIONS).values == pytest.approx(expected, abs=1e-9)


def agrees_subset() -> bool:
    metric = set_metric("cider").subset
    assert metric is not None
    part = metric([item.answers for item in CAPTIONS])
    expected = plain.cider(PREDICTIONS[:2], REFERENCES[:2], REFERENCES)
    return part.name != "cider" and part.measure(CAPTIONS[:2]).values == pytest.approx(expected, abs=1e-9)


def agrees_bleu() -> bool:
    found = [set_metric(f"bleu{order}").measure(CAPTIONS).value for order in (1, 2, 3, 4)]
    return found == pytest.approx(plain.bleu(PREDICTIONS, REFERENCES), abs=1e-9)


def agrees_rouge() -> bool:
    expected = [plain.rouge_l(caption, references) for caption, references in TOKENS]
    return set_metric("rouge_l").measure(CAPTIONS).values == pytest.approx(expected, abs=1e-12)


def agrees_vqa() -> bool:
    given = [Answered(str(index), said, tuple(people)) for index, (said, people, _) in enumerate(PEOPLE)]
    return set_metric("vqa_accuracy").measure(given).values == pytest.approx([value for *_, value in PEOPLE])


def agrees_web() -> bool:
    given = [Answered(str(index), said, (gold,)) for index, (said, gold, *_) in enumerate(WEB)]
    exact, f1 = set_metric("web_em").measure(given).values, set_metric("web_f1").measure(given).values
    return exact == pytest.approx([row[2] for row in WEB]) and f1 == pytest.approx([row[3] for row in WEB])


def agrees_accuracy() -> bool:
    return set_metric("accuracy").measure(CHOICES).values == (1.0, 1.0, 0.5, 0.0, 1.0)


def agrees_f1() -> bool:
    # Class 0: 2 of 2, and 1 wrongly; class 1: half of 2; class 2: 1 of 1, and half wrongly.
    return set_metric("f1_macro").measure(CHOICES).value == pytest.approx((4 / 5 + 1 / 2.5 + 2 / 2.5) / 3)


def agrees_auc() -> bool:
    return set_metric("roc_auc").measure(YES_NO).value == (1 + 1 + 0.5 + 0) / 4


def agrees_names() -> bool:
    given = [Answered(str(index), said, (name,)) for index, (said, name, _) in enumerate(NAMES)]
    return set_metric("exact_name").measure(given).values == tuple(value for *_, value in NAMES)


def agrees_birds() -> bool:
    given = [
        Answered(str(index), said, (names[label],), label=label, fields={"categories": names})
        for index, (said, names, label, _) in enumerate(BIRDS)
    ]
    return set_metric("category_name").measure(given).values == tuple(value for *_, value in BIRDS)


@dataclass(frozen=True)
class Mutation:
    """`module.name` becomes `error`, and `agrees` must no longer hold."""

    agrees: Callable[[], bool]
    module: Any
    name: str
    error: Any
    what: str


def without(rule: str) -> re.Pattern[str]:
    rules = [found for found in ptb_tokenizer._RULES if rule not in found]
    assert len(rules) < len(ptb_tokenizer._RULES)
    return re.compile("|".join(f"(?:{found})" for found in rules), re.IGNORECASE)


def no_leave_one_out(prediction: str, answers: Sequence[str], forms: Any = None) -> float:
    wanted = vqa_accuracy.normalize_answer(prediction)
    return min(1.0, sum(vqa_accuracy.normalize_answer(answer) == wanted for answer in answers) / 3)


def left_out_by_comparison(prediction: str, answers: Sequence[str], forms: Any = None) -> float:
    said = [vqa_accuracy.normalize_answer(answer) for answer in answers]
    wanted = vqa_accuracy.normalize_answer(prediction)
    each = [min(1.0, sum(other == wanted for other in said if other != mine) / 3) for mine in said]
    return sum(each) / len(each)


def squashed(labels: np.ndarray, scores: np.ndarray, weights: Any = None) -> float:
    # As of the log-probs themselves, near -200.
    return real_auc(labels, np.exp((scores - 200).astype(np.float32)))


real_auc = roc_auc.roc_auc
real_subsequence = rouge_l.longest_common_subsequence
real_counts = ngrams.count_ngrams
real_choice = accuracy.choice_accuracy
real_own_words = category_name.own_words

MUTATIONS = [
    Mutation(agrees_tokens, ptb_tokenizer, "PUNCTUATION", frozenset(), "punctuation kept"),
    Mutation(agrees_tokens, ptb_tokenizer, "PUNCTUATION", ptb_tokenizer.PUNCTUATION | {"-lrb-", "-rrb-"}, "no quirk"),
    Mutation(agrees_tokens, ptb_tokenizer, "_TOKEN", without("n't"), "n't not split"),
    Mutation(agrees_tokens, ptb_tokenizer, "_TOKEN", without("blvd"), "no abbreviations"),
    Mutation(agrees_tokens, ptb_tokenizer, "_BRACKETS", {}, "brackets as they are"),
    Mutation(agrees_cider, captions, "ptb_tokenize", list, "no tokenizer"),
    Mutation(agrees_cider, captions, "ptb_tokenize", lambda texts: [t.lower() for t in texts], "lower case only"),
    Mutation(agrees_cider, cider, "SIGMA", 3.0, "sigma"),
    Mutation(agrees_cider, cider, "SCALE", 1.0, "not times 10"),
    Mutation(agrees_cider, cider, "MAX_ORDER", 3, "three orders"),
    Mutation(agrees_cider, cider, "count_ngrams", lambda s, n: real_counts(s, n + 1)[1:], "orders off by one"),
    Mutation(agrees_cider, cider, "count_ngrams", lambda s, n: real_counts([x[1:] for x in s], n), "first word lost"),
    Mutation(agrees_subset, cider, "tokenize_references", lambda given: REFERENCES[:2], "frequencies of the subset"),
    Mutation(agrees_bleu, captions, "ptb_tokenize", list, "no tokenizer"),
    Mutation(agrees_bleu, bleu, "min", lambda lengths, key: min(lengths), "shortest, not nearest"),
    Mutation(agrees_bleu, bleu, "min", lambda lengths, key: max(lengths), "longest, not nearest"),
    Mutation(agrees_bleu, bleu, "count_ngrams", lambda s, n: real_counts([x[1:] for x in s], n), "first word lost"),
    Mutation(agrees_rouge, captions, "ptb_tokenize", list, "no tokenizer"),
    Mutation(agrees_rouge, rouge_l, "BETA", 1.0, "beta"),
    Mutation(
        agrees_rouge, rouge_l, "longest_common_subsequence", lambda a, b: (Counter(a) & Counter(b)).total(), "any order"
    ),
    Mutation(
        agrees_rouge, rouge_l, "longest_common_subsequence", lambda a, b: real_subsequence(a[1:], b), "off by one"
    ),
    Mutation(agrees_vqa, vqa_accuracy, "_ARTICLES", frozenset(), "articles kept"),
    Mutation(agrees_vqa, vqa_accuracy, "_NUMBERS", {}, "numbers in words"),
    Mutation(agrees_vqa, vqa_accuracy, "_CONTRACTIONS", {}, "no contractions"),
    Mutation(agrees_vqa, vqa_accuracy, "_PUNCTUATION", frozenset(), "punctuation kept"),
    Mutation(agrees_vqa, vqa_accuracy, "_PUNCTUATION", vqa_accuracy._PUNCTUATION | {"'"}, "apostrophe dropped"),
    Mutation(agrees_vqa, vqa_accuracy, "_PUNCTUATION", vqa_accuracy._PUNCTUATION | {":"}, "colon dropped"),
    Mutation(agrees_vqa, vqa_accuracy, "_COMMA_IN_NUMBER", re.compile(r"(?!)"), "numbers' comma rule dropped"),
    Mutation(agrees_vqa, vqa_accuracy, "_MAX_PERIODS", 0, "all periods go"),
    Mutation(agrees_vqa, vqa_accuracy, "_PERIOD", re.compile(r"(?<!\d)\.(?!\d)"), "the rule that was meant"),
    Mutation(agrees_vqa, vqa_accuracy, "ENOUGH", 2, "two are enough"),
    Mutation(agrees_vqa, vqa_accuracy, "vqa_accuracy", no_leave_one_out, "nobody left out"),
    Mutation(agrees_vqa, vqa_accuracy, "vqa_accuracy", left_out_by_comparison, "left out by comparing"),
    Mutation(agrees_vqa, vqa_accuracy, "len", lambda given: 2 if isinstance(given, set) else len(given), "unanimity"),
    Mutation(agrees_web, web_answer, "_PUNCTUATION", {}, "punctuation kept"),
    Mutation(agrees_web, web_answer, "_ARTICLE", re.compile(r"(?!)"), "articles kept"),
    Mutation(agrees_web, web_answer, "_ARTICLE", re.compile(r"a|an|the"), "articles within words"),
    Mutation(agrees_web, web_answer, "Counter", lambda words: Counter(set(words)), "sets of words"),
    Mutation(agrees_accuracy, accuracy, "choice_accuracy", lambda label, *rest: real_choice(label + 1, *rest), "label"),
    Mutation(agrees_accuracy, accuracy, "best_candidates", lambda s, ties=1: [s.index(max(s))], "the first of ties"),
    Mutation(agrees_accuracy, accuracy, "best_candidates", lambda s, ties=1: [s.index(min(s))], "the worst"),
    Mutation(agrees_f1, accuracy, "best_candidates", lambda s, ties=1: [s.index(max(s))], "the first of ties"),
    Mutation(agrees_f1, accuracy, "f1_macro", lambda table: float(np.trace(table) / table.sum()), "micro"),
    Mutation(agrees_auc, roc_auc, "roc_auc", lambda y, s, w=None: real_auc(1 - y, s), "swapped labels"),
    Mutation(agrees_auc, roc_auc, "roc_auc", lambda y, s, w=None: real_auc(y, np.sign(s)), "thresholded"),
    Mutation(agrees_auc, roc_auc, "roc_auc", squashed, "squashed by a sigmoid"),
    Mutation(agrees_names, exact_name, "exact_name", lambda p, n: p.strip().lower() in n, "case ignored"),
    Mutation(agrees_names, exact_name, "exact_name", lambda p, n: p in n, "white space counts"),
    Mutation(agrees_names, exact_name, "exact_name", lambda p, n: any(x in p.strip() for x in n), "contained"),
    Mutation(agrees_birds, category_name, "_ARTICLES", frozenset(), "articles kept"),
    Mutation(agrees_birds, category_name, "_words", lambda text: frozenset(text.split()), "case counts"),
    Mutation(
        agrees_birds,
        category_name,
        "own_words",
        lambda names: [category_name._words(name) for name in names],
        "words of both names",
    ),
    Mutation(
        agrees_birds,
        category_name,
        "category_name",
        lambda text, names, label: bool(real_own_words(names)[label] & category_name._words(text)),
        "both names accepted",
    ),
]


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda m: f"{m.module.__name__.split('.')[-1]}: {m.what}")
def test_a_planted_error_is_seen(mutation: Mutation, monkeypatch: pytest.MonkeyPatch) -> None:
    assert mutation.agrees()
    monkeypatch.setattr(mutation.module, mutation.name, mutation.error, raising=False)
    assert not mutation.agrees()
