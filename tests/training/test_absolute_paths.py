"""Which paths of a recipe become absolute when a run begins, and that a folder that moves as a whole is the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kosmos.config import CorpusConfig, SourceConfig, TrainConfig, VisionConfig
from kosmos.config import replace as change
from kosmos.errors import UsageError
from kosmos.training.absolute_paths import with_absolute_paths
from kosmos.training.same_recipe import check_same_recipe


def recipe(*corpora: CorpusConfig, **changes: Any) -> TrainConfig:
    source = SourceConfig(2, 2, 32, corpora)
    config: TrainConfig = change(TrainConfig(), **{"data.sources": {"text": source}, **changes})
    return config


def paths(config: TrainConfig) -> list[str]:
    return [entry.path for entry in config.data.sources["text"].corpora]


def test_local_paths_are_taken_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    corpora = [
        *(CorpusConfig("jsonl", path) for path in ("text/*.jsonl", "s3://bucket/text", "/data/text", "~/text")),
        CorpusConfig("picturebook.colors", ""),
        *(CorpusConfig("tones", path) for path in ("mine", "four tones")),  # a reader of somebody's own
    ]
    given = recipe(*corpora, tokenizer="tokenizer", start_from="runs/old")
    given = change(given, **{"model.vision": VisionConfig(pretrained="openai/clip"), "validation.sources": {}})
    made = with_absolute_paths(given)
    here = str(tmp_path)
    assert paths(made) == [
        f"{here}/text/*.jsonl",
        *("s3://bucket/text", "/data/text", "~/text"),
        "",
        *(f"{here}/mine", "four tones"),
    ]
    assert (made.tokenizer, made.start_from) == (f"{here}/tokenizer", f"{here}/runs/old")
    assert made.model.vision is not None and made.model.vision.pretrained == "openai/clip"
    assert with_absolute_paths(made) == made


@pytest.mark.parametrize(
    ("root", "stored"), [("data", "{here}/data"), ("$DATA", "$DATA"), ("s3://bucket", "s3://bucket")]
)
def test_what_lies_below_the_root_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: str, stored: str
) -> None:
    monkeypatch.chdir(tmp_path)
    made = with_absolute_paths(recipe(CorpusConfig("jsonl", "text"), tokenizer="tokenizer", **{"data.root": root}))
    assert (paths(made), made.tokenizer) == (["text"], "tokenizer")
    assert made.data.root == stored.format(here=tmp_path)


def test_a_project_that_was_moved_is_the_same_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = tmp_path / "old", tmp_path / "new" / "place"
    for folder in (old, new):
        folder.mkdir(parents=True)
    given = recipe(CorpusConfig("jsonl", "book/text"))
    monkeypatch.chdir(old)
    before = with_absolute_paths(given)
    check_same_recipe(recipe(CorpusConfig("jsonl", "../old/book/text")), given, old / "run")  # another name of it
    monkeypatch.chdir(new)
    check_same_recipe(given, before, new / "run")
    for other in (CorpusConfig("jsonl", "book/other"), CorpusConfig("text", "book/text")):
        with pytest.raises(UsageError, match=r"another recipe \(data\.sources\.text\.corpora\)"):
            check_same_recipe(recipe(other), before, new / "run")
