"""JSON Schemas (draft 2020-12) of the files that `kosmos eval` writes: a line of samples/CELL.jsonl, and metrics.json.

The version stands in metrics.json and plan.json; it rises when a key changes its meaning or goes. New keys may come
without a new version, so both schemas allow further keys.
"""

from __future__ import annotations

from typing import Any

from kosmos.evaluation.running.benchmark_runner import SCHEMA_VERSION

_TEXT, _NUMBER, _WHOLE, _FLAG = {"type": "string"}, {"type": "number"}, {"type": "integer"}, {"type": "boolean"}
_COUNT = {"type": "integer", "minimum": 0}
_HASH = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "null"}]}


def _list(schema: dict[str, Any], **limits: int) -> dict[str, Any]:
    return {"type": "array", "items": schema, **limits}


def _table(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": schema}


_ALWAYS: dict[str, Any] = {
    "id": _TEXT,
    "split": _TEXT,
    "cluster": _TEXT,
    "key": _TEXT,  # a hash of weights, numerics, settings, texts, pictures and candidates; "" when broken
    "shots": _COUNT,
    "label": _or_null(_COUNT),
    "answers": _list(_TEXT),
    "image_sha256": _list(_HASH),
}
_ASKED: dict[str, Any] = {
    "prompts": _list(_TEXT, minItems=1),
    "demonstrations": _list(_TEXT),
    "demonstrations_dropped": _COUNT,
    "cut": _FLAG,
    "prediction": _TEXT,
}
_CHOSEN: dict[str, Any] = {
    "candidates": _list(_TEXT, minItems=1),
    "log_probs": _list(_NUMBER, minItems=1),
    "tokens": _list(_COUNT, minItems=1),
    "scores": {
        "type": "object",
        "properties": {name: _list(_NUMBER) for name in ("per_token", "sum", "per_character", "per_byte")},
        "required": ["per_token", "sum", "per_character", "per_byte"],
    },
    "choice": _COUNT,
    "ties": {"type": "integer", "minimum": 1},
}
_GENERATED: dict[str, Any] = {"tokens": _COUNT, "finish_reason": _TEXT, "score": _or_null(_NUMBER)}


def _object(**groups: dict[str, Any]) -> dict[str, Any]:
    properties = {name: schema for group in groups.values() for name, schema in group.items()}
    return {"type": "object", "properties": properties, "required": list(properties)}


SAMPLE: dict[str, Any] = {
    "$schema": _DIALECT,
    "title": f"a line of samples/CELL.jsonl, version {SCHEMA_VERSION}",
    "type": "object",
    "properties": {**_ALWAYS, "rationale": _TEXT, "values": _table(_NUMBER), "broken": _TEXT},
    "required": list(_ALWAYS),
    "anyOf": [
        _object(broken={"broken": _TEXT}),
        _object(asked=_ASKED, chosen=_CHOSEN),
        _object(asked=_ASKED, generated=_GENERATED),
    ],
}

_MEASURED = {
    "anyOf": [
        {
            "type": "object",
            "properties": {
                "value": _NUMBER,
                "interval": _or_null(_list(_NUMBER, minItems=2, maxItems=2)),
                "method": _TEXT,
                "standard_error": _NUMBER,
                "details": _table(_NUMBER),
            },
            "required": ["value", "interval", "method", "details"],
        },
        {
            "type": "object",
            "properties": {"value": {"type": "null"}, "not_run": _TEXT},
            "required": ["value", "not_run"],
        },
    ]
}
_CELL: dict[str, Any] = {
    "benchmark": _TEXT,
    "title": _TEXT,
    "group": _TEXT,
    "table": _TEXT,
    "mode": {"enum": ["choice", "partial", "yes", "generate", "names"]},
    "split": _TEXT,
    "demonstration_split": _or_null(_TEXT),
    "prompt": _TEXT,
    "default_prompt": _FLAG,
    "separator": _TEXT,
    "shots": _COUNT,
    "seed": _WHOLE,
    "held_to_names": _FLAG,
    "decoding": {"type": "object"},
    "normalization": _or_null(_TEXT),
    "stand_in": _FLAG,
    "data_sha256": _HASH,
    "n": _COUNT,
    "n_expected": _COUNT,
    "n_broken": _COUNT,
    "limit": _or_null({"type": "integer", "minimum": 1}),
    "chance": _NUMBER,
    "paper": _table(_NUMBER),
    "metrics": _table(_MEASURED),
    "demonstrations_dropped": _COUNT,
    "cut": _COUNT,
    "ties": _COUNT,
    "notes": _list(_TEXT),
    "warnings": _list(_TEXT),
}

METRICS: dict[str, Any] = {
    "$schema": _DIALECT,
    "title": f"metrics.json, version {SCHEMA_VERSION}",
    "type": "object",
    "properties": {
        "schema_version": {"const": SCHEMA_VERSION},
        "model_key": _TEXT,
        "cells": _table(
            {
                "type": "object",
                "properties": {
                    **_CELL,
                    "majority": _or_null(_NUMBER),
                    "by_normalization": _table(_NUMBER),
                },
                "required": list(_CELL),
            }
        ),
    },
    "required": ["schema_version", "model_key", "cells"],
}
