"""The benchmarks of training programmes: what they compare is what they say, and what they print is right."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.training import instruction_tuning, positions
from kosmos.config_files import config_to_mapping
from kosmos.data.picturebook.concepts import load_picturebook
from kosmos.data.picturebook.instructions import FAMILIES, held_out_instructions
from kosmos.data.picturebook.wordnet import load_wordnet
from kosmos.errors import DataError
from kosmos.evaluation.picturebook.runner import TaskResult
from kosmos.evaluation.statistics.intervals import interval
from kosmos.model.kosmos import Kosmos
from kosmos.presets import load_recipe
from kosmos.training.same_recipe import flat


@pytest.fixture(autouse=True, scope="module")
def cached() -> None:
    """Skips without the caches of WordNet and the picture book; nothing is fetched."""
    try:
        load_picturebook(download=False)
        load_wordnet(download=False)
    except DataError as error:
        pytest.skip(f"not in the cache: {error}")


def test_positions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plot = tmp_path / "plot.png"
    arguments = ["--out", str(tmp_path / "runs"), "--small", "--seeds", "1", "--plot", str(plot)]
    result = positions.main(arguments)
    assert [row["positions"] for row in result["losses"]] == ["xpos", "sinusoidal"]
    for row in result["losses"]:
        assert 2 < float(row["32-128"]) < 7.4  # below a uniform guess
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["benchmark"] == "positions"
    # The two recipes differ in the positions alone.
    made = [flat(config_to_mapping(positions.recipe(kind, Path("t"), 50, 9, 1))) for kind in positions.KINDS]
    assert {key for key in made[0] if made[0][key] != made[1][key]} == {"model.decoder.position"}


def result(name: str, values: list[float]) -> TaskResult:
    score = sum(values) / len(values)
    return TaskResult(name, len(values), score, interval(values), tuple(values), ("",) * len(values), 0, False, "")


def test_what_the_control_of_instruction_tuning_lacks(tmp_path: Path) -> None:
    twin = load_recipe("kosmos-1-twin")
    assert twin.model.vision is not None
    model = replace(twin.model, vision=replace(twin.model.vision, trainable="last_layer"))
    Kosmos(model, random_vision=True).save_pretrained(tmp_path / "base")
    made = instruction_tuning.recipes(tmp_path / "base", 30)
    keys = {name: flat(config_to_mapping(recipe)) for name, recipe in made.items()}
    different = {key for key in keys["instruct"] if keys["instruct"][key] != keys["control"].get(key)}
    assert different and all(key.startswith("data.sources.instruction.") for key in different)
    assert keys["control"].keys() < keys["instruct"].keys()
    assert made["control"].model == model and made["control"].start_from == str(tmp_path / "base")
    assert made["instruct"].steps == 30


def test_the_tables_of_instruction_tuning() -> None:
    examples = held_out_instructions(load_picturebook(download=False))
    right = [float(example.meta["family"] == "last" and not example.meta["new_way"]) for example in examples]
    rows, disjoint = instruction_tuning.behaviour(result("i", [0.0] * len(right)), result("i", right), None)
    found = {row["instructions"]: row for row in rows}
    assert set(found) == {*FAMILIES, "said as in training", "said as never before", "all"} and disjoint
    assert found["last"]["after"].startswith("50.0 [") and found["first"]["after"].startswith("0.0 [")
    assert found["said as never before"]["after"].startswith("0.0 [") and found["all"]["n"] == len(examples)

    before, after = [0.0, 1.0] * 50, [1.0, 1.0] * 50
    runs = {
        name: {task: result(task, values) for task in instruction_tuning.PICTURE_TASKS}
        for name, values in (("base", before), ("control", before), ("instruct", after))
    }
    [row, *_] = instruction_tuning.pictures(runs)
    assert (row["base"], row["control"], row["instruct"]) == ("50.0", "50.0", "100.0")
    assert row["instruct - base"] == row["instruct - control"] and row["instruct - base"].startswith("+50.0 [+40.0")
    assert row["control - base"].startswith("+0.0 [-2.0")
