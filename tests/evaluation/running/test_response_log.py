from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest

from kosmos.errors import StorageError
from kosmos.evaluation.running.response_log import ResponseLog, read_responses


def test_two_processes_of_one_rank_have_a_file_each(tmp_path: Path) -> None:
    """A rank may outlive its killed launcher, and still write when the next start begins."""
    old = ResponseLog(tmp_path, 1)
    new = ResponseLog(tmp_path, 1)
    assert (old.path.name, new.path.name) == ("rank-1.jsonl", "rank-1001.jsonl")
    for log, group in ((old, "a/0"), (new, "a/1"), (old, "a/2")):
        log.append(group, [{"id": group}], {})
    old.close()
    new.close()
    assert {name: one["id"] for name, (one,) in read_responses(tmp_path).items()} == {
        "a/0": "a/0",
        "a/1": "a/1",
        "a/2": "a/2",
    }
    again = ResponseLog(tmp_path, 1)
    assert again.path.name == "rank-1.jsonl"
    again.close()


def test_a_full_disk_leaves_whole_groups_only(tmp_path: Path) -> None:
    log = ResponseLog(tmp_path, 0)
    log.append("a/0", [{"id": "x"}], {})
    kept = log.path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(kept) + 100, hard))
        with pytest.raises(StorageError, match=r"rank-0.jsonl: cannot be written: File too large; finished groups are"):
            log.append("a/1", [{"id": "y" * 50}] * 10, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert log.path.read_bytes() == kept
    log.append("a/1", [{"id": "y"}], {})
    log.close()
    assert [one["id"] for group in read_responses(tmp_path).values() for one in group] == ["x", "y"]


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "responses").write_text("")
    with pytest.raises(StorageError, match="responses"):
        ResponseLog(tmp_path / "responses", 0)
    os.unlink(tmp_path / "responses")
