"""Checks a value against the part of JSON Schema that kosmos.evaluation.running.schema uses; jsonschema too, if any."""

from __future__ import annotations

import importlib
import importlib.util
import re
from collections.abc import Iterator
from typing import Any

_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list, tuple),
    "string": (str,),
    "boolean": (bool,),
    "null": (type(None),),
    "integer": (int,),
    "number": (int, float),
}
_KNOWN = {
    *("$schema", "title", "type", "properties", "required", "additionalProperties", "items", "minItems", "maxItems"),
    *("minimum", "pattern", "enum", "const", "anyOf"),
}


def errors(schema: dict[str, Any], value: Any) -> list[str]:
    """What is wrong, place by place; nothing when the value fits."""
    found = list(_errors(schema, value, "$"))
    if importlib.util.find_spec("jsonschema"):
        validator = importlib.import_module("jsonschema").Draft202012Validator
        validator.check_schema(schema)
        assert validator(schema).is_valid(value) == (not found), found
    return found


def _errors(schema: dict[str, Any], value: Any, place: str) -> Iterator[str]:
    assert schema.keys() <= _KNOWN, schema.keys() - _KNOWN
    if "type" in schema:
        right = isinstance(value, _TYPES[schema["type"]])
        if not right or (isinstance(value, bool) and schema["type"] in ("integer", "number")):
            yield f"{place}: {value!r} is no {schema['type']}"
            return
    if "const" in schema and value != schema["const"]:
        yield f"{place}: {value!r} is not {schema['const']!r}"
    if "enum" in schema and value not in schema["enum"]:
        yield f"{place}: {value!r} is none of {schema['enum']}"
    if "pattern" in schema and not re.search(schema["pattern"], value):
        yield f"{place}: {value!r} does not match {schema['pattern']}"
    if "minimum" in schema and value < schema["minimum"]:
        yield f"{place}: {value!r} is below {schema['minimum']}"
    if "anyOf" in schema and all(any(_errors(one, value, place)) for one in schema["anyOf"]):
        yield f"{place}: fits none of {len(schema['anyOf'])} forms"
    if isinstance(value, dict):
        yield from (f"{place}: no '{name}'" for name in schema.get("required", ()) if name not in value)
        properties = schema.get("properties", {})
        for name, one in value.items():
            form = properties.get(name, schema.get("additionalProperties"))
            if form is not None:
                yield from _errors(form, one, f"{place}.{name}")
    if isinstance(value, list):
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
            yield f"{place}: {len(value)} items"
        for number, one in enumerate(value):
            yield from _errors(schema.get("items", {}), one, f"{place}[{number}]")
