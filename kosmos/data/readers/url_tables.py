"""Tables and pages whose pictures are URLs: LAION, COYO, CC3M, CC12M, MMC4, OBELICS. Sequential: they must be fetched.

Field orders and names are those of the published files; capital letters do not matter.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from kosmos.data.readers import BadRecord
from kosmos.data.readers.compressed import read_lines
from kosmos.data.readers.parquet import Table
from kosmos.data.readers.records import (
    RawRecord,
    clean_text,
    decode_text,
    interleaved_record,
    pair_record,
    parse_object,
)

URL_COLUMNS = ("url",)
CAPTION_COLUMNS = ("text", "caption", "top_caption")
# CC3M lists the caption first, CC12M the URL.
TSV_COLUMNS = {"cc3m": ("caption", "url"), "cc12m": ("url", "caption")}


def pair_table(path: str, field: str) -> Iterator[RawRecord | BadRecord]:
    """Rows of a parquet with a URL and a caption (LAION, COYO); the other columns go to `meta`."""
    for where, row in parquet_rows(path):
        if isinstance(row, BadRecord):
            yield row
            continue
        url_name = _find(row, URL_COLUMNS)
        caption_name = _find(row, (field,) if field else CAPTION_COLUMNS)
        if url_name is None or caption_name is None:
            missing = "url" if url_name is None else field or "text"
            yield BadRecord(where, "no column", f"{missing}; there are: {', '.join(row)}")
            continue
        url = clean_text(row[url_name])
        if not url:
            yield BadRecord(where, "bad row", "no URL")
            continue
        meta = {name: value for name, value in row.items() if name not in (url_name, caption_name)}
        yield pair_record(url, row[caption_name], where, meta)


def pair_lines(path: str, order: tuple[str, str]) -> Iterator[RawRecord | BadRecord]:
    """Rows of a table of two columns parted by a tab, without quotes and, as a rule, without a header."""
    for offset, line in read_lines(path):
        where = f"{path} byte {offset}"
        if line is None:
            yield BadRecord(where, "record too large")
            continue
        if not line.strip():
            continue
        text = decode_text(line, where)
        if isinstance(text, BadRecord):
            yield text
            continue
        cells = text.rstrip("\r\n").split("\t")
        if offset == 0 and sorted(cell.lower() for cell in cells) == sorted(order):
            # Tools that want names in the first line have people add them.
            order = (cells[0].lower(), cells[1].lower())
            continue
        if len(cells) != 2:
            yield BadRecord(where, "bad row", f"{len(cells)} columns instead of 2")
            continue
        row = dict(zip(order, cells))
        if not row["url"].startswith(("http://", "https://")):
            turned = row["caption"].startswith(("http://", "https://"))
            hint = "the columns stand in the other order: is it cc3m or cc12m?" if turned else "no URL"
            yield BadRecord(where, "bad row", hint)
            continue
        yield pair_record(row["url"], row["caption"], where)


def obelics(path: str) -> Iterator[RawRecord | BadRecord]:
    """OBELICS: `images` and `texts` complement each other; `metadata` and `general_metadata` are JSON in text."""
    for where, row in parquet_rows(path):
        if isinstance(row, BadRecord):
            yield row
            continue
        texts, images = row.get("texts"), row.get("images")
        if not isinstance(texts, list) or not isinstance(images, list):
            missing = "texts" if not isinstance(texts, list) else "images"
            yield BadRecord(where, "no column", f"{missing}; there are: {', '.join(row)}")
            continue
        meta = {name: _inner_json(row.get(name)) for name in ("metadata", "general_metadata") if row.get(name)}
        yield interleaved_record(texts, images, where, meta)


def mmc4(line: bytes, where: str) -> RawRecord | BadRecord:
    """MMC4: sentences, and pictures each matched to one of them, before which it is put."""
    fields = parse_object(line, where)
    if isinstance(fields, BadRecord):
        return fields
    sentences, pictures = fields.get("text_list"), fields.get("image_info")
    if not isinstance(sentences, list) or not isinstance(pictures, list):
        return BadRecord(where, "no text field", "text_list and image_info must be lists")
    before: dict[int, list[str]] = {}
    for picture in pictures:
        place = picture.get("matched_text_index") if isinstance(picture, dict) else None
        url = clean_text(picture.get("raw_url")) if isinstance(picture, dict) else None
        if url is None or type(place) is not int or not 0 <= place < len(sentences):
            return BadRecord(where, "bad json", "a picture without raw_url or matched_text_index")
        before.setdefault(place, []).append(url)
    texts: list[str | None] = []
    images: list[str | None] = []
    run: list[str] = []
    for number, sentence in enumerate(sentences):
        if clean_text(sentence) is None:
            return BadRecord(where, "bad json", "a text is no string")
        if number in before:
            if run:
                texts, images, run = [*texts, " ".join(run)], [*images, None], []
            texts += [None] * len(before[number])
            images += before[number]
        run.append(sentence)
    if run:
        texts, images = [*texts, " ".join(run)], [*images, None]
    return interleaved_record(texts, images, where, {"url": fields.get("url")})


def parquet_rows(path: str) -> Iterator[tuple[str, dict[str, Any] | BadRecord]]:
    """(where, all fields) of each row; a damaged row group is one BadRecord."""
    table = Table(path)
    if table.cut_short:
        yield path, BadRecord(path, "parquet cut short", "the footer is missing")
        return
    first = 0
    for number, size in enumerate(table.group_sizes()):
        try:
            group = table.read_group(number, list(table.columns))
        except (OSError, ValueError) as error:
            bad = BadRecord(f"{path} row {first}", "damaged row group", str(error).splitlines()[0])
            yield bad.where, bad
        else:
            for row in range(size):
                where = f"{path} row {first + row}"
                try:
                    yield where, {name: group.column(name)[row].as_py() for name in table.columns}
                except UnicodeDecodeError as error:
                    yield where, BadRecord(where, "not utf-8", str(error))
        first += size


def _find(row: dict[str, Any], names: tuple[str, ...]) -> str | None:
    """The column called like the first of `names` that there is."""
    known = {name.lower(): name for name in row}
    return next((known[name.lower()] for name in names if name.lower() in known), None)


def _inner_json(value: object) -> object:
    """JSON within a field of text; the text where it is none."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value
