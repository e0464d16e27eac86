"""The paper's comparisons as commands: a tiny multimodal model and its language-only twin, evaluated and tabled."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from kosmos.cli.main import main
from kosmos.model.kosmos import Kosmos
from kosmos.processor import Processor
from tests.evaluation.small_model import MAX_POSITIONS, save_small, write_datasets
from tests.inference.tiny import tiny_config, tiny_tokenizer

DATASETS = ("copa", "cb", "memory_color", "websrc", "rendered_sst2", "imagenet", "cub")


def save_language_model(folder: Path) -> Path:
    """As small_model's, of text alone."""
    folder.mkdir()
    tokenizer = tiny_tokenizer(folder)
    config = replace(tiny_config(tokenizer.vocab_size, max_positions=MAX_POSITIONS), vision=None)
    torch.manual_seed(1)
    Kosmos(config).eval().save_pretrained(folder / "model", Processor(tokenizer, config))
    return folder / "model"


def test_tables_of_two_tiny_models(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_datasets(tmp_path / "data", *DATASETS)
    models = {"kosmos": save_small(tmp_path), "llm": save_language_model(tmp_path / "llm")}

    def evaluate(model: str, tasks: str, *options: str) -> None:
        out = ["--data", str(data), "--out", str(tmp_path / f"of-{model}"), "--quiet"]
        assert main(["eval", str(models[model]), "--tasks", tasks, *out, *options]) == 0

    for model in models:
        evaluate(model, "copa,cb,memory_color", "--shots", "0,1,4")
    evaluate("kosmos", "websrc", "--prompt", "all")
    evaluate("llm", "websrc", "--prompt", "text_only")
    evaluate("kosmos", "rendered_sst2,imagenet")
    evaluate("kosmos", "cub", "--prompt", "all")
    evaluate("kosmos", "rendered_sst2", "--prompt", "chain_of_thought")
    capsys.readouterr()
    folders = [str(tmp_path / f"of-{model}") for model in ("kosmos", "llm")]
    assert main(["eval", "tables", *folders]) == 0
    assert "Table 13: Language tasks" in capsys.readouterr().out
    assert main(["eval", "tables", *folders, "--json"]) == 0
    tables = {table["table"]: table for table in json.loads(capsys.readouterr().out)}
    # Every place that was run has its number, n and interval, and both sides of it a paired test.
    full = {8: ["EM", "F1"], 9: ["KOSMOS"], 10: ["KOSMOS"], 12: ["KOSMOS"], 16: ["MemoryColor"]}
    full[13] = [f"{name}, k = {shots}" for name in ("CB", "COPA") for shots in (0, 1, 4)]
    for number, labels in full.items():
        rows = {row["label"]: row for row in tables[number]["rows"]}
        for label in labels:
            for found in rows[label]["numbers"]:
                assert found["value"] is not None and found["n"] > 0, (number, label)
                low, high = found["interval"]
                assert 0 <= low <= found["value"] <= high <= 1
            test = rows[label]["test"]
            assert 0 < test["p"] <= 1 and test["interval"][0] <= test["difference"] <= test["interval"][1]
    means = [row for row in tables[13]["rows"] if row["label"] == "Mean of 2 tasks, k = 4"]
    assert [len(row["numbers"]) for row in means] == [2]
