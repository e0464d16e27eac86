"""The packaged recipes: the paper's numbers, what differs between them, and the streams of the small twins."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.training.same_text import text_hash
from kosmos.config import TrainConfig
from kosmos.config_checks import check_config
from kosmos.config_files import config_to_mapping, recipe_names
from kosmos.data.picturebook.concepts import load_picturebook
from kosmos.data.picturebook.instructions import FAMILIES
from kosmos.data.picturebook.wordnet import load_wordnet
from kosmos.data.stream import Step, build_stream, micro_batches
from kosmos.errors import DataError
from kosmos.model.counting import count_parameters
from kosmos.presets import load_recipe, recipe_text
from kosmos.processor import Processor
from kosmos.tokenizer import Tokenizer
from kosmos.training.loop import train
from kosmos.training.optimizer import learning_rate
from kosmos.training.same_recipe import flat


def few_rows(data: Any) -> Any:
    """The data of a recipe with two rows of each source."""
    sources = {name: replace(s, rows_per_step=2, micro_batch_rows=2) for name, s in data.sources.items()}
    return replace(data, sources=sources)


def tokens_a_step(config: TrainConfig) -> dict[str, int]:
    return {name: source.rows_per_step * source.row_length for name, source in config.data.sources.items()}


def differing(one: TrainConfig, other: TrainConfig) -> set[str]:
    """The dotted keys in which two recipes differ."""
    first, second = flat(config_to_mapping(one)), flat(config_to_mapping(other))
    return {key for key in {*first, *second} if first.get(key, "absent") != second.get(key, "absent")}


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_is_whole(name: str) -> None:
    config = load_recipe(name)
    check_config(config)
    assert config.data.sources and (config.tokenizer or config.start_from)
    summary = recipe_text(name).partition("\n")[0]
    assert summary.startswith("# ") and 40 < len(summary) <= 120


def test_the_papers_pre_training() -> None:
    config = load_recipe("kosmos-1")
    assert tokens_a_step(config) == {"text": 499_712, "pairs": 499_712, "interleaved": 200_704}
    assert config.steps == 300_000
    optimizer, decoder = config.optimizer, config.model.decoder
    assert (optimizer.betas, optimizer.weight_decay, optimizer.encoder_lr_scale) == ((0.9, 0.98), 0.01, 1.0)
    assert (decoder.dropout, decoder.attention_dropout, config.model.resampler.attention_dropout) == (0.1, 0.1, 0.1)
    rates = [learning_rate(step, optimizer, config.steps) for step in (1, 375, 150_000, 300_000)]
    assert rates == pytest.approx([5.33e-7, 2e-4, 1.0013e-4, 0.0], rel=1e-3)
    assert rates[3] == 0.0
    assert config.model.vision is not None and config.model.vision.trainable == "last_layer"
    assert count_parameters(config.model).total == 1_662_375_936
    # 360 billion tokens in all
    assert config.steps * sum(tokens_a_step(config).values()) == pytest.approx(360e9, rel=1e-3)


def test_the_papers_text_corpora() -> None:
    """Table 20: weights in per cent, largest first."""
    corpora = load_recipe("kosmos-1").data.sources["text"].corpora
    weights = [21.8, 17.7, 16.2, 14.7, 10.6, 10.2, 5.4, 1.1, 1.0, 1.0, 0.2]
    assert [corpus.weight for corpus in corpora] == weights
    assert len({corpus.path for corpus in corpora}) == 11
    # Its epochs follow from the weights and the corpora's sizes, for 100 billion tokens.
    billions = [14.8, 82.6, 25.7, 68.7, 49.8, 21.9, 4.2, 1.5, 2.7, 5.3, 0.3]
    epochs = [1.47, 0.21, 0.63, 0.21, 0.21, 0.46, 1.29, 0.75, 0.38, 0.19, 0.75]
    assert [weight / size for weight, size in zip(weights, billions, strict=True)] == pytest.approx(epochs, rel=0.12)
    assert not any(Path(corpus.path).is_absolute() for corpus in corpora)


def test_the_batch_of_table_18() -> None:
    config = load_recipe("kosmos-1-table-18")
    assert tokens_a_step(config) == {"text": 256 * 2048, "pairs": 256 * 2048, "interleaved": 128 * 2048}
    rows = {f"data.sources.{name}.rows_per_step" for name in ("text", "pairs", "interleaved")}
    assert differing(config, load_recipe("kosmos-1")) == rows
    # Micro-batches of equal size for each of 64 ranks.
    assert len(micro_batches(config.data)) % 64 == 0


@pytest.mark.parametrize(
    ("baseline", "multimodal"), [("llm-baseline", "kosmos-1"), ("llm-baseline-twin", "kosmos-1-twin")]
)
def test_the_language_only_baseline_differs_in_nothing_but_pictures(baseline: str, multimodal: str) -> None:
    without, with_pictures = load_recipe(baseline), load_recipe(multimodal)
    keys = differing(without, with_pictures)
    sources = [f"{part}.sources.{name}." for part in ("data", "validation") for name in ("pairs", "interleaved")]
    allowed = ("model.vision", *sources)
    assert keys and all(key.startswith(allowed) for key in keys)
    assert without.model.vision is None and list(without.data.sources) == ["text"]
    assert without.data.sources["text"] == with_pictures.data.sources["text"]
    assert count_parameters(without.model).total == count_parameters(with_pictures.model).text


def test_instruction_tuning_as_remembered() -> None:
    config, base = load_recipe("kosmos-1-instruct"), load_recipe("kosmos-1")
    assert (config.steps, config.optimizer.lr, config.optimizer.warmup_steps) == (10_000, 2e-5, 375)
    assert config.model == base.model and config.start_from and not config.tokenizer
    # 256 instructions of 128 tokens, 768 pairs of 85.
    assert tokens_a_step(config) == {
        "text": 32 * 2048,
        "pairs": 32 * 2048,
        "interleaved": 16 * 2048,
        "instruction": 256 * 128,
    }
    assert tokens_a_step(config)["pairs"] == pytest.approx(768 * (64 + 20), rel=0.02)
    for name in ("text", "pairs", "interleaved"):
        assert config.data.sources[name].corpora == base.data.sources[name].corpora
    instruction = config.data.sources["instruction"]
    assert {corpus.reader for corpus in instruction.corpora} == {"instructions"}
    assert sum(corpus.weight for corpus in instruction.corpora) == 68_478 + 54_000


@pytest.mark.parametrize("name", ["kosmos-1-table-18", "kosmos-1-instruct"])
def test_what_is_from_memory_says_so(name: str) -> None:
    keys = ("rows_per_step", "steps:", "lr:")
    told = [line for line in recipe_text(name).splitlines() if any(key in line.partition("#")[0] for key in keys)]
    assert len(told) >= 3
    assert all("from memory" in line for line in told)


def test_the_rung_between() -> None:
    config = load_recipe("kosmos-small")
    counted = count_parameters(config.model)
    assert 115e6 < counted.text < 140e6
    assert config.model.vision is not None and config.model.vision.pretrained == "openai/clip-vit-base-patch16"
    assert (config.model.vision.patch_size, config.model.vision.hidden_size) == (16, 768)
    assert sum(tokens_a_step(config).values()) == 294_912


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """400 pieces of WordNet; skips without the caches of WordNet and the picture book."""
    try:
        load_picturebook(download=False)
        lines = [line for lines in load_wordnet(download=False).lines[::10] for line in lines]
    except DataError as error:
        pytest.skip(f"not in the cache: {error}")
    return Tokenizer.train(lines, tmp_path_factory.mktemp("tokenizer") / "tokenizer.model", 400)


def steps_of(config: TrainConfig, tokenizer: Tokenizer, count: int) -> list[Step]:
    stream = build_stream(config.data, Processor(tokenizer, config.model), config.seed)
    return [next(stream) for _ in range(count)]


def test_the_language_only_twin_reads_the_same_text(tokenizer: Tokenizer) -> None:
    multimodal, without = (
        load_recipe(name, {"data.sources.text.rows_per_step": 6, "data.sources.text.micro_batch_rows": 2})
        for name in ("kosmos-1-twin", "llm-baseline-twin")
    )
    found, tokens, pictures = text_hash(multimodal, tokenizer, 3)
    assert tokens > 6 * 3 * 100 and pictures > 0
    assert text_hash(without, tokenizer, 3) == (found, tokens, 0)
    assert text_hash(replace(without, seed=2), tokenizer, 3)[0] != found


def documents_of(step: Step, source: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(ids, supervised) of every document in the rows of a source."""
    for batch in step.batches:
        if batch.source != source:
            continue
        assert batch.segment_ids is not None
        for ids, supervised, numbers in zip(batch.token_ids, batch.supervised, batch.segment_ids, strict=True):
            for number in range(1, int(numbers.max()) + 1):
                where = numbers == number
                yield ids[where].numpy(), supervised[where].numpy()


def test_only_outputs_of_instructions_are_supervised(tokenizer: Tokenizer) -> None:
    [step] = steps_of(load_recipe("instruct-twin"), tokenizer, 1)
    ways = [way for family in FAMILIES.values() for way in family.ways]
    seen = 0
    for ids, supervised in documents_of(step, "instruction"):
        # One run at the end: the output and </s>.
        first = int(supervised.argmax())
        assert supervised[first:].all() and not supervised[:first].any()
        prompt, output = tokenizer.decode(ids[:first]).strip(), tokenizer.decode(ids[first:]).strip()
        assert ids[-1] == tokenizer.eos_id and output
        assert any(prompt.startswith(way) for way in ways)
        for way in FAMILIES["first"].ways:
            if prompt.startswith(way):
                assert prompt.removeprefix(way).split()[0] == output
                seen += 1
    assert seen


def test_the_twins_train_one_after_the_other(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path / "tokenizer")
    small: dict[str, Any] = {
        "steps": 2,
        "optimizer.warmup_steps": 1,
        "threads": 1,
        "device": "cpu",
        "validation.every": 2,
    }
    small["model.decoder.vocab_size"] = tokenizer.vocab_size
    runs: dict[str, Path] = {}
    for name in ("kosmos-1-twin", "llm-baseline-twin", "instruct-twin"):
        config = load_recipe(name, small)
        config = replace(config, data=few_rows(config.data), validation=few_rows(config.validation))
        start = str(runs["kosmos-1-twin"]) if name == "instruct-twin" else ""
        there = "" if start else str(tmp_path / "tokenizer")
        runs[name] = train(replace(config, tokenizer=there, start_from=start), tmp_path / name, quiet=True)
    lines = {
        name: [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        for name, run in runs.items()
    }
    assert all([line["step"] for line in found] == [1, 2] for found in lines.values())
    sources = {name: list(found[0]["sources"]) for name, found in lines.items()}
    assert sources["kosmos-1-twin"] == ["text", "pairs", "interleaved"]
    assert sources["llm-baseline-twin"] == ["text"]
    assert sources["instruct-twin"] == ["text", "pairs", "interleaved", "instruction"]
    assert list(lines["kosmos-1-twin"][1]["validation"]) == ["text", "pairs", "interleaved"]
    # The same text; the losses differ, as the weights were drawn after those of the pictures.
    texts = [lines[name][0]["sources"]["text"] for name in ("kosmos-1-twin", "llm-baseline-twin")]
    assert texts[0] | {"loss": 0} == texts[1] | {"loss": 0}
    # What was learned is there from the first step on.
    assert lines["instruct-twin"][0]["sources"]["text"]["loss"] < texts[0]["loss"] - 0.1
