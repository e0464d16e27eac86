"""Verbs of several actions, such as `kosmos data`: one module an action in the verb's folder."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Mapping
from importlib.util import find_spec
from types import MappingProxyType, ModuleType


def find_modules(
    package: str, actions: Mapping[str, str], files: Mapping[str, str] = MappingProxyType({})
) -> dict[str, ModuleType]:
    """The modules of the actions, in their order; `files` names those whose file is called otherwise."""
    names = {action: f"{package}.{files.get(action, action)}" for action in actions}
    return {action: importlib.import_module(name) for action, name in names.items() if find_spec(name)}


def add_actions(parser: argparse.ArgumentParser, modules: Mapping[str, ModuleType], actions: Mapping[str, str]) -> None:
    """One sub-parser an action; a module's docstring becomes its help and examples."""
    chosen = parser.add_subparsers(dest="action", required=True, metavar="ACTION", title="actions")
    for name, module in modules.items():
        summary, _, rest = (module.__doc__ or "").partition("\n\n")
        module.add_arguments(chosen.add_parser(name, help=actions[name], description=summary, epilog=rest))
