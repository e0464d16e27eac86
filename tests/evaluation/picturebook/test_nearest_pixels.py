from __future__ import annotations

import numpy as np
import pytest

from kosmos.document import Image
from kosmos.evaluation.picturebook import nearest_pixels
from kosmos.evaluation.picturebook.nearest_pixels import nearest, pixels, squared_distances


def test_pictures_are_laid_end_to_end_at_their_size() -> None:
    small, large = np.arange(12, dtype=np.uint8).reshape(2, 2, 3), np.full((3, 1, 3), 7, dtype=np.uint8)
    assert pixels([Image(small), Image(large)]).tolist() == [*range(12), *[7] * 9]
    assert pixels([]).shape == (0,)


@pytest.mark.parametrize("chunk", [3, 512])
def test_nearest_equals_brute_force(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(nearest_pixels, "CHUNK_ROWS", chunk)
    rng = np.random.default_rng(0)
    references = rng.integers(0, 256, (40, 60), dtype=np.uint8)
    queries = rng.integers(0, 256, (17, 60), dtype=np.uint8)
    distances = ((queries[:, None].astype(np.int64) - references[None].astype(np.int64)) ** 2).sum(-1)
    assert nearest(queries, references).tolist() == distances.argmin(1).tolist()
    assert squared_distances(references, queries[0]).tolist() == distances[0].tolist()


def test_distances_that_differ_by_one_are_told_apart() -> None:
    """float32 cannot: the norms are near 4e8, where it counts in steps of 32."""
    query = np.full((1, 6912), 250, dtype=np.uint8)
    references = np.full((3, 6912), 5, dtype=np.uint8)
    references[1, :1] = 6
    references[2, :2] = 6
    assert nearest(query, references).tolist() == [2]


def test_the_lowest_index_wins_a_tie() -> None:
    references = np.array([[9, 9], [1, 1], [3, 3], [1, 1]], dtype=np.uint8)
    assert nearest(np.array([[2, 2], [1, 1]], dtype=np.uint8), references).tolist() == [1, 1]
