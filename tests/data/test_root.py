"""`data.root`: where relative paths of a recipe lie."""

from __future__ import annotations

from pathlib import Path

import pytest

from kosmos.config import CorpusConfig, SourceConfig
from kosmos.data.corpora import open_corpora
from kosmos.data.root import at_root, within_root
from kosmos.errors import ConfigError, DataError
from tests.data.words import WordProcessor


@pytest.mark.parametrize(
    ("path", "root", "expected"),
    [
        ("text/wiki", "", "text/wiki"),
        ("text/wiki", "/data", "/data/text/wiki"),
        ("text/wiki", "/data/", "/data/text/wiki"),
        ("pairs/*.tar", "s3://bucket/kosmos", "s3://bucket/kosmos/pairs/*.tar"),
        ("pairs/*.tar", "s3://bucket/kosmos/", "s3://bucket/kosmos/pairs/*.tar"),
        ("/elsewhere/wiki", "/data", "/elsewhere/wiki"),
        ("hf://datasets/wiki", "/data", "hf://datasets/wiki"),
        ("wiki", "$PLACE/text", "/from/environment/text/wiki"),
        ("wiki", "${PLACE}s", "/from/environments/wiki"),
        ("wiki", "~/data", "/home/me/data/wiki"),
        ("wiki", "/a$$b", "/a$b/wiki"),
        ("", "/data", ""),
    ],
)
def test_where_a_path_lies(monkeypatch: pytest.MonkeyPatch, path: str, root: str, expected: str) -> None:
    monkeypatch.setenv("PLACE", "/from/environment")
    monkeypatch.setenv("HOME", "/home/me")
    assert within_root(path, root) == expected


def test_what_the_environment_lacks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KOSMOS_DATA", raising=False)
    with pytest.raises(ConfigError, match=r"asks for KOSMOS_DATA, .*--data.root FOLDER"):
        within_root("wiki", "$KOSMOS_DATA")
    with pytest.raises(ConfigError, match="names no variable"):
        within_root("wiki", "/a$/b")
    assert within_root("/wiki", "$KOSMOS_DATA") == "/wiki"


def test_generated_corpora_have_no_place() -> None:
    generated = CorpusConfig("picturebook.raven", "size=64")
    assert at_root(generated, "/data") == generated


def test_corpora_are_opened_there(tmp_path: Path) -> None:
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "a.jsonl").write_text('{"text": "w1 w2 ."}\n{"text": "w3"}\n')
    config = SourceConfig(1, 1, 8, (CorpusConfig("jsonl", "text"),), leading_start=False)
    [corpus] = open_corpora("text", config, WordProcessor(), 1, 16, str(tmp_path))
    assert corpus.num_records == 2 and corpus.name == str(tmp_path / "text")
    with pytest.raises(DataError, match="none/text"):
        open_corpora("text", config, WordProcessor(), 1, 16, str(tmp_path / "none"))
