"""Configuration files: YAML (1.2, so that `2e-4` is a number) to dataclasses and back, strict about every key.

Order: preset < file < overrides. A model's mapping may start from a preset, `model: {preset: picturebook, ...}`, or
from a file of one, `model: {preset: my-model.yaml, ...}`; a recipe from a packaged one: `recipe: kosmos-1`; a source of
it that is set to null is left out.
"""

from __future__ import annotations

import dataclasses
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from pydantic import TypeAdapter, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from kosmos.config import DataConfig, ModelConfig, TrainConfig, ValidationConfig
from kosmos.config_checks import problems
from kosmos.config_errors import describe_error
from kosmos.errors import ConfigError, nearest
from kosmos.storage import write_atomic

T = TypeVar("T")

PRESETS = Path(__file__).parent / "configs"
RECIPES = PRESETS / "recipes"
# What a mapping starts from is known before anything else is set in it.
_STARTS = ("preset", "recipe")


def load_config(path: str | Path, type_: type[T], overrides: Iterable[str] | Mapping[str, Any] = ()) -> T:
    """Read a YAML file as the dataclass `type_`, with overrides "optimizer.lr=1e-4" (or a mapping) on top.

    Raises ConfigError that lists every unknown key, wrong type and contradiction, one line each.
    """
    return config_from_mapping(read_yaml(path), type_, where=str(path), overrides=overrides)


def config_from_mapping(
    data: Mapping[str, Any],
    type_: type[T],
    where: str = "configuration",
    overrides: Iterable[str] | Mapping[str, Any] = (),
) -> T:
    """Plain data as the dataclass `type_`; `where` names its origin in messages. Raises ConfigError."""
    given = dict(overrides) if isinstance(overrides, Mapping) else dict(_parse_override(pair) for pair in overrides)
    merged: dict[str, Any] = _plain(data)
    for key, value in given.items():
        if key.split(".")[-1] in _STARTS:
            _set(merged, key, value)
    # What is wrong with a name that was given as an option is not the file's fault.
    merged = _expand(merged, type_, "command line" if any(k.split(".")[-1] in _STARTS for k in given) else where)
    for key, value in given.items():
        if key.split(".")[-1] not in _STARTS:
            _set(merged, key, value)
    _drop_null_sources(merged, type_)

    def line(key: str, message: str) -> str:
        named = any(key == k or key.startswith(f"{k}.") or k.startswith(f"{key}.") for k in given)
        # Two keys contradict each other: the one that was just given is the one to look at.
        mentioned = any(re.search(rf"(?<![\w.]){re.escape(k)}(?![\w.])", message) for k in given)
        origin = "command line" if named or mentioned else where
        return f"{origin}: {key}: {message}" if key else f"{origin}: {message}"

    try:
        # JSON mode is strict about types and still takes a list for a tuple and 1 for 1.0.
        config: T = TypeAdapter(type_).validate_json(json.dumps(merged, default=str))
    except ValidationError as error:
        found = [describe_error(dict(item), type_) for item in error.errors(include_url=False)]
        raise ConfigError("\n".join(line(key, message) for key, message in found)) from error
    contradictions = problems(config)
    if contradictions:
        raise ConfigError("\n".join(line(key, message) for key, message in contradictions))
    return config


def config_to_mapping(config: Any) -> dict[str, Any]:
    """A configuration as plain data (dicts, lists, scalars), every key present."""
    return dict(_plain(dataclasses.asdict(config)))


def save_config(config: Any, path: str | Path) -> None:
    """Write a configuration as YAML with every key present; `load_config` gives an equal one back."""
    write_atomic(path, dump_yaml(config_to_mapping(config)))


def preset_mapping(name: str) -> dict[str, Any]:
    """The mapping of a packaged model preset, itself expanded. Raises ConfigError for an unknown name."""
    path = PRESETS / f"{name}.yaml"
    known = preset_names()
    if name not in known:
        raise ConfigError(f"no preset '{name}'{nearest(str(name), known)}; there are: {', '.join(known)}")
    return dict(_expand_model(read_yaml(path), str(path)))


def preset_names() -> list[str]:
    """Names of the packaged model presets, sorted."""
    return sorted(path.stem for path in PRESETS.glob("*.yaml"))


def recipe_names() -> list[str]:
    """Names of the packaged training recipes, sorted."""
    return sorted(path.stem for path in RECIPES.glob("*.yaml"))


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML mapping. Raises ConfigError that names the file and, for a syntax error, the line."""
    path = Path(path)
    try:
        data = parse_yaml(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot read the configuration: {error.strerror or error}") from error
    except MarkedYAMLError as error:
        place = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        reason = " ".join((error.problem or error.context or "syntax error").split())
        raise ConfigError(f"{path}{place}: not valid YAML: {reason}") from error
    except (YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not valid YAML: {' '.join(str(error).split())[:160]}") from error
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: must hold a mapping (key: value), not {type(data).__name__}")
    return data


def parse_yaml(text: str) -> Any:
    """The plain data of one YAML document."""
    return YAML(typ="safe", pure=True).load(text)


class _FlowList(list[Any]):
    """A list written on one line."""


def dump_yaml(data: Mapping[str, Any]) -> bytes:
    """YAML bytes of plain data: keys in their order, short lists on one line."""
    yaml: Any = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.width = 120
    yaml.sort_base_mapping_type_on_output = False
    yaml.allow_unicode = True
    yaml.representer.add_representer(
        _FlowList, lambda r, items: r.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=True)
    )
    out = io.BytesIO()
    yaml.dump(_flow(data), out)
    return out.getvalue()


def _flow(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _flow(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        items = [_flow(item) for item in value]
        return items if any(isinstance(item, dict | list) for item in items) else _FlowList(items)
    return value


def _plain(value: Any) -> Any:
    """A copy with str keys and lists, safe to change."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _parse_override(pair: str) -> tuple[str, Any]:
    key, separator, text = pair.partition("=")
    key = key.strip().removeprefix("--")
    if not separator or not key:
        raise ConfigError(f"command line: '{pair}' must have the form key=value, as optimizer.lr=1e-4")
    try:
        return key, parse_yaml(text)
    except YAMLError as error:
        raise ConfigError(
            f"command line: {key}: cannot read the value '{text}'; quote it as text: '\"...\"'"
        ) from error


def _set(data: dict[str, Any], key: str, value: Any) -> None:
    """Set a dotted key in nested mappings, and in lists by index."""
    *heads, last = key.split(".")
    here: Any = data
    for depth, part in enumerate([*heads, last]):
        final = depth == len(heads)
        if isinstance(here, list):
            if not part.isdecimal() or int(part) >= len(here):
                raise ConfigError(
                    f"command line: {key}: no entry '{part}' in a list of {len(here)}; give the whole list"
                )
            index: Any = int(part)
        else:
            index = part
            if not final and not isinstance(here.get(part), dict | list):
                here[part] = {}
        if final:
            here[index] = _plain(value)
        elif not isinstance(here[index], dict | list):
            raise ConfigError(f"command line: {key}: '{part}' is a single value and has no keys")
        else:
            here = here[index]


def _expand(data: dict[str, Any], type_: Any, where: str) -> dict[str, Any]:
    """`data` with what it, or a part of it, starts from."""
    if type_ is ModelConfig:
        return _expand_model(data, where)
    if type_ is TrainConfig:
        data = _expand_recipe(data, where)
    for name, hint in _parts(type_):
        if isinstance(data.get(name), dict):
            data[name] = _expand(data[name], hint, f"{where}: {name}")
    return data


def _parts(type_: Any) -> Iterator[tuple[str, Any]]:
    """The fields of a configuration class that are such classes themselves."""
    for name, hint in get_type_hints(type_).items() if dataclasses.is_dataclass(type_) else ():
        if dataclasses.is_dataclass(hint):
            yield name, hint


def _drop_null_sources(data: dict[str, Any], type_: Any) -> None:
    if type_ in (DataConfig, ValidationConfig) and isinstance(sources := data.get("sources"), dict):
        data["sources"] = {name: source for name, source in sources.items() if source is not None}
    for name, hint in _parts(type_):
        if isinstance(data.get(name), dict):
            _drop_null_sources(data[name], hint)


def _expand_recipe(data: dict[str, Any], where: str, seen: tuple[str, ...] = ()) -> dict[str, Any]:
    if "recipe" not in data:
        return data
    rest = dict(data)
    name = rest.pop("recipe")
    known = recipe_names()
    if name not in known:
        raise ConfigError(
            f"{where}: recipe: no recipe '{name}'{nearest(str(name), known)}; there are: {', '.join(known)}"
        )
    if name in seen:
        raise ConfigError(f"{where}: recipe: '{name}' starts from itself")
    base = _expand_recipe(read_yaml(RECIPES / f"{name}.yaml"), f"recipe {name}", (*seen, name))
    return _merge(base, rest)


def _expand_model(data: dict[str, Any], where: str, seen: tuple[str, ...] = ()) -> dict[str, Any]:
    if "preset" not in data:
        return data
    rest = dict(data)
    name = rest.pop("preset")
    known = preset_names()
    if name not in known and not str(name).endswith((".yaml", ".yml")):
        raise ConfigError(
            f"{where}: preset: no preset '{name}'{nearest(str(name), known)}; there are: {', '.join(known)}"
        )
    if name in seen:
        raise ConfigError(f"{where}: preset: '{name}' starts from itself")
    path = PRESETS / f"{name}.yaml" if name in known else Path(str(name))
    base = _expand_model(read_yaml(path), f"preset {name}", (*seen, name))
    return _merge(base, rest)


def _merge(base: Mapping[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in top.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged
