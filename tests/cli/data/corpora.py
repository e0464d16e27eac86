"""Small corpora of every form, for the tests of `kosmos data`."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import zstandard
from PIL import Image

from kosmos.data.tar_writer import InterleavedTarWriter, PairsTarWriter
from tests.cli.tiny_run import COLOURS, png

PAIRS = 6
WET_PAGES = ("First page.\nIts second line.", "Another page.")


def jpeg(colour: tuple[int, int, int], width: int = 40, height: int = 20) -> bytes:
    """A wide JPEG of one colour."""
    file = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(file, "JPEG")
    return file.getvalue()


def write_lines(file: Path, rows: list[dict[str, Any]]) -> Path:
    """JSON lines, compressed as the name says."""
    raw = "".join(json.dumps(row) + "\n" for row in rows).encode()
    if file.suffix == ".gz":
        raw = gzip.compress(raw, mtime=0)
    elif file.suffix == ".zst":
        raw = zstandard.ZstdCompressor().compress(raw)
    file.write_bytes(raw)
    return file


def write_pairs(file: Path, broken: int = -1) -> Path:
    """PAIRS pictures of a colour with captions; picture number `broken` is cut in its middle."""
    with PairsTarWriter(file) as tar:
        for number in range(PAIRS):
            name, colour = list(COLOURS.items())[number % len(COLOURS)]
            picture = jpeg(colour) if number % 2 else png(colour)
            tar.add(f"{number:05d}", picture[: len(picture) // 2] if number == broken else picture, f"a {name} thing")
    return file


def write_interleaved(file: Path) -> Path:
    """Two documents: text and two pictures, of which the first text is a prompt; and text alone."""
    with InterleavedTarWriter(file) as tar:
        red, blue = png(COLOURS["red"]), png(COLOURS["blue"])
        tar.add("0", ["See this:", None, "It is red.", None], [None, red, None, blue], [False, False, True, False])
        tar.add("1", ["No picture here."], [None])
    return file


def write_table(file: Path, columns: dict[str, list[Any]]) -> Path:
    """A parquet file."""
    pyarrow.parquet.write_table(pyarrow.table(columns), file)
    return file


def write_wet(file: Path) -> Path:
    """A WET file of a WARC information record and WET_PAGES, each a gzip member, as Common Crawl writes them."""
    records = [("warcinfo", "about this file"), *(("conversion", page) for page in WET_PAGES)]
    members = []
    for number, (kind, text) in enumerate(records):
        body = text.encode()
        head = (
            f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Target-URI: http://example.com/{number}\r\n"
            f"Content-Type: text/plain\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        members.append(gzip.compress(head.encode() + body + b"\r\n\r\n", mtime=0))
    file.write_bytes(b"".join(members))
    return file


def write_all(folder: Path) -> dict[str, Path]:
    """One file of every form, by the name of its reader; compressed text is `jsonl.gz` and `jsonl.zst`."""
    texts = [{"text": f"Sentence number {number}."} for number in range(20)]
    address = "http://example.com/cat.jpg"
    paragraphs = folder / "paragraphs.txt"
    paragraphs.write_text("One document\nof two lines.\n\nAnother document.\n", encoding="utf-8")
    whole = folder / "whole.txt"
    whole.write_text("A file that is one document.\n", encoding="utf-8")
    cc3m, cc12m = folder / "cc3m.tsv", folder / "cc12m.tsv"
    cc3m.write_text(f"a cat\t{address}\n", encoding="utf-8")
    cc12m.write_text(f"{address}\ta <PERSON> with a cat\n{address}\ta cat\n", encoding="utf-8")
    picture = {"bytes": png(COLOURS["green"]), "path": "green.png"}
    return {
        "jsonl": write_lines(folder / "text.jsonl", texts),
        "jsonl.gz": write_lines(folder / "packed.jsonl.gz", texts),
        "jsonl.zst": write_lines(folder / "dense.jsonl.zst", texts),
        "instructions": write_lines(
            folder / "instructions.jsonl", [{"instruction": "Name a colour.", "input": "", "output": "Red."}] * 2
        ),
        "parquet": write_table(folder / "text.parquet", {"text": ["One.", "Two."], "id": [1, 2]}),
        "text": whole,
        "text_blocks": paragraphs,
        "pairs_tar": write_pairs(folder / "pairs.tar"),
        "pairs_parquet": write_table(folder / "pairs.parquet", {"image": [picture], "caption": ["a green square"]}),
        "interleaved_tar": write_interleaved(folder / "interleaved.tar"),
        "wet": write_wet(folder / "crawl.warc.wet.gz"),
        "laion": write_table(folder / "laion.parquet", {"URL": [address], "TEXT": ["a cat"], "similarity": [0.3]}),
        "coyo": write_table(folder / "coyo.parquet", {"url": [address], "text": ["a cat"], "image_phash": ["0"]}),
        "cc3m": cc3m,
        "cc12m": cc12m,
        "mmc4": write_lines(
            folder / "docs_shard_0_v2.jsonl",
            [{"text_list": ["A cat."], "image_info": [{"raw_url": address, "matched_text_index": 0}], "url": "x"}],
        ),
        "obelics": write_table(folder / "obelics.parquet", {"images": [[None, address]], "texts": [["A cat.", None]]}),
    }
