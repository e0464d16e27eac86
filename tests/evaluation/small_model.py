"""A tiny random model that is long enough for every prompt of Table 1, and small files of all its datasets."""

from __future__ import annotations

from pathlib import Path

from kosmos.evaluation.fixtures import WRITERS, write_fixture
from kosmos.processor import Processor
from tests.inference.tiny import tiny_model, tiny_tokenizer

MAX_POSITIONS = 1024


def save_small(folder: Path) -> Path:
    """An exported model folder inside `folder`, of tests/inference/tiny.py but longer."""
    tokenizer = tiny_tokenizer(folder)
    model = tiny_model(tokenizer, max_positions=MAX_POSITIONS)
    model.save_pretrained(folder / "model", Processor(tokenizer, model.config))
    return folder / "model"


def write_datasets(root: Path, *names: str) -> Path:
    """The datasets of these names (default: all) in the files of the real ones, a folder each below `root`."""
    for name in names or WRITERS:
        write_fixture(name, root)
    return root
