"""Show what a reader sees in a file: every segment in order, what is supervised, and what is wrong with bad records.

examples:
  kosmos data inspect book/pairs
  kosmos data inspect book/interleaved --records 3 --sheet pages.png
  kosmos data inspect laion/part-00000.parquet --reader laion --json

Without --reader the name and the first bytes of the file decide, and what was guessed is said. Compressed files and
tables of addresses can be inspected too, though training does not read them as they are.
"""

from __future__ import annotations

import argparse
import itertools
import json
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kosmos.cli.parser import positive

if TYPE_CHECKING:
    from kosmos.data.inspection import Seen
    from kosmos.data.picture_sheet import Card
    from kosmos.data.readers import BadRecord
    from kosmos.document import Document, Segment

_SHOWN = 300  # characters of a text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="a file, a folder or a pattern; local or an fsspec address")
    parser.add_argument("--reader", metavar="NAME", help="docs/data.md lists them (default: guessed)")
    parser.add_argument("--field", default="", metavar="F", help="column or key of the text (default: the usual one)")
    parser.add_argument("--records", type=positive, default=5, metavar="N", help="so many from the beginning (5)")
    parser.add_argument("--sheet", type=Path, metavar="OUT.png", help="draw the pictures with their texts here")
    parser.add_argument("--full", action="store_true", help="whole texts, not their beginnings")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    from kosmos.cli.tables import counted
    from kosmos.data.guessing import guess_reader
    from kosmos.data.inspection import look
    from kosmos.data.readers import BadRecord

    guess = None if args.reader else guess_reader(args.file)
    reader = args.reader or (guess.reader if guess else "")
    found = list(itertools.islice(look(reader, args.file, args.field), args.records))
    bad = sum(isinstance(record, BadRecord) for record in found)
    shown = [_describe(record) for record in found]
    if args.json:
        told = {"file": args.file, "reader": reader, "guessed_by": guess.reason if guess else None, "records": shown}
        print(json.dumps(told, ensure_ascii=False, indent=2))
    else:
        print(f"{args.file or 'generated'}: reader {reader}" + (f", guessed: {guess.reason}" if guess else ""))
        for description in shown:
            print("\n".join(_lines(description, args.full)))
        print(f"\n{counted(len(found), 'record')} shown, {bad} bad")
    if args.sheet:
        cards = [card for record in found if not isinstance(record, BadRecord) for card in _cards(record)]
        _write_sheet(args, reader, cards)
    return 0


def _describe(record: Seen | BadRecord) -> dict[str, Any]:
    from kosmos.data.readers import BadRecord

    if isinstance(record, BadRecord):
        return {"where": record.where, "bad": record.why, "detail": record.detail}
    return {"where": record.where, "segments": [_segment(segment) for segment in record.document]}


def _segment(segment: Segment) -> dict[str, Any]:
    from kosmos.document import Image, Text

    if isinstance(segment, Text):
        return {"text": segment.text, "supervised": segment.supervised}
    if isinstance(segment, Image):
        return {"image": _picture(segment)}
    return {segment.modality: None, "supervised": segment.supervised}


def _picture(image: Any) -> dict[str, Any]:
    from dataclasses import asdict

    from kosmos.data.inspection import address_of, picture_facts
    from kosmos.errors import ImageError
    from kosmos.images import decode_image

    if address := address_of(image):
        return {"address": address}
    try:
        facts = asdict(picture_facts(image))
        decode_image(image)
    except ImageError as error:
        return {"broken": str(error)}
    return facts


def _lines(described: dict[str, Any], full: bool) -> list[str]:
    from kosmos.cli.tables import printable

    lines = ["", printable(described["where"])]
    if "bad" in described:
        detail = f" ({printable(described['detail'])})" if described["detail"] else ""
        return [*lines, f"  BAD      {described['bad']}{detail}"]
    for segment in described["segments"]:
        if "text" in segment:
            lines += _text_lines(printable(segment["text"]), segment["supervised"], full)
        elif "image" in segment:
            lines.append(f"  image    {printable(_picture_words(segment['image']))}")
        else:
            lines.append(f"  {next(iter(segment))}")
    return lines


def _text_lines(text: str, supervised: bool, full: bool) -> list[str]:
    """The text, shortened unless `full`; what is not learned is called a prompt."""
    label = "text" if supervised else "prompt"
    shown = text if full or len(text) <= _SHOWN else f"{text[:_SHOWN]} ... ({len(text):,} characters)"
    wrapped = [
        piece for line in shown.split("\n") for piece in textwrap.wrap(line, 100, replace_whitespace=False) or [""]
    ]
    first, rest = (wrapped or [""])[0], wrapped[1:]
    return [f"  {label:<7}  {first}", *(f"           {line}" for line in rest)]


def _picture_words(picture: dict[str, Any]) -> str:
    from kosmos.cli.tables import readable_bytes

    if "address" in picture:
        return str(picture["address"])
    if "broken" in picture:
        return f"BROKEN: {picture['broken']}"
    return f"{picture['width']} x {picture['height']} {picture['form']}, {readable_bytes(picture['bytes'])}"


def _cards(record: Seen) -> list[Card]:
    """A card for each picture that is here, with the text that follows it, or where none does, the one before."""
    from kosmos.data.inspection import address_of
    from kosmos.data.picture_sheet import Card
    from kosmos.document import Image

    segments = list(record.document)
    return [
        Card(segment, _text_near(record.document, place), note=_picture_words(_picture(segment)))
        for place, segment in enumerate(segments)
        if isinstance(segment, Image) and address_of(segment) is None
    ]


def _text_near(document: Document, place: int) -> str:
    from kosmos.document import Text

    segments = list(document)
    near = segments[place + 1 : place + 2] + segments[max(0, place - 1) : place]
    return next((" ".join(segment.text.split()) for segment in near if isinstance(segment, Text)), "(no text)")


def _write_sheet(args: argparse.Namespace, reader: str, cards: list[Card]) -> None:
    import sys

    from kosmos.data.picture_sheet import write_sheet

    if not cards:
        print("no picture to draw: no contact sheet is written", file=sys.stderr)
        return
    name = args.file.rstrip("/").rpartition("/")[2] or reader
    write_sheet(args.sheet, cards, name, f"{reader}: {len(cards)} pictures of the first {args.records} records")
    print(f"contact sheet: {args.sheet}", file=sys.stderr if args.json else sys.stdout)
