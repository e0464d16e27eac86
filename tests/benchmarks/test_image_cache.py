"""The benchmark of the Engine's picture caches: what it counts, and that no cache changes an answer."""

from __future__ import annotations

import json

import pytest
import torch

from benchmarks.inference import image_cache


def test_image_cache(capsys: pytest.CaptureFixture[str]) -> None:
    before = torch.get_num_threads()
    try:
        result = image_cache.main(["--small", "--repeat", "1", "--requests", "12", "--pictures", "3"])
    finally:
        torch.set_num_threads(before)
    rows = {row["kept"]: row for row in result["rows"]}
    counts = {form: (row["pictures_encoded"], row["embeddings_from_disk"]) for form, row in rows.items()}
    assert counts == {
        "none": (12, 0),
        "pixels": (12, 0),
        "memory": (3, 0),
        "disk, cold": (3, 0),
        "disk, warm": (0, 3),
        "disk, no memory": (0, 12),
    }
    for row in rows.values():
        assert row["other_answers"] == 0 and row["log_prob_difference"] < 1e-5
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["rows"] == result["rows"]
