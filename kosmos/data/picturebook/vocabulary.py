"""The small, fixed vocabulary of the generated worlds: nouns that stand for concepts, numbers, made-up words."""

from __future__ import annotations

from dataclasses import dataclass

from kosmos.data.picturebook.concepts import PictureBook

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six")

# category -> nouns; "noun=label" where the concept's label is another one.
_NOUNS = {
    "animals": "dog cat horse cow pig monkey tiger mouse koala chicken penguin frog turtle snake whale fish octopus "
    "snail butterfly spider bird rat dolphin bee=honeybee ant",
    "food": "apple=red_apple banana lemon pear peach pineapple strawberry tomato watermelon melon carrot hamburger "
    "pizza egg doughnut cookie cupcake=shortcake lollipop eggplant",
    "vehicles": "bus train taxi car=automobile tractor bicycle boat=speedboat sailboat ship airplane helicopter rocket "
    "ambulance motorcycle tram truck=delivery_truck",
    "clothes": "dress shirt=t-shirt tie=necktie hat=top_hat shoe=man’s_shoe crown handbag kimono bikini",
    "instruments": "guitar violin trumpet saxophone drum",
    "tools": "hammer wrench key pencil pen syringe",
}
CATEGORIES = tuple(_NOUNS)
# Nouns for scenes that are in no category of the odd-one-out.
_OTHER = (
    "star umbrella cloud snowman house tree=deciduous_tree tulip rose cactus mushroom balloon gift=wrapped_gift bell "
    "book=closed_book candle bomb camera telephone clock=alarm_clock door bed heart=heart_suit ball=basketball "
    "trophy rainbow"
)
_PLURALS = {"mouse": "mice", "fish": "fish", "octopus": "octopuses", "tomato": "tomatoes"}

_MADE_UP = """
dax wug blick toma fep zib gorp plim snark vorn kelp trill mip dov quib lurp jeb noz tarn spu wex grol hab yim crat
felp bosk ruv thag olm pru skab zoff lem vink drub mox klee fosh nup
"""
MADE_UP_WORDS = tuple(_MADE_UP.split())


@dataclass(frozen=True)
class Noun:
    """A countable thing: the word, its plural, its concept, and its category ("" for none)."""

    word: str
    plural: str
    concept: int
    category: str
    index: int

    @property
    def with_article(self) -> str:
        return f"{'an' if self.word[0] in 'aeiou' else 'a'} {self.word}"

    def counted(self, count: int) -> str:
        """The noun with its number: a dog, three dogs."""
        return self.with_article if count == 1 else f"{NUMBERS[count]} {self.plural}"


def plural(word: str) -> str:
    if word in _PLURALS:
        return _PLURALS[word]
    if word.endswith(("s", "x", "ch", "sh")):
        return word + "es"
    if word.endswith("y") and word[-2] not in "aeiou":
        return word[:-1] + "ies"
    return word + "s"


_CACHE: dict[int, tuple[PictureBook, tuple[Noun, ...]]] = {}


def nouns(book: PictureBook) -> tuple[Noun, ...]:
    """The nouns of scenes, in a fixed order. All have a concept in the book."""
    if id(book) not in _CACHE:
        made: list[Noun] = []
        for category, words in (*_NOUNS.items(), ("", _OTHER)):
            for entry in words.split():
                word, _, label = entry.partition("=")
                concept = book.index_of[(label or word).replace("_", " ")]
                made.append(Noun(word, plural(word), concept, category, len(made)))
        # The book is kept beside its nouns, so that its id is not used again.
        _CACHE[id(book)] = (book, tuple(made))
    return _CACHE[id(book)][1]


def held_out_count(noun: Noun, count: int) -> bool:
    """Whether training never shows exactly `count` of this noun (about one count of 2 to 5 for most nouns)."""
    return count >= 2 and (noun.index * 3 + count) % 5 == 0
