"""WordNet 3.1 as short text: definitions and example sentences in common words, and the is-a tree.

Kept are synsets whose whole text is made of words that are frequent in WordNet itself, so that a small vocabulary
covers it. Synsets that WordNet marks as offensive, and sexual or drug senses, are left out.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

from kosmos.data.picturebook.packages import WORDNET, cache_directory, fetch, read_members
from kosmos.errors import DataError
from kosmos.storage import make_folder, write_atomic

PARTS = {"noun": "n", "verb": "v", "adj": "a", "adv": "r"}
NUM_SYNSETS = 117_791
FREQUENT_WORDS = 3000
MAX_WORDS = 16
CACHE_VERSION = 1
_OFFENSIVE = re.compile(
    r"offensive|derogat|disparag|slur\b|obscen|vulgar|insult|taboo|profan|sexual|sexy|\bsex\b|prostitut|intercourse|"
    r"genital|penis|vagina|anus|erotic|nude|naked|rape|suicide|murder|kill|slave|negro|nazi|racis|drug|narcotic|heroin|"
    r"cocaine|prick|bastard|bitch|excre|feces|urin"
)
# Lexicographer files that fit a concept's group, best first; WordNet's first noun sense is often another thing.
_FILES = {
    "animals-nature": (5, 20, 17, 19),
    "food-drink": (13, 20, 5, 6),
    "travel-places": (6, 17, 19, 15, 11),
    "activities": (6, 4, 11, 19),
    "objects": (6, 21, 10, 17),
}
DEFINED_FILES = frozenset(file for files in _FILES.values() for file in files)


@dataclass(frozen=True)
class Synset:
    """One meaning: its words, definition, example sentences, and the index of what it is a kind of (or -1)."""

    part: str
    words: tuple[str, ...]
    definition: str
    examples: tuple[str, ...]
    parent: int


@dataclass(frozen=True)
class Entry:
    """A synset as the data files have it. `file` is the lexicographer file, `parent` the first hypernym's offset."""

    part: str
    offset: int
    file: int
    words: tuple[str, ...]
    definition: str
    examples: tuple[str, ...]
    parent: int


@dataclass(frozen=True, eq=False)
class WordNet:
    """The kept synsets in WordNet's order (neighbours are related), and the senses of nouns by word."""

    synsets: tuple[Synset, ...]
    senses: dict[str, tuple[tuple[int, str], ...]]

    @cached_property
    def lines(self) -> tuple[tuple[str, ...], ...]:
        """Per synset its lines of text: "word: definition", what it is a kind of, and the examples."""
        made = []
        for synset in self.synsets:
            name = synset.words[0]
            lines = [f"{name}: {synset.definition}"]
            if synset.part == "n" and synset.parent >= 0:
                lines.append(f"{name} is a kind of {self.synsets[synset.parent].words[0]}")
            made.append((*lines, *synset.examples))
        return tuple(made)

    def define(self, label: str, group: str) -> str | None:
        """The definition of a picture's label in the sense that fits its group, or None."""
        found = self.senses.get(label, ())
        for file in _FILES[group]:
            for sense, definition in found:
                if sense == file:
                    return definition
        return None


def parse(part: str, data: str) -> list[Entry]:
    """All synsets of one data file."""
    parsed = []
    for line in data.splitlines():
        if line.startswith(" ") or "|" not in line:
            continue
        head, gloss = line.split("|", 1)
        fields = head.split()
        count = int(fields[3], 16)
        words = tuple(re.sub(r"\(.*\)$", "", fields[4 + 2 * i]).replace("_", " ") for i in range(count))
        pointers = fields[4 + 2 * count + 1 :]
        # Pointers come in fours: symbol, offset, part of speech, source and target; verb frames may follow.
        parents = [int(pointers[i + 1]) for i in range(0, len(pointers) - 3, 4) if pointers[i] == "@"]
        definition = gloss.split(' "')[0].strip().rstrip(";:. ")
        examples = tuple(re.findall(r'"([^"]+)"', gloss))
        parent = parents[0] if parents else -1
        parsed.append(Entry(PARTS[part], int(fields[0]), int(fields[1]), words, definition, examples, parent))
    return parsed


def build_wordnet(cache: Path | None = None, *, download: bool = True) -> Path:
    """Fetch, verify, filter and store; returns the stored file. Does nothing when it is there already."""
    cache = cache or cache_directory()
    path = cache / f"wordnet-{CACHE_VERSION}.json"
    if path.exists():
        return path
    tarball = fetch(WORDNET, cache, download=download)
    parts = read_members(tarball, [*(f"dict/data.{part}" for part in PARTS), "dict/index.noun"])
    parsed = [entry for part, data in zip(PARTS, parts) for entry in parse(part, data.decode("utf-8"))]
    if len(parsed) != NUM_SYNSETS:
        raise DataError(f"{tarball}: {len(parsed)} synsets in it, expected {NUM_SYNSETS}")
    counts = Counter(word for entry in parsed for text in (entry.definition, *entry.examples) for word in _words(text))
    # Equal counts in alphabetical order, so the cut is the same everywhere.
    ranked = sorted(counts, key=lambda word: (-counts[word], word))
    frequent = frozenset(ranked[:FREQUENT_WORDS])
    kept = [entry for entry in parsed if _is_plain(entry, frequent)]
    number = {(entry.part, entry.offset): i for i, entry in enumerate(kept)}
    synsets = [
        [
            entry.part,
            entry.words,
            entry.definition,
            [s for s in entry.examples if _is_simple(s, frequent)],
            number.get((entry.part, entry.parent), -1),
        ]
        for entry in kept
    ]
    stored = {"synsets": synsets, "senses": _senses(parsed, parts[-1].decode("utf-8"))}
    make_folder(path.parent)
    write_atomic(path, json.dumps(stored).encode())
    return path


@cache
def load_wordnet(cache: Path | None = None, *, download: bool = True) -> WordNet:
    """The kept synsets, built first when they are not in the cache. Raises DataError when that cannot be done."""
    path = build_wordnet(cache, download=download)
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        synsets = tuple(
            Synset(part, tuple(words), definition, tuple(examples), parent)
            for part, words, definition, examples, parent in stored["synsets"]
        )
        senses = {word: tuple((file, text) for file, text in found) for word, found in stored["senses"].items()}
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is damaged: delete it and run `kosmos data picturebook`") from error
    return WordNet(synsets, senses)


def _senses(parsed: list[Entry], index: str) -> dict[str, list[tuple[int, str]]]:
    """noun -> its definitions with their lexicographer files, commonest sense first; plain ones only."""
    by_offset = {entry.offset: entry for entry in parsed if entry.part == "n"}
    senses: dict[str, list[tuple[int, str]]] = {}
    for line in index.splitlines():
        fields = line.split()
        if line.startswith(" ") or not fields or not fields[0].replace("_", "").replace("-", "").isalpha():
            continue
        entries = [by_offset[int(offset)] for offset in fields[-int(fields[2]) :]]
        found = [(e.file, e.definition) for e in entries if _is_clean(e) and e.file in DEFINED_FILES]
        if found:
            senses[fields[0].replace("_", " ")] = found[:4]
    return senses


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z]+", text.lower())


def _is_clean(entry: Entry) -> bool:
    return not _OFFENSIVE.search(" ".join((*entry.words, entry.definition, *entry.examples)).lower())


def _is_simple(text: str, frequent: frozenset[str]) -> bool:
    words = _words(text)
    simple = re.fullmatch(r"[A-Za-z ,;'.!?-]+", text) is not None
    return simple and 2 <= len(words) <= MAX_WORDS and all(word in frequent for word in words)


def _is_plain(entry: Entry, frequent: frozenset[str]) -> bool:
    name = entry.words[0]
    return (
        name.islower()
        and name.replace(" ", "").isalpha()
        and _is_simple(entry.definition, frequent)
        and (_is_clean(entry))
    )
