"""WordNet's text: parsing, filtering, senses."""

from __future__ import annotations

import re

import numpy as np

from kosmos.data.picturebook.wordnet import WordNet, parse
from kosmos.data.picturebook.worlds import glosses

LINE = (
    "02086723 05 n 03 dog 0 domestic_dog 0 Canis_familiaris 0 003 @ 02085998 n 0000 #m 02085443 n 0000 "
    '~ 02086723 n 0000 | a member of the genus Canis; occurs in many breeds; "the dog barked all night"  '
)


def test_parsing_a_line() -> None:
    [entry] = parse("noun", f"  1 a line of the licence\n{LINE}\n")
    assert entry.words == ("dog", "domestic dog", "Canis familiaris")
    assert entry.definition == "a member of the genus Canis; occurs in many breeds"
    assert entry.examples == ("the dog barked all night",)
    assert (entry.part, entry.offset, entry.file, entry.parent) == ("n", 2086723, 5, 2085998)


def test_kept_text_is_plain_and_inoffensive(wordnet: WordNet) -> None:
    text = "\n".join(line for lines in wordnet.lines for line in lines)
    assert 12_000 < len(wordnet.synsets) < 18_000
    assert not re.search(r"derogatory|offensive|\bsexual|obscene", text)
    assert re.fullmatch(r"[A-Za-z ,;:'.!?\n-]+", text)


def test_senses_fit_the_group(wordnet: WordNet) -> None:
    bat = wordnet.define("bat", "animals-nature")
    assert bat is not None and "mammal" in bat
    assert wordnet.define("bat", "activities") != bat
    assert wordnet.define("no such word", "objects") is None


def test_is_a_tree(wordnet: WordNet) -> None:
    by_word = {synset.words[0]: synset for synset in reversed(wordnet.synsets) if synset.part == "n"}
    parents = [synset.parent for synset in wordnet.synsets]
    assert all(-1 <= parent < len(parents) for parent in parents)
    assert wordnet.synsets[by_word["acceleration"].parent].words[0] == "change"


def test_training_and_test_text_are_disjoint(wordnet: WordNet) -> None:
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for _ in range(100):
            meta = glosses.sample(None, rng, split).meta
            sides = {glosses.held_out_synset(meta["first"] + i) for i in range(meta["count"])}
            assert sides == {split == "test"}
