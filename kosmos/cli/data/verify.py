"""Read every record of a corpus and decode every picture; check indices and manifests against the files.

examples:
  kosmos data verify book/pairs --reader pairs_tar
  kosmos data verify book/interleaved --reader interleaved_tar --workers 2 --log bad.jsonl
  kosmos data verify book/text --reader jsonl --max-bad-fraction 0.001 --json

Prints one line. Exit code 3 when more records are bad than --max-bad-fraction allows (default: none), or when a
whole file is damaged: cut short, changed since its manifest was written, or with an index that does not fit.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from kosmos.cli.parser import whole_number
from kosmos.errors import DataError, StorageError, UsageError

if TYPE_CHECKING:
    from kosmos.data.verification import Verification


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", metavar="PATH", help="a file, a folder or a pattern; local or an fsspec address")
    parser.add_argument("--reader", metavar="NAME", help="docs/data.md lists them (default: guessed)")
    parser.add_argument("--field", default="", metavar="F", help="column or key of the text (default: the usual one)")
    parser.add_argument("--max-bad-fraction", type=_fraction, default=0.0, metavar="X", help="allowed (default: 0)")
    parser.add_argument("--log", type=Path, metavar="FILE", help="name every problem here, one JSON object a line")
    parser.add_argument("--workers", type=whole_number, default=0, metavar="N", help="processes (default: this one)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    from kosmos.config import CorpusConfig
    from kosmos.data.guessing import guess_reader
    from kosmos.data.readers import BadRecord
    from kosmos.data.verification import verify

    guess = None if args.reader else guess_reader(args.path)
    reader = args.reader or (guess.reader if guess else "")
    _check_log(args, reader)
    begin = time.perf_counter()
    with contextlib.ExitStack() as stack:
        # Opened once the files are listed: a log in their folder is none of them.
        log: TextIO | None = None

        def write(problem: BadRecord) -> None:
            nonlocal log
            if args.log is not None:
                log = log or stack.enter_context(_open_log(args.log))
                log.write(json.dumps(asdict(problem), ensure_ascii=False) + "\n")

        found = verify(CorpusConfig(reader, args.path, field=args.field), args.workers, write)
        if args.log is not None and log is None:
            stack.enter_context(_open_log(args.log))  # empty: nothing was found
    seconds = time.perf_counter() - begin
    _print(args, reader, guess.reason if guess else None, found, seconds)
    _judge(args, found)
    return 0


def _check_log(args: argparse.Namespace, reader: str) -> None:
    """Raises StorageError or UsageError for a log that cannot be written, before hours go into reading."""
    if args.log is None:
        return
    from kosmos.data.inspection import files_of

    if not args.log.parent.is_dir():
        raise StorageError(f"{args.log}: cannot write: no such folder")
    if str(args.log.resolve()) in {str(Path(file).resolve()) for file in files_of(reader, args.path, args.field)}:
        raise UsageError(f"{args.log}: one of the files to verify; choose another name for the log")


def _open_log(path: Path) -> TextIO:
    try:
        return path.open("w", encoding="utf-8")
    except OSError as error:
        raise StorageError(f"{path}: cannot write: {error.strerror}") from error


def _fraction(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number") from None
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text}: must be between 0 and 1")
    return value


def _print(args: argparse.Namespace, reader: str, guessed_by: str | None, found: Verification, seconds: float) -> None:
    if args.json:
        told = {
            "path": args.path,
            "reader": reader,
            "guessed_by": guessed_by,
            "records": found.records,
            "pictures": found.pictures,
            "addresses": found.addresses,
            "bad_records": dict(found.bad.most_common()),
            "bad_files": [asdict(problem) for problem in found.files],
            "seconds": round(seconds, 3),
        }
        print(json.dumps(told, ensure_ascii=False, indent=2))
        return
    from kosmos.cli.tables import counted

    name = f"{reader} (guessed)" if guessed_by else reader
    parts = [counted(found.records, "record"), counted(found.pictures, "picture")]
    if found.addresses:
        parts.append(counted(found.addresses, "picture") + " to be fetched")
    reasons = ", ".join(f"{why} {count:,}" for why, count in found.bad.most_common())
    parts.append(f"{found.bad_records:,} bad" + (f" ({reasons})" if reasons else ""))
    if found.files:
        parts.append(counted(len(found.files), "damaged file"))
    print(f"{args.path}: {name}: {', '.join(parts)}; {seconds:.1f} s")


def _judge(args: argparse.Namespace, found: Verification) -> None:
    """Raises DataError when too much is bad."""
    hint = f"; {args.log} names each" if args.log else "; --log FILE names each"
    if found.files:
        first = found.files[0]
        raise DataError(f"{first.where}: {first.why}: {first.detail}" + (hint if len(found.files) > 1 else ""))
    if found.bad_records > args.max_bad_fraction * found.records:
        raise DataError(
            f"{args.path}: {found.bad_records:,} of {found.records:,} records are bad, more than --max-bad-fraction "
            f"{args.max_bad_fraction:g} allows{hint}"
        )
