"""argparse with errors as `UsageError`: one line, and the nearest option when one is misspelled."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from typing import Any, NoReturn

from kosmos.errors import UsageError, nearest


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that raises instead of printing its usage, and takes no abbreviated options."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("allow_abbrev", False)
        kwargs.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(*args, **kwargs)

    def error(self, message: str) -> NoReturn:
        if choice := re.search(r"invalid choice: '?([^' ]+)'? \(choose from (.*)\)", message):
            message += nearest(choice.group(1), re.findall(r"[^', ]+", choice.group(2)))
        raise UsageError(f"{message}; see `{self.prog} --help`")

    # argparse's own overloads say the same for a namespace of any type.
    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        parsed, unknown = self.parse_known_args(args, namespace)
        if unknown:
            word = next((item for item in unknown if item.startswith("-")), unknown[0])
            hint = nearest(word, self._option_string_actions) if word.startswith("-") else ""
            self.error(f"unexpected argument: {word}{hint}")
        return parsed


def whole_number(text: str) -> int:
    """An integer as people write it: `500`, `2_000`, `32K` (thousands), `1.5M` (millions)."""
    factors = {"K": 1_000, "M": 1_000_000, "B": 1_000_000_000}
    factor = factors.get(text[-1:].upper(), 1)
    digits = text[:-1] if factor > 1 else text
    try:
        value = float(digits) * factor if factor > 1 else int(digits)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number (like 500 or 32K)") from None
    if value != int(value):
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number (like 500 or 32K)")
    return int(value)


def positive(text: str) -> int:
    """A whole number of at least 1."""
    value = whole_number(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text}: must be at least 1")
    return value
