"""A tiny random model that is long enough for every prompt of Table 1, and small files of all its datasets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from kosmos.evaluation.fixtures import WRITERS, write_fixture
from kosmos.model.kosmos import Kosmos
from kosmos.processor import Processor
from tests.inference.tiny import tiny_model, tiny_tokenizer

MAX_POSITIONS = 1024


def save_small(folder: Path, hidden_size: int = 32) -> Path:
    """An exported model folder inside `folder`, of tests/inference/tiny.py but longer.

    With a `hidden_size` of 256 the number of threads shows in the last bits of its answers.
    """
    tokenizer = tiny_tokenizer(folder)
    model = tiny_model(tokenizer, max_positions=MAX_POSITIONS)
    if hidden_size != model.config.decoder.hidden_size:
        decoder = replace(model.config.decoder, hidden_size=hidden_size, ffn_size=4 * hidden_size)
        torch.manual_seed(0)
        model = Kosmos(replace(model.config, decoder=decoder), random_vision=True)
    model.save_pretrained(folder / "model", Processor(tokenizer, model.config))
    return folder / "model"


def write_datasets(root: Path, *names: str) -> Path:
    """The datasets of these names (default: all) in the files of the real ones, a folder each below `root`."""
    for name in names or WRITERS:
        write_fixture(name, root)
    return root
