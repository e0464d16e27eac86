"""The checkpoints of a run: whole, fitting the recipe, and ready to go on from."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kosmos.config import TrainConfig
from kosmos.doctor.registry import Finding, Subject, bytes_in_words, check, ok, problem, warning
from kosmos.errors import StorageError
from kosmos.runs import CHECKPOINTS, METRICS_FILE, WEIGHTS, WEIGHTS_FILE, steps
from kosmos.storage import check_manifest

_STORAGE = 5


@check("checkpoint", "whole", needs="run")
def whole(subject: Subject) -> Iterator[Finding]:
    """Every file of the newest steps against its manifest, until one is whole."""
    assert subject.run is not None and subject.config is not None
    found = steps(subject.run)
    unfinished = list((subject.run / CHECKPOINTS).glob(".step-*"))
    if unfinished:
        do = "none needed: the next save removes it"
        yield warning(f"{unfinished[0].name}: a save that is under way, or was killed", do)
    if not found:
        yield ok("no checkpoint yet")
        return
    damaged = 0
    for number, folder in reversed(found):
        try:
            check_manifest(folder)
        except StorageError as error:
            damaged += 1
            yield warning(str(error), f"remove {folder}: a run passes it over")
            continue
        end = subject.config.steps
        yield ok(f"{folder.name} is whole" + (", the last step" if number == end else f", of {end:,} steps"))
        break
    if damaged == len(found):
        yield problem("every checkpoint is damaged", "restore one from a copy, or start a new run", _STORAGE)


@check("checkpoint", "weights", needs="run")
def weights(subject: Subject) -> Iterator[Finding]:
    """Names and shapes of the newest whole step against the model of the recipe, on the meta device."""
    from safetensors import safe_open

    from kosmos.model.kosmos import Kosmos
    from kosmos.model.weights import read_config, without_values

    folder = _newest_whole(subject)
    if folder is None:
        return
    config = read_config(folder / WEIGHTS)
    expected = {name: list(tensor.shape) for name, tensor in without_values(Kosmos, config).state_dict().items()}
    with safe_open(folder / WEIGHTS / WEIGHTS_FILE, framework="pt") as file:
        found = {name: list(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    different = [name for name in {**expected, **found} if expected.get(name) != found.get(name)]
    if different:
        what = f"{folder.name}: {len(different)} tensors do not fit its config.yaml ({', '.join(different[:3])})"
        yield problem(what, "restore the folder from a copy", _STORAGE)
    else:
        yield ok(f"{folder.name}: {len(found)} tensors fit the model")


@check("checkpoint", "resumable", needs="run")
def resumable(subject: Subject) -> Iterator[Finding]:
    """State, data positions and optimizer moments of the newest whole step against the recipe."""
    from torch.distributed.checkpoint.filesystem import FileSystemReader

    from kosmos.training.checkpoint import OPTIMIZER, read_state

    config, folder = subject.config, _newest_whole(subject)
    if folder is None or config is None:
        return
    state = read_state(folder)
    if state.step >= config.steps:
        yield ok(f"the run is finished, after step {state.step:,}")
        return
    if wrong := _other_data(state.stream, config):
        yield problem(f"{folder.name}: {wrong}", "resume with the run's own config.yaml", 2)
        return
    try:
        stored = FileSystemReader(folder / OPTIMIZER).read_metadata().state_dict_metadata
    except Exception as error:  # pickle and the reader raise many kinds
        yield problem(f"{folder / OPTIMIZER}: cannot be read: {error}", "restore the folder from a copy", _STORAGE)
        return
    moments = [name for name in stored if name.endswith(".exp_avg")]
    yield ok(f"{folder.name}: can be resumed (optimizer of {len(moments)} tensors, {state.precision})")


def _other_data(stream: dict[str, Any], config: TrainConfig) -> str:
    """In what the data's state is not of this recipe."""
    if list(stream["sources"]) != list(config.data.sources):
        return f"its sources are {', '.join(stream['sources'])}"
    for name, source in config.data.sources.items():
        lanes = len(stream["sources"][name]["lanes"])
        if lanes != source.rows_per_step:
            return f"source '{name}' has {lanes} rows a step there, {source.rows_per_step} in the recipe"
    return ""


@check("checkpoint", "space", needs="run")
def space(subject: Subject) -> Iterator[Finding]:
    """Whether the next checkpoint has room."""
    assert subject.run is not None
    found = steps(subject.run)
    if not found:
        return
    size = sum(file.stat().st_size for file in found[-1][1].rglob("*") if file.is_file())
    free = shutil.disk_usage(subject.run).free
    said = f"a checkpoint takes {bytes_in_words(size)}, {bytes_in_words(free)} are free"
    if free < size:
        yield problem(said, "free some space: the next save would fail", _STORAGE)
    elif free < 3 * size:
        yield warning(said, "free some space soon")
    else:
        yield ok(said)


@check("checkpoint", "history", needs="run")
def history(subject: Subject) -> Iterator[Finding]:
    """What the logs say: the last line, steps left out, bad records."""
    assert subject.run is not None
    last = _last_line(subject.run / METRICS_FILE)
    if last is None:
        yield ok("no step yet")
        return
    loss = "left out" if last.get("loss") is None else f"loss {last['loss']:.4f}"
    yield ok(f"metrics.jsonl: last step {last['step']:,}, {loss}")
    events = subject.run / "events.jsonl"
    lines = events.read_text(encoding="utf-8").splitlines() if events.is_file() else []
    left_out = sum('"nonfinite"' in line for line in lines)
    if left_out:
        yield warning(f"events.jsonl: {left_out} steps were not finite", "lower optimizer.lr, or look at those rows")
    for name, source in last.get("sources", {}).items():
        bad = sum(source["bad_records"].values())
        if bad:
            do = "bad_records.log names each"
            yield warning(f"{name}: {bad:,} of {source['records']:,} records were bad", do)


def _last_line(path: Path) -> dict[str, Any] | None:
    """The last whole line of a log; a crash may have cut the one after it."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - (1 << 16)))
        lines = file.read().splitlines()
    for line in reversed(lines):
        try:
            found: dict[str, Any] = json.loads(line)
        except ValueError:
            continue
        return found
    return None


def _newest_whole(subject: Subject) -> Path | None:
    assert subject.run is not None
    for _, folder in reversed(steps(subject.run)):
        try:
            check_manifest(folder)
        except StorageError:
            continue
        return folder
    return None
