"""`kosmos data pages`, `dedup` and `decontaminate`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("datatrove")
pytest.importorskip("trafilatura")
pytest.importorskip("resiliparse")

from kosmos.cli.main import main
from tests.data.web.site import image, paragraphs, picture, prose, write


def test_pages(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, "site/a.png", picture(1))
    write(tmp_path, "site/b.png", picture(2))
    write(tmp_path, "site/good.html", paragraphs(1, image("a.png"), image("b.png")))
    write(tmp_path, "site/none.html", paragraphs(2))
    out = tmp_path / "out"
    assert main(["data", "pages", str(tmp_path / "site"), str(out)]) == 0
    said = capsys.readouterr()
    assert f"{out}: 1 of 2 pages kept, 2 of 2 pictures; see {out}/report.md" in said.out
    assert "pages removed: 1 no pictures" in said.out
    assert said.err == ""
    assert json.loads((out / "report.json").read_text())["kept"] == 1
    assert main(["data", "pages", str(tmp_path / "site"), str(out), "--seed", "9"]) == 2
    assert "begun with other settings (seed)" in capsys.readouterr().err


def test_dedup_then_decontaminate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    texts = [prose(1), prose(2), prose(1).replace("lamp", "lantern", 1)]
    write(tmp_path, "corpus.jsonl", "".join(json.dumps({"content": text}) + "\n" for text in texts))
    field = ["--field", "content"]
    assert main(["data", "dedup", str(tmp_path / "corpus.jsonl"), str(tmp_path / "once"), *field]) == 0
    assert "2 of 3 lines kept" in capsys.readouterr().out
    items = write(tmp_path, "items.txt", " ".join(prose(2).split()[:30]))
    once, clean = str(tmp_path / "once"), tmp_path / "clean"
    assert main(["data", "decontaminate", once, str(clean), "--against", str(items), *field]) == 0
    assert "lines removed: 1 overlaps evaluation data" in capsys.readouterr().out
    assert (clean / "corpus.jsonl").read_text() == json.dumps({"content": prose(1)}) + "\n"


@pytest.mark.parametrize("action", ["pages", "dedup", "decontaminate"])
def test_missing_input_is_one_line(action: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more = ["--against", str(tmp_path / "items.txt")] if action == "decontaminate" else []
    assert main(["data", action, str(tmp_path / "missing"), str(tmp_path / "out"), *more]) == 3
    assert "missing: no such file or folder" in capsys.readouterr().err
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").glob("*.tar"))
