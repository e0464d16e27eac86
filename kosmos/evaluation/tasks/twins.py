"""Twins: schemas that differ in a word or two stand next to each other and have the same options."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from kosmos.example import Example


def with_twins(schemas: Iterable[Example]) -> list[Example]:
    """The same examples, each in the cluster of the one before it when the two have the same options."""
    grouped: list[Example] = []
    for schema in schemas:
        cluster = schema.id
        if grouped and _options(schema) == _options(grouped[-1]):
            cluster = grouped[-1].cluster
        grouped.append(replace(schema, cluster=cluster))
    return grouped


def _options(schema: Example) -> set[str]:
    return {option.lower() for option in schema.fields["options"]}
