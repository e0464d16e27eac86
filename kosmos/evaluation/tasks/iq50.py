"""The Raven IQ test: which of six pictures continues a matrix (Table 6), by P(" Yes") of each.

The paper's 50 items were never released. The format read here: a folder with `iq.json` and one picture file per panel.

    {"format": "kosmos-iq-1", "stand_in": true, "note": "...", "items": [
        {"id": "001", "given": ["001/given-1.png", ...], "candidates": ["001/candidate-1.png", ...], "answer": 4}, ...]}

`given` is the matrix read row by row without its last panel, 3, 4 or 8 pictures; `candidates` are six; `answer` is the
number of the right one, from 1. `stand_in` says that the items are not the paper's.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from kosmos.document import Document, Image, Text
from kosmos.errors import DataError
from kosmos.evaluation.benchmark import Benchmark, Prompt, Source
from kosmos.evaluation.readers.dataset_files import Layout, Row, read_layouts, read_text
from kosmos.evaluation.readers.picture_files import PictureFile
from kosmos.evaluation.tasks.text_prompts import label_of
from kosmos.example import Example

FORMAT = "kosmos-iq-1"
FILE = "iq.json"
NUM_CANDIDATES = 6
NUMBER_WORDS = {3: "three", 4: "four", 8: "eight"}


def _read(paths: Sequence[Path]) -> list[Example]:
    (path,) = paths
    try:
        table = json.loads(read_text(path))
    except ValueError as error:
        raise DataError(f"{path}: not JSON: {error}") from error
    if not isinstance(table, dict) or table.get("format") != FORMAT or not isinstance(table.get("items"), list):
        raise DataError(f'{path}: must be a JSON object with "format": "{FORMAT}" and a list "items"')
    stand_in = bool(table.get("stand_in", False))
    return [_item(path, number, values, stand_in) for number, values in enumerate(table["items"], start=1)]


def _item(path: Path, number: int, values: object, stand_in: bool) -> Example:
    where = f"{path}, item {number}"
    if not isinstance(values, dict):
        raise DataError(f"{where}: must be a JSON object")
    row = Row(where, number - 1, values)
    given, candidates = row.texts("given"), row.texts("candidates", NUM_CANDIDATES)
    if len(given) not in NUMBER_WORDS:
        raise DataError(f"{where}: 'given' must have 3, 4 or 8 pictures, not {len(given)}")
    answer = row.integer("answer")
    if not 1 <= answer <= NUM_CANDIDATES:
        raise DataError(f"{where}: 'answer' must be a number from 1 to {NUM_CANDIDATES}, not {answer}")
    pictures = tuple(PictureFile(path.parent / name) for name in (*given, *candidates))
    fields = {"given": len(given), "label": answer - 1}
    return Example(row.filled("id"), fields, pictures, meta={"stand_in": stand_in})


LAYOUTS = (Layout("one file per panel", {"test": (FILE,)}, _read),)


def read(folder: Path, split: str) -> list[Example]:
    """Split "test". `images`: the given panels, then the six candidates."""
    return read_layouts("iq50", folder, split, LAYOUTS)


def contexts(example: Example) -> list[Document]:
    """One Document per candidate."""
    given, candidates = panels(example)
    opening = Text(f"Here are {NUMBER_WORDS[len(given)]} images:", supervised=False)
    following = Text("The following image is:", supervised=False)
    question = Text("Is it correct?", supervised=False)
    return [Document(opening, *given, following, candidate, question) for candidate in candidates]


def panels(example: Example) -> tuple[tuple[Image, ...], tuple[Image, ...]]:
    """The given panels and the candidates."""
    given = int(example.fields["given"])
    return example.images[:given], example.images[given:]


def _prompt(name: str, affirmative: str, note: str = "") -> Prompt:
    return Prompt(
        name,
        context=lambda example: contexts(example)[label_of(example)],
        answer=lambda example: affirmative,
        contexts=contexts,
        note=note,
    )


BENCHMARK = Benchmark(
    name="iq50",
    title="Raven IQ test",
    group="reasoning",
    mode="yes",
    read=read,
    split="test",
    prompts=(
        _prompt("paper", " Yes"),
        _prompt("lower_case", " yes", "what is compared is P(yes), in lower case"),
    ),
    metrics=("accuracy",),
    source=Source(
        url="https://aka.ms/kosmos-iq50",
        licence="never released",
        files=(FILE, "*/given-*.png", "*/candidate-*.png"),
        how=(
            "The paper's 50 items cannot be obtained any more. Bring items of your own as iq.json with one picture "
            "file per panel (docs/evaluation.md has the format), or draw stand-ins, which say that they are: "
            "kosmos eval iq make --n 50 --out eval-data/iq50."
        ),
    ),
    num_examples={"test": 50},
    chance=1 / NUM_CANDIDATES,
    paper={"accuracy": {0: 22.0}},
    table="Table 6",
    note="Without instruction tuning the paper has 26.0. Of 50 items, neither differs from chance (16.7) by more than "
    "luck may. Deviation by name, iq_stand_ins: the items are drawn, not the paper's.",
)
