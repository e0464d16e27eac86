"""A prompt on the command line: words and pictures in the order given."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kosmos.document import Document


def add_prompt_arguments(parser: argparse.ArgumentParser) -> None:
    """RUN and the parts of the prompt, which come as `args.parts`; the verb's module needs `keep_order` as well."""
    parser.add_argument("run", type=Path, metavar="RUN", help="a run directory, a step, or a model folder")
    prompt = parser.add_argument_group("prompt, in the order given (words without an option are text)")
    prompt.add_argument("-i", "--image", dest="parts", action="append", type=Path, metavar="FILE", help="a picture")
    prompt.add_argument("-t", "--text", dest="parts", action="append", metavar="TEXT", help="a piece of text")


def keep_order(parser: argparse.ArgumentParser, words: list[str]) -> list[str]:
    """Turn every bare word after RUN into `--text=word`, so that texts keep their place among the pictures."""
    takes_value = {name for action in parser._actions if action.nargs != 0 for name in action.option_strings}
    prepared: list[str] = []
    rest = iter(words)
    seen_run = only_text = False
    for word in rest:
        if word == "--" and not only_text:
            only_text = True
        elif not only_text and word.startswith("-") and word != "-" and " " not in word.split("=")[0]:
            prepared.append(word)
            if word in takes_value:
                prepared += [value for value in [next(rest, None)] if value is not None]
        elif not seen_run:
            seen_run = True
            prepared.append(word)
        else:
            prepared.append(f"--text={word}")
    return prepared


def prompt_document(parts: Sequence[Path | str]) -> Document:
    """The parts as a Document; words that the shell took apart are joined by a space."""
    from kosmos.document import Document, Image, Segment, Text

    segments: list[Segment] = []
    for part in parts:
        if isinstance(part, Path):
            segments.append(Image(part))
        elif segments and isinstance(segments[-1], Text):
            segments[-1] = Text(f"{segments[-1].text} {part}")
        else:
            segments.append(Text(part))
    return Document(*segments)
