"""Models with a modality of one's own, and language models, in every form of export."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kosmos.config import ModelConfig
from kosmos.errors import ConfigError, UsageError
from kosmos.interop.export import export
from kosmos.model.kosmos import Kosmos
from kosmos.processor import Processor
from kosmos.tokenizer import Tokenizer
from tests.interop.kosmos2_folder import small_tokenizer
from tests.model.tiny import tiny_config
from tests.test_third_modality import config, speech, tokenizer

__all__ = ["config", "speech", "tokenizer"]


def test_a_modality_of_ones_own_goes_out_in_our_form_only(
    speech: Any, tokenizer: Tokenizer, config: ModelConfig, tmp_path: Path
) -> None:
    Kosmos(config).save_pretrained(tmp_path / "model", Processor(tokenizer, config))
    said: list[str] = []
    export(tmp_path / "model", tmp_path / "ours", "kosmos", say=said.append)
    assert said[-1].startswith("check: logits of both sides differ by at most 0.0e+00")
    assert "further modalities" in (tmp_path / "ours" / "README.md").read_text(encoding="utf-8")
    stored = "model.safetensors"
    assert (tmp_path / "ours" / stored).read_bytes() == (tmp_path / "model" / stored).read_bytes()
    with pytest.raises(ConfigError, match="extra_modalities speech: Kosmos-2 reads text and pictures only"):
        export(tmp_path / "model", tmp_path / "kosmos2", "kosmos2")
    with pytest.raises(UsageError, match="speech"):
        export(tmp_path / "model", tmp_path / "transformers", "transformers")
    assert {path.name for path in tmp_path.iterdir()} == {"model", "ours"}


def test_a_language_model_goes_out_in_two_forms(tmp_path: Path) -> None:
    pieces = small_tokenizer(tmp_path)
    plain = tiny_config(**{"vision": None, "decoder.vocab_size": pieces.vocab_size})
    Kosmos(plain).save_pretrained(tmp_path / "model", Processor(pieces, plain))
    for form in ("kosmos", "transformers"):
        said: list[str] = []
        export(tmp_path / "model", tmp_path / form, form, say=said.append)
        assert said[-1].startswith("check: logits of both sides differ by at most ")
        assert "pipeline_tag: text-generation" in (tmp_path / form / "README.md").read_text(encoding="utf-8")
    with pytest.raises(ConfigError, match="decoder.position is xpos.*; vision is null"):
        export(tmp_path / "model", tmp_path / "kosmos2", "kosmos2")
    assert not (tmp_path / "kosmos2").exists()
