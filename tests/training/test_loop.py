from __future__ import annotations

import hashlib
import io
import json
import os
import resource
import shutil
import signal
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from kosmos.config import CorpusConfig, TrainConfig
from kosmos.config import replace as change
from kosmos.config_files import load_config
from kosmos.errors import ConfigError, DataError, Interrupted, StorageError, UsageError
from kosmos.model.kosmos import Kosmos
from kosmos.runs import steps
from kosmos.storage import MANIFEST, check_manifest, write_manifest
from kosmos.training import checkpoint
from kosmos.training.loop import train
from kosmos.training.step import NonFiniteError

Hook = Callable[[dict[str, Any]], None]


def lines(run: Path) -> list[dict[str, Any]]:
    """metrics.jsonl without the timing."""
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in record.items() if key != "timing"} for record in records]


def checksums(run: Path, step: int) -> dict[str, str]:
    """sha256 of everything in a checkpoint, but for what names the save itself (and so the manifest)."""
    folder = run / "checkpoints" / f"step-{step}"
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name not in (".metadata", MANIFEST))
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def at(step: int, action: Callable[[], None]) -> Hook:
    """Do something after a step, once."""
    return lambda record: action() if record["step"] == step else None


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def terminate_twice() -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture(scope="module")
def finished(recipe: TrainConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(recipe, tmp_path_factory.mktemp("runs") / "whole", quiet=True)


def test_the_run_directory(finished: Path, recipe: TrainConfig) -> None:
    assert sorted(p.name for p in finished.iterdir()) == [
        "bad_records.log",
        "checkpoints",
        "config.yaml",
        "events.jsonl",
        "metrics.jsonl",
    ]
    assert load_config(finished / "config.yaml", TrainConfig) == recipe
    assert [number for number, _ in steps(finished)] == [8, 12]
    found = lines(finished)
    assert [record["step"] for record in found] == list(range(1, 13))
    assert found[-1]["lr"] == 0.0
    assert found[-1]["loss"] < found[0]["loss"] - 0.3
    assert all(r["sources"][s]["supervised_tokens"] > 0 for r in found for s in ("text", "pairs"))
    model = Kosmos.from_pretrained(finished / "checkpoints" / "step-12" / "weights")
    assert model.config.trained_precision == "fp32"


def test_bf16_and_two_threads_are_as_exact(recipe: TrainConfig, tmp_path: Path) -> None:
    config = replace(recipe, precision="bf16", threads=2, steps=6)
    whole = train(config, tmp_path / "whole", quiet=True)
    with pytest.raises(Interrupted):
        train(config, tmp_path / "run", quiet=True, on_step=at(3, interrupt))
    run = train(config, tmp_path / "run", resume=True, quiet=True)
    assert lines(run) == lines(whole)
    assert checksums(run, 6) == checksums(whole, 6)
    model = Kosmos.from_pretrained(run / "checkpoints" / "step-6" / "weights")
    assert model.config.trained_precision == "bf16"


def test_two_fresh_runs_are_bit_equal(finished: Path, recipe: TrainConfig, tmp_path: Path) -> None:
    again = train(recipe, tmp_path / "again", quiet=True)
    assert lines(again) == lines(finished)
    assert checksums(again, 12) == checksums(finished, 12)


@pytest.mark.parametrize(("workers", "stop"), [(0, interrupt), (1, terminate_twice)])
def test_interrupted_and_resumed_equals_uninterrupted(
    finished: Path, recipe: TrainConfig, tmp_path: Path, workers: int, stop: Callable[[], None]
) -> None:
    run = tmp_path / "run"
    config: TrainConfig = change(recipe, **{"data.workers": workers})
    with pytest.raises(Interrupted, match=r"saved after step 5 of 12 and stopped"):
        train(config, run, quiet=True, on_step=at(5, stop))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert train(config, run, resume=True, quiet=True) == run
    assert lines(run) == lines(finished)
    assert checksums(run, 12) == checksums(finished, 12)


@pytest.mark.parametrize("asynchronous", [False, True], ids=["synchronous", "asynchronous"])
def test_a_sigterm_in_the_middle_of_a_save(
    finished: Path, recipe: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asynchronous: bool
) -> None:
    asked: list[str] = []

    def stop_then_write(folder: Path) -> None:
        if not asked:
            asked.append(folder.name)
            os.kill(os.getpid(), signal.SIGTERM)
        write_manifest(folder)

    monkeypatch.setattr(checkpoint, "write_manifest", stop_then_write)
    config = replace(recipe, asynchronous_checkpoints=asynchronous, keep_checkpoints=9)
    with pytest.raises(Interrupted, match="saved after step"):
        train(config, tmp_path / "run", quiet=True)
    assert asked == [".step-4.saving"]
    # The save that was under way is whole, and so is that of the step at which the run stopped.
    first, *_, last = [number for number, _ in steps(tmp_path / "run")]
    assert first == 4 < last < 12
    for _, folder in steps(tmp_path / "run"):
        check_manifest(folder)
    assert lines(tmp_path / "run")[-1]["step"] == last
    run = train(config, tmp_path / "run", resume=True, quiet=True)
    assert lines(run) == lines(finished)
    assert checksums(run, 12) == checksums(finished, 12)


def test_killed_between_checkpoints_it_goes_on_from_the_last(
    finished: Path, recipe: TrainConfig, tmp_path: Path
) -> None:
    class Killed(BaseException):
        pass

    def kill() -> None:
        raise Killed

    run = tmp_path / "run"
    with pytest.raises(Killed):
        train(recipe, run, quiet=True, on_step=at(7, kill))
    assert [record["step"] for record in lines(run)] == list(range(1, 8))
    (run / "checkpoints" / ".step-8.1").mkdir()
    seen: list[int] = []
    train(recipe, run, resume=True, quiet=True, on_step=lambda record: seen.append(record["step"]))
    assert seen == list(range(5, 13))
    assert lines(run) == lines(finished)
    assert checksums(run, 12) == checksums(finished, 12)


def test_a_second_interrupt_stops_at_once(recipe: TrainConfig, tmp_path: Path) -> None:
    def twice() -> None:
        interrupt()
        interrupt()

    with pytest.raises(KeyboardInterrupt):
        train(recipe, tmp_path / "run", quiet=True, on_step=at(2, twice))
    assert steps(tmp_path / "run") == []


def test_a_run_that_exists_is_not_touched(finished: Path, recipe: TrainConfig) -> None:
    before = checksums(finished, 12)
    with pytest.raises(UsageError, match="exists already and is not empty"):
        train(recipe, finished, quiet=True)
    assert train(recipe, finished, resume=True, quiet=True) == finished
    assert checksums(finished, 12) == before
    with pytest.raises(UsageError, match=r"started with another recipe \(optimizer\.lr, seed\)"):
        train(change(recipe, **{"optimizer.lr": 1.0, "seed": 2}), finished, resume=True, quiet=True)


def test_torchrun_starts_again_what_began_and_nothing_else(
    finished: Path, recipe: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def kill() -> None:
        raise Killed

    run = tmp_path / "run"
    with pytest.raises(Killed):
        train(recipe, run, quiet=True, on_step=at(6, kill))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("mine")
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    # Refused at the first start, and at the next as well.
    with pytest.raises(UsageError, match="exists already and is not empty"):
        train(recipe, tmp_path / "other", quiet=True)
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["thesis.txt"]
    train(recipe, run, quiet=True)
    assert lines(run) == lines(finished)


def test_a_run_under_way_is_not_trained_by_another(recipe: TrainConfig, tmp_path: Path) -> None:
    run = tmp_path / "run"

    def again() -> None:
        with pytest.raises(UsageError, match="another process trains here"):
            train(recipe, run, resume=True, quiet=True)

    train(replace(recipe, steps=4), run, quiet=True, on_step=at(3, again))
    assert [record["step"] for record in lines(run)] == [1, 2, 3, 4]


def test_logging_and_saving_may_change_when_resuming(finished: Path, recipe: TrainConfig) -> None:
    other = replace(recipe, log_every=3, checkpoint_every=5, keep_checkpoints=7)
    assert train(other, finished, resume=True, quiet=True) == finished


def test_a_run_that_cannot_start_leaves_nothing(recipe: TrainConfig, tmp_path: Path) -> None:
    run = tmp_path / "run"
    missing: TrainConfig = change(recipe, **{"tokenizer": str(tmp_path / "no.model")})
    with pytest.raises(DataError, match="cannot read the tokenizer"):
        train(missing, run, quiet=True)
    with pytest.raises(ConfigError, match="tokenizer: name a SentencePiece model"):
        train(replace(recipe, tokenizer=""), run, quiet=True)
    source = replace(recipe.data.sources["text"], corpora=(CorpusConfig("jsonl", str(tmp_path / "no.jsonl")),))
    for workers in (0, 1):
        data = replace(recipe.data, sources={"text": source}, workers=workers)
        with pytest.raises(DataError, match=r"no\.jsonl: no such file"):
            train(replace(recipe, data=data), run, quiet=True)
    with pytest.raises(UsageError, match="random"):
        frozen: TrainConfig = change(recipe, **{"model.vision.trainable": "last_layer", "random_vision": False})
        train(frozen, run, quiet=True)
    assert not run.exists()


def test_bad_records_are_named_in_the_log(recipe: TrainConfig, tmp_path: Path) -> None:
    path = tmp_path / "text.jsonl"
    path.write_text('{"text": "the cat sits on the tree."}\n' * 30 + "{broken\n")
    source = replace(recipe.data.sources["text"], corpora=(CorpusConfig("jsonl", str(path)),))
    config = replace(recipe, data=replace(recipe.data, sources={"text": source}, max_bad_fraction=0.2), steps=6)
    run = train(config, tmp_path / "run", quiet=True)
    log = [json.loads(line) for line in (run / "bad_records.log").read_text().splitlines()]
    assert log
    assert log[0]["where"] == f"{path} byte 1140"
    assert {(entry["source"], entry["why"]) for entry in log} == {("text", "bad json")}
    assert lines(run)[-1]["sources"]["text"]["bad_records"] == {"bad json": len(log)}
    strict = replace(config, data=replace(config.data, max_bad_fraction=0.0), steps=600, checkpoint_every=600)
    with pytest.raises(DataError, match="11 of .* records are bad"):
        train(strict, tmp_path / "strict", quiet=True)
    assert len((tmp_path / "strict" / "bad_records.log").read_text().splitlines()) == 11


def test_broken_pictures_are_bad_records(recipe: TrainConfig, corpus: Path, tmp_path: Path) -> None:
    with tarfile.open(corpus / "pairs.tar") as whole, tarfile.open(tmp_path / "pairs.tar", "w") as copy:
        for member in whole:
            content = whole.extractfile(member)
            assert content is not None
            data = content.read()
            if member.name == "00003.png":
                data = data[: len(data) // 2]
                member.size = len(data)
            copy.addfile(member, io.BytesIO(data))
    source = replace(recipe.data.sources["pairs"], corpora=(CorpusConfig("pairs_tar", str(tmp_path / "pairs.tar")),))
    config = replace(recipe, data=replace(recipe.data, sources={"pairs": source}, max_bad_fraction=0.2), steps=4)
    run = train(replace(config, optimizer=replace(config.optimizer, warmup_steps=1)), tmp_path / "run", quiet=True)
    log = [json.loads(line) for line in (run / "bad_records.log").read_text().splitlines()]
    assert {(entry["why"], entry["where"]) for entry in log} == {
        ("broken picture", f"{tmp_path / 'pairs.tar'} record 00003")
    }


def test_a_loss_that_is_not_finite_stops_and_saves_nothing(
    recipe: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kosmos.training.step import TrainingModule

    plain = TrainingModule.forward
    calls = 0

    def forward(self: TrainingModule, batch: Any) -> Any:
        nonlocal calls
        calls += 1
        loss, count = plain(self, batch)
        return (loss * float("inf") if calls > 17 else loss), count  # three micro-batches a step: step 6

    monkeypatch.setattr(TrainingModule, "forward", forward)
    with pytest.raises(NonFiniteError, match="step 6: loss"):
        train(recipe, tmp_path / "run", quiet=True)
    assert [number for number, _ in steps(tmp_path / "run")] == [4]
    assert len(lines(tmp_path / "run")) == 5


def test_a_disk_that_fills_up(finished: Path, recipe: TrainConfig, tmp_path: Path) -> None:
    run = tmp_path / "run"
    largest = (finished / "checkpoints" / "step-12" / "optimizer" / "__0_0.distcp").stat().st_size
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest - 1000, limits[1]))

    try:
        with pytest.raises(StorageError, match=r"step-8: cannot write .* earlier checkpoints are whole") as caught:
            train(recipe, run, quiet=True, on_step=at(7, fill))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.exit_code == 5
    assert [p.name for p in (run / "checkpoints").iterdir()] == ["step-4"]
    train(recipe, run, resume=True, quiet=True)
    assert checksums(run, 12) == checksums(finished, 12)


def test_frozen_parameters_stay_bit_equal(recipe: TrainConfig, tmp_path: Path) -> None:
    config: TrainConfig = change(recipe, **{"model.vision.trainable": "last_layer", "steps": 3})
    torch.manual_seed(config.seed)
    before = Kosmos(config.model, random_vision=True)
    run = train(config, tmp_path / "run", quiet=True)
    after = Kosmos.from_pretrained(run / "checkpoints" / "step-3" / "weights")
    trained = {name: p.requires_grad for name, p in before.named_parameters()}
    assert 0 < sum(trained.values()) < len(trained)
    old, new = dict(before.named_parameters()), dict(after.named_parameters())
    for name, trainable in trained.items():
        assert torch.equal(old[name], new[name]) != trainable, name


def test_a_run_that_was_moved_or_is_named_otherwise_goes_on(
    recipe: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = Path("runs") / "here"
    (run / "parts").mkdir(parents=True)
    shutil.copy(recipe.tokenizer, run / "parts" / "tokenizer.model")

    def within(folder: Path, name: str = "parts/tokenizer.model") -> TrainConfig:
        config: TrainConfig = change(recipe, tokenizer=str(folder / name), steps=4, checkpoint_every=2)
        return config

    def stop(record: dict[str, Any]) -> None:
        if record["step"] == 2:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted, match="step 2 of 4"):
        train(within(run), run, resume=True, quiet=True, on_step=stop)
    (tmp_path / "elsewhere").mkdir()
    moved = tmp_path / "elsewhere" / "there"
    run.rename(moved)
    # The same name outside of the run, and another one inside, may hold anything.
    for other in (within(tmp_path / "other"), within(moved, "other/tokenizer.model")):
        with pytest.raises(UsageError, match=r"another recipe \(tokenizer\)"):
            train(other, moved, resume=True, quiet=True)
    steps: list[int] = []
    train(within(moved), Path("elsewhere/../elsewhere/there"), resume=True, quiet=True, on_step=note(steps))
    assert steps == [3, 4]


def note(steps: list[int]) -> Any:
    return lambda record: steps.append(record["step"])
