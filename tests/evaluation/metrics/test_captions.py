from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kosmos.errors import DataError, UsageError
from kosmos.evaluation.metrics.answered import Answered, set_metric
from kosmos.evaluation.metrics.bleu import bleu, bleu_statistics
from kosmos.evaluation.metrics.cider import cider_values
from kosmos.evaluation.metrics.ngrams import count_ngrams
from kosmos.evaluation.metrics.rouge_l import longest_common_subsequence, rouge_l
from tests.evaluation.metrics import plain

NAMES = {"cider": "CIDEr", "rouge_l": "ROUGE_L"} | {f"bleu{order}": f"Bleu_{order}" for order in (1, 2, 3, 4)}

caption = st.lists(st.sampled_from("abcde"), min_size=1, max_size=9).map(" ".join)
pictures = st.lists(st.tuples(caption, st.lists(caption, min_size=1, max_size=4)), min_size=1, max_size=6)


def example(index: int, prediction: str, *references: str) -> Answered:
    return Answered(f"picture-{index}", prediction, references)


SET = [
    example(0, "A man rides a brown horse.", "A man riding a horse.", "Someone on a brown horse, in a field."),
    example(1, "a cat", "A black cat sleeps on a bed.", "A cat (black) on a bed.", "cat on bed"),
    example(2, "Two dogs play with a ball", "Two dogs' ball game.", "A dog and a dog play with the ball."),
    example(3, "", "A plate of food.", "Food on a plate that isn't clean."),
]


@settings(max_examples=40, deadline=None)
@given(pictures)
def test_cider_is_the_plain_cider(found: list[tuple[str, list[str]]]) -> None:
    captions, references = [a for a, _ in found], [b for _, b in found]
    assert cider_values(captions, references) == pytest.approx(plain.cider(captions, references, references), abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(pictures, pictures)
def test_cider_of_a_subset_takes_the_frequencies_of_all(
    found: list[tuple[str, list[str]]], more: list[tuple[str, list[str]]]
) -> None:
    captions, references = [a for a, _ in found], [b for _, b in found]
    corpus = references + [b for _, b in more]
    expected = plain.cider(captions, references, corpus)
    assert cider_values(captions, references, corpus) == pytest.approx(expected, abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(pictures)
def test_bleu_is_the_plain_bleu(found: list[tuple[str, list[str]]]) -> None:
    captions, references = [a for a, _ in found], [b for _, b in found]
    assert bleu(bleu_statistics(captions, references)) == pytest.approx(plain.bleu(captions, references), abs=1e-6)


@given(caption, st.lists(caption, min_size=1, max_size=4))
def test_rouge_is_the_plain_rouge(candidate: str, references: list[str]) -> None:
    assert rouge_l(candidate, references) == pytest.approx(plain.rouge_l(candidate, references), abs=1e-12)


def test_values_written_out_by_hand() -> None:
    # One picture in the corpus: every n-gram is in every document, so nothing says anything.
    assert set_metric("cider").measure(SET[:1]).value == 0.0
    # 5 of 6 words right; nearest reference has 5 words, so no penalty.
    assert set_metric("bleu1").measure(SET[:1]).value == pytest.approx(5 / 6, abs=1e-9)
    # "a man a horse" of 6 and of 5 words; recall and precision both from the first reference.
    assert set_metric("rouge_l").measure(SET[:1]).value == pytest.approx(2.44 * (4 / 6) * 0.8 / (0.8 + 1.44 * 4 / 6))
    assert longest_common_subsequence(["a", "b", "c", "d"], ["x", "b", "d", "a"]) == 2


def test_an_empty_caption_scores_nothing() -> None:
    measured = set_metric("cider").measure(SET)
    assert measured.values is not None and measured.values[3] == 0.0
    assert set_metric("rouge_l").measure(SET[3:]).value == 0.0
    assert set_metric("bleu4").measure(SET[3:]).value == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_pictures_changes_no_bit(name: str) -> None:
    shuffled = SET[:]
    random.Random(0).shuffle(shuffled)
    whole, other = set_metric(name).measure(SET), set_metric(name).measure(shuffled)
    assert other.value == whole.value
    if whole.values is not None and other.values is not None:
        by_id = dict(zip((item.id for item in shuffled), other.values))
        assert [by_id[item.id] for item in SET] == list(whole.values)


def test_cider_of_a_part_is_never_called_cider() -> None:
    whole = set_metric("cider").measure(SET)
    subset = set_metric("cider").subset
    assert subset is not None and whole.values is not None
    part = subset([item.answers for item in SET])
    assert part.name == "cider_subset"
    measured = part.measure(SET[:2])
    assert measured.values == pytest.approx(whole.values[:2], abs=1e-12)
    assert measured.details == {"documents": 4.0}


def test_what_cannot_be_scored_is_told() -> None:
    with pytest.raises(DataError, match="picture-7 has no reference caption"):
        set_metric("cider").measure([example(7, "a cat")])
    with pytest.raises(UsageError, match="at least one caption"):
        set_metric("bleu1").measure([])
    with pytest.raises(UsageError, match="2 captions for 1 pictures"):
        cider_values(["a", "b"], [["a"]])


def test_counts_of_n_grams() -> None:
    one, two = count_ngrams([["b", "a", "b"], [], ["a"]], 2)
    assert (one.sentence.tolist(), one.gram.tolist(), one.count.tolist(), one.num_grams) == (
        [0, 0, 2],
        [0, 1, 0],
        [1, 2, 1],
        2,
    )
    assert (two.sentence.tolist(), two.gram.tolist(), two.count.tolist()) == ([0, 0], [0, 1], [1, 1])


@pytest.mark.parametrize("name", NAMES)
def test_official_values_on_coco(name: str, coco: list[Answered], published: Callable[[str], Any]) -> None:
    expected = published("oracles/captions_pycocoevalcap.json")["coco_magic"]
    start = time.process_time()
    measured = set_metric(name).measure(coco)
    spent = time.process_time() - start
    assert len(coco) == 4_982
    assert measured.value == pytest.approx(expected[NAMES[name]], abs=1e-6 if name == "cider" else 1e-9)
    if name == "cider":
        assert measured.values is not None
        assert measured.values[:50] == pytest.approx(expected["cider_per_image_first50"], abs=1e-6)
        assert spent < 1.5  # tokens included; measured: 0.6 s


@pytest.mark.parametrize("which", ["good", "bad"])
@pytest.mark.parametrize("name", NAMES)
def test_official_values_on_small_sets(which: str, name: str, published: Callable[[str], Any]) -> None:
    references = published("coco_caption/clipscore_example/refs.json")
    captions = published(f"coco_caption/clipscore_example/{which}_captions.json")
    given = [Answered(key, captions[key], tuple(references[key])) for key in references]
    expected = published("oracles/captions_pycocoevalcap.json")[f"clipscore_{which}"][NAMES[name]]
    assert set_metric(name).measure(given).value == pytest.approx(expected, abs=1e-9)


def test_raw_strings_would_score_much_less(coco: list[Answered]) -> None:
    # The trap that other harnesses fall into: no tokenizer gives 34.18 in place of 49.29.
    raw = cider_values([item.prediction for item in coco], [item.answers for item in coco])
    assert 100 * float(np.mean(raw)) == pytest.approx(34.18, abs=0.01)
