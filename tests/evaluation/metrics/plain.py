"""The caption metrics written out plainly, word by word, to compare the vectorised ones with."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence


def grams(text: str, order: int) -> Counter[tuple[str, ...]]:
    words = text.split()
    return Counter(tuple(words[at : at + order]) for at in range(len(words) - order + 1))


def cider(captions: Sequence[str], references: Sequence[Sequence[str]], corpus: Sequence[Sequence[str]]) -> list[float]:
    values = []
    for caption, choices in zip(captions, references):
        total = 0.0
        for order in (1, 2, 3, 4):
            mine = weights(caption, order, corpus)
            for choice in choices:
                other = weights(choice, order, corpus)
                dot = sum(min(mine.get(gram, 0.0), weight) * weight for gram, weight in other.items())
                norm = math.hypot(*mine.values()) * math.hypot(*other.values())
                difference = max(0, len(caption.split()) - 1) - max(0, len(choice.split()) - 1)
                total += (dot / norm if norm else 0.0) * math.exp(-(difference**2) / (2 * 6**2))
        values.append(10 * total / 4 / len(choices))
    return values


def weights(text: str, order: int, corpus: Sequence[Sequence[str]]) -> dict[tuple[str, ...], float]:
    found = {}
    for gram, count in grams(text, order).items():
        documents = sum(any(gram in grams(caption, order) for caption in captions) for captions in corpus)
        found[gram] = count * (math.log(len(corpus)) - math.log(max(1, documents)))
    return found


def bleu(captions: Sequence[str], references: Sequence[Sequence[str]]) -> list[float]:
    length = reference_length = 0
    right, asked = [0] * 4, [0] * 4
    for caption, choices in zip(captions, references):
        length += len(caption.split())
        lengths = sorted(len(choice.split()) for choice in choices)
        reference_length += min(lengths, key=lambda found: abs(found - len(caption.split())))
        for order in (1, 2, 3, 4):
            most: Counter[tuple[str, ...]] = Counter()
            for choice in choices:
                most |= grams(choice, order)
            right[order - 1] += (grams(caption, order) & most).total()
            asked[order - 1] += grams(caption, order).total()
    penalty = math.exp(min(0.0, 1 - reference_length / length))
    precisions = [(good + 1e-15) / (all_ + 1e-9) for good, all_ in zip(right, asked)]
    return [math.prod(precisions[:order]) ** (1 / order) * penalty for order in (1, 2, 3, 4)]


def rouge_l(caption: str, references: Sequence[str]) -> float:
    precisions, recalls = [], []
    for reference in references:
        a, b = caption.split(), reference.split()
        table = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
        for i, x in enumerate(a):
            for j, y in enumerate(b):
                table[i + 1][j + 1] = table[i][j] + 1 if x == y else max(table[i][j + 1], table[i + 1][j])
        precisions.append(table[-1][-1] / len(a))
        recalls.append(table[-1][-1] / len(b))
    precision, recall = max(precisions), max(recalls)
    return 2.44 * precision * recall / (recall + 1.44 * precision) if precision and recall else 0.0
