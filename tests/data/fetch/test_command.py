from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from kosmos.cli.main import main
from tests.data.fetch.loopback import Site


def test_fetch(site: Site, picture: Callable[..., bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    site.pages = {"/1.jpg": picture(1)}
    table = tmp_path / "table.tsv"
    here = f"http://127.0.0.1:{site.port}"
    table.write_text(f"{here}/1.jpg\ta caption\n{here}/2.jpg\tanother\n")
    words = ["data", "fetch", "--reader", "cc12m", str(table), str(tmp_path / "out"), "--per-host-rate", "1000"]
    assert main([*words, "--port", str(site.port)]) == 0
    said = capsys.readouterr().out
    assert "0 of 2 records in 1 shards, 0 of 2 pictures" in said
    assert "pictures failed: 2 private address" in said
    assert site.seen == []

    words[5] = str(tmp_path / "allowed")
    assert main([*words, "--port", str(site.port), "--allow-network", "127.0.0.1/32"]) == 0
    said = capsys.readouterr().out
    assert "00000.tar: 1 of 2 records (50.0 %), 1 pictures" in said
    assert "1 of 2 records in 1 shards, 1 of 2 pictures" in said
    assert said.rstrip().endswith("pictures failed: 1 http 404")
    assert json.loads((tmp_path / "allowed" / "fetch.json").read_text())["reader"] == "cc12m"


def test_mistakes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "out")
    assert main(["data", "fetch", "--reader", "laiom", "a", out]) == 2
    assert "did you mean 'laion'" in capsys.readouterr().err
    assert main(["data", "fetch", "--reader", "laion", str(tmp_path / "none.parquet"), out]) == 3
    assert main(["data", "fetch", "--reader", "laion", "a", out, "--allow-network", "10.0.0.1/8"]) in (2, 3)
    assert not (tmp_path / "out").exists()
