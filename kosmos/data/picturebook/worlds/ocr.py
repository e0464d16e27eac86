"""Rendered words: what does it say? Some words and one family of fonts are kept for the test.

Words that training drew and words that it never did are two sets: the first are known by sight, the second must be
read.
"""

from __future__ import annotations

import numpy as np

from kosmos.data.picturebook.canvas import SIZE, is_plain
from kosmos.data.picturebook.lettering import fitted_mask, fonts
from kosmos.data.picturebook.worlds.draw import one
from kosmos.data.picturebook.worlds.letters import paper_and_ink, write_somewhere
from kosmos.document import Image
from kosmos.example import Example

QUESTION = "what does it say?"
_WORD_LIST = """
able acid age air all and ant any apple arm army art ask aunt away axe baby back bad bag bake ball band bank barn base
bat bath bay beach bean bear beat bed bee bell belt bend best bike bird bit black blow blue boat body bold bone book
boot born boss both bowl box boy brain bread brick bring broom brown brush bug bun bus busy but butter cab cage cake
call calm camel camp can candy cap car card care cart case cat catch cave cell chain chair cheese cherry chin city
clay clean clock cloth cloud club coat coin cold comb cook cool copper corn cost cow crab cream crow crown cup curl
cut dad dance dark day deer desk dig dinner dirt dish doctor dog doll door dot dove down draw dream dress drink drop
drum dry duck dust ear early earth east easy eat edge egg eight end eye face fact fair fall fan far farm fast fat feet
fence few field fig fill film find fine finger fire first fish fit five flag flat floor flour flower fly fog food foot
forest fork four fox frog fruit fuel full fun game garden gate gift girl give glad glass glove glue goat gold good
goose grape grass gray green grow guest gum hair half hall hand happy hat hay head heart heat hen herb hero high hill
hold hole home honey hook hope horn horse hot hotel house hut ice idea ink iron island jacket jail jam jar jaw jet job
join juice jump keep key kick kid kind king kiss kite knee knife knot lace lake lamb lamp land last late lawn lazy
leaf left leg lemon letter light lime line lion lip list little live lock log long look lost loud love low luck lunch
mail make man map march mark market mask mat meal meat melon middle mile milk mind mirror mix moon more moth mouse
mouth movie mud music nail name nap near neck need nest net new night nine noise north nose note number nurse nut oak
oat ocean oil old olive one onion orange oven owl page pain paint pan paper park part party path paw pea pear pen
pencil pet phone piano pie pig pilot pin pink pipe plane plant plate play plum pocket poem pole pond pony pool poor
pot potato pull pump purple push queen quick quiet rabbit rain read red rest rice ride right ring river road robot
rock roof room root rope rose round rug rule run sad safe sail salt sand sauce say school sea seat seed seven sheep
shell ship shirt shoe shop short show sick silk silver sing sister sit six skin sky sleep slow small smoke snail snake
snow soap sock soft song soup south spoon spring star step stick stone store storm street string sugar suit summer sun
sweet swim table tail tall taxi tea ten tent tiger time tin tiny toe tomato tooth top tower town toy train tree truck
tub turtle two uncle under van vase vest violin voice walk wall warm wash water wave wax web week well west wet wheel
white wide wild wind window wing winter wolf wood wool word work world worm year yellow yes young zebra zero zoo
"""
WORDS = tuple(_WORD_LIST.split())
# Every sixth word, and none of them is ever drawn in training.
TEST_WORDS = tuple(WORDS[5::6])
TRAIN_WORDS = tuple(word for word in WORDS if word not in set(TEST_WORDS))


def sample(book: object, rng: np.random.Generator, split: str, size: int = SIZE) -> Example:
    """One word of the training list; the test writes it in fonts of its own. Needs no book."""
    return draw("ocr", one(rng, TRAIN_WORDS), rng, split, size)


def sample_unseen(book: object, rng: np.random.Generator, split: str, size: int = SIZE) -> Example:
    """One word that training never draws. For the test only."""
    return draw("ocr", one(rng, TEST_WORDS), rng, split, size)


def draw(world: str, word: str, rng: np.random.Generator, split: str, size: int) -> Example:
    """A picture of `word`."""
    font = one(rng, fonts(split))
    canvas, ink = paper_and_ink(rng, split, size)
    room = size - 4 - (0 if is_plain(split) else 4 * int(rng.integers(2)))
    write_somewhere(canvas, fitted_mask(word, font, room, size // 2), ink, rng, split)
    fields = {"form": "question", "question": QUESTION, "answer": word}
    return Example(world, fields, (Image(canvas),), meta={"font": font, "unseen_word": word in TEST_WORDS})
