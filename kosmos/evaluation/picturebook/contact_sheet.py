"""The contact sheet: held-out pictures with the model's own captions under them, right and wrong ones marked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kosmos.data.picture_sheet import Card, write_sheet
from kosmos.document import Image
from kosmos.evaluation.picturebook.runner import TaskResult
from kosmos.evaluation.task import Task


@dataclass(frozen=True)
class Tile:
    """One picture, what the model said, whether that is right, and what it shows."""

    picture: Image
    caption: str
    right: bool
    gold: str


def choose_tiles(task: Task, result: TaskResult, count: int = 32, seed: int = 0) -> list[Tile]:
    """Tiles for `count` test items, drawn by a fixed seed that knows nothing of the answers.

    The last image of an item is shown; `meta["display"]` of the Example may hold a larger form of it.
    """
    examples = [example for example in task.examples()[: result.n] if example.images]
    order = np.random.default_rng(seed).permutation(len(examples))[:count]
    position = {example.id: index for index, example in enumerate(task.examples()[: result.n])}
    tiles = []
    for index in order:
        example = examples[int(index)]
        place = position[example.id]
        tiles.append(
            Tile(
                picture=example.meta.get("display", example.images[-1]),
                caption=result.predictions[place].strip(),
                right=result.values[place] == 1.0,
                gold=task.golds(example)[0].strip(),
            )
        )
    return tiles


def write_contact_sheet(
    path: Path, tiles: Sequence[Tile], title: str, subtitle: str, credit: str, columns: int = 8
) -> None:
    """Draw the tiles as a grid and write a PNG. `credit` names the artists and the licence of the pictures.

    Raises UsageError when there is no tile.
    """
    cards = [Card(tile.picture, tile.caption, tile.right, "" if tile.right else f"is: {tile.gold}") for tile in tiles]
    write_sheet(path, cards, title, subtitle, credit, columns)
