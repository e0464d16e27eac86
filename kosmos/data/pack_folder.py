"""A folder of pictures with captions, or of interleaved documents, as the tars that training reads.

pairs        a.jpg (or jpeg, png, webp, gif) and a.txt beside it, in FOLDER or below
interleaved  a.json {"texts": [text or null], "images": [file or null]}, the files beside it
"""

from __future__ import annotations

import glob
import io
import json
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import PIL.Image

from kosmos.data.readers.tar import PICTURE_SUFFIXES
from kosmos.data.tar_writer import InterleavedTarWriter, PairsTarWriter, ShardWriter
from kosmos.errors import DataError, ImageError, UsageError
from kosmos.images import MAX_MEGAPIXELS, decode_image
from kosmos.storage import commit_folder, make_folder, write_manifest

# What a camera or a scanner makes; above it a picture is a bomb, not a picture.
_MAX_MEGAPIXELS_TO_SHRINK = 400.0
_JPEG_QUALITY = 92
# Pictures that no reader takes: they are named, so that they are not missed in silence.
_OTHER_PICTURES = ("bmp", "tif", "tiff", "heic", "heif", "avif", "jxl", "svg")


@dataclass
class PackReport:
    """What was written and what was left out: counts by reason, and the first of each by name."""

    records: int = 0
    tars: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)

    def leave_out(self, path: Path, why: str, detail: str = "") -> None:
        self.left_out[why] += 1
        self.first.setdefault(why, detail or str(path))


def pack_folder(
    folder: Path, out: Path, *, interleaved: bool = False, shrink: int = 0, records_per_tar: int = 10_000
) -> PackReport:
    """Pack `folder` into tars in the new folder `out`, which appears whole or not at all.

    `shrink`: longer sides of pictures are brought to this, in pixels; 0: pictures stay as they are, byte for byte.
    Raises UsageError when `out` is there, DataError when nothing in `folder` can be packed, StorageError.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    if out.exists():
        raise UsageError(f"{out}: exists already; choose another folder")
    report = PackReport()
    temporary = out.with_name(f".{out.name}.partial")
    shutil.rmtree(temporary, ignore_errors=True)
    make_folder(temporary)
    try:
        if interleaved:
            _pack_interleaved(folder, temporary, report, shrink, records_per_tar)
        else:
            _pack_pairs(folder, temporary, report, shrink, records_per_tar)
        if not report.records:
            raise DataError(f"{folder}: {_nothing(interleaved, report)}")
        write_manifest(temporary)  # what `kosmos data verify` compares with
        commit_folder(temporary, out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return report


def _nothing(interleaved: bool, report: PackReport) -> str:
    if report.left_out:
        why, detail = next(iter(report.first.items()))
        return f"nothing in it can be packed; {why}: {detail}"
    if interleaved:
        return 'it holds no document: a.json with {"texts": [...], "images": [...]}'
    return f"it holds no picture ({', '.join(PICTURE_SUFFIXES)})"


def _pack_pairs(folder: Path, out: Path, report: PackReport, shrink: int, records_per_tar: int) -> None:
    with ShardWriter(out, PairsTarWriter, max_records=records_per_tar) as shards:
        for path in _files(folder, PICTURE_SUFFIXES):
            text = path.with_suffix(".txt")
            if not text.is_file():
                report.leave_out(path, "no .txt beside the picture")
                continue
            try:
                caption = text.read_text(encoding="utf-8-sig").strip()
                picture = _picture(path, shrink)
            except UnicodeDecodeError:
                report.leave_out(text, "the caption is not UTF-8")
            except ImageError as error:
                report.leave_out(path, "broken or too large a picture", str(error))
            else:
                if not caption:
                    report.leave_out(text, "empty caption")
                    continue
                tar, key = shards.next()
                tar.add(key, picture, caption, {"file": path.relative_to(folder).as_posix()})
                report.records += 1
    for path in _files(folder, _OTHER_PICTURES):
        report.leave_out(path, f"a picture of another form than {', '.join(PICTURE_SUFFIXES)}")
    for path in _files(folder, ("txt",)):
        if not any(path.with_suffix(f".{suffix}").is_file() for suffix in _found_suffixes(path)):
            report.leave_out(path, "no picture beside the caption")
    report.tars = len(shards.paths)


def _found_suffixes(caption: Path) -> list[str]:
    """The suffixes, as they are written, of the pictures beside a caption."""
    known = (*PICTURE_SUFFIXES, *_OTHER_PICTURES)
    beside = (path.suffix.removeprefix(".") for path in caption.parent.glob(f"{glob.escape(caption.stem)}.*"))
    return [suffix for suffix in beside if suffix.lower() in known]


def _pack_interleaved(folder: Path, out: Path, report: PackReport, shrink: int, records_per_tar: int) -> None:
    with ShardWriter(out, InterleavedTarWriter, max_records=records_per_tar) as shards:
        for path in _files(folder, ("json",)):
            try:
                layout = _layout(path)
                images = [None if name is None else _picture(path.parent / name, shrink) for name in layout["images"]]
                tar, key = shards.next()
                tar.add(key, layout["texts"], images, layout.get("supervised"))
            except ImageError as error:
                report.leave_out(path, "broken or too large a picture", str(error))
            except (DataError, UsageError) as error:
                report.leave_out(path, "not an interleaved document", f"{path}: {error}")
            else:
                report.records += 1
    report.tars = len(shards.paths)


def _files(folder: Path, suffixes: tuple[str, ...]) -> Iterator[Path]:
    """The files below a folder with one of these suffixes, in the order of their names; hidden ones are left out."""
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.suffix.lower().removeprefix(".") in suffixes and path.is_file() and not hidden:
            yield path


def _layout(path: Path) -> dict[str, Any]:
    try:
        layout = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise DataError(f"not JSON: {error}") from error
    if not isinstance(layout, dict) or not all(isinstance(layout.get(key), list) for key in ("texts", "images")):
        raise DataError('must be {"texts": [...], "images": [...]}')
    for key in ("texts", "images"):
        if not all(item is None or isinstance(item, str) for item in layout[key]):
            raise DataError(f'"{key}" must be a list of texts and nulls')
    return layout


def _picture(path: Path, shrink: int) -> bytes:
    """The bytes of a picture that training can read. Raises ImageError."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ImageError(f"{path}: cannot read the picture: {error.strerror or error}") from error
    try:
        picture = decode_image(data, _MAX_MEGAPIXELS_TO_SHRINK if shrink else MAX_MEGAPIXELS)
    except ImageError as error:
        raise ImageError(f"{path}: {str(error).partition(': ')[2]}") from error
    if not shrink or max(picture.size) <= shrink:
        return data
    picture.thumbnail((shrink, shrink), PIL.Image.Resampling.LANCZOS)
    out = io.BytesIO()
    if data.startswith(b"\xff\xd8\xff"):
        picture.save(out, "JPEG", quality=_JPEG_QUALITY)
    else:
        picture.save(out, "PNG")
    return out.getvalue()
