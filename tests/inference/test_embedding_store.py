from __future__ import annotations

import errno
import hashlib
import logging
import multiprocessing
import os
import time
from pathlib import Path

import pytest
import torch
from torch import Tensor

from kosmos.errors import StorageError, UsageError
from kosmos.inference import embedding_store
from kosmos.inference.embedding_store import FOLDER, SUFFIX, EmbeddingStore


def key(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def tensor(number: int, size: int = 32) -> Tensor:
    return torch.randn(4, size, generator=torch.Generator().manual_seed(number))


def files(folder: Path) -> list[Path]:
    return sorted((folder / FOLDER).glob(f"*/*{SUFFIX}"))


def test_what_is_put_is_got_to_the_bit(tmp_path: Path) -> None:
    store = EmbeddingStore(tmp_path)
    values = [
        tensor(0),
        tensor(1).bfloat16(),
        tensor(2).half(),
        tensor(3).double(),
        tensor(4).t(),
        tensor(5)[:0],
        torch.tensor([[float("nan"), -0.0, float("inf"), 1e-42]]),
    ]
    for index, value in enumerate(values):
        assert store.get(key(index)) is None
        store.put(key(index), value)
    for index, value in enumerate(values):
        found = EmbeddingStore(tmp_path).get(key(index))
        assert found is not None
        assert (found.dtype, found.shape) == (value.dtype, value.shape)
        assert found.contiguous().view(torch.uint8).equal(value.contiguous().view(torch.uint8))
    found = store.get(key(0))
    assert found is not None
    found.zero_()  # the tensor is the caller's own
    assert store.get(key(0)).equal(values[0])  # type: ignore[union-attr]


def test_other_types_are_left_out(tmp_path: Path) -> None:
    store = EmbeddingStore(tmp_path)
    store.put(key(0), torch.arange(3))
    assert files(tmp_path) == []


def test_a_damaged_file_counts_as_absent(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = EmbeddingStore(tmp_path)
    store.put(key(0), tensor(0))
    (path,) = files(tmp_path)
    whole = path.read_bytes()
    damaged = [b"", whole[:10], whole[:40], whole[:-1], whole + b"\0"]
    for at in (0, 20, 60, 80, len(whole) // 2, len(whole) - 1):
        damaged.append(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
    for data in damaged:
        path.write_bytes(data)
        assert store.get(key(0)) is None
    assert len(caplog.records) == 1  # one warning, not one for each
    assert "damaged" in caplog.text and str(path) in caplog.text
    store.put(key(0), tensor(0))
    assert path.read_bytes() == whole
    # A whole file under another's name is not that other's.
    other = store._path(key(1))
    other.parent.mkdir()
    other.write_bytes(whole)
    assert store.get(key(1)) is None


def test_the_least_recently_used_go(tmp_path: Path) -> None:
    store = EmbeddingStore(tmp_path, max_bytes=16 * 4096)
    for number in range(16):
        store.put(key(number), tensor(number))
        os.utime(store._path(key(number)), (1000 + number, 1000 + number))
    assert all(store.get(key(number)) is not None for number in range(3))  # used again, so young
    store.put(key(16), tensor(16))
    kept = {number for number in range(17) if store._path(key(number)).exists()}
    # The oldest eighth made room, and some for the files to come.
    assert kept == {0, 1, 2, *range(5, 17)}
    for number in range(17, 100):
        store.put(key(number), tensor(number))
        assert len(files(tmp_path)) <= 16
    assert store.get(key(99)) is not None


def test_the_bound_holds_with_a_second_writer(tmp_path: Path) -> None:
    bound = 64 * 4096
    stores = [EmbeddingStore(tmp_path, bound), EmbeddingStore(tmp_path, bound)]
    for number in range(400):
        stores[number % 2].put(key(number), tensor(number))
        assert len(files(tmp_path)) <= 64 + 8


def test_what_exceeds_the_bound_is_left_out(tmp_path: Path) -> None:
    store = EmbeddingStore(tmp_path, max_bytes=4096)
    store.put(key(0), tensor(0, size=1024))
    assert files(tmp_path) == [] and store.writes
    store.put(key(0), tensor(0))
    assert len(files(tmp_path)) == 1
    with pytest.raises(UsageError, match="at least 1"):
        EmbeddingStore(tmp_path, max_bytes=0)


def test_only_the_group_that_is_written_to_is_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With millions of files nothing may list them all."""
    listed: list[str] = []
    original = os.scandir

    def counted(path: Path) -> object:
        listed.append(Path(path).name)
        return original(path)

    monkeypatch.setattr(os, "scandir", counted)
    store = EmbeddingStore(tmp_path)
    for _ in range(3):
        for number in range(5):
            store.put(key(number), tensor(number))
            assert store.get(key(number)) is not None
    assert listed == [key(number)[:2] for number in range(5)]


def test_what_dead_processes_left_is_removed(tmp_path: Path) -> None:
    EmbeddingStore(tmp_path).put(key(0), tensor(0))
    (path,) = files(tmp_path)
    old, young, foreign = (path.parent / name for name in (f".{path.name}.old", f".{path.name}.new", "notes.txt"))
    for file in (old, young, foreign):
        file.write_bytes(b"x")
    os.utime(old, (time.time() - 7200,) * 2)
    EmbeddingStore(tmp_path).put(key(0), tensor(0))
    assert not old.exists()
    assert young.exists() and foreign.exists()


def test_a_full_disk_turns_writing_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store = EmbeddingStore(tmp_path)
    store.put(key(0), tensor(0))
    full = OSError(errno.ENOSPC, "No space left on device")

    def refuse(*arguments: object, **options: object) -> None:
        raise StorageError("x: cannot write") from full

    monkeypatch.setattr(embedding_store, "write_atomic", refuse)
    with caplog.at_level(logging.WARNING):
        for number in range(1, 4):
            store.put(key(number), tensor(number))
    assert not store.writes
    assert len(caplog.records) == 1
    assert "no more embeddings are written" in caplog.text
    assert store.get(key(0)) is not None and store.get(key(1)) is None
    assert len(files(tmp_path)) == 1
    # A start on a full disk is no error either.
    caplog.clear()
    again = EmbeddingStore(tmp_path)
    assert not again.writes and len(caplog.records) == 1
    assert again.get(key(0)) is not None


def test_a_folder_that_goes_away(tmp_path: Path) -> None:
    store = EmbeddingStore(tmp_path / "cache")
    store.put(key(0), tensor(0))
    (tmp_path / "cache").rename(tmp_path / "gone")
    assert store.get(key(0)) is None
    store.put(key(0), tensor(0))
    assert store.get(key(0)) is not None


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StorageError, match="image cache cannot be used.*file"):
        EmbeddingStore(tmp_path / "file")

    def refuse(*arguments: object, **options: object) -> None:
        raise StorageError("x: cannot write: Read-only file system") from OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(embedding_store, "write_atomic", refuse)
    with pytest.raises(StorageError, match="image cache cannot be used.*Read-only"):
        EmbeddingStore(tmp_path / "cache")


def _work(folder: Path, seed: int, results: multiprocessing.SimpleQueue[tuple[int, int]]) -> None:
    """Write and read the same 40 tensors in an order of one's own; (right, wrong) reads."""
    torch.set_num_threads(1)
    store = EmbeddingStore(folder, max_bytes=64 * 4096)
    right = wrong = 0
    for turn in range(10):
        for number in torch.randperm(40, generator=torch.Generator().manual_seed(seed * 100 + turn)).tolist():
            store.put(key(number), tensor(number))
            found = store.get(key((number * 7) % 40))
            if found is not None:
                good = found.equal(tensor((number * 7) % 40))
                right, wrong = right + good, wrong + (not good)
    results.put((right, wrong))


def test_two_processes_at_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    context = multiprocessing.get_context("spawn")
    results = context.SimpleQueue()
    processes = [context.Process(target=_work, args=(tmp_path, seed, results)) for seed in (1, 2)]
    for process in processes:
        process.start()
    made = [results.get() for _ in processes]
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert all(right > 300 and wrong == 0 for right, wrong in made)
    store = EmbeddingStore(tmp_path)
    assert all(store.get(key(number)).equal(tensor(number)) for number in range(40))  # type: ignore[union-attr]
    assert caplog.records == []
    assert [path.name for path in (tmp_path / FOLDER).glob("*/.*")] == []
