"""Configuration files: YAML in and out, and strictly checked dataclasses made from it."""

from __future__ import annotations

import dataclasses
import io
import json
import types
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from kosmos.errors import ConfigError, nearest

_Config = TypeVar("_Config")


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML mapping. Raises ConfigError that names the file and, for a syntax error, the line."""
    path = Path(path)
    try:
        data = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot read: {error.strerror or error}") from error
    except (YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid YAML: {' '.join(str(error).split())[:200]}") from error
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: must hold a mapping (key: value), not {type(data).__name__}")
    return data


def dump_yaml(data: dict[str, Any]) -> bytes:
    """YAML bytes of plain data, keys in their order."""
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False
    out = io.BytesIO()
    yaml.dump(data, out)
    return out.getvalue()


def parse_config(kind: type[_Config], data: dict[str, Any], where: str) -> _Config:
    """Make a configuration dataclass of plain data; what is left out keeps its default.

    Raises ConfigError that lists every unknown key (with the nearest known one) and every wrong value, in one line.
    """
    try:
        # As JSON, so that YAML's lists may become tuples although every other type is strict.
        return TypeAdapter(kind).validate_json(json.dumps(data, default=str))
    except ValidationError as error:
        raise ConfigError(f"{where}: " + "; ".join(_explain(kind, entry) for entry in error.errors())) from None


def plain_config(config: Any) -> dict[str, Any]:
    """The plain data of a configuration dataclass, as `parse_config` takes it."""
    data: dict[str, Any] = TypeAdapter(type(config)).dump_python(config, mode="json")
    return data


def _explain(kind: Any, entry: Any) -> str:
    path = entry["loc"]
    name = ".".join(map(str, path))
    if entry["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        return f"unknown key '{name}'{nearest(str(path[-1]), _fields(kind, path[:-1]))}"
    if entry["type"] in ("missing", "missing_argument"):
        return f"missing key '{name}'"
    message = entry["msg"].removeprefix("Input should be ").replace("a valid ", "a ")
    return f"{name} must be {message}, not {json.dumps(entry['input'], default=str)[:60]}"


def _fields(kind: Any, path: tuple[Any, ...]) -> list[str]:
    """The known keys at a place inside the configuration class `kind`."""
    for step in path:
        if dataclasses.is_dataclass(kind):
            kind = get_type_hints(kind).get(str(step))
        elif get_args(kind):  # dict[str, X] or tuple[X, ...]
            kind = get_args(kind)[1 if get_origin(kind) is dict else 0]
        if isinstance(kind, types.UnionType):
            kind = next(member for member in get_args(kind) if member is not type(None))
    return [field.name for field in dataclasses.fields(kind)] if dataclasses.is_dataclass(kind) else []
