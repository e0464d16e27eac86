"""A folder of HTML with its pictures: what belongs to it, and nothing outside it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

SUFFIXES = (".html", ".htm", ".xhtml")
OUTSIDE = "outside the folder"
NOT_A_FILE = "not a regular file"
MISSING = "missing file"
TOO_LARGE = "too large"


def list_pages(root: Path) -> Iterator[tuple[str, str]]:
    """(path below `root`, why it is refused or "") of every page in sorted order. Linked folders are not entered."""
    for folder, folders, files in os.walk(root, followlinks=False):
        folders.sort()
        for name in sorted(files):
            if name.lower().endswith(SUFFIXES):
                path = Path(folder, name)
                refused = NOT_UTF8 if not _encodable(str(path)) else why_refused(path, root)
                yield path.relative_to(root).as_posix().encode("utf-8", "replace").decode(), refused


NOT_UTF8 = "file name is not UTF-8"


def why_refused(path: Path, root: Path) -> str:
    """Why a file is not read: its links lead outside the root or in a circle, or it is no regular file. "" for none."""
    try:
        resolved = path.resolve(strict=True)
        inside = resolved.is_relative_to(root.resolve())
        regular = stat.S_ISREG(resolved.stat().st_mode)
    except FileNotFoundError:
        return MISSING
    except (OSError, RuntimeError, ValueError):  # a circle of links, a name too long, a null byte
        return NOT_A_FILE
    return OUTSIDE if not inside else "" if regular else NOT_A_FILE


def read_capped(path: Path, limit: int) -> bytes | None:
    """The bytes of a regular file, or None when there are more than `limit`. Raises OSError."""
    # Not blocking: a pipe put in the file's place meanwhile would hold us forever.
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(0, NOT_A_FILE, str(path))
        data = file.read(limit + 1)
    return data if len(data) <= limit else None


def local_picture(root: Path, page: str, src: str, limit: int) -> bytes | str:
    """The picture that `page` (a path below `root`) links to by a relative address, or why there is none.

    An address that begins with a slash starts at the root.
    """
    try:
        name = unquote(urlsplit(src).path, errors="strict")
    except (ValueError, UnicodeDecodeError):
        return "bad address"
    if not name or "\0" in name:
        return "bad address"
    path = root / name.lstrip("/") if name.startswith("/") else (root / page).parent / name
    if refused := why_refused(path, root):
        return refused
    try:
        data = read_capped(path, limit)
    except OSError:
        return MISSING
    return TOO_LARGE if data is None else data


def _encodable(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
