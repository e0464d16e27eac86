"""What is wrong with a configuration key, in words: pydantic's error items to one line each."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Iterator
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from kosmos.errors import nearest, nearest_name

_WANTED = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "dataclass_type": "a mapping (key: value)",
    "dict_type": "a mapping (key: value)",
    "tuple_type": "a list",
    "list_type": "a list",
    "none_required": "null",
}


def describe_error(item: dict[str, Any], type_: Any) -> tuple[str, str]:
    """(dotted key, message) of one item of pydantic's `ValidationError.errors()` for the dataclass `type_`."""
    location = [str(part) for part in item["loc"]]
    key, kind, value = ".".join(location), item["type"], item.get("input")
    if kind == "unexpected_keyword_argument":
        siblings = list(_children(_at(type_, location[:-1])))
        # What stands before the last dot is right, so it counts for nothing.
        sibling = nearest_name(location[-1], siblings)
        hint = f" (did you mean '{'.'.join([*location[:-1], sibling])}'?)" if sibling else ""
        elsewhere = [known for known in known_keys(type_) if known.split(".")[-1] == location[-1]]
        if elsewhere:
            hint = f" (did you mean '{elsewhere[0]}'?)"
        return key, f"unknown key{hint}"
    if kind in ("missing", "missing_argument"):
        return key, "missing; set it"
    if kind == "literal_error":
        choices = [str(choice) for choice in get_args(_at(type_, location))]
        return key, f"must be {' or '.join(choices)}, not {_show(value)}{nearest(str(value), choices)}"
    if kind in ("too_long", "too_short"):
        context = item.get("ctx", {})
        wanted = context.get("max_length", context.get("min_length"))
        return key, f"must be a list of {wanted}, not of {context.get('actual_length')}"
    if kind in _WANTED:
        return key, f"must be {_WANTED[kind]}, not {_show(value)}"
    message = str(item["msg"])
    return key, message[:1].lower() + message[1:]


def known_keys(type_: Any, prefix: str = "") -> Iterator[str]:
    """Every dotted key of a configuration class; `*` stands for the names of a mapping and the indices of a list."""
    for name, child in _children(type_).items():
        key = f"{prefix}.{name}" if prefix else name
        yield key
        yield from known_keys(child, key)


def _show(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, str):
        return f"the text '{value[:60]}'"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    return str(value)


def _children(type_: Any) -> dict[str, Any]:
    """The keys below a type, each with its own type."""
    type_ = _without_none(type_)
    if dataclasses.is_dataclass(type_):
        hints = get_type_hints(type_)
        return {f.name: hints[f.name] for f in dataclasses.fields(type_)}
    arguments = get_args(type_)
    if get_origin(type_) is dict:
        return {"*": arguments[1]}
    if get_origin(type_) is tuple and dataclasses.is_dataclass(arguments[0]):
        return {"*": arguments[0]}
    return {}


def _at(type_: Any, location: list[str]) -> Any:
    """The type at a dotted key; None where there is none."""
    for part in location:
        children = _children(type_)
        items = get_args(type_)[:1] if get_origin(type_) is tuple else ()
        type_ = children.get(part, children.get("*", *items))
        if type_ is None:
            return None
    return _without_none(type_) if get_origin(type_) is not Literal else type_


def _without_none(type_: Any) -> Any:
    if get_origin(type_) in (Union, types.UnionType):
        return next(choice for choice in get_args(type_) if choice is not type(None))
    return type_
