"""RelativeSize: is one object larger than another, by text alone (Tables 15 and 16).

The file's first object is always the larger one, so a model that says yes to everything has 100 % of it. The prompt
`reversed` asks the same pairs the other way round.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from kosmos.errors import DataError
from kosmos.evaluation.benchmark import Benchmark, Source
from kosmos.evaluation.readers.dataset_files import Layout, read_layouts, read_lines
from kosmos.evaluation.tasks.text_prompts import choice_prompt
from kosmos.example import Example

PAPER_QUESTION = "Is {0} larger than {1}?"
_VALM = (
    "Is {0} bigger than {1}?",
    "Is {0} larger than {1}?",
    "Is {0} taller than {1}?",
    "{0} is bigger than {1}, is it true?",
    "{0} is larger than {1}, is it true?",
    "{0} is taller than {1}, is it true?",
)


def _read(paths: Sequence[Path]) -> list[Example]:
    (path,) = paths
    pairs = []
    for number, line in enumerate(read_lines(path), start=1):
        objects = line.split()
        if len(objects) != 2:
            raise DataError(f"{path}, line {number}: two objects, the larger one first, not: {line!r}")
        pairs.append(Example("-".join(objects), {"larger": objects[0], "smaller": objects[1], "label": 0}))
    return pairs


LAYOUTS = (Layout("VaLM's copy", {"test": ("sizePairsFull.txt", "data/object_size/sizePairsFull.txt")}, _read),)


def read(folder: Path, split: str) -> list[Example]:
    """Split "test": all there is. Label 0 is the right answer in either order of asking."""
    return read_layouts("relative_size", folder, split, LAYOUTS)


def forward(question: str) -> Callable[[Example], str]:
    """The larger object first: yes is right."""
    return lambda example: question.format(example.fields["larger"], example.fields["smaller"])


def backward(question: str) -> Callable[[Example], str]:
    """The smaller object first: no is right."""
    return lambda example: question.format(example.fields["smaller"], example.fields["larger"])


def _yes_first(example: Example) -> tuple[str, str]:
    return (" Yes", " No")


def _no_first(example: Example) -> tuple[str, str]:
    return (" No", " Yes")


BENCHMARK = Benchmark(
    name="relative_size",
    title="RelativeSize",
    group="transfer",
    mode="choice",
    read=read,
    split="test",
    prompts=(
        choice_prompt("paper", forward(PAPER_QUESTION), _yes_first),
        choice_prompt(
            "reversed",
            backward(PAPER_QUESTION),
            _no_first,
            note="the paper's question with the smaller object first; the right answer is No",
        ),
        *(
            choice_prompt(f"valm.{number}", forward(question), _yes_first, note="one of VaLM's six prompts")
            for number, question in enumerate(_VALM, start=1)
        ),
    ),
    metrics=("accuracy",),
    source=Source(
        url="https://github.com/Victorwz/VaLM/tree/main/data/object_size",
        licence="none stated (pairs of Bagherinezhad and others, 2016)",
        files=("sizePairsFull.txt",),
        how="Take sizePairsFull.txt from data/object_size of Victorwz/VaLM and put it into the dataset's folder.",
    ),
    num_examples={"test": 486},
    beside=("reversed",),
    chance=0.5,
    paper={"accuracy": {0: 94.2}},
    table="Table 16",
    note="The larger object comes first in all 486 pairs, so a constant Yes scores 100. The prompt `reversed` asks "
    "every pair, under the same id, with the smaller one first, where No is right: print it beside the first; their "
    "mean is 50 for a constant answer. Not known: whether the paper's figure is of one prompt or a mean over several "
    "(its language model's is no multiple of 1/486). The default is the prompt the paper prints; valm.1 to valm.6 are "
    "VaLM's, and `valm` is their mean. Missing commas join the last three of them into one prompt in VaLM's script; "
    "here they are three.",
)
