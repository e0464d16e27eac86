"""Talk with a trained model in the terminal, about pictures too.

examples:
  kosmos chat runs/demo
  kosmos chat runs/demo --set temperature=0.8 --set max_new_tokens=32
  kosmos chat runs/demo < questions.txt

/image FILE shows a picture: on a line of its own it belongs to the next question, inside a question it stands where it
is written. /help lists the other commands. Ctrl-C stops an answer; Ctrl-D or /quit leaves. What was said before is not
read again, so a turn costs its own tokens only. When the input is not a terminal, each line is a turn and the answers,
nothing else, go to standard output; a line that fails is named on standard error, and the exit code is 3 then.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import signal
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

from kosmos.cli.chat_line import COMMANDS, Command, parse_line
from kosmos.cli.engine_options import add_engine_options, open_engine
from kosmos.cli.tables import counted, printable
from kosmos.cli.user_modules import import_modules
from kosmos.errors import DataError, Interrupted, KosmosError, PromptTooLong, UsageError

if TYPE_CHECKING:
    from kosmos.api import Chat
    from kosmos.document import Document, Image
    from kosmos.inference.generation import Decoding

# Of the model's length, from which on it is said how much is left.
_NEARLY_FULL = 0.9


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, metavar="RUN", help="a run directory, a step, or a model folder")
    parser.add_argument(
        "--set",
        dest="settings",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="how answers are made, as /set does it: temperature, max_new_tokens, seed, num_beams ...",
    )
    add_engine_options(parser)


def run(args: argparse.Namespace) -> int:
    import_modules(args.modules)
    from kosmos.inference.generation import Decoding

    options = Decoding()
    for setting in args.settings:
        name, separator, value = setting.partition("=")
        if not separator:
            raise UsageError(f"--set {setting}: write NAME=VALUE, such as --set temperature=0.8")
        options = _changed(options, name, value)
    from kosmos.api import Chat

    engine = open_engine(args, max_slots=2)  # the conversation, and the answer that is being made
    with Chat(engine) as chat, _terminated_by_sigterm():
        _Conversation(chat, options, args.run).run()
    return 0


class _Conversation:
    """Reads lines until the input ends. Answers go to standard output, all else to standard error."""

    def __init__(self, chat: Chat, options: Decoding, run: Path) -> None:
        self._chat = chat
        self._options = options
        self._run = run
        self._shown: list[Image] = []  # pictures that wait for a question
        self._retries = 0
        self._failed = 0
        self._interactive = sys.stdin.isatty()

    def run(self) -> None:
        """Raises DataError at the end of an input that is no terminal, when lines of it failed."""
        if self._interactive:
            with contextlib.suppress(ImportError):
                import readline  # noqa: F401  gives `input` a history
            _say(f"{self._run}: ask away. /image FILE shows a picture, /help lists the commands, Ctrl-D leaves.")
        if hasattr(sys.stdin, "reconfigure"):
            sys.stdin.reconfigure(errors="replace")
        while (line := self._read_line()) is not None:
            try:
                meant = parse_line(line)
                if isinstance(meant, Command):
                    if meant.name == "quit":
                        break
                    self._do(meant)
                elif meant:
                    self._ask(meant)
            except Interrupted:
                raise
            except KosmosError as error:
                hint = "; here: /reset, /undo" if isinstance(error, PromptTooLong) and self._chat.turns else ""
                _say(f"{error}{hint}")
                self._failed += 1
        if self._failed and not self._interactive:  # whoever reads the answers by their number must know
            raise DataError(f"{counted(self._failed, 'line')} of the input failed, as said above")

    def _read_line(self) -> str | None:
        """The next line, or None at the end."""
        if not self._interactive:
            return sys.stdin.readline() or None
        while True:
            try:
                return input("> " if sys.stdout.isatty() else "")
            except EOFError:
                print()
                return None
            except KeyboardInterrupt:
                print()
                _say("Ctrl-D or /quit leaves")

    def _do(self, command: Command) -> None:
        if command.argument and command.name not in ("set", "save"):
            raise UsageError(f"/{command.name} stands alone; // begins a text with a slash")
        match command.name:
            case "reset":
                self._chat.reset()
                self._shown = []
                self._confirm("all is forgotten")
            case "undo":
                self._undo()
            case "retry":
                self._retry()
            case "set":
                self._set(command.argument)
            case "save":
                self._save(command.argument)
            case "help":
                width = max(map(len, COMMANDS)) + 2
                _say(f"{'/image':<{width}}FILE: show a picture, here or inside a question")
                for name, text in COMMANDS.items():
                    _say(f"{'/' + name:<{width}}{text}")

    def _ask(self, parts: list[str | Path]) -> None:
        from kosmos.document import Document, Image
        from kosmos.images import decode_image

        made: list[Image | str] = []
        for part in parts:
            made.append(Image(part) if isinstance(part, Path) else part)
            if isinstance(part, Path):
                decode_image(Image(part))  # what is none is said now
        pictures = [part for part in made if isinstance(part, Image)]
        if len(pictures) == len(made):
            self._shown += pictures
            if self._interactive:
                _say(f"{counted(len(self._shown), 'picture')} for the next question")
            return
        self._retries = 0
        self._answer(Document(*self._shown, *made))
        self._shown = []

    def _answer(self, question: Document) -> None:
        """Print an answer while it comes; Ctrl-C ends it, and what has come counts."""
        from kosmos.chat_format import Turn
        from kosmos.document import Document

        chat = self._chat
        before = list(chat.turns)
        chat.options = replace(self._options, seed=self._options.seed + self._retries)
        text = ""
        with _ctrl_c_asks() as stop:
            for delta in chat.stream(*question):
                text += delta
                sys.stdout.write(printable(delta) if sys.stdout.isatty() else delta)
                sys.stdout.flush()
                if stop:
                    break
        print(flush=True)
        if stop:
            chat.turns = [*before, Turn("user", question), Turn("assistant", Document(text))] if text else before
            _say("stopped" if text else "stopped; the question is forgotten")
        used = chat.num_tokens + len(chat.engine.processor.tokenizer.encode(text))
        if used > _NEARLY_FULL * chat.engine.max_length:
            _say(f"{used:,} of the model's {chat.engine.max_length:,} tokens are used; /reset begins anew")

    def _undo(self) -> None:
        if self._shown:
            self._shown = []
            self._confirm("the pictures are taken back")
        else:
            self._chat.undo()
            self._confirm(f"taken back; {counted(len(self._chat.turns) // 2, 'turn')} left")

    def _confirm(self, message: str) -> None:
        """Tell a person, not a pipe."""
        if self._interactive:
            _say(message)

    def _retry(self) -> None:
        turns = list(self._chat.turns)
        question = self._chat.undo()
        self._retries += 1
        if self._options.temperature == 0:
            _say("without drawing the answer is the same; /set temperature 0.8 draws")
        try:
            self._answer(question)
        except KosmosError:
            self._chat.turns = turns
            raise

    def _set(self, argument: str) -> None:
        if not argument:
            for key, value in asdict(self._options).items():
                _say(f"{key} {json.dumps(value, ensure_ascii=False)}")
            return
        name, value = re.split(r"\s*=\s*|\s+|$", argument, maxsplit=1)
        if not value:
            raise UsageError(f"/set {name} wants a value, as in /set temperature 0.8")
        self._options = _changed(self._options, name, value)

    def _save(self, argument: str) -> None:
        from kosmos.storage import write_atomic

        if not argument:
            raise UsageError("/save wants the name of a file")
        path = Path(argument.strip("\"'")).expanduser()
        if path.exists():
            raise UsageError(f"{path} is there already; choose another name")
        turns = [{"role": turn.role, "content": _content(turn.content)} for turn in self._chat.turns]
        saved = {
            "format": "kosmos-chat-1",
            "run": str(self._run),
            "chat_format": self._chat.engine.processor.chat_format,
            "options": asdict(self._options),
            "turns": turns,
        }
        write_atomic(path, (json.dumps(saved, indent=2, ensure_ascii=False) + "\n").encode("utf-8", "replace"))
        _say(f"{path}: {counted(len(turns) // 2, 'turn')}")


def _changed(options: Decoding, name: str, value: str) -> Decoding:
    """The options with one of them changed. Raises UsageError."""
    from kosmos.inference.generation import Decoding

    try:
        given: Any = json.loads(value)
    except ValueError:
        given = value.strip()
    name = name.replace("-", "_")
    if name == "num_results" and given != 1:
        raise UsageError("a chat has one answer; leave num_results as it is")
    return Decoding.from_fields({name: given}, options)


def _content(document: Document) -> list[str | dict[str, str]]:
    """As in a line of `kosmos generate --jsonl`; pictures by their whole path."""
    from kosmos.document import Image, Text

    parts: list[str | dict[str, str]] = []
    for segment in document:
        if isinstance(segment, Text):
            parts.append(segment.text)
        elif isinstance(segment, Image):
            parts.append({"image": os.path.abspath(segment.where)})
    return parts


def _say(message: str) -> None:
    print(printable(message), file=sys.stderr, flush=True)


@contextlib.contextmanager
def _ctrl_c_asks() -> Iterator[list[bool]]:
    """A list that is filled by the first Ctrl-C; a second one ends the program.

    Between two steps of the model the caches are as they should be, in the midst of one they need not be.
    """
    asked: list[bool] = []

    def handle(number: int, frame: FrameType | None) -> None:
        if asked:
            raise Interrupted("interrupted")
        asked.append(True)

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def _terminated_by_sigterm() -> Iterator[None]:
    """SIGTERM ends the program even where a Ctrl-C would not."""

    def handle(number: int, frame: FrameType | None) -> NoReturn:
        raise Interrupted("terminated")

    before = signal.signal(signal.SIGTERM, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
