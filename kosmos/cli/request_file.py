"""`--jsonl FILE`: many requests answered in batches, into a file that can be gone on with; shared by its verbs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from kosmos.cli.engine_options import open_engine, score_options
from kosmos.cli.line_progress import LineProgress
from kosmos.cli.parser import positive, whole_number
from kosmos.cli.tables import counted, printable
from kosmos.errors import DataError, Interrupted, UsageError

if TYPE_CHECKING:
    from kosmos.inference.answer_file import AnswerFile
    from kosmos.inference.engine import Engine
    from kosmos.inference.requests import Request, RequestFile

Options = TypeVar("Options")

# Failed lines that are named on the terminal; the answers name them all.
_NAMED = 10
# A fixed number, so that answers that were gone on with are equal to those of one run to the bit.
_PICTURES_PER_CALL = 8


def add_file_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("many prompts")
    group.add_argument("--jsonl", type=Path, metavar="FILE", help="one request a line, answered in batches")
    group.add_argument("--out", type=Path, metavar="FILE", help="a new file for the answers, saved batch by batch")
    group.add_argument("--resume", action="store_true", help="go on with --out; lines with an error are tried again")
    group.add_argument("--batch-size", type=positive, default=64, metavar="N", help="prompts at once (default: 64)")
    group.add_argument(
        "--max-errors", type=whole_number, default=100, metavar="N", help="stop after more bad lines (default: 100)"
    )
    group.add_argument("--quiet", action="store_true", help="no progress, and bad lines are named in the answers only")


def check_file_options(args: argparse.Namespace) -> None:
    """Refuse what cannot work before torch is loaded."""
    if args.jsonl is not None and args.parts:
        raise UsageError("--jsonl brings its own prompts; leave out the pictures and texts")
    if args.jsonl is None and not args.parts:
        raise UsageError("there is no prompt: give a text, a picture (-i FILE) or many prompts (--jsonl FILE)")
    if args.out is not None and args.jsonl is None:
        raise UsageError("--out is for --jsonl; without it the answer goes to the terminal")
    if args.resume and args.out is None:
        raise UsageError("--resume goes on with a file of answers; name it with --out")
    if args.out is not None and args.out.exists() and not args.resume:
        raise UsageError(
            f"{args.out} is there already; go on with it (--resume), choose another --out, or remove it first"
        )


def answer_file(
    args: argparse.Namespace,
    requests: RequestFile[Options],
    options: Mapping[str, Any],
    ask: Callable[[Engine, list[Request[Options]]], Sequence[Mapping[str, Any]]],
) -> int:
    """Answer all requests; `options` are those of the command that the answers depend on."""
    from kosmos.inference.answer_file import AnswerFile
    from kosmos.inference.requests import key_of

    if args.out is None:
        run = _Run(args, requests, None)
        run.answer(ask)
        return 0
    about = {
        "format": "kosmos-answers-1",
        "requests": requests.sha256,
        "weights": _weights_sha256(args.run),
        "options": {**options, **score_options(args)},
    }
    keys = [key_of(item.id) for item in requests.items]
    with AnswerFile(args.out, about, set(keys), resume=args.resume) as file:
        run = _Run(args, requests, file)
        try:
            run.answer(ask)
            file.arrange(keys)
        except KeyboardInterrupt as stop:
            raise Interrupted(
                f"{args.out}: interrupted; {len(file.answered):,} of {counted(len(keys), 'line')} are saved: add "
                "--resume to go on"
            ) from stop
    return 0


class _Run:
    """One pass over the requests that are left: batches to the file (or to the terminal), failed lines counted."""

    def __init__(self, args: argparse.Namespace, requests: RequestFile[Options], file: AnswerFile | None) -> None:
        self._args = args
        self._requests = requests
        self._file = file
        self._num_failed = 0
        self._printed = 0
        self._waiting: dict[int, Mapping[str, Any]] = {}

    def answer(self, ask: Callable[[Engine, list[Request[Any]]], Sequence[Mapping[str, Any]]]) -> None:
        from kosmos.inference.answering import answer_batches, prompt_length

        args, items = self._args, self._requests.items
        done = {key for key, good in self._file.answered.items() if good} if self._file else set()
        if len(done) == len(items):
            LineProgress(len(items), quiet=args.quiet).say(f"{args.out}: all {counted(len(items), 'answer')} are there")
            return
        engine = open_engine(args, args.batch_size, _PICTURES_PER_CALL)
        with LineProgress(len(items), len(done), args.quiet) as progress:
            batches = answer_batches(
                items,
                lambda batch: ask(engine, batch),
                length=lambda request: prompt_length(engine, request),
                batch_size=args.batch_size,
                answered=done,
            )
            for batch in batches:
                self._save(batch)
                for place, answer in batch:
                    if "error" in answer:
                        self._count(place, answer["error"], progress)
                progress.advance(len(batch))
            if self._num_failed == len(items):
                raise DataError(f"{args.jsonl}: every line failed; the last error: {answer['error']}")
            if args.out is not None:
                good = counted(len(items) - self._num_failed, "answer")
                bad = f", {counted(self._num_failed, 'error')}" if self._num_failed else ""
                progress.say(f"{args.out}: {good}{bad}")

    def _save(self, batch: list[tuple[int, dict[str, Any]]]) -> None:
        from kosmos.inference.answer_file import answer_line
        from kosmos.inference.requests import key_of

        if self._file is not None:
            # A line that has failed before and fails again is there already.
            held = self._file.answered
            self._file.write([a for _, a in batch if not ("error" in a and key_of(a["id"]) in held)])
            return
        self._waiting.update(batch)
        while self._printed in self._waiting:  # in the order of the requests
            sys.stdout.write(answer_line(self._waiting.pop(self._printed)).decode())
            self._printed += 1
        sys.stdout.flush()

    def _count(self, place: int, error: str, progress: LineProgress) -> None:
        self._num_failed += 1
        line = f"{self._requests.items[place].where}: {error}"
        if self._num_failed > self._args.max_errors:
            saved = f"; what was answered is in {self._args.out}" if self._file is not None else ""
            raise DataError(
                f"{counted(self._num_failed, 'line')} failed, the last: {line}; --max-errors allows more{saved}"
            )
        if self._num_failed <= _NAMED:
            progress.say(printable(line))
        elif self._num_failed == _NAMED + 1:
            progress.say("further lines that fail are named in the answers only")


def _weights_sha256(run: Path) -> str:
    from kosmos.runs import WEIGHTS_FILE, resolve
    from kosmos.storage import file_sha256

    return file_sha256(resolve(run) / WEIGHTS_FILE)
