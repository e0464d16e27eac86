"""Pixel nearest neighbours: exact squared L2 distances between uint8 pictures, in chunks of float32 products."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kosmos.document import Image
from kosmos.images import decode_image

# Rows of pixels turned into float32 at a time, and how many of the nearest are measured again in integers.
CHUNK_ROWS = 512
RECHECK = 8


def pixels(images: Sequence[Image]) -> np.ndarray:
    """All `images` at their size, flattened one after another: uint8 [sum of height * width * 3]."""
    arrays = (
        image.source
        if isinstance(image.source, np.ndarray) and image.source.dtype == np.uint8
        else np.asarray(decode_image(image))
        for image in images
    )
    return np.concatenate([np.ascontiguousarray(array).reshape(-1) for array in arrays] or [np.zeros(0, np.uint8)])


def squared_distances(rows: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Exact squared L2 distance of every row (uint8 [N, P]) to `reference` (uint8 [P]): int64 [N]."""
    difference = rows.astype(np.int32) - reference.astype(np.int32)
    return np.einsum("np,np->n", difference, difference, dtype=np.int64)


def nearest(queries: np.ndarray, references: np.ndarray) -> np.ndarray:
    """Index of the nearest row of `references` (uint8 [R, P]) for every row of `queries` (uint8 [Q, P]): int64 [Q].

    Distances come from float32 matrix products; the nearest few are then measured exactly, and the lowest index wins
    a tie, so the answer does not depend on how a machine rounds.
    """
    num_queries, num_references = len(queries), len(references)
    few = min(RECHECK, num_references)
    centred = [_centred(queries[start : start + CHUNK_ROWS]) for start in range(0, num_queries, CHUNK_ROWS)]
    kept_indices = np.zeros((num_queries, 0), dtype=np.int64)
    kept_distances = np.zeros((num_queries, 0), dtype=np.float32)
    for start in range(0, num_references, CHUNK_ROWS):
        block = _centred(references[start : start + CHUNK_ROWS])
        norms = np.einsum("np,np->n", block, block)
        # The query's own norm is the same for all references and is left out.
        distances = np.concatenate([norms - 2.0 * (chunk @ block.T) for chunk in centred])
        indices = np.broadcast_to(np.arange(start, start + len(block)), distances.shape)
        all_distances = np.concatenate([kept_distances, distances], axis=1)
        all_indices = np.concatenate([kept_indices, indices], axis=1)
        best = np.argsort(all_distances, axis=1, kind="stable")[:, :few]
        kept_distances = np.take_along_axis(all_distances, best, axis=1)
        kept_indices = np.take_along_axis(all_indices, best, axis=1)
    result = np.empty(num_queries, dtype=np.int64)
    for row in range(num_queries):
        indices = np.sort(kept_indices[row])
        result[row] = indices[int(np.argmin(squared_distances(references[indices], queries[row])))]
    return result


def _centred(rows: np.ndarray) -> np.ndarray:
    """float32 around 0: smaller sums, so less rounding."""
    return rows.astype(np.float32) - np.float32(127.5)
