"""Errors meant for people: one line that says what is wrong, where, and what to do.

Every error raised on purpose derives from `KosmosError`; the command line prints its message as one line and
leaves with `exit_code`. A traceback is shown only with `--debug`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class KosmosError(Exception):
    """Base of all expected errors. `exit_code` is what a command leaves with."""

    exit_code = 1


class UsageError(KosmosError):
    """The command was called in a way that cannot work (exit code 2)."""

    exit_code = 2


class ConfigError(UsageError):
    """A configuration key is unknown, missing or of the wrong type (exit code 2)."""


class DataError(KosmosError):
    """Input data is missing, broken or of an unknown form (exit code 3)."""

    exit_code = 3


class ImageError(DataError):
    """A picture is missing, damaged, too large or of an unknown format (exit code 3)."""


class Interrupted(KosmosError):
    """Stopped by SIGINT or SIGTERM after the state was saved (exit code 4)."""

    exit_code = 4


class StorageError(KosmosError):
    """The disk is full, or a stored file is damaged (exit code 5)."""

    exit_code = 5


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ` (did you mean 'x'?)` for the nearest of `known`, or an empty string."""
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" (did you mean '{matches[0]}'?)" if matches else ""
