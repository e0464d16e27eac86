"""Winograd schemas: whom a pronoun means (Table 13), by partial scoring.

The collection grew from 273 to 285 schemas; the paper's figures are of 285. Both are here: the whole of what lies in
the folder, and the first 273.
"""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from kosmos.errors import DataError
from kosmos.evaluation.benchmark import Benchmark, Source
from kosmos.evaluation.readers.dataset_files import Layout, hub_layout, read_layouts, read_lines, read_rows, read_text
from kosmos.evaluation.tasks.text_prompts import BLANK_LINE, partial_prompt
from kosmos.evaluation.tasks.twins import with_twins
from kosmos.example import Example

_FIRST = 273
_POSSESSIVE = ("my", "his", "her", "our", "their")
_LOWERED = ("A", "An", "The", "She", "He", "It", "They", "My", "His", "Her", "Their")


def _schema(where: str, index: int, text: str, pronoun: str, place: int, options: Sequence[str], label: int) -> Example:
    """`place`: where the pronoun begins in `text`."""
    if not 0 <= place < len(text) or text[place : place + len(pronoun)] != pronoun or not pronoun:
        raise DataError(f"{where}: the pronoun '{pronoun}' does not stand at character {place} of: {text}")
    if len(options) != 2:
        raise DataError(f"{where}: there must be 2 options, not {len(options)}")
    fields = {"text": text, "pronoun": pronoun, "place": place, "options": list(options), "label": label}
    return Example(str(index), fields)


def _read_xml(paths: Sequence[Path]) -> list[Example]:
    """The authors' own file."""
    (path,) = paths
    try:
        root = ElementTree.fromstring(read_text(path))
    except ElementTree.ParseError as error:
        raise DataError(f"{path}: not XML: {error}") from error
    schemas: list[Example] = []
    for index, element in enumerate(root.findall("schema")):
        where = f"{path}, schema {index + 1}"
        # The answer is written "A", "B" or "B." with spaces around.
        answer = _words(element, "correctAnswer", where).strip(". ")
        if answer not in ("A", "B"):
            raise DataError(f"{where}: correctAnswer must be A or B, not '{answer}'")
        before, pronoun = _words(element, "text/txt1", where, may_miss=True), _words(element, "text/pron", where)
        text = " ".join([before, pronoun, _words(element, "text/txt2", where, may_miss=True)]).strip()
        options = [" ".join((option.text or "").split()) for option in element.findall("answers/answer")]
        place = len(before) + 1 if before else 0
        schemas.append(_schema(where, index, text, pronoun, place, options, "AB".index(answer)))
    return with_twins(schemas)


def _words(element: ElementTree.Element, path: str, where: str, may_miss: bool = False) -> str:
    found = element.findtext(path)
    if found is None and not may_miss:
        raise DataError(f"{where}: no <{path}>")
    return " ".join((found or "").split())


def _read_hub(paths: Sequence[Path]) -> list[Example]:
    return with_twins(
        _schema(
            row.where,
            row.index,
            row.filled("text"),
            row.filled("pronoun"),
            row.integer("pronoun_loc"),
            row.texts("options", 2),
            row.label("label", [(0,), (1,)]),
        )
        for row in read_rows(paths)
    )


def _read_crosslingual(paths: Sequence[Path]) -> list[Example]:
    """The table of the cross-lingual collection, whose English rows from "original" are the 273."""
    (path,) = paths
    schemas: list[Example] = []
    for number, line in enumerate(read_lines(path), start=1):
        columns = line.split("\t")
        where = f"{path}, line {number}"
        if len(columns) != 7:
            raise DataError(f"{where}: {len(columns)} columns instead of 7")
        if columns[:2] != ["en", "original"]:
            continue
        text = columns[3]
        try:
            tokens, (pronoun, (start, _), _), candidates = (json.loads(column) for column in columns[4:])
            right = [bool(candidate[3]) for candidate in candidates]
            options = [str(candidate[0]) for candidate in candidates]
        except (ValueError, TypeError, IndexError, KeyError) as error:
            raise DataError(f"{where}: the columns of tokens, pronoun and candidates do not fit: {error}") from error
        if right.count(True) != 1:
            raise DataError(f"{where}: {right.count(True)} of the candidates are marked as right, not 1")
        place = _character_of(text, tokens, start)
        schemas.append(_schema(where, len(schemas), text, pronoun, place, options, right.index(True)))
    return with_twins(schemas)


def _character_of(text: str, tokens: Sequence[str], index: int) -> int:
    """Where token `index` begins in `text`; quotation marks are tokens `` and ''. -1: the tokens do not fit."""
    place = end = 0
    for token in tokens[: index + 1]:
        spellings = (token, '"') if token in ("``", "''") else (token,)
        found = [(text.find(spelling, end), len(spelling)) for spelling in spellings]
        found = [(at, length) for at, length in found if at >= 0]
        if not found:
            return -1
        place, length = min(found)
        end = place + length
    return place


def _first(read_all: Callable[[Sequence[Path]], list[Example]]) -> Callable[[Sequence[Path]], list[Example]]:
    return lambda paths: read_all(paths)[:_FIRST]


_XML = ("WSCollection.xml",)
_TABLE = ("dataset.tsv", "crosslingual_winograd*.tsv")
_HUB = "lighteval/winograd_wsc"
LAYOUTS = (
    Layout("official", {"test": _XML}, _read_xml),
    Layout("official", {"wsc273": _XML}, _first(_read_xml)),
    hub_layout(_HUB, {"test": ["test"]}, _read_hub, "wsc285", "wsc273"),
    hub_layout(_HUB, {"wsc273": ["test"]}, _first(_read_hub), "wsc273", "wsc285"),
    Layout("the cross-lingual collection's table", {"test": _TABLE, "wsc273": _TABLE}, _read_crosslingual),
)


def read(folder: Path, split: str) -> list[Example]:
    """Split "test": all schemas there are, 285 or 273; split "wsc273": the first 273."""
    return read_layouts("winograd", folder, split, LAYOUTS)


def contexts(example: Example) -> list[str]:
    before = example.fields["text"][: example.fields["place"]]
    return [f"{before}{option}" for option in example.fields["options"]]


def answer(example: Example) -> str:
    return str(example.fields["text"][example.fields["place"] + len(example.fields["pronoun"]) :])


def lm_eval_option(example: Example, option: str) -> str:
    """As lm-eval writes an option into the sentence: possessive like the pronoun, its article in lower case."""
    fields = example.fields
    if fields["pronoun"].lower() in _POSSESSIVE:
        option += "'s"
    first = option.split()[0]
    # For a pronoun that begins the text this looks at the text's end, as lm-eval does.
    begins_a_sentence = fields["text"][fields["place"] - 2] == "."
    return option if begins_a_sentence or first not in _LOWERED else option.replace(first, first.lower())


def lm_eval_contexts(example: Example) -> list[str]:
    before = example.fields["text"][: example.fields["place"]]
    return [before + lm_eval_option(example, option) for option in example.fields["options"]]


BENCHMARK = Benchmark(
    name="winograd",
    title="Winograd",
    group="language",
    mode="partial",
    read=read,
    split="test",
    prompts=(
        partial_prompt("lmops", contexts, answer),
        partial_prompt(
            "lm_eval",
            lm_eval_contexts,
            lambda example: f" {answer(example)}",
            normalization="sum",
            separator=BLANK_LINE,
            note="Two spaces stand before the scored words, as in lm-eval's requests; the tokenizer makes them one.",
        ),
    ),
    metrics=("accuracy",),
    source=Source(
        url="https://cs.nyu.edu/~davise/papers/WinogradSchemas/WSCollection.xml",
        licence="CC BY 4.0",
        files=_XML,
        hub=_HUB,
        hub_files=("wsc285/test-*.parquet", "wsc273/test-*.parquet"),
        how=(
            "Put WSCollection.xml (285 schemas) into the dataset's folder, or the hub's folder wsc285. A folder with "
            "273 schemas only (wsc273, or dataset.tsv of yandex-research/crosslingual_winograd) is taken too, and the "
            "report says which. The options of dataset.tsv are cut out of the sentence, some without their article, so "
            "its scores are not those of the other two."
        ),
    ),
    shots=(0, 1, 4),
    demonstration_split="test",
    num_examples={"test": 285, "wsc273": 273},
    chance=0.5,
    paper={"accuracy": {0: 69.8, 1: 68.4, 4: 69.8}},
    table="Table 13",
    note="Deviation by name, winograd_demonstrations_from_test: there is no training split, so demonstrations are "
    "other schemas of the test set (never the schema itself; its twin may be among them). The paper's figures are "
    "multiples of 1/285.",
)

# The collection as it was before its last 12 schemas, which many others report.
WINOGRAD_273 = replace(
    BENCHMARK,
    name="winograd_273",
    folder="winograd",
    title="Winograd, first 273",
    split="wsc273",
    demonstration_split="wsc273",
    num_examples={"wsc273": 273},
    paper={},
    note=BENCHMARK.note + " These 273 have no figure in the paper.",
)
