"""`--import MODULE`: a module of the user's, which registers modalities, encoders or readers, is imported first."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from kosmos.errors import UsageError


def add_import_option(parser: argparse.ArgumentParser) -> None:
    """The option `--import`, whose values come as `args.modules`."""
    parser.add_argument(
        "--import",
        dest="modules",
        action="append",
        default=[],
        metavar="MODULE",
        help="import this module of yours first (speech, or speech.py); may be repeated",
    )


def import_modules(names: Sequence[str]) -> None:
    """Import modules by name, or by the name of a file in the working directory, which is searched first.

    Raises UsageError when there is none of that name; what a module itself raises is raised.
    """
    if names and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    for given in names:
        name = given.removesuffix(".py").replace(os.sep, ".")
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{name}.".startswith(f"{error.name}."):
                raise  # something that the module itself wants
            raise UsageError(
                f"--import {given}: no module of that name here or in this Python; it is looked for in {os.getcwd()} "
                "and where packages are installed"
            ) from error
