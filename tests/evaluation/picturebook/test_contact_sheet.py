from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from kosmos.document import Document
from kosmos.errors import UsageError
from kosmos.evaluation.picturebook.contact_sheet import Tile, choose_tiles, write_contact_sheet
from kosmos.evaluation.picturebook.runner import evaluate
from kosmos.example import Example
from tests.evaluation.scripted import ScriptedEngine, flat, level_of, shade_examples, shade_task

GREEN, RED = (47, 158, 97), (214, 69, 69)


def always(answer: str, document: Document) -> str:
    return answer


def draw(path: Path, tiles: list[Tile]) -> np.ndarray:
    write_contact_sheet(path, tiles, "Title", "subtitle", "Drawings: somebody, CC BY 4.0", columns=4)
    return np.asarray(PIL.Image.open(path))


def count(sheet: np.ndarray, colour: tuple[int, int, int]) -> int:
    return int((sheet == np.array(colour)).all(-1).sum())


def test_right_and_wrong_answers_are_marked_apart(tmp_path: Path) -> None:
    right, wrong = Tile(flat(90), "apple", True, "apple"), Tile(flat(90), "pear", False, "apple")
    only_right = draw(tmp_path / "right.png", [right])
    only_wrong = draw(tmp_path / "wrong.png", [wrong])
    assert count(only_right, GREEN) > 20 and count(only_right, RED) == 0
    assert count(only_wrong, RED) > 20 and count(only_wrong, GREEN) == 0
    three = draw(tmp_path / "three.png", [right, right, wrong])
    assert count(three, GREEN) == 2 * count(only_right, GREEN)
    # The picture itself is there: 104 units at twice the scale, its corners rounded.
    assert 0.98 < count(only_right, (90, 90, 90)) / 208**2 <= 1.0


def test_the_grid_grows_by_rows_and_the_file_is_the_same_each_time(tmp_path: Path) -> None:
    tile = Tile(flat(90), "a caption that is much too long to be written in two short lines of text", True, "x")
    one, two = draw(tmp_path / "1.png", [tile] * 4), draw(tmp_path / "2.png", [tile] * 5)
    assert one.shape[1] == two.shape[1] and one.shape[0] < two.shape[0]
    draw(tmp_path / "3.png", [tile] * 4)
    assert (tmp_path / "1.png").read_bytes() == (tmp_path / "3.png").read_bytes()
    with pytest.raises(UsageError, match="at least one picture"):
        draw(tmp_path / "4.png", [])


def test_tiles_carry_the_models_own_answers(tmp_path: Path) -> None:
    engine = ScriptedEngine(reply=lambda document: " black " if level_of(document) == 10 else "fog")
    shown = flat(77, size=9)
    examples = [Example(e.id, e.fields, e.images, meta={"display": shown} if i == 1 else {})
                for i, e in enumerate(shade_examples(8))]  # fmt: skip
    task = shade_task(examples=lambda: examples)
    result = evaluate(engine, [task], tmp_path, quiet=True)["shade"]
    tiles = choose_tiles(task, result, count=8)
    assert sorted((tile.gold, tile.caption, tile.right) for tile in tiles) == sorted(
        [("black", "black", True), ("dark", "fog", False), ("light", "fog", False), ("white", "fog", False)] * 2
    )
    assert sum(tile.picture == shown for tile in tiles) == 1


def test_the_choice_of_tiles_does_not_look_at_the_answers(tmp_path: Path) -> None:
    task = shade_task(examples=lambda: shade_examples(40))
    chosen = []
    for name, answer in (("a", "black"), ("b", "white")):
        engine = ScriptedEngine(reply=partial(always, answer))
        result = evaluate(engine, [task], tmp_path / name, quiet=True)["shade"]
        chosen.append([tile.gold for tile in choose_tiles(task, result, count=10)])
    assert chosen[0] == chosen[1] and len(chosen[0]) == 10
