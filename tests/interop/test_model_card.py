"""The card of an exported folder: what the run tells, and `unknown` for what it does not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kosmos.config import CorpusConfig, DataConfig, ModelConfig, SourceConfig, TrainConfig
from kosmos.config import replace as change
from kosmos.config_files import parse_yaml, save_config
from kosmos.interop.model_card import exported_card, imported_card
from kosmos.model.kosmos import Kosmos
from kosmos.processor import Processor
from kosmos.storage import file_sha256
from kosmos.tokenizer import Tokenizer
from tests.interop.kosmos2_folder import small_tokenizer
from tests.model.tiny import tiny_config

SECTIONS = (
    *("The model", "Use", "Intended use", "Limits", "Misuse", "Training data", "Training", "Evaluation", "Licence"),
)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return small_tokenizer(tmp_path_factory.mktemp("tokenizer"))


def save(folder: Path, tokenizer: Tokenizer, **changes: Any) -> ModelConfig:
    config = tiny_config(**{"decoder.vocab_size": tokenizer.vocab_size} | changes)
    Kosmos(config, random_vision=True).save_pretrained(folder, Processor(tokenizer, config))
    return config


def recipe(config: ModelConfig) -> TrainConfig:
    corpora = (
        CorpusConfig(reader="jsonl", path="/home/someone/private/pages/*.jsonl", weight=2.0),
        CorpusConfig(reader="parquet", path="s3://bucket/books"),
        CorpusConfig(reader="picturebook.glosses", path=""),
    )
    source = SourceConfig(rows_per_step=4, micro_batch_rows=2, row_length=48, corpora=corpora)
    trained: TrainConfig = change(
        TrainConfig(model=config, data=DataConfig(sources={"text": source}), steps=1000),
        **{"model.vision.pretrained": "/home/someone/towers/clip-l14"},
    )
    return trained


def report(weights: Path | None) -> dict[str, Any]:
    ability = {
        "title": "naming",
        "n": 50,
        "score": 0.5,
        "interval": [0.4, 0.6],
        "interval_method": "wilson",
        "metric": "exact_match",
        "chance": 0.1,
        "blank_image": None,
        "baselines": [],
        "strongest_baseline": None,
        "beats_chance": True,
        "beats_blank": None,
        "beats_baseline": None,
        "learned": "learned",
        "expects_chance": False,
        "constant_answer": False,
        "num_ties": 0,
        "splits_by": None,
        "splits": None,
        "note": None,
    }
    extra = {} if weights is None else {"weights_sha256": file_sha256(weights)}
    return {
        "schema_version": 1,
        "kind": "kosmos-report",
        "run": {"steps": 10, "extra": extra},
        "abilities": [ability],
        "warnings": ["50 of 50 items tied."],
    }


def front_of(card: str) -> dict[str, Any]:
    assert card.startswith("---\n")
    front: dict[str, Any] = parse_yaml(card.split("---\n")[1])
    return front


def section(card: str, title: str) -> str:
    return card.split(f"\n## {title}\n")[1].split("\n## ")[0].strip()


def test_of_a_folder_without_a_run_the_unknown_is_said(tokenizer: Tokenizer, tmp_path: Path) -> None:
    save(tmp_path / "model", tokenizer)
    card = exported_card(tmp_path / "model", tmp_path / "model", "kosmos")
    assert [line[3:] for line in card.splitlines() if line.startswith("## ")] == list(SECTIONS)
    assert front_of(card) == {
        "license": "unknown",
        "library_name": "kosmos",
        "pipeline_tag": "image-text-to-text",
        "tags": ["kosmos", "kosmos-1", "vision", "multimodal"],
    }
    assert section(card, "Training data").startswith("Unknown: the weights came without the recipe")
    assert section(card, "Training") == "Unknown."
    assert section(card, "Evaluation").startswith("Unknown: no report")
    assert section(card, "Licence").startswith("Unknown: the weights carry the terms")
    assert "# model\n" in card
    config = tiny_config()
    assert f"{config.decoder.num_layers} layers of width {config.decoder.hidden_size}, 4 heads" in card
    assert "28 x 28 pixels, 4 tokens each" in card


def test_of_a_run_data_training_and_evaluation_are_told(tokenizer: Tokenizer, tmp_path: Path) -> None:
    run = tmp_path / "runs" / "mine"
    weights = run / "checkpoints" / "step-10" / "weights"
    config = save(weights, tokenizer)
    save_config(recipe(config), run / "config.yaml")
    (run / "report.json").write_text(json.dumps(report(weights / "model.safetensors")), encoding="utf-8")
    card = exported_card(run, weights, "transformers", "mit")
    assert front_of(card)["license"] == "mit"
    assert front_of(card)["library_name"] == "transformers"
    assert "weights of step-10" in section(card, "The model")
    data = section(card, "Training data")
    assert "| text   | jsonl               | *.jsonl           |      2 |               4 x 48 |" in data
    assert "s3://bucket/books" in data
    assert "generated" in data
    assert "Training began with the vision tower of clip-l14" in data
    assert "under which licences, and whom they show, the recipe does not say: unknown" in data
    assert "/home/someone" not in card
    assert "a plan of 1,000 steps of 192 tokens" in section(card, "Training")
    evaluation = section(card, "Evaluation")
    assert evaluation.startswith("Measured on these weights.")
    assert "| naming" in evaluation
    assert "50.0" in evaluation
    assert "- 50 of 50 items tied." in evaluation
    assert section(card, "Licence") == "`mit`, as given by who made this folder."


def test_a_report_on_other_weights_is_called_so(tokenizer: Tokenizer, tmp_path: Path) -> None:
    weights = tmp_path / "run" / "checkpoints" / "step-20" / "weights"
    config = save(weights, tokenizer)
    save_config(recipe(config), tmp_path / "run" / "config.yaml")
    assert section(exported_card(weights, weights, "kosmos"), "Evaluation") == "None: the run has no report."
    (tmp_path / "run" / "report.json").write_text(json.dumps(report(None)), encoding="utf-8")
    card = exported_card(weights, weights, "kosmos")
    assert section(card, "Evaluation").startswith("Measured on other weights of the same run (step 10).")


def test_a_password_in_an_address_is_left_out(tokenizer: Tokenizer, tmp_path: Path) -> None:
    weights = tmp_path / "run" / "checkpoints" / "step-1" / "weights"
    trained = recipe(save(weights, tokenizer))
    source = trained.data.sources["text"]
    secret = CorpusConfig(reader="jsonl", path="https://me:secret@example.org/a.jsonl?token=abc#x")
    data = DataConfig(sources={"text": replace(source, corpora=(secret,))})
    save_config(replace(trained, data=data), tmp_path / "run" / "config.yaml")
    card = exported_card(weights, weights, "kosmos")
    assert "https://example.org/a.jsonl" in card
    assert "secret" not in card
    assert "abc" not in card


def test_a_language_model_gets_words_of_its_own(tokenizer: Tokenizer, tmp_path: Path) -> None:
    save(tmp_path / "model", tokenizer, vision=None)
    for format, word in (("kosmos", "kosmos score FOLDER"), ("transformers", "AutoModelForCausalLM")):
        card = exported_card(tmp_path / "model", tmp_path / "model", format)  # type: ignore[arg-type]
        assert front_of(card)["pipeline_tag"] == "text-generation"
        assert "vision" not in front_of(card)["tags"]
        assert word in section(card, "Use")
        assert "picture.png" not in card
        assert "none: a language model" in card


def test_what_an_earlier_card_tells_travels_on(tokenizer: Tokenizer, tmp_path: Path) -> None:
    config = save(tmp_path / "model", tokenizer)
    origin = tmp_path / "kosmos-2"
    origin.mkdir()
    (origin / "README.md").write_text("---\nlicense: mit\n---\n# Kosmos-2\n", encoding="utf-8")
    (origin / "config.json").write_text(json.dumps({"_name_or_path": "someone/kosmos-2"}), encoding="utf-8")
    first = imported_card(origin, Processor(tokenizer, config))
    assert front_of(first)["license"] == "mit"
    assert front_of(first)["base_model"] == "someone/kosmos-2"
    (tmp_path / "model" / "README.md").write_text(first, encoding="utf-8")
    second = exported_card(tmp_path / "model", tmp_path / "model", "kosmos")
    for title in ("Training data", "Evaluation", "Licence"):
        assert section(second, title) == section(first, title)
    assert front_of(second)["license"] == "mit"
    assert front_of(second)["base_model"] == "someone/kosmos-2"
    assert front_of(exported_card(tmp_path / "model", tmp_path / "model", "kosmos", "cc0-1.0"))["license"] == "cc0-1.0"


@pytest.mark.parametrize("text", ["", "no front matter", "---\n: [broken\n---\n", "---\n- list\n---\n"])
def test_a_card_that_cannot_be_read_says_nothing(text: str, tokenizer: Tokenizer, tmp_path: Path) -> None:
    config = save(tmp_path / "model", tokenizer)
    (tmp_path / "README.md").write_text(text, encoding="utf-8")
    (tmp_path / "config.json").write_text(json.dumps({"_name_or_path": "../mine/model"}), encoding="utf-8")
    front = front_of(imported_card(tmp_path, Processor(tokenizer, config)))
    assert front["license"] == "unknown"
    assert "base_model" not in front
