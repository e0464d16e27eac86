"""Worlds that need no packages: rendered text, digits, Raven's matrices."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from kosmos.data.picturebook.lettering import TEST_FONTS, TRAIN_FONTS, fitted_mask, text_mask
from kosmos.data.picturebook.reader import stream
from kosmos.data.picturebook.worlds import WORLDS, digits, equations, ocr, raven, sentiment, webpages
from kosmos.errors import DataError
from kosmos.example import Example

FREE = ("webpages", "equations", "digits", "ocr", "sentiment", "raven")


def items(world: str, split: str, count: int) -> list[Example]:
    return [WORLDS[world].sample(None, stream(world, split, 5, 0, number), split, 48) for number in range(count)]


@pytest.mark.parametrize("world", FREE)
def test_they_need_no_book_and_keep_the_size(world: str) -> None:
    assert not WORLDS[world].needs_book
    for split, size in itertools.product(("train", "test"), (48, 64)):
        example = WORLDS[world].sample(None, stream(world, split, 5, 0, 0), split, size)
        assert all(np.asarray(image.source).shape == (size, size, 3) for image in example.images)


@pytest.mark.parametrize("world", ["webpages", "equations", "ocr", "sentiment"])
def test_fonts_of_the_test_are_unseen(world: str) -> None:
    assert not set(TEST_FONTS) & set(TRAIN_FONTS)
    assert {item.meta["font"] for item in items(world, "train", 60)} <= set(TRAIN_FONTS)
    assert {item.meta["font"] for item in items(world, "test", 60)} == set(TEST_FONTS)


@pytest.mark.parametrize("world", ["webpages", "equations", "ocr", "sentiment"])
def test_test_text_is_black_on_white_and_whole(world: str) -> None:
    for example in items(world, "test", 30):
        canvas = np.asarray(example.images[0].source)
        assert canvas.max() == 255 and canvas[8:].min() < 60
        assert (canvas[-1] == 255).all()


def test_masks_fit_or_say_so() -> None:
    mask = fitted_mask("word", "aileron", 44, 24)
    assert mask.shape[0] <= 24 and mask.shape[1] <= 44 and mask.max() > 200
    larger = text_mask("word", "aileron", 20)
    assert larger.shape[1] > 44 or larger.shape == mask.shape
    with pytest.raises(DataError, match="does not fit"):
        fitted_mask("a very long line of text", "aileron", 20, 20)


def test_words_are_split() -> None:
    assert len(ocr.WORDS) == len(set(ocr.WORDS)) == 547 and len(ocr.TEST_WORDS) == 91
    assert all(2 <= len(word) <= 6 for word in ocr.WORDS)
    assert not set(ocr.TRAIN_WORDS) & set(ocr.TEST_WORDS)
    assert all(item.fields["answer"] in ocr.TRAIN_WORDS for item in items("ocr", "train", 200))
    assert all(item.fields["answer"] in ocr.TRAIN_WORDS for item in items("ocr", "test", 200))
    unseen = ocr.sample_unseen(None, np.random.default_rng(0), "test")
    assert unseen.fields["answer"] in ocr.TEST_WORDS and unseen.meta["unseen_word"]


def drawn_words(world: str) -> set[str]:
    """All words that a world's pictures may show."""
    if world == "ocr":
        return set(ocr.TRAIN_WORDS)
    if world == "webpages":
        return {*webpages.KEYS, *(value for values in webpages.VALUES.values() for value in values)}
    adjectives = [word for words in sentiment.ADJECTIVES.values() for word in words]
    return {"the", *sentiment.THINGS, *(word for verb in sentiment.VERBS for word in verb.split()), *adjectives}


@pytest.mark.parametrize("world", ["ocr", "webpages", "sentiment"])
def test_no_world_draws_a_word_of_the_ocr_test(world: str) -> None:
    assert not drawn_words(world) & set(ocr.TEST_WORDS)
    for example in items(world, "train", 200):
        page = [word for field in example.meta.get("page", ()) for word in field]
        shown = [*page, *example.meta.get("text", "").split(), *([example.fields["answer"]] if world == "ocr" else [])]
        assert shown and set(shown) <= drawn_words(world)


def test_made_up_words_are_never_those_of_the_ocr_test() -> None:
    assert not {example.fields["answer"] for example in items("strings", "train", 2000)} & set(ocr.TEST_WORDS)


@pytest.mark.parametrize("world", ["webpages", "equations", "ocr", "sentiment"])
def test_plain_is_the_content_of_training_in_the_rendering_of_the_test(world: str) -> None:
    for example in items(world, "plain", 60):
        assert example.meta["font"] in TRAIN_FONTS
        assert not example.meta.get("unseen_word") and not example.meta.get("unseen_pair")
        assert (np.asarray(example.images[0].source)[-1] == 255).all()
    digit = [digits.draw(3, np.random.default_rng(seed), "plain").images[0] for seed in (0, 1)]
    assert digit[0] == digit[1]


def test_held_out_operands_are_symmetric_one_in_five_and_leave_every_result() -> None:
    pairs = list(itertools.product(range(10), repeat=2))
    held_out = {pair for pair in pairs if equations.held_out_operands(*pair)}
    assert len(held_out) == 20 and {(right, left) for left, right in held_out} == held_out
    kept = set(pairs) - held_out
    assert {left + right for left, right in kept} == set(range(19))
    assert {left - right for left, right in kept if left >= right} == set(range(10))


def test_equations_are_right_and_hold_pairs_out() -> None:
    for split in ("train", "test"):
        for example in items("equations", split, 200):
            text = example.meta["text"]
            left, sign, right = int(text[0]), text[1], int(text[2])
            assert int(example.fields["answer"]) == (left + right if sign == "+" else left - right) >= 0
            assert equations.held_out_operands(left, right) == example.meta["unseen_pair"]
            assert split == "test" or not example.meta["unseen_pair"]


def test_the_last_500_digits_are_the_test() -> None:
    assert digits.NUM_TRAIN + digits.NUM_TEST == 1797
    assert all(item.meta["digit"] < 1297 for item in items("digits", "train", 100))
    tests = items("digits", "test", 100)
    assert all(1297 <= item.meta["digit"] < 1797 for item in tests)
    # The first digits of the data set are known: 0 to 9 in order.
    rng = np.random.default_rng(0)
    assert [digits.draw(i, rng, "test").fields["answer"] for i in range(10)] == list("0123456789")


def test_an_enlarged_digit_is_the_digit() -> None:
    from sklearn.datasets import load_digits

    ink = load_digits().images[1500]
    canvas = 255 - np.asarray(digits.draw(1500, np.random.default_rng(0), "test").images[0].source)[..., 0].astype(int)
    # 48 pixels show 9 cells: the 8 x 8 digit with half a cell around it.
    sampled = canvas[np.ix_(*(((np.arange(8) + 1) * 48 / 9).astype(int),) * 2)]
    assert np.corrcoef(sampled.ravel(), ink.ravel())[0, 1] > 0.95


def test_a_page_shows_what_is_asked() -> None:
    for example in items("webpages", "test", 60):
        page = dict(example.meta["page"])
        key = example.fields["question"][len("what is the ") : -1]
        assert page[key] == example.fields["answer"] and example.fields["answer"] in webpages.VALUES[key]


def test_sentiments_follow_from_the_adjective() -> None:
    answers = []
    for example in items("sentiment", "train", 200):
        answers.append(example.fields["answer"])
        assert example.meta["text"].split()[-1] in sentiment.ADJECTIVES[answers[-1]]
    assert 0.4 < np.mean([answer == "positive" for answer in answers]) < 0.6


def solve(given: int, panels: list[raven.Panel], candidates: list[raven.Panel]) -> list[int]:
    """The candidates that continue every attribute by one of the rules, found without knowing how they were made."""

    def continued(values: list[str | int]) -> set[str | int]:
        if len(set(values)) == 1:
            return {values[0]}
        if given == 4:
            return {
                values[4 - period]
                for period in (2, 3)
                if all(values[i] == values[i - period] for i in range(period, 4))
            }
        side = 2 if given == 3 else 3
        by_row = all(values[i] == values[i - i % side] for i in range(given))
        by_column = all(values[i] == values[i % side] for i in range(given))
        return ({values[side * (side - 1)]} if by_row else set()) | ({values[side - 1]} if by_column else set())

    allowed = {name: continued([panel[name] for panel in panels]) for name in raven.NAMES}
    return [i for i, candidate in enumerate(candidates) if all(candidate[n] in allowed[n] for n in raven.NAMES)]


@pytest.mark.parametrize("given", raven.GIVEN)
def test_raven_has_one_solution(given: int) -> None:
    for number in range(150):
        example = raven.draw(stream("raven", "test", 5, given, number), "test", given)
        assert len(example.images) == given + 6
        assert solve(given, example.meta["panels"], example.meta["candidates"]) == [example.fields["gold"]]


@pytest.mark.parametrize("given", raven.GIVEN)
def test_raven_candidates_are_a_factorial(given: int) -> None:
    for number in range(100):
        example = raven.draw(stream("raven", "test", 6, given, number), "test", given)
        candidates = example.meta["candidates"]
        first, second = example.meta["attributes"]
        values = [{candidate[name] for candidate in candidates} for name in (first, second)]
        assert sorted(map(len, values)) == [2, 3]
        assert {(c[first], c[second]) for c in candidates} == set(itertools.product(*values))
        assert len({image.sha256 for image in example.images[given:]}) == 6
        assert all(image not in example.images[:given] for image in [example.images[given + example.fields["gold"]]])


def test_raven_candidates_alone_say_nothing() -> None:
    """The candidate nearest to all others is right one time in six, and so is every position."""
    hits, golds = 0.0, []
    for number in range(1200):
        example = raven.draw(stream("raven", "test", 7, 0, number), "test", 8)
        rows = np.stack([np.asarray(image.source) for image in example.images[8:]]).reshape(6, -1).astype(np.float32)
        products = rows @ rows.T
        squares = np.diag(products)
        sums = np.sqrt(np.maximum(squares[:, None] + squares - 2 * products, 0)).sum(axis=1)
        best = np.flatnonzero(sums <= sums.min() + 1e-3)
        hits += (example.fields["gold"] in best) / len(best)
        golds.append(example.fields["gold"])
    assert abs(hits / 1200 - 1 / 6) < 0.033
    assert np.abs(np.bincount(golds, minlength=6) / 1200 - 1 / 6).max() < 0.033


def test_raven_training_is_balanced() -> None:
    shown = [(e.fields["shown"], e.fields["gold"]) for e in items("raven", "train", 2000)]
    assert abs(np.mean([a == b for a, b in shown]) - 0.5) < 0.05
