"""A step whose loss is not finite: stop, leave it out, or go back; on one rank and on two."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kosmos.config import TrainConfig
from kosmos.config_files import save_config
from kosmos.errors import ConfigError, Interrupted
from kosmos.runs import steps
from kosmos.training.loop import train
from kosmos.training.nonfinite import MOST_IN_A_ROW, MOST_REWINDS, NonFinitePolicy
from kosmos.training.step import NonFiniteError
from tests.training.poison import poison
from tests.training.test_loop import at, checksums, interrupt, lines
from tests.training.test_ranks import torchrun


@pytest.mark.parametrize(
    ("text", "policy"),
    [("stop", ("stop", 0)), ("skip", ("skip", 0)), ("rewind:3", ("rewind", 3)), ("rewind:1000", ("rewind", 1000))],
)
def test_policies(text: str, policy: tuple[str, int]) -> None:
    assert NonFinitePolicy.parse(text) == NonFinitePolicy(*policy)


@pytest.mark.parametrize("text", ["", "go", "rewind", "rewind:", "rewind:0", "rewind:-1", "rewind:x", "skip:1"])
def test_what_is_no_policy(text: str) -> None:
    with pytest.raises(ConfigError, match="is none of stop, skip and rewind:N"):
        NonFinitePolicy.parse(text)


def events(run: Path) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    return [{key: value for key, value in event.items() if key != "why"} for event in found]


def happened(step: int, data_step: int, then: str) -> dict[str, Any]:
    return {"step": step, "data_step": data_step, "event": "nonfinite", "then": then}


def numbers(run: Path) -> list[tuple[int, int, bool]]:
    """(step, step of the data, whether it was applied) of each line."""
    return [(line["step"], line.get("data_step", line["step"]), line["loss"] is not None) for line in lines(run)]


@pytest.fixture(scope="module")
def plain(recipe: TrainConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run in which nothing goes wrong."""
    return train(recipe, tmp_path_factory.mktemp("plain") / "run", quiet=True)


@pytest.fixture
def poisoned(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`poisoned(6, 9)`: the data of steps 6 and 9 makes an infinite loss."""
    return lambda *data_steps: poison(set(data_steps), monkeypatch.setattr)


def test_stop(recipe: TrainConfig, tmp_path: Path, poisoned: Callable[..., None]) -> None:
    poisoned(6)
    with pytest.raises(NonFiniteError, match=r"step 6: loss inf.*source text"):
        train(recipe, tmp_path / "run", quiet=True)
    assert events(tmp_path / "run") == [happened(6, 6, "stop")]
    assert [number for number, _ in steps(tmp_path / "run")] == [4]


def test_skip_leaves_weights_and_moments_as_they_were(
    recipe: TrainConfig, tmp_path: Path, poisoned: Callable[..., None]
) -> None:
    config = replace(recipe, on_nonfinite="skip", steps=6, checkpoint_every=1, keep_checkpoints=9)
    poisoned(5)
    run = train(config, tmp_path / "run", quiet=True)
    assert numbers(run) == [(1, 1, True), (2, 2, True), (3, 3, True), (4, 4, True), (5, 5, False), (6, 6, True)]
    assert [line["lr"] is None for line in lines(run)] == [False] * 4 + [True, False]
    assert events(run) == [happened(5, 5, "skip")]
    before, after = checksums(run, 4), checksums(run, 5)
    assert {name for name in before if before[name] != after[name]} == {"state.json"}


@pytest.mark.parametrize("policy", ["skip", "rewind:2"])
def test_resumed_equals_uninterrupted(
    recipe: TrainConfig, tmp_path: Path, poisoned: Callable[..., None], policy: str
) -> None:
    poisoned(7)
    config = replace(recipe, on_nonfinite=policy)
    whole = train(config, tmp_path / "whole", quiet=True)
    with pytest.raises(Interrupted):
        train(config, tmp_path / "run", quiet=True, on_step=at(6, interrupt))
    run = train(config, tmp_path / "run", resume=True, quiet=True)
    if policy == "skip":
        assert lines(run) == lines(whole)
        assert checksums(run, 12) == checksums(whole, 12)
    else:
        # It stopped after step 6, a checkpoint more: still two steps before, the same place to go back to.
        assert events(run) == events(whole)
        assert lines(run) == lines(whole)


@pytest.mark.parametrize("asynchronous", [False, True], ids=["synchronous", "asynchronous"])
def test_rewind_passes_over_the_data(
    plain: Path, recipe: TrainConfig, tmp_path: Path, poisoned: Callable[..., None], asynchronous: bool
) -> None:
    config = replace(recipe, on_nonfinite="rewind:3", checkpoint_every=2, asynchronous_checkpoints=asynchronous)
    poisoned(9)
    run = train(config, tmp_path / "run", quiet=True)
    # At step 9, three steps back: 6. From there on with the data of step 10.
    expected = [(step, step, True) for step in range(1, 7)] + [(step, step + 3, True) for step in range(7, 13)]
    assert numbers(run) == expected
    assert events(run) == [happened(9, 9, "rewind")]
    assert lines(run)[:6] == lines(plain)[:6]
    for mine, theirs in zip(lines(run)[6:9], lines(plain)[9:12], strict=True):
        assert mine["data_step"] == theirs["step"]
        assert [source["tokens"] for source in mine["sources"].values()] == [
            source["tokens"] for source in theirs["sources"].values()
        ]
    state = json.loads((run / "checkpoints" / "step-12" / "state.json").read_text())
    assert (state["step"], state["stream"]["step"]) == (12, 15)


def test_killed_after_a_rewind_it_does_not_go_on_from_what_was_given_up(
    recipe: TrainConfig, tmp_path: Path, poisoned: Callable[..., None]
) -> None:
    class Killed(BaseException):
        pass

    config = replace(recipe, on_nonfinite="rewind:4", keep_checkpoints=9)
    poisoned(9)
    whole = train(config, tmp_path / "whole", quiet=True)
    seen: list[int] = []

    def kill(record: dict[str, Any]) -> None:
        seen.append(record["step"])
        if seen.count(6) == 2:  # the second time, after going back from 9 to 4
            raise Killed

    with pytest.raises(Killed):
        train(config, tmp_path / "run", quiet=True, on_step=kill)
    assert seen == [1, 2, 3, 4, 5, 6, 7, 8, 5, 6]
    assert [number for number, _ in steps(tmp_path / "run")] == [4]
    run = train(config, tmp_path / "run", resume=True, quiet=True)
    assert lines(run) == lines(whole)
    assert checksums(run, 12) == checksums(whole, 12)
    assert events(run) == 2 * events(whole)


def test_no_checkpoint_is_old_enough(recipe: TrainConfig, tmp_path: Path, poisoned: Callable[..., None]) -> None:
    poisoned(6)
    with pytest.raises(NonFiniteError, match="step 6"):
        train(replace(recipe, on_nonfinite="rewind:3"), tmp_path / "run", quiet=True)
    assert events(tmp_path / "run") == [happened(6, 6, "stop")]


def test_too_many_in_a_row(recipe: TrainConfig, tmp_path: Path, poisoned: Callable[..., None]) -> None:
    first = 5
    poisoned(3, *range(first, 40))
    config = replace(recipe, on_nonfinite="skip", steps=40)
    with pytest.raises(NonFiniteError, match=f"step {first + MOST_IN_A_ROW - 1}"):
        train(config, tmp_path / "run", quiet=True)
    found = events(tmp_path / "run")
    assert [event["then"] for event in found] == ["skip"] + ["skip"] * (MOST_IN_A_ROW - 1) + ["stop"]


def test_too_many_rewinds(recipe: TrainConfig, tmp_path: Path, poisoned: Callable[..., None]) -> None:
    poisoned(*range(3, 40))
    config = replace(recipe, on_nonfinite="rewind:1", checkpoint_every=1)
    with pytest.raises(NonFiniteError, match="would go back for the 10th time"):
        train(config, tmp_path / "run", quiet=True)
    assert len(events(tmp_path / "run")) == MOST_REWINDS
    assert events(tmp_path / "run")[-1] == happened(3, 2 + MOST_REWINDS, "rewind")


@pytest.mark.parametrize(
    ("policy", "expected", "then"),
    [
        ("skip", [(step, step, step != 6) for step in range(1, 9)], "skip"),
        ("rewind:2", [(s, s, True) for s in range(1, 5)] + [(s, s + 2, True) for s in range(5, 9)], "rewind"),
    ],
)
def test_two_ranks(
    recipe: TrainConfig, tmp_path: Path, policy: str, expected: list[tuple[int, int, bool]], then: str
) -> None:
    """What one rank's micro-batch spoils, both leave out, and both go back."""
    save_config(replace(recipe, on_nonfinite=policy, steps=8), tmp_path / "recipe.yaml")
    run = tmp_path / "run"
    torchrun(2, "poisoned", tmp_path / "recipe.yaml", run, 6)
    assert numbers(run) == expected
    assert events(run) == [happened(6, 6, then)]


def test_two_ranks_stop(recipe: TrainConfig, tmp_path: Path) -> None:
    save_config(replace(recipe, steps=8), tmp_path / "recipe.yaml")
    said = torchrun(2, "poisoned", tmp_path / "recipe.yaml", tmp_path / "run", 6)
    assert said.count("step 6: loss inf") == 2
    assert events(tmp_path / "run") == [happened(6, 6, "stop")]
    assert [number for number, _ in steps(tmp_path / "run")] == [4]
