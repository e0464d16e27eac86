"""What the two colour datasets share: the 11 colours, the paper's prompt, and the nine of VaLM."""

from __future__ import annotations

from functools import partial

from kosmos.evaluation.benchmark import Prompt
from kosmos.evaluation.readers.dataset_files import Row
from kosmos.evaluation.tasks.text_prompts import choice_prompt
from kosmos.example import Example

COLORS = ("black", "blue", "brown", "green", "grey", "orange", "pink", "purple", "red", "white", "yellow")
_VALM = (
    "Q: What is the color of {object}? A: It is",
    "What is the color of {object}? It is",
    "What is the usual color of {object}?",
    "What is the typical color of {object}?",
    "The color of {object} is",
    "The usual color of {object} is",
    "The common color of {object} is",
    "The typical color of {object} is",
    "{object} usually has the color of",
)
UNKNOWN = (
    "Not known: whether the paper's figures are of one prompt or a mean over several (those of its language model are "
    "no multiples of 1/n, so they are means over something). The default is the prompt the paper prints; valm.1 to "
    "valm.9 are the nine of VaLM, and `valm` is their mean. What is scored is the next word among 11 colours."
)


def color_example(row: Row, descriptor: str, item: str, color: str) -> Example:
    """An object with its colour; `descriptor` ("a", "the inside of a", maybe empty) stands before it."""
    label = Row(row.where, row.index, {"color": color.strip()}).label("color", [(name,) for name in COLORS])
    item = item.strip()
    return Example(item, {"object": f"{descriptor.strip()} {item}".strip(), "item": item, "label": label})


def candidates(example: Example) -> list[str]:
    return [f" {color}" for color in COLORS]


def color_prompts() -> tuple[Prompt, ...]:
    """The paper's, then `valm.1` to `valm.9`."""
    note = "one of VaLM's nine prompts"
    return (
        choice_prompt("paper", partial(_asked, "The color of {object} is?"), candidates),
        *(
            choice_prompt(f"valm.{number}", partial(_asked, words), candidates, note=note)
            for number, words in enumerate(_VALM, start=1)
        ),
    )


def _asked(words: str, example: Example) -> str:
    return words.replace("{object}", example.fields["object"])
