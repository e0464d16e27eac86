"""The command `kosmos VERB ...`: finds the verb, runs it, turns errors into one line and an exit code."""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType, ModuleType
from typing import NoReturn

from kosmos import __version__
from kosmos.cli import heard_signals
from kosmos.cli.exit_codes import report
from kosmos.cli.parser import Parser
from kosmos.errors import UsageError, nearest

# Verb -> what `kosmos --help` says of it. The module of that name in this folder has the rest.
VERBS = {
    "demo": "train the small KOSMOS-1 from scratch and print what it can do",
    "train": "train a model from a recipe",
    "train-vision": "pretrain a small vision tower on pictures with captions",
    "generate": "continue text and pictures with a trained model",
    "score": "rank candidates for what follows text and pictures",
    "chat": "talk with a trained model about pictures, in the terminal",
    "serve": "answer over HTTP as OpenAI's API does, with a page to talk with",
    "evaluate": "measure a trained model on the picture book's held-out sets",
    "eval": "measure a trained model on the paper's datasets",
    "report": "print the report of a finished run again",
    "import": "bring in a Kosmos-2 checkpoint or a CLIP folder of transformers",
    "export": "hand a trained model on: our folder, transformers, Kosmos-2",
    "presets": "list, show and copy the named configurations of models",
    "recipes": "list, show and copy the packaged training recipes",
    "tokenizer": "train a SentencePiece tokenizer, or look into one",
    "data": "build training data",
    "bench": "measure how fast this machine runs a model, against what it allows",
    "doctor": "say what is wrong with the environment, a recipe, its data or a run",
}

# Verbs whose module cannot have their name: it is a word of Python's.
_MODULES = {"import": "import_weights"}

_EXAMPLES = """\
examples:
  kosmos demo
  kosmos presets show kosmos-1
  kosmos generate runs/demo -i cat.png "An image of"

`kosmos VERB --help` explains a verb. Exit codes: 0 done, 1 internal error, 2 usage or configuration, 3 data,
4 interrupted after saving, 5 disk full or damaged file. `--debug` shows the traceback of an error.
"""


def load_verb(name: str) -> ModuleType:
    """The module of a verb. Raises UsageError for an unknown one and names the nearest."""
    if name not in VERBS:
        raise UsageError(f"there is no verb '{name}'{nearest(name, VERBS)}; `kosmos --help` lists them")
    return importlib.import_module(f"kosmos.cli.{_MODULES.get(name, name.replace('-', '_'))}")


def verb_parser(name: str) -> Parser:
    """The parser of one verb, with its arguments; the module's docstring becomes help and examples."""
    module = load_verb(name)
    summary, _, rest = (module.__doc__ or "").partition("\n\n")
    parser = Parser(
        prog=f"kosmos {name}",
        description=summary,
        epilog=rest,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.add_arguments(parser)
    return parser


def _top_help() -> str:
    width = max(map(len, VERBS))
    lines = [f"  {name:<{width}}  {text}" for name, text in VERBS.items()]
    return "\n".join(
        [
            "usage: kosmos [--version] [--debug] VERB ...",
            "",
            "KOSMOS-1: a language model that reads text and pictures in any order.",
            "",
            "verbs:",
            *lines,
            "",
            _EXAMPLES,
        ]
    )


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_top_help(), end="")
        return 0 if arguments else 2
    if arguments[0] in ("-V", "--version"):
        print(f"kosmos {__version__}")
        return 0
    if arguments[0].startswith("-"):
        raise UsageError(f"the verb comes first, not {arguments[0]}; `kosmos --help` lists them")
    name, rest = arguments[0], arguments[1:]
    module = load_verb(name)
    parser = verb_parser(name)
    if hasattr(module, "keep_order"):  # a verb whose texts and pictures must keep the order given
        rest = module.keep_order(parser, rest)
    parsed = argparse.Namespace()
    if getattr(module, "TAKES_OVERRIDES", False):  # `--optimizer.lr 1e-4`: any key of the configuration
        parsed.overrides = parser.parse_known_args(rest, parsed)[1]
    else:
        parser.parse_args(rest, parsed)
    return int(module.run(parsed))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; never raises."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    end = given.index("--") if "--" in given else len(given)  # what follows `--` is text, not options
    debug = "--debug" in given[:end]
    try:
        code = _dispatch([argument for argument in given[:end] if argument != "--debug"] + given[end:])
        sys.stdout.flush()
        return code
    except SystemExit as stop:  # argparse after --help
        return stop.code if isinstance(stop.code, int) else 0
    except BrokenPipeError:  # `kosmos presets | head`: the reader has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except BaseException as error:
        if heard_signals.lost_in_import(error):
            interrupt = KeyboardInterrupt()
            interrupt.__cause__ = error  # for --debug
            return report(interrupt, debug)
        return report(error, debug)


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def entry_point() -> None:
    """What the installed command calls."""
    # Outside the training loops, which save first, SIGTERM ends a command as Ctrl-C does: one line, exit code 4.
    signal.signal(signal.SIGTERM, _terminate)
    heard_signals.listen()
    sys.exit(main())
