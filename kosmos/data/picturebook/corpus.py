"""The text that the picture book's tokenizer is trained on."""

from __future__ import annotations

from collections.abc import Iterator

from kosmos.data.picturebook.canvas import COLORS, SHAPES
from kosmos.data.picturebook.concepts import PictureBook
from kosmos.data.picturebook.reader import stream
from kosmos.data.picturebook.templates import training_document
from kosmos.data.picturebook.vocabulary import MADE_UP_WORDS, NUMBERS, nouns
from kosmos.data.picturebook.wordnet import load_wordnet
from kosmos.data.picturebook.worlds import WORLDS, sentiment, webpages
from kosmos.data.picturebook.worlds.ocr import TRAIN_WORDS

# How often words of answers and questions are said on lines of their own, so that they become single pieces.
REPEATS = 150
SENTENCES_PER_WORLD = 100
GLOSS_LINES = 4000
_PROMPTS = """
Question Answer An image of This is a Here are images The following image Is it correct how many there what color which
odd one out and why where on beside its background animal does say result number sentiment opinion not but
"""


def answer_words(book: PictureBook) -> list[str]:
    """Every word that an answer or a question of the drawn worlds is made of, each once, in a fixed order."""
    phrases = [*book.labels, *COLORS, *SHAPES, *NUMBERS, *MADE_UP_WORDS, *sentiment.ADJECTIVES]
    phrases += [word for noun in nouns(book) for word in (noun.word, noun.plural, noun.category)]
    phrases += [word for values in webpages.VALUES.values() for word in values]
    phrases += [str(number) for number in range(19)]
    phrases += ["yes no Yes No left right above below of a an and the because others are , ."]
    phrases.append(_PROMPTS)
    return list(dict.fromkeys(word for phrase in phrases for word in phrase.split()))


def tokenizer_corpus(book: PictureBook) -> Iterator[str]:
    """Lines: answer words over and over, training prompts of every world, rendered words, plain text from WordNet."""
    for word in answer_words(book):
        for _ in range(REPEATS):
            yield word
        # SentencePiece takes a string for a candidate only when several different words contain it.
        yield from (f"{word},", f"{word}.")
    for world in WORLDS.values():
        for number in range(SENTENCES_PER_WORLD):
            example = world.sample(book, stream(world.name, "train", 0, 0, number), "train", 48)
            yield from training_document(example).text.splitlines()
    for word in TRAIN_WORDS:
        yield word
    lines = [line for lines in load_wordnet().lines for line in lines]
    yield from lines[:: max(1, len(lines) // GLOSS_LINES)]
