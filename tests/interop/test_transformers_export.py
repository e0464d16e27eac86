"""Exported folders: whole or absent, read by the Auto classes, saved again, taken back, adapted with LoRA."""

from __future__ import annotations

import ast
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoModelForMultimodalLM,
)

from kosmos.config import ModelConfig, replace
from kosmos.document import Document
from kosmos.errors import ConfigError, DataError, UsageError
from kosmos.interop.folder_kind import folder_kind
from kosmos.interop.remote_code.modeling_kosmos import LORA_TARGETS
from kosmos.interop.self_check import compare_logits, make_probes, native_logits
from kosmos.interop.transformers import exporting
from kosmos.interop.transformers.config import config_to_transformers
from kosmos.interop.transformers.exporting import CODE_FILES, export_folder, exported_logits, load_exported, write_model
from kosmos.interop.transformers.importing import import_exported
from kosmos.interop.transformers.names import to_transformers_names
from kosmos.interop.transformers.processor import CODE_FOLDER, save_processor
from kosmos.model.kosmos import Kosmos
from kosmos.processor import Processor
from kosmos.tokenizer import Tokenizer
from tests.interop.twins import VARIANTS, Twins, make_twins, picture

AUTO = (AutoModel, AutoModelForCausalLM, AutoModelForImageTextToText, AutoModelForMultimodalLM)


pytestmark = pytest.mark.usefixtures("code_cache")


@pytest.fixture(scope="module")
def twins(tokenizer: Tokenizer) -> Twins:
    return make_twins(tokenizer, "xpos-clip")


@pytest.fixture(scope="module")
def source(twins: Twins, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("native") / "model"
    twins.ours.save_pretrained(folder, twins.processor)
    return folder


@pytest.fixture(scope="module")
def exported(source: Path, code_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("transformers") / "exported"
    export_folder(source, folder)
    return folder


def load(kind: Any, folder: Path) -> Any:
    return kind.from_pretrained(folder, trust_remote_code=True).eval()


def prompt(twins: Twins) -> dict[str, Any]:
    given: dict[str, Any] = twins.encode([Document("the cat", picture(1), picture(2), "and red")])[1]
    return given


@torch.no_grad()
def expected_logits(twins: Twins) -> Tensor:
    batch, _ = twins.encode([Document("the cat", picture(1), picture(2), "and red")])
    logits: Tensor = twins.ours.head(twins.ours(batch))
    return logits


def assert_nothing_left(folder: Path) -> None:
    assert sorted(folder.iterdir()) == []


def test_the_folder_holds_what_its_users_look_for(exported: Path, source: Path) -> None:
    config = json.loads((exported / "config.json").read_text())
    assert config["architectures"] == ["KosmosForConditionalGeneration"]
    assert set(config["auto_map"]) == {"AutoConfig", *(kind.__name__ for kind in AUTO)}
    for reference in config["auto_map"].values():
        module, _, name = reference.partition(".")
        assert f"class {name}(" in (exported / f"{module}.py").read_text()
    stored = load_file(exported / "model.safetensors")
    native = load_file(source / "model.safetensors")
    assert sum(tensor.numel() for tensor in stored.values()) == sum(tensor.numel() for tensor in native.values())
    assert "lm_head.weight" not in stored
    assert {path.name for path in exported.iterdir()} >= {
        *CODE_FILES,
        "generation_config.json",
        "tokenizer_config.json",
    }


@pytest.mark.parametrize("kind", AUTO, ids=lambda kind: kind.__name__)
@torch.no_grad()
def test_auto_classes_run_the_folders_own_code(exported: Path, twins: Twins, code_cache: Path, kind: Any) -> None:
    model = load(kind, exported)
    code = sys.modules[type(model).__module__].__file__
    assert code is not None and code_cache in Path(code).parents
    if kind is AutoModel:
        states = model(**prompt(twins)).last_hidden_state
        logits = states @ model.get_input_embeddings().weight.T
    else:
        logits = model(**prompt(twins)).logits
        assert model.lm_head.weight is model.get_input_embeddings().weight
    torch.testing.assert_close(logits, expected_logits(twins), atol=1e-5, rtol=1e-5)


def test_the_configuration_alone(exported: Path, twins: Twins) -> None:
    config = AutoConfig.from_pretrained(exported, trust_remote_code=True)
    decoder = twins.ours.config.decoder
    assert (config.model_type, config.vocab_size, config.max_position_embeddings) == (
        "kosmos1", decoder.vocab_size, decoder.max_positions,
    )  # fmt: skip
    assert config.get_text_config().num_hidden_layers == decoder.num_layers
    assert config.vision_config.model_type == "clip_vision_model"
    made = config_to_transformers(twins.ours.config, twins.processor.tokenizer)
    assert made["text_config"]["hidden_size"] == decoder.hidden_size
    assert made["image_token_id"] == config.image_token_id == twins.processor.tokenizer.slot_id


@torch.no_grad()
def test_saved_again_by_transformers(exported: Path, twins: Twins, tmp_path: Path) -> None:
    load(AutoModelForImageTextToText, exported).save_pretrained(tmp_path / "again")
    assert {path.name for path in (tmp_path / "again").iterdir()} >= set(CODE_FILES)
    for kind in AUTO[1:]:
        logits = load(kind, tmp_path / "again")(**prompt(twins)).logits
        torch.testing.assert_close(logits, expected_logits(twins), atol=1e-5, rtol=1e-5)
    first, again = (load_file(folder / "model.safetensors") for folder in (exported, tmp_path / "again"))
    assert first.keys() == again.keys()
    assert all(torch.equal(first[name], again[name]) for name in first)


@torch.no_grad()
def test_a_model_of_the_package_saves_its_code_too(twins: Twins, tmp_path: Path) -> None:
    for model in (twins.theirs, twins.theirs.model):
        folder = tmp_path / f"saved_{type(model).__name__}"
        model.save_pretrained(folder)
        loaded = load(AutoModel if model is twins.theirs.model else AutoModelForCausalLM, folder)
        assert type(loaded).__module__.startswith("transformers_modules.")
        state = loaded.state_dict()
        assert state.keys() == model.state_dict().keys()
        assert all(torch.equal(state[name], tensor) for name, tensor in model.state_dict().items())
        assert len(json.loads((folder / "config.json").read_text())["auto_map"]) == 5


@torch.no_grad()
def test_a_larger_vocabulary_keeps_the_scale_and_the_tie(exported: Path, twins: Twins) -> None:
    model = load(AutoModelForImageTextToText, exported)
    old = model.config.vocab_size
    model.resize_token_embeddings(old + 5)
    assert model.config.vocab_size == model.config.text_config.vocab_size == old + 5
    assert model.lm_head.weight is model.get_input_embeddings().weight
    logits = model(**prompt(twins)).logits
    assert logits.shape[-1] == old + 5
    torch.testing.assert_close(logits[..., :old], expected_logits(twins), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", list(VARIANTS))
def test_there_and_back_is_bit_equal(tokenizer: Tokenizer, tmp_path: Path, name: str) -> None:
    twins = make_twins(tokenizer, name)
    twins.ours.save_pretrained(tmp_path / "native", twins.processor)
    export_folder(tmp_path / "native", tmp_path / "exported")
    assert folder_kind(tmp_path / "exported") == "kosmos1"
    import_exported(tmp_path / "exported", tmp_path / "back")
    native, back = (tmp_path / folder / "model.safetensors" for folder in ("native", "back"))
    assert native.read_bytes() == back.read_bytes()
    again = Processor.load(tmp_path / "back")
    assert again.tokenizer == tokenizer
    if name.endswith("clip"):
        assert again.config == twins.ours.config
    document = Document("an image") if twins.ours.config.vision is None else Document(picture(0), "an image")
    ours, theirs = (processor.encode(document) for processor in (twins.processor, again))
    assert ours.token_ids.tolist() == theirs.token_ids.tolist()
    assert all((a.features == b.features).all() for a, b in zip(ours.inputs, theirs.inputs, strict=True))


def test_large_weights_are_in_several_files(twins: Twins, source: Path, tmp_path: Path) -> None:
    write_model(twins.processor, dict(twins.ours.state_dict()), tmp_path, shard_bytes=40_000)
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    files = {path.name for path in tmp_path.glob("*.safetensors")}
    assert len(files) > 2 and files == set(index["weight_map"].values())
    probes = make_probes(twins.processor)
    made = exported_logits(tmp_path, probes)
    wanted = native_logits(source, probes)
    assert compare_logits(probes, lambda: wanted, lambda: made, lambda line: None) < 1e-5
    save_processor(twins.processor, tmp_path)
    import_exported(tmp_path, tmp_path / "back")
    state = Kosmos.from_pretrained(tmp_path / "back").state_dict()
    assert all(torch.equal(tensor, twins.ours.state_dict()[name]) for name, tensor in state.items())


@pytest.mark.parametrize("damage", ["one weight", "not a number"])
def test_a_folder_that_computes_something_else_is_not_made(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    honest = to_transformers_names

    def wrong(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        named = honest(tensors)
        key = "model.multi_modal_projector.dense.weight"
        named[key] = named[key] * (1.01 if damage == "one weight" else float("nan"))
        return named

    monkeypatch.setattr(exporting, "to_transformers_names", wrong)
    with pytest.raises(DataError, match="the converted model's logits differ by .*; nothing was written"):
        export_folder(source, tmp_path / "exported")
    assert_nothing_left(tmp_path)


def test_what_cannot_be_exported_is_refused(source: Path, tokenizer: Tokenizer, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(UsageError, match="exists already"):
        export_folder(source, tmp_path / "full")
    with pytest.raises(ConfigError, match="missing/processor.yaml: cannot read"):
        export_folder(tmp_path / "missing", tmp_path / "out")
    config: ModelConfig = replace(ModelConfig(), extra_modalities=("audio",))
    with pytest.raises(ConfigError, match="extra_modalities: audio"):
        config_to_transformers(config, tokenizer)
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_imported_is_refused(exported: Path, source: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a folder of kosmos already"):
        folder_kind(source)
    for missing in ("tokenizer_config.json", "model.safetensors", "tokenizer.model"):
        folder = tmp_path / missing
        folder.mkdir()
        for path in exported.iterdir():
            if path.is_file() and path.name != missing:
                (folder / path.name).write_bytes(path.read_bytes())
        with pytest.raises(DataError, match=missing):
            import_exported(folder, tmp_path / "out")
    (tmp_path / "model.safetensors" / "config.json").write_text("{")
    with pytest.raises(DataError, match="cannot be read as JSON"):
        import_exported(tmp_path / "model.safetensors", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_check_leaves_no_copy_of_the_code_and_does_not_trust_registered_classes(
    exported: Path, code_cache: Path, tmp_path: Path
) -> None:
    from kosmos.interop.transformers import register

    register()
    before = sorted(code_cache.rglob("modeling_kosmos.py"))
    shutil.copytree(exported, tmp_path / "looked_at_once")
    model = load_exported(tmp_path / "looked_at_once")
    assert type(model).__module__.startswith("transformers_modules.")
    assert sorted(code_cache.rglob("modeling_kosmos.py")) == before


def test_the_code_imports_nothing_but_torch_and_transformers() -> None:
    for name in CODE_FILES:
        for node in ast.walk(ast.parse((CODE_FOLDER / name).read_text())):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                assert node.module is not None
                modules = [f"{node.module}.py" if node.level else node.module]
            for module in modules:
                root = module if module.endswith(".py") else module.partition(".")[0]
                assert root in {"torch", "transformers", *CODE_FILES, *sys.stdlib_module_names}, (name, module)


def test_lora_changes_the_decoder_and_nothing_else(exported: Path, twins: Twins) -> None:
    peft = pytest.importorskip("peft")
    transformers.set_seed(0)
    model = load(AutoModelForImageTextToText, exported)
    settings = peft.LoraConfig(r=2, lora_alpha=4, target_modules=LORA_TARGETS, task_type="CAUSAL_LM")
    adapted = peft.get_peft_model(model, settings)
    trained = {name: parameter for name, parameter in adapted.named_parameters() if parameter.requires_grad}
    leaves = {name.split("language_model.")[1].split(".lora_")[0] for name in trained}
    kinds = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj", "mlp.fc1", "mlp.fc2")
    assert leaves == {f"layers.{layer}.{kind}" for layer in range(2) for kind in kinds}
    kept = {name: parameter.clone() for name, parameter in adapted.named_parameters() if name not in trained}
    optimizer = torch.optim.AdamW(trained.values(), lr=1e-2)
    given = prompt(twins)
    labels = given["input_ids"].masked_fill(given["input_ids"] >= twins.processor.tokenizer.slot_id, -100)
    losses = []
    for _ in range(3):
        loss = adapted(**given, labels=labels).loss
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[0] > losses[1] > losses[2]
    assert all(torch.equal(parameter, kept[name]) for name, parameter in adapted.named_parameters() if name in kept)
    with torch.no_grad():
        before = adapted(**given).logits
        torch.testing.assert_close(adapted.merge_and_unload()(**given).logits, before, atol=1e-4, rtol=1e-4)
