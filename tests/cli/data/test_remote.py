"""Addresses that fsspec knows instead of local paths."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import fsspec
import pytest

from tests.cli.process import Command


@pytest.fixture
def bucket(corpora: dict[str, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """A folder in memory that holds some of the corpora."""
    monkeypatch.setenv("KOSMOS_CACHE", str(tmp_path / "cache"))
    name = f"memory://{uuid.uuid4().hex}"
    files, _ = fsspec.core.url_to_fs(name)
    for reader in ("jsonl", "pairs_tar", "parquet", "wet"):
        files.pipe_file(f"{name}/{reader}/{corpora[reader].name}", corpora[reader].read_bytes())
    return name


@pytest.mark.parametrize(("reader", "records"), [("jsonl", 20), ("pairs_tar", 6), ("parquet", 2), ("wet", 2)])
def test_inspect_stats_verify(kosmos_here: Command, bucket: str, tmp_path: Path, reader: str, records: int) -> None:
    address = f"{bucket}/{reader}"
    told = json.loads(kosmos_here("data", "inspect", address, "--json", cwd=tmp_path).stdout)
    assert told["reader"] == reader and len(told["records"]) == min(5, records)
    told = json.loads(kosmos_here("data", "stats", address, "--json", cwd=tmp_path).stdout)
    assert (told["records"], told["measured"]) == (records, records) and told["bytes"] > 50
    told = json.loads(kosmos_here("data", "verify", address, "--json", cwd=tmp_path).stdout)
    assert (told["records"], told["bad_records"], told["bad_files"]) == (records, {}, [])
