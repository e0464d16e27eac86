"""An exported folder in a process that cannot import our package: Auto classes, pipeline, beams, LoRA, lm-eval.

The same by hand, in an environment where the package is not installed at all: docs/transformers.md.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from kosmos.config import ModelConfig, VisionConfig
from kosmos.model.kosmos import Kosmos
from kosmos.processor import Processor
from tests.inference.tiny import save_tiny, tiny_config, tiny_tokenizer
from tests.interop.isolated_job import write_job

for package in ("lm_eval", "peft", "accelerate", "datasets"):
    pytest.importorskip(package, reason=f"{package} is not installed")

VISIONS = ("conv", "clip", "none")


def save_random(folder: Path, change: Callable[[ModelConfig], ModelConfig]) -> Path:
    folder.mkdir()
    tokenizer = tiny_tokenizer(folder)
    torch.manual_seed(1)
    model = Kosmos(change(tiny_config(tokenizer.vocab_size)), random_vision=True).eval()
    with torch.no_grad():
        # Else a random tied model repeats its last token.
        model.decoder.layer_norm.weight.copy_(torch.randint(0, 2, (32,)) * 2.0 - 1.0)
    model.save_pretrained(folder / "model", Processor(tokenizer, model.config))
    return folder / "model"


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The figures of isolated.py, run by a Python that knows neither this folder nor our package."""
    work = tmp_path_factory.mktemp("isolated")
    (work / "conv").mkdir()
    clip = VisionConfig(
        kind="clip", image_size=16, patch_size=8, hidden_size=16, ffn_size=32, num_layers=1, num_heads=2
    )
    sources = {
        "conv": save_tiny(work / "conv"),
        "clip": save_random(work / "clip", lambda config: replace(config, vision=clip)),
        "none": save_random(work / "none", lambda config: replace(config, vision=None)),
    }
    write_job(work / "job", sources)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PYTHON")},
        "HF_HOME": str(work / "hf"),
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "OMP_NUM_THREADS": "1",
    }
    script = Path(__file__).with_name("isolated.py")
    done = subprocess.run(
        [sys.executable, "-I", str(script), str(work / "job"), "--refuse-kosmos"],
        cwd=work,
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    figures: dict[str, Any] = json.loads((work / "job" / "found.json").read_text())
    return figures


@pytest.mark.parametrize("vision", VISIONS)
def test_auto_classes_load_the_folders_own_code(vision: str, found: dict[str, Any]) -> None:
    seeing = {"AutoProcessor": "KosmosProcessor", "AutoModelForImageTextToText": "KosmosForConditionalGeneration"}
    blind = {"AutoProcessor": "KosmosTokenizer", "AutoModelForCausalLM": "KosmosForConditionalGeneration"}
    expected = {"AutoTokenizer": "KosmosTokenizer", **(blind if vision == "none" else seeing)}
    assert found[vision]["classes"] == expected


@pytest.mark.parametrize("vision", VISIONS)
def test_greedy_and_beam_5_write_the_engines_tokens(vision: str, found: dict[str, Any]) -> None:
    count = 2 if vision == "none" else 5
    for name in ("ids_equal", "greedy", "beams"):
        assert found[vision][name] == [True] * count


@pytest.mark.parametrize("vision", VISIONS)
def test_a_left_padded_batch_is_its_rows(vision: str, found: dict[str, Any]) -> None:
    padded = found[vision]["padded"]
    assert padded["difference"] < 1e-4
    assert padded["tokens_equal"] and padded["left"]
    assert padded["padding"] > 0


@pytest.mark.parametrize("vision", ["conv", "clip"])
def test_pipeline_answers_chats_and_prompts_with_pictures_between_words(vision: str, found: dict[str, Any]) -> None:
    assert found[vision]["pipeline"] == {"chats": True, "chats_at_once": True, "plain": True}


@pytest.mark.parametrize("vision", VISIONS)
def test_lora_trains_the_language_model_alone(vision: str, found: dict[str, Any]) -> None:
    lora = found[vision]["lora"]
    assert lora["trained"] == 2 * 2 * 4  # layers, A and B, projections
    assert lora["outside"] == []
    assert lora["loss"][1] < lora["loss"][0]
    assert lora["base_unchanged"]


@pytest.mark.parametrize(("task", "items"), [("boolq", 5), ("copa", 5), ("hellaswag", 4)])
def test_lm_evals_hf_model_has_our_runners_log_likelihoods(task: str, items: int, found: dict[str, Any]) -> None:
    figures = found["lm_eval"][f"kosmos_{task}"]
    assert figures["items"] == items
    assert figures["pairs"] >= 2 * items
    assert figures["difference"] < 1e-4


def test_lm_evals_hf_multimodal_model_reads_pictures(found: dict[str, Any]) -> None:
    assert found["lm_eval"]["kosmos_pictures"] == {"items": 3, "equal": True}
