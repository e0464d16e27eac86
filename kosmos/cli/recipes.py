"""List, show and copy the packaged training recipes.

examples:
  kosmos recipes
  kosmos recipes show kosmos-1
  kosmos recipes copy kosmos-1-twin mine.yaml
  kosmos train kosmos-1-twin --out runs/twin

`kosmos train` takes a recipe by its name as well as by its file. A file of one's own may begin with `recipe: NAME` and
say only what is different. `copy` never writes over a file.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from kosmos.cli.presets import copy_text
from kosmos.config_files import recipe_names
from kosmos.presets import recipe_summary, recipe_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    actions.add_parser("list", help="list them (the default)").epilog = "example:\n  kosmos recipes list"
    show = actions.add_parser("show", help="print one as it is written")
    show.epilog = (
        "example:\n  kosmos recipes show kosmos-1\n\nEvery key, with what is inherited: kosmos train NAME --keys"
    )
    show.add_argument("name", metavar="NAME")
    copy = actions.add_parser("copy", help="copy one to a YAML file, to edit")
    copy.epilog = "example:\n  kosmos recipes copy kosmos-1-twin mine.yaml"
    copy.add_argument("name", metavar="NAME")
    copy.add_argument("file", type=Path, metavar="FILE", help="must not exist yet")


def run(args: argparse.Namespace) -> int:
    if args.action == "show":
        print(recipe_text(args.name).rstrip("\n"))
        return 0
    if args.action == "copy":
        return copy_text(recipe_text(args.name), args.file)
    names = recipe_names()
    width = max(map(len, names))
    for name in names:
        print(f"{name:<{width}}  {recipe_summary(name)}")
    return 0
