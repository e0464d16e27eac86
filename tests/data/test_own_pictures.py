"""Pictures with captions from tars, for vision pretraining."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kosmos.data.own_pictures import open_own_pictures
from kosmos.data.tar_writer import PairsTarWriter
from kosmos.errors import DataError
from tests.cli.tiny_run import png


def write(path: Path, *pairs: tuple[bytes, str]) -> None:
    with PairsTarWriter(path) as tar:
        for number, (picture, caption) in enumerate(pairs):
            tar.add(f"{number:04}", picture, caption)


def test_pairs_become_squares(tmp_path: Path) -> None:
    red, green = png((200, 30, 30), size=40), png((30, 180, 60), size=40)
    write(tmp_path / "pairs.tar", (red, "a red square"), (red[:60], "cut short"), (green, "green on the left"))
    corpus = open_own_pictures("pairs_tar", str(tmp_path), 0, 16)
    assert corpus.images.shape == (2, 16, 16, 4) and corpus.images.dtype == np.uint8
    assert corpus.images[0, 5, 5].tolist() == [200, 30, 30, 255]
    assert corpus.captions == ("a red square", "green on the left")
    assert corpus.flip.tolist() == [True, False]
    assert open_own_pictures("pairs_tar", str(tmp_path), 1, 16).captions == ("a red square",)


def test_nothing_to_see(tmp_path: Path) -> None:
    write(tmp_path / "pairs.tar", (png((0, 0, 0))[:60], "cut short"))
    with pytest.raises(
        DataError, match=r"no picture with a caption in it; .*pairs\.tar record 0: .*damaged or cut short"
    ):
        open_own_pictures("pairs_tar", str(tmp_path), 0, 16)
