"""Build training data, and look into it.

examples:
  kosmos data picturebook book
  kosmos data pack photos photos-tars
  kosmos data inspect book/pairs
  kosmos data stats book/text
  kosmos data verify book/interleaved
  kosmos data prepare crawl.warc.wet.gz crawl

`kosmos data ACTION --help` explains an action; docs/data.md says which reader takes which files.
"""

from __future__ import annotations

import argparse
from types import ModuleType

from kosmos.cli.actions import add_actions, find_modules

# Action -> what `kosmos data --help` says of it. The module of the same name in this folder has the rest:
# its docstring (help and examples), add_arguments(parser) and run(args). It imports nothing heavy until it runs.
ACTIONS = {
    "picturebook": "write the demo's worlds as files",
    "pack": "pack a folder of pictures with captions into tars",
    "prepare": "rewrite files that cannot be read in any order, and index the others",
    "inspect": "show what a reader sees in a file, pictures on a contact sheet",
    "stats": "count a corpus, or the rows that a recipe makes of it",
    "verify": "read every record and decode every picture",
    "fetch": "fetch the pictures of URL tables into tars",
    "pages": "turn web pages into interleaved documents",
    "dedup": "remove near-duplicates",
    "decontaminate": "remove documents that overlap evaluation data",
}


def action_modules() -> dict[str, ModuleType]:
    """The modules of the actions, in the order of ACTIONS."""
    return find_modules(__name__, ACTIONS)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_actions(parser, action_modules(), ACTIONS)


def run(args: argparse.Namespace) -> int:
    return int(action_modules()[args.action].run(args))
