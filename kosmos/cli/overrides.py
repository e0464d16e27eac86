"""`--optimizer.lr 1e-4`: any key of a configuration from the command line (preset < YAML < command line), by tyro."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import tyro

from kosmos.cli.parser import whole_number
from kosmos.errors import ConfigError, nearest


def keys(config: Any, prefix: str = "") -> Iterator[str]:
    """The dotted keys of every value in a configuration, as `data.sources.text.rows_per_step`."""
    if dataclasses.is_dataclass(config):
        items: list[tuple[str, Any]] = [(f.name, getattr(config, f.name)) for f in dataclasses.fields(config)]
    elif isinstance(config, Mapping):
        items = [(str(key), value) for key, value in config.items()]
    elif isinstance(config, tuple) and config and dataclasses.is_dataclass(config[0]):
        items = [(str(index), value) for index, value in enumerate(config)]
    else:
        yield prefix
        return
    for name, value in items:
        yield from keys(value, f"{prefix}.{name}" if prefix else name)


def _check_names(config: Any, arguments: Sequence[str]) -> None:
    known = list(keys(config))
    for position, argument in enumerate(arguments):
        if not argument.startswith("--"):
            if position == 0:
                raise ConfigError(f"unexpected argument: {argument}")
            continue
        name = argument[2:].split("=")[0].replace("-", "_")
        bare = re.sub(r"(^|\.)no_(?=[^.]+$)", r"\1", name)  # `--model.decoder.no-sub-ln`
        if name not in known and bare not in known:
            raise ConfigError(f"unknown configuration key: --{argument[2:].split('=')[0]}{nearest(name, known)}")


def _one_line(framed: str) -> str:
    """The message in tyro's frame: title, rule, message, rule, advice."""
    blocks = re.split(r"^.*(?:──|---).*$", framed, flags=re.MULTILINE)
    message = " ".join(blocks[1 if len(blocks) > 1 else 0].replace("│", " ").split())
    return message or "the configuration on the command line could not be read"


def _registry() -> tyro.constructors.ConstructorRegistry:
    """Whole numbers as people write them (`--steps 32K`)."""
    registry = tyro.constructors.ConstructorRegistry()

    @registry.primitive_rule
    def _integers(info: tyro.constructors.PrimitiveTypeInfo) -> tyro.constructors.PrimitiveConstructorSpec[int] | None:
        if info.type is not int:
            return None

        def read(words: list[str]) -> int:
            try:
                return whole_number(words[0])
            except Exception as error:
                raise ValueError(str(error)) from None

        return tyro.constructors.PrimitiveConstructorSpec(
            nargs=1,
            metavar="INT",
            instance_from_str=read,
            is_instance=lambda value: isinstance(value, int) and not isinstance(value, bool),
            str_from_instance=lambda value: [str(value)],
        )

    return registry


def apply_overrides(config: Any, arguments: Sequence[str]) -> Any:
    """`config` with the values of `arguments`. Raises ConfigError, one line, for an unknown key or a wrong value."""
    if not arguments:
        return config
    _check_names(config, arguments)
    said = io.StringIO()
    try:
        with _registry(), contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            return tyro.cli(type(config), default=config, args=arguments, config=(tyro.conf.AvoidSubcommands,))
    except SystemExit:
        raise ConfigError(_one_line(said.getvalue())) from None


def describe(config: Any) -> str:
    """Every key with its type, present value and meaning, as tyro prints it."""
    said = io.StringIO()
    with _registry(), contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        tyro.cli(
            type(config),
            default=config,
            args=["--help"],
            prog="kosmos train CONFIG --out DIR",
            config=(tyro.conf.AvoidSubcommands,),
        )
    return said.getvalue()
