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


class PromptTooLong(UsageError):
    """A prompt leaves no room for an answer within the model's length (exit code 2)."""


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


# Of difflib's ratio: one letter wrong in three is near, another word with some letters in common is not.
_NEAR = 0.65


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ` (did you mean 'x'?)` for the nearest of `known`, or an empty string."""
    found = nearest_name(name, known)
    return f" (did you mean '{found}'?)" if found else ""


def nearest_name(name: str, known: Iterable[str]) -> str | None:
    """The nearest of `known`, or None when none is near."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1, cutoff=_NEAR)), None)
