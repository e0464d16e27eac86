"""The benchmark of the full-size step, on a tiny model: it runs, it goes on, and it asks for what it says."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from benchmarks.training import full_size
from kosmos.config_checks import check_config
from kosmos.model.counting import count_parameters


def options(folder: Path, **changes: object) -> argparse.Namespace:
    given = {"folder": folder, "steps": 40, "micro": 4, "compile": False, "tokenizer": "", "small": True, **changes}
    return argparse.Namespace(**given)


def test_the_recipes_are_of_full_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpora = full_size.corpora(tmp_path, small=True)
    monkeypatch.setattr(full_size, "corpora", lambda folder, small: corpora)
    made = {case: full_size.recipe(case, options(tmp_path, small=False)) for case in full_size.CASES}
    for config in made.values():
        check_config(config, "recipe")
    counts = {case: count_parameters(config.model).total for case, config in made.items()}
    assert counts == {"kosmos-1": 1_662_375_936, "text": 1_340_180_480, "deterministic": 1_662_375_936}
    rows = {name: source.rows_per_step for name, source in made["kosmos-1"].data.sources.items()}
    assert rows == {"text": 20, "pairs": 20, "interleaved": 8}
    assert list(made["text"].data.sources) == ["text"]
    assert [config.deterministic for config in made.values()] == [False, False, True]
    assert made["kosmos-1"].asynchronous_checkpoints and made["kosmos-1"].checkpoint_every == 20
    assert made["text"].checkpoint_every > made["text"].steps


def test_a_second_call_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [str(tmp_path), "--small", "--cases", "kosmos-1", "--steps", "4"]
    [first] = full_size.main(arguments)["rows"]
    [second] = full_size.main(arguments)["rows"]
    assert (first["from step"], first["steps"], second["from step"], second["steps"]) == (1, 2, 5, 2)
    assert first["tokens/s"] > 0 and first["images/s"] > 0 and 0 < first["MFU %"] < 100
    assert first["save stalls s"] != "none" and float(first["save stalls s"].split(", ")[0]) >= 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["benchmark"] == "full size"
