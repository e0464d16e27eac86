"""`--optimizer.lr 1e-4`: any key of a configuration from the command line (preset < file < command line)."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Sequence
from typing import Any

from kosmos.cli.parser import whole_number
from kosmos.errors import UsageError

_THOUSANDS = re.compile(r"\d+(\.\d+)?[KMB]")


def read_overrides(arguments: Sequence[str]) -> list[str]:
    """`--a.b 1` and `--a.b=1` as "a.b=1"; `--a.no-b` and a bare `--a.b` as false and true; `32K` as 32000.

    Values are YAML: `[1, 2]`, `null`. Raises UsageError for what is not an option.
    """
    pairs: list[str] = []
    waiting = list(arguments)
    while waiting:
        option = waiting.pop(0)
        if not re.match(r"--[a-zA-Z]", option):
            raise UsageError(f"unexpected argument: {option}")
        name, separator, value = option[2:].partition("=")
        name = name.replace("-", "_")
        if not separator and waiting and not waiting[0].startswith("--"):
            value = waiting.pop(0)
        elif not separator:
            value = "true"
            if switched_off := re.fullmatch(r"(.*\.)?no_([^.]+)", name):
                name, value = (switched_off.group(1) or "") + switched_off.group(2), "false"
        if _THOUSANDS.fullmatch(value):
            value = str(whole_number(value))
        pairs.append(f"{name}={value}")
    return pairs


def describe(config: Any) -> str:
    """Every key of a configuration with its type, present value and meaning."""
    import tyro

    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        tyro.cli(
            type(config),
            default=config,
            args=["--help"],
            prog="kosmos train CONFIG --out DIR",
            config=(tyro.conf.AvoidSubcommands,),
        )
    return said.getvalue().rstrip("\n")
