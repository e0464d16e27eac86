"""Measure a model on the paper's datasets (Table 1), with their prompts, demonstrations and metrics.

examples:
  kosmos eval list
  kosmos eval prepare boolq
  kosmos eval runs/mine --tasks table1 --shots 0,4 --data eval-data
  kosmos eval runs/mine --tasks boolq,piqa --prompt lm_eval --limit 200
  torchrun --nproc-per-node 8 -m kosmos eval runs/mine --tasks table1 --device cuda
  kosmos eval compare runs/a/eval runs/b/eval
  kosmos eval tables runs/kosmos/eval runs/llm/eval

`kosmos eval ACTION --help` explains an action; docs/evaluation.md says where each dataset comes from and how its files
must lie. The picture book's own held-out sets are `kosmos evaluate`.
"""

from __future__ import annotations

import argparse
from types import ModuleType

from kosmos.cli.actions import add_actions, find_modules

# Action -> what `kosmos eval --help` says of it. The module of the same name in this folder has the rest.
ACTIONS = {
    "run": "evaluate a run on datasets (the word may be left out)",
    "list": "list the datasets with their splits, shots, prompts and metrics",
    "prepare": "fetch a dataset, or say exactly how to obtain and place it",
    "iq": "make stand-ins for the unreleased IQ test",
    "measure": "compute samples and metrics again from the responses on disk",
    "report": "write the report page again from metrics and samples",
    "compare": "compare two evaluations item by item",
    "tables": "the paper's comparisons of a KOSMOS model with its language-only twin",
    "submission": "write the file that a benchmark's server takes",
}


# A module called `run` would hide the function of that name below.
_FILES = {"run": "datasets"}


def action_modules() -> dict[str, ModuleType]:
    """The modules of the actions, in the order of ACTIONS."""
    return find_modules(__name__, ACTIONS, _FILES)


def keep_order(parser: argparse.ArgumentParser, words: list[str]) -> list[str]:
    """`kosmos eval RUN ...` is `kosmos eval run RUN ...`."""
    if words and words[0] not in ACTIONS and not words[0].startswith("-"):
        return ["run", *words]
    return words


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_actions(parser, action_modules(), ACTIONS)


def run(args: argparse.Namespace) -> int:
    return int(action_modules()[args.action].run(args))
