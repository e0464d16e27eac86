"""How a folder prepares pictures: what is taken, what is told, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kosmos.errors import DataError
from kosmos.interop.preprocessing import normalization, read_preprocessing


@pytest.mark.parametrize(
    ("stored", "notes"),
    [
        ({"size": {"height": 224, "width": 224}, "resample": 3}, []),
        ({"size": {"shortest_edge": 224}, "use_square_size": True}, []),
        ({"size": {"shortest_edge": 224}}, ["crops pictures"]),
        ({"size": 224, "resample": 2}, ["crops pictures", "does not resize bicubically"]),
    ],
)
@pytest.mark.parametrize("nested", [True, False])
def test_other_preprocessing_is_told(stored: dict[str, Any], notes: list[str], nested: bool, tmp_path: Path) -> None:
    settings: dict[str, Any] = {**stored, "image_mean": [0.5, 0.25, 1]}
    file, settings = (
        ("processor_config.json", {"image_processor": settings}) if nested else ("preprocessor_config.json", settings)
    )
    (tmp_path / file).write_text(json.dumps(settings), encoding="utf-8")
    fields, found = read_preprocessing(tmp_path)
    assert fields == {"image_mean": (0.5, 0.25, 1.0)}
    assert len(found) == len(notes)
    assert all(part in note for part, note in zip(notes, found))


def test_no_preprocessing_is_told(tmp_path: Path) -> None:
    assert read_preprocessing(tmp_path) == (
        {},
        ["no preprocessor_config.json: pictures are normalised with CLIP's mean and deviation"],
    )


@pytest.mark.parametrize("values", [[0.5], [0.5, 0.5, "x"], [0.5, 0.5, None], {"a": 1}, 3, [1, 2, float("nan")]])
def test_what_is_not_three_numbers_is_refused(values: Any) -> None:
    with pytest.raises(DataError, match="image_mean is .*; it is three numbers"):
        normalization({"image_mean": values}, Path("folder"))


def test_no_deviation_is_zero() -> None:
    with pytest.raises(DataError, match="none may be 0"):
        normalization({"image_std": [0.1, 0, 0.1]}, Path("folder"))
