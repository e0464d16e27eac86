"""A modality from outside: the code that docs/modalities.md shows, run as it stands there."""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from kosmos import modality
from kosmos.config import (
    CorpusConfig,
    DataConfig,
    DecoderConfig,
    ModelConfig,
    OptimizerConfig,
    ResamplerConfig,
    SourceConfig,
    TrainConfig,
)
from kosmos.data import readers
from kosmos.document import Document
from kosmos.model import encoders
from kosmos.model.kosmos import Kosmos
from kosmos.processor import Processor
from kosmos.runs import resolve
from kosmos.tokenizer import Tokenizer
from kosmos.training.loop import train
from tests.cli.process import environment

DOCUMENT = Path(__file__).parents[1] / "docs" / "modalities.md"
NAMES = ["deep", "low", "high", "shrill"]


def _blocks() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", DOCUMENT.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """The document's code as a module; what it registered is taken back afterwards."""
    file = tmp_path_factory.mktemp("module") / "speech_of_the_docs.py"
    file.write_text("\n\n".join(_blocks()[:3]))
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, file.stem, module)
        patch.setattr(modality, "_MODALITIES", dict(modality._MODALITIES))
        patch.setattr(encoders, "_ENCODERS", dict(encoders._ENCODERS))
        patch.setattr(readers, "_READERS", dict(readers._READERS))
        spec.loader.exec_module(module)
        yield module


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.model"
    Tokenizer.train(NAMES * 20, path, vocab_size=60, hard_vocab_limit=False, character_coverage=1.0)
    return Tokenizer.load(path, extra_specials=("<speech>", "</speech>"))


@pytest.fixture(scope="module")
def config(tokenizer: Tokenizer) -> ModelConfig:
    return ModelConfig(
        decoder=DecoderConfig(
            num_layers=2,
            hidden_size=32,
            ffn_size=64,
            num_heads=4,
            vocab_size=tokenizer.vocab_size,
            max_positions=32,
            dropout=0.0,
            attention_dropout=0.0,
        ),
        vision=None,
        resampler=ResamplerConfig(num_heads=4, attention_dropout=0.0),
        extra_modalities=("speech",),
    )


def test_it_takes_less_than_60_lines() -> None:
    registration, use, _, _ = _blocks()
    assert "register_encoder(" in registration and "register_encoder(" not in use
    assert len(registration.splitlines()) < 60


def test_it_trains_and_generates(speech: Any, tokenizer: Tokenizer, config: ModelConfig) -> None:
    torch.manual_seed(0)
    losses, answers = speech.learn_tones(tokenizer, config, steps=60)
    assert losses[0] > 2.0
    assert losses[-1] < 0.1
    assert answers == {name: name for name in NAMES}


def test_a_row_with_speech(speech: Any, tokenizer: Tokenizer, config: ModelConfig) -> None:
    row = Processor(tokenizer, config).encode(Document("low", speech.tone(500), "high"))
    begin, end = tokenizer.special_id("<speech>"), tokenizer.special_id("</speech>")
    ids = row.token_ids.tolist()
    at = ids.index(begin)
    assert ids[at + 1 : at + 6] == [tokenizer.slot_id] * 4 + [end]
    assert not row.supervised[at : at + 6].any()
    assert row.inputs[0].features.shape == (16, 129)
    assert speech.tone(500) == speech.tone(500) != speech.tone(501)


def test_it_is_saved_and_read_again(speech: Any, tokenizer: Tokenizer, config: ModelConfig, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Kosmos(config).eval()
    model.save_pretrained(tmp_path / "model", Processor(tokenizer, config))
    again = Kosmos.from_pretrained(tmp_path / "model")
    features = torch.from_numpy(np.stack([speech.spectrogram(speech.tone(500), config, False)]))
    with torch.no_grad():
        found = again.encode_inputs("speech", features)
        assert torch.equal(found, model.encode_inputs("speech", features))
    assert found.shape == (1, 4, 32)
    processor = Processor.load(tmp_path / "model")
    assert processor.tokenizer == tokenizer
    assert processor.config == config


def test_it_trains_in_the_training_loop(speech: Any, tokenizer: Tokenizer, config: ModelConfig, tmp_path: Path) -> None:
    tokenizer.save(tmp_path)
    recipe = TrainConfig(
        model=config,
        data=DataConfig({"sounds": SourceConfig(2, 2, 32, (CorpusConfig("tones", ""),), document_mask=True)}),
        optimizer=OptimizerConfig(lr=3e-3, warmup_steps=1),
        tokenizer=str(tmp_path),
        steps=30,
        precision="fp32",
        threads=1,
    )
    records: list[dict[str, Any]] = []
    before = torch.get_num_threads()
    run = train(recipe, tmp_path / "run", quiet=True, on_step=records.append)
    torch.set_num_threads(before)
    assert all(record["sources"]["sounds"]["supervised_tokens"] > 0 for record in records)
    assert records[-1]["loss"] < 0.5 * records[0]["loss"]
    model = Kosmos.from_pretrained(resolve(run))
    moved = Kosmos(config).encoders["speech"].state_dict().keys()
    assert moved and moved == model.encoders["speech"].state_dict().keys()


def test_the_commands_of_the_document(tmp_path: Path) -> None:
    """As a user types them: speech.py and speech.yaml in a folder, and what the document says after that."""
    text = DOCUMENT.read_text(encoding="utf-8")
    *module, ask = _blocks()
    (tmp_path / "speech.py").write_text("\n\n".join(module))
    (tmp_path / "ask.py").write_text(ask)
    (recipe,) = re.findall(r"^```yaml\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)
    (tmp_path / "speech.yaml").write_text(recipe)
    (tmp_path / "names.txt").write_text("".join(f"{name}\n" for name in NAMES))
    (commands,) = re.findall(r"^```sh\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)
    lines = [["-m", *shlex.split(line)] for line in commands.splitlines()]
    assert [words[1] for words in lines] == ["kosmos", "kosmos"]
    for words in [*lines, ["ask.py"]]:
        finished = subprocess.run(
            [sys.executable, *words], cwd=tmp_path, capture_output=True, text=True, timeout=120, env=environment()
        )
        assert finished.returncode == 0, finished.stderr
    assert finished.stdout.splitlines() == [f"{name} {name}" for name in NAMES]
