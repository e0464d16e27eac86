"""Train a SentencePiece tokenizer, or look into one.

examples:
  kosmos tokenizer train corpus.txt more.jsonl --out tokenizer --vocab-size 4K
  kosmos tokenizer show tokenizer
  kosmos tokenizer show tokenizer "A cat on a mat."

`train` reads plain text (one line at a time) and .jsonl files (the field "text"); it writes DIR/tokenizer.model.
The special tokens of the model's vocabulary (`<mask> </doc> <image> </image> </chunk> </line>`) come on top, and so do
those of --special, which a modality of your own wants.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

from kosmos.cli.parser import positive
from kosmos.errors import DataError, UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    train = actions.add_parser("train", help="train a new tokenizer", description="Train a SentencePiece tokenizer.")
    train.epilog = "example:\n  kosmos tokenizer train corpus.txt --out tokenizer --vocab-size 4K"
    train.add_argument("files", nargs="+", type=Path, metavar="FILE", help="plain text or .jsonl")
    train.add_argument("--out", type=Path, required=True, metavar="DIR", help="new folder for the tokenizer")
    train.add_argument("--vocab-size", type=positive, required=True, metavar="N", help="number of pieces")
    train.add_argument(
        "--special",
        dest="specials",
        action="append",
        default=[],
        metavar="TOKEN",
        help="a further special token, as `<speech>`; may be repeated",
    )
    show = actions.add_parser("show", help="say what a tokenizer holds", description="Say what a tokenizer holds.")
    show.epilog = 'example:\n  kosmos tokenizer show tokenizer "A cat on a mat."'
    show.add_argument("path", type=Path, metavar="TOKENIZER", help="a .model file, or a folder with one")
    show.add_argument("text", nargs="?", help="show how this text is cut into pieces")


def run(args: argparse.Namespace) -> int:
    return _train(args) if args.action == "train" else _show(args)


def read_texts(files: list[Path]) -> Iterator[str]:
    """The non-empty lines of plain text files, the "text" fields of .jsonl files. Raises DataError with file:line."""
    for file in files:
        try:
            with file.open(encoding="utf-8") as lines:
                for number, line in enumerate(lines, start=1):
                    text = _field(line, f"{file}:{number}") if file.suffix == ".jsonl" else line.rstrip("\n")
                    if text:
                        yield text
        except UnicodeDecodeError as error:
            raise DataError(f"{file}: not UTF-8 text: {error.reason} at byte {error.start}") from error
        except OSError as error:
            raise DataError(f"{file}: cannot read the text: {error.strerror}") from error


def _field(line: str, where: str) -> str:
    try:
        text = json.loads(line)["text"]
    except (json.JSONDecodeError, TypeError, KeyError) as error:
        raise DataError(f'{where}: expected one JSON object with a field "text" on each line') from error
    if not isinstance(text, str):
        raise DataError(f'{where}: the field "text" is not text')
    return text


def _train(args: argparse.Namespace) -> int:
    if args.out.exists():
        raise UsageError(f"{args.out} is there already; choose another --out or remove it")
    for file in args.files:
        if not file.is_file():
            raise DataError(f"{file}: no such file")
    from kosmos.tokenizer import SPECIALS, Tokenizer

    for name in args.specials:
        if name in SPECIALS or args.specials.count(name) > 1:
            raise UsageError(f"--special {name}: it is there already")
    texts = list(read_texts(args.files))  # whole first: an error inside SentencePiece's loop would lose its words
    tokenizer = Tokenizer.train(texts, args.out / "tokenizer.model", args.vocab_size)
    if args.specials:
        tokenizer = Tokenizer.load(args.out / "tokenizer.model", args.specials)
    tokenizer.save(args.out)
    print(
        f"{args.out}: {tokenizer.vocab_size} entries ({args.vocab_size} pieces and the special tokens); "
        f"model.decoder.vocab_size: {tokenizer.vocab_size}"
    )
    return 0


def _show(args: argparse.Namespace) -> int:
    from kosmos.tokenizer import Tokenizer

    tokenizer = Tokenizer.load(args.path)
    print(f"{args.path}: {tokenizer.vocab_size} entries, sha256 {tokenizer.sha256}")
    if args.text is None:
        names = {
            "<s>": tokenizer.bos_id,
            "<pad>": tokenizer.pad_id,
            "</s>": tokenizer.eos_id,
            "<unk>": tokenizer.unk_id,
        }
        shown = ("<mask>", "<image>", "</image>", "</line>", *tokenizer.extra_specials)
        names |= {name: tokenizer.special_id(name) for name in shown}
        print("  ".join(f"{name} {index}" for name, index in names.items()))
        return 0
    for index in tokenizer.encode(args.text):
        print(f"{index:>6}  {tokenizer.id_to_piece(index)}")
    return 0
