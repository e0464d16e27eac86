"""Which abilities of the picture book stand in for datasets of Table 1.

A stand-in asks the same kind of question in the same way, of pictures and words that a small model can know. Its score
says nothing of the dataset's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kosmos.evaluation.tasks.table1 import TABLE1

# Benchmark -> tasks of the picture book.
STAND_INS: Mapping[str, tuple[str, ...]] = {
    "rendered_sst2": ("sentiment",),
    "iq50": ("raven_3", "raven_4", "raven_8"),
    "coco_caption": ("captioning",),
    "flickr30k": ("captioning",),
    "vqav2": ("vqa",),
    "websrc": ("webpage_qa",),
    "imagenet": ("naming",),
}


def stand_in_rows(abilities: Sequence[Mapping[str, Any]]) -> tuple[list[tuple[str, Mapping[str, Any]]], list[str]]:
    """(title of the dataset, the ability's row) in Table 1's order, and the titles of datasets that have none here."""
    by_name = {row["name"]: row for row in abilities}
    found: list[tuple[str, Mapping[str, Any]]] = []
    without: list[str] = []
    for benchmark in TABLE1:
        rows = [by_name[name] for name in STAND_INS.get(benchmark.name, ()) if name in by_name]
        found += [(benchmark.title, row) for row in rows]
        if not rows:
            without.append(benchmark.title)
    return found, without
