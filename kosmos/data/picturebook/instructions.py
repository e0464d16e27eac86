"""Generated instructions: (instruction, input, output) over the picture book's words, for instruction tuning.

Ten families, each said in eight ways; two of them are never said in training. One word in five is kept for the test,
and the families about words (`repeat` to `count`) ask there for nothing else; `color` sets kept words beside a colour.
So a test item asks for what training never showed; half of the items also ask in a way that training never used.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from kosmos.config import CorpusConfig
from kosmos.data.picturebook.canvas import COLORS
from kosmos.data.picturebook.concepts import PictureBook
from kosmos.data.picturebook.reader import NUM_SHARDS, RECORDS_PER_SHARD, shared_book, stream
from kosmos.data.picturebook.vocabulary import MADE_UP_WORDS, NUMBERS, Noun, nouns
from kosmos.data.picturebook.worlds.draw import one, some
from kosmos.data.readers import BadRecord
from kosmos.data.readers.records import instruction_record, to_document
from kosmos.document import Document
from kosmos.errors import ConfigError, DataError
from kosmos.example import Example

TEST_SEED = 407
# The highest number that `next` counts to.
MOST = 18


@dataclass(frozen=True)
class Words:
    """The words of one split. `free` may stand anywhere; `nouns` are those that kinds and plurals are asked of."""

    free: tuple[str, ...]
    nouns: tuple[Noun, ...]


Draw = Callable[[Words, np.random.Generator, str], tuple[str, str]]


@dataclass(frozen=True)
class Family:
    """What is asked: ways to say it, some for the test only, and `draw(words, rng, split) -> (input, output)`."""

    draw: Draw
    ways: tuple[str, ...]
    new_ways: tuple[str, ...]


def kept_for_test(word: str) -> bool:
    """Whether training's instructions never hold this word: one in five, by its checksum."""
    return zlib.crc32(word.encode()) % 5 == 0


def words_of(book: PictureBook, split: str) -> Words:
    """The words of `train` or `test`."""
    kept = split == "test"
    chosen = tuple(noun for noun in nouns(book) if kept_for_test(noun.word) == kept)
    free = [*MADE_UP_WORDS, *(word for noun in nouns(book) for word in (noun.word, noun.plural))]
    return Words(tuple(word for word in dict.fromkeys(free) if kept_for_test(word) == kept), chosen)


def _repeat(words: Words, rng: np.random.Generator, split: str) -> tuple[str, str]:
    word = one(rng, words.free)
    return word, word


def _first(words: Words, rng: np.random.Generator, split: str) -> tuple[str, str]:
    chosen = some(rng, words.free, 3)
    return " ".join(chosen), chosen[0]


def _last(words: Words, rng: np.random.Generator, split: str) -> tuple[str, str]:
    chosen = some(rng, words.free, 3)
    return " ".join(chosen), chosen[-1]


def _reverse(words: Words, rng: np.random.Generator, split: str) -> tuple[str, str]:
    chosen = some(rng, words.free, 2)
    return " ".join(chosen), " ".join(reversed(chosen))


def _same(words: Words, rng: np.random.Generator, split: str) -> tuple[str, str]:
    first, other = some(rng, words.free, 2)
    same = rng.random() < 0.5
    return f"{first} {first if same else other}", "yes" if same else "no"


def _count(words: Words, rng: np.random.Generator, split: str) -> tuple[str, str]:
    count = int(rng.integers(1, 6))
    return " ".join(some(rng, words.free, count)), NUMBERS[count]


def _color(words: Words, rng: np.random.Generator, split: str) -> tuple[str, str]:
    color = one(rng, tuple(COLORS))
    pair = some(rng, [color, one(rng, words.free)], 2)
    return " ".join(pair), color


def _next(words: Words, rng: np.random.Generator, split: str) -> tuple[str, str]:
    """Every third number is asked for in the test only."""
    number = one(rng, [n for n in range(MOST) if (n % 3 == 1) == (split == "test")])
    return str(number), str(number + 1)


def _kind(words: Words, rng: np.random.Generator, split: str) -> tuple[str, str]:
    noun = one(rng, [noun for noun in words.nouns if noun.category])
    return noun.word, noun.category


def _plural(words: Words, rng: np.random.Generator, split: str) -> tuple[str, str]:
    noun = one(rng, [noun for noun in words.nouns if noun.plural != noun.word])
    return noun.word, noun.plural


def _ways(text: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in text.strip().splitlines())


# What is said in the last two ways of each, the test alone hears.
_SAID: dict[str, tuple[Draw, str]] = {
    "repeat": (
        _repeat,
        """
        say this word:
        repeat the word
        repeat this:
        say the word
        please say the word
        the same word again:
        say this:
        please repeat this word:
        """,
    ),
    "first": (
        _first,
        """
        say the first word of
        what is the first word here?
        the first word of
        give the first of these:
        please say the first of
        find the first word:
        which word is the first?
        say what is first here:
        """,
    ),
    "last": (
        _last,
        """
        say the last word of
        what is the last word here?
        the last word of
        give the last of these:
        please say the last of
        find the last word:
        which word is the last?
        say what is last here:
        """,
    ),
    "reverse": (
        _reverse,
        """
        say the other way round:
        turn these words round:
        the other way round, please:
        give these words turned round:
        please turn round
        say both, turned round:
        both the other way round:
        say these turned round:
        """,
    ),
    "same": (
        _same,
        """
        are these words the same?
        is it the same word?
        the same word or not?
        say yes if both are the same word:
        are both the same?
        is this the same word?
        are both of these the same word?
        is the word the same?
        """,
    ),
    "count": (
        _count,
        """
        how many words are here?
        count the words:
        how many words?
        say how many words there are:
        please count these:
        count how many:
        how many are these?
        please count the words here:
        """,
    ),
    "color": (
        _color,
        """
        which of these is a color?
        say the color:
        what is the color here?
        give the color of these two:
        please say which is a color:
        find the color:
        which word is a color?
        say the color here:
        """,
    ),
    "next": (
        _next,
        """
        which number is after
        say the next number:
        what number is next?
        the number after
        give the next number:
        please say the number after
        the next number after
        what is the number after
        """,
    ),
    "kind": (
        _kind,
        """
        what kind of thing is this?
        say the kind:
        which kind is
        the kind of
        please give the kind of
        of which kind is
        what kind is this?
        say the kind of
        """,
    ),
    "plural": (
        _plural,
        """
        say it of many:
        what is the word for many?
        not one but many:
        give the word for many:
        please say many of
        the word for more than one:
        say the word for many:
        many, not one:
        """,
    ),
}
FAMILIES: dict[str, Family] = {
    name: Family(draw, _ways(text)[:-2], _ways(text)[-2:]) for name, (draw, text) in _SAID.items()
}


def draw(words: Words, rng: np.random.Generator, split: str, family: str = "", new_way: bool = False) -> Example:
    """One instruction; `fields` are instruction, input and output, `meta` the family and whether its way is new."""
    family = family or one(rng, tuple(FAMILIES))
    way = one(rng, FAMILIES[family].new_ways if new_way else FAMILIES[family].ways)
    given, output = FAMILIES[family].draw(words, rng, split)
    fields = {"instruction": way, "input": given, "output": output}
    return Example(f"instructions/{family}", fields, meta={"family": family, "new_way": new_way})


def instruction_document(example: Example) -> Document:
    """`{instruction} {input}` and, supervised, a space and the output: as the reader `instructions` makes it."""
    record = instruction_record(dict(example.fields), example.id)
    if isinstance(record, BadRecord):
        raise DataError(f"{example.id}: {record.why}")
    return to_document(record)


def held_out_instructions(book: PictureBook, per_family: int = 40) -> list[Example]:
    """The test set: as many of each family, every second one said in a way that training never used."""
    words = words_of(book, "test")
    made = []
    for family in FAMILIES:
        seen: set[tuple[str, str]] = set()
        number = 0
        # A family with few inputs may not have so many different items.
        for attempt in range(40 * per_family):
            if number == per_family:
                break
            rng = stream("instructions", "test", TEST_SEED, zlib.crc32(family.encode()), attempt)
            example = draw(words, rng, "test", family, new_way=number % 2 == 1)
            key = (example.fields["instruction"], example.fields["input"])
            if key in seen:
                continue
            seen.add(key)
            made.append(Example(f"instructions/{family}/{number:03d}", example.fields, meta=example.meta))
            number += 1
    return made


class InstructionReader:
    """Training's instructions: record i is a pure function of (seed, epoch, i)."""

    def __init__(self, seed: int, book: PictureBook | None = None) -> None:
        self._seed = seed
        self._words = words_of(book or shared_book(), "train")

    def shards(self) -> list[str]:
        return [f"instructions-{number:02d}" for number in range(NUM_SHARDS)]

    def num_records(self, shard: str) -> int:
        return RECORDS_PER_SHARD

    def read(self, shard: str, record: int, epoch: int) -> Document | BadRecord:
        return instruction_document(self.example(shard, record, epoch))

    def example(self, shard: str, record: int, epoch: int) -> Example:
        """The Example behind a record."""
        index = int(shard.rsplit("-", 1)[1]) * RECORDS_PER_SHARD + record
        return draw(self._words, stream("instructions", "train", self._seed, epoch, index), "train")


def open_instructions(entry: CorpusConfig, seed: int) -> InstructionReader:
    """The reader `picturebook.instructions`. Raises ConfigError when a path is given: there is no file."""
    if entry.path:
        raise ConfigError(f"picturebook.instructions: takes no path, not '{entry.path}'")
    return InstructionReader(seed)
