from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kosmos.evaluation.metrics.answered import Answered


@pytest.fixture(scope="session")
def published(shared_dir: Path) -> Callable[[str], Any]:
    """Reads a JSON file of the published data by its path there; skips when it is absent."""

    def read(name: str) -> Any:
        path = shared_dir / "data" / name
        if not path.is_file():
            pytest.skip(f"no {path}")
        return json.loads(path.read_text(encoding="utf-8"))

    return read


@pytest.fixture(scope="session")
def coco(published: Callable[[str], Any]) -> list[Answered]:
    """4,982 pictures of COCO Karpathy test with one generated caption and 5 or 6 references each."""
    rows = published("coco_caption/magic_result.json")
    return [Answered(row["image_name"], row["prediction"], tuple(row["captions"])) for row in rows]


@pytest.fixture(scope="session")
def vizwiz(published: Callable[[str], Any]) -> list[tuple[str, tuple[str, ...]]]:
    """Question id and ten answers of the 4,319 questions of VizWiz's validation set."""
    rows = published("vizwiz/val_annotations_vqa_format.json")["annotations"]
    return [(str(row["question_id"]), tuple(answer["answer"] for answer in row["answers"])) for row in rows]
