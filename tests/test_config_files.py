"""YAML to configuration and back: strictness, presets, overrides, and errors that name file and key."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

import kosmos.config
from kosmos.config import (
    DecoderConfig,
    DemoConfig,
    ModelConfig,
    OptimizerConfig,
    TrainConfig,
    VisionPretrainingConfig,
    replace,
)
from kosmos.config_checks import check_config
from kosmos.config_errors import known_keys
from kosmos.config_files import (
    config_from_mapping,
    config_to_mapping,
    dump_yaml,
    load_config,
    preset_names,
    read_yaml,
    save_config,
)
from kosmos.errors import ConfigError, StorageError, UsageError
from kosmos.presets import load_preset, load_recipe, preset_summary, preset_text

SOURCE = "{rows_per_step: 4, micro_batch_rows: 2, row_length: 64, corpora: [{reader: jsonl, path: a.jsonl}]}"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "train.yaml"


def errors(file: Path, text: str, overrides: Any = (), type_: Any = TrainConfig) -> list[str]:
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_config(file, type_, overrides)
    assert caught.value.exit_code == 2 and isinstance(caught.value, UsageError)
    return [line.replace(str(file), "train.yaml") for line in str(caught.value).split("\n")]


def test_numbers_are_those_of_yaml_1_2(file: Path) -> None:
    file.write_text("steps: 1_000\noptimizer: {lr: 2e-4, eps: 1e-6, betas: [0, 0.5], weight_decay: 0}")
    config = load_config(file, TrainConfig)
    assert config.optimizer == OptimizerConfig(lr=0.0002, eps=1e-6, betas=(0.0, 0.5), weight_decay=0.0)
    assert config.steps == 1000 and isinstance(config.optimizer.betas, tuple)


def test_an_empty_file_is_the_defaults(file: Path) -> None:
    file.write_text("# nothing\n")
    assert load_config(file, TrainConfig) == TrainConfig() and load_config(file, ModelConfig) == ModelConfig()


def test_lists_and_mappings_of_classes(file: Path) -> None:
    file.write_text(f"data: {{sources: {{text: {SOURCE}}}}}\nmodel: {{vision: null}}")
    config = load_config(file, TrainConfig)
    assert config.model.vision is None
    assert config.data.sources["text"].corpora[0].path == "a.jsonl" and config.data.sources["text"].leading_start


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stpes: 3", "stpes: unknown key (did you mean 'steps'?)"),
        ("lr: 1e-4", "lr: unknown key (did you mean 'optimizer.lr'?)"),
        ("optimizer: {lrr: 1}", "optimizer.lrr: unknown key (did you mean 'optimizer.lr'?)"),
        (
            "model: {decoder: {nun_layers: 1}}",
            "model.decoder.nun_layers: unknown key (did you mean 'model.decoder.num_layers'?)",
        ),
        ("zzz: 1", "zzz: unknown key"),
        ("optimizer: {lr: '1e-4'}", "optimizer.lr: must be a number, not the text '1e-4'"),
        ("optimizer: {lr: null}", "optimizer.lr: must be a number, not null"),
        ("steps: 1.5", "steps: must be a whole number, not 1.5"),
        ("steps: true", "steps: must be a whole number, not true"),
        ("random_vision: yes", "random_vision: must be true or false, not the text 'yes'"),
        ("random_vision: 1", "random_vision: must be true or false, not 1"),
        ("tokenizer: 3", "tokenizer: must be text, not 3"),
        ("precision: fp16", "precision: must be auto or fp32 or bf16, not the text 'fp16' (did you mean 'bf16'?)"),
        ("optimizer: [1]", "optimizer: must be a mapping (key: value), not a list"),
        ("optimizer: {betas: 0.9}", "optimizer.betas: must be a list, not 0.9"),
        ("optimizer: {betas: [0.9]}", "optimizer.betas.1: missing; set it"),
        ("optimizer: {betas: [0.9, 0.98, 1]}", "optimizer.betas: must be a list of 2, not of 3"),
        (
            "trackers: [tensorbord]",
            "trackers.0: must be tensorboard or wandb, not the text 'tensorbord' (did you mean 'tensorboard'?)",
        ),
        ("model: {extra_modalities: [1]}", "model.extra_modalities.0: must be text, not 1"),
        ("data: {sources: [a]}", "data.sources: must be a mapping (key: value), not a list"),
        ("seed: 2020-01-01", "seed: must be a whole number, not the text '2020-01-01'"),
        ("model: tiny", "model: must be a mapping (key: value), not the text 'tiny'"),
    ],
)
def test_one_line_for_one_mistake(file: Path, text: str, message: str) -> None:
    assert errors(file, text) == [f"train.yaml: {message}"]


def test_every_mistake_at_once(file: Path) -> None:
    text = "stpes: 3\nsteps: 1.5\noptimizer: {lrr: 3, lr: x}\ndata: {sources: {text: {row_length: 3}}}"
    assert sorted(errors(file, text, ["seed=a"])) == [
        "command line: seed: must be a whole number, not the text 'a'",
        "train.yaml: data.sources.text.corpora: missing; set it",
        "train.yaml: data.sources.text.micro_batch_rows: missing; set it",
        "train.yaml: data.sources.text.rows_per_step: missing; set it",
        "train.yaml: optimizer.lr: must be a number, not the text 'x'",
        "train.yaml: optimizer.lrr: unknown key (did you mean 'optimizer.lr'?)",
        "train.yaml: steps: must be a whole number, not 1.5",
        "train.yaml: stpes: unknown key (did you mean 'steps'?)",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "train.yaml:1: not valid YAML"),
        ("steps: 1\nsteps: 2", "train.yaml:2: not valid YAML: found duplicate key"),
        ("steps: !!python/object:os.system x", "train.yaml:1: not valid YAML: could not determine a constructor"),
        ("\tsteps: 1", "train.yaml:1: not valid YAML"),
        ("steps: \0", "train.yaml: not valid YAML: unacceptable character"),
        ("- 1", "train.yaml: must hold a mapping (key: value), not list"),
        ("steps", "train.yaml: must hold a mapping (key: value), not str"),
    ],
)
def test_files_that_are_not_yaml(file: Path, text: str, message: str) -> None:
    (line,) = errors(file, text)
    assert line.startswith(message)


def test_files_that_cannot_be_read(file: Path) -> None:
    with pytest.raises(ConfigError, match=r"train\.yaml: cannot read the configuration: No such file"):
        read_yaml(file)
    file.write_bytes(b"steps: \xff\xfe")
    with pytest.raises(ConfigError, match=r"train\.yaml: not valid YAML: .*utf-8"):
        read_yaml(file)


def test_overrides_win_over_the_file(file: Path) -> None:
    file.write_text(f"steps: 5000\noptimizer: {{lr: 1e-3}}\ndata: {{sources: {{text: {SOURCE}}}}}")
    given = ["optimizer.lr=1e-4", "--steps=600", "model.vision=null", "data.sources.text.corpora.0.path=b=c.jsonl"]
    config = load_config(file, TrainConfig, [*given, "optimizer.betas=[0.8, 0.9]", "data.sources.text.row_length=32"])
    assert config.optimizer.lr == 1e-4 and config.optimizer.betas == (0.8, 0.9) and config.steps == 600
    assert config.model.vision is None and config.data.sources["text"].row_length == 32
    assert config.data.sources["text"].corpora[0].path == "b=c.jsonl"
    assert load_config(file, TrainConfig, {"optimizer.lr": 0.5, "model.vision": None}).optimizer.lr == 0.5


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("steps", "command line: 'steps' must have the form key=value, as optimizer.lr=1e-4"),
        ("=3", "command line: '=3' must have the form key=value, as optimizer.lr=1e-4"),
        ("stepz=3", "command line: stepz: unknown key (did you mean 'steps'?)"),
        ("optimizer.lr='1e-4'", "command line: optimizer.lr: must be a number, not the text '1e-4'"),
        ("optimizer.lr=[", "command line: optimizer.lr: cannot read the value '['; quote it as text: '\"...\"'"),
        ("optimizer.betas.7=1", "command line: optimizer.betas.7: no entry '7' in a list of 2; give the whole list"),
        ("model.decoder.num_heads=7", "command line: model.decoder.num_heads: 7 does not divide hidden_size 2048"),
    ],
)
def test_overrides_that_cannot_be(file: Path, override: str, message: str) -> None:
    assert errors(file, "optimizer: {betas: [0.9, 0.98]}", [override]) == [message]


def test_a_model_may_start_from_a_preset(file: Path) -> None:
    file.write_text("model: {preset: picturebook, decoder: {num_layers: 2}, resampler: {num_latents: 8}}")
    wanted = replace(load_preset("picturebook"), **{"decoder.num_layers": 2, "resampler.num_latents": 8})
    assert load_config(file, TrainConfig).model == wanted
    top = load_config(file, TrainConfig, ["model.decoder.num_layers=1", "model.vision.channels.0=16"]).model
    assert top.decoder.num_layers == 1 and top.vision is not None and top.vision.channels[0] == 16
    tiny = load_config(file, TrainConfig, ["model.preset=tiny"]).model
    assert tiny.decoder.hidden_size == load_preset("tiny").decoder.hidden_size != wanted.decoder.hidden_size
    file.write_text("preset: tiny\nvision: null")
    assert load_config(file, ModelConfig) == replace(load_preset("tiny"), vision=None)


def test_unknown_presets(file: Path) -> None:
    names = "there are: " + ", ".join(preset_names())
    wanted = [f"train.yaml: model: preset: no preset 'picturbook' (did you mean 'picturebook'?); {names}"]
    assert errors(file, "model: {preset: picturbook}") == wanted
    assert errors(file, "preset: ../secret", type_=ModelConfig) == [
        f"train.yaml: preset: no preset '../secret'; {names}"
    ]


CONTRADICTIONS = [
    ("model: {decoder: {num_heads: 7}}", "model.decoder.num_heads: 7 does not divide hidden_size 2048"),
    ("model: {decoder: {hidden_size: 96}}", "model.decoder.num_heads: xpos needs an even head size, not 3"),
    ("model: {resampler: {num_heads: 7}}", "model.resampler.num_heads: 7 does not divide decoder.hidden_size 2048"),
    ("model: {decoder: {dropout: 1.0}}", "model.decoder.dropout: must be in [0, 1), not 1.0"),
    ("model: {decoder: {num_layers: 0}}", "model.decoder.num_layers: must be above 0, not 0"),
    ("model: {decoder: {vocab_size: 9}}", "model.decoder.vocab_size: 9 is too small: the special tokens alone take 10"),
    (
        "model: {decoder: {max_positions: 66}}",
        "model.resampler.num_latents: one image does not fit into decoder.max_positions",
    ),
    ("model: {vision: {patch_size: 15}}", "model.vision.patch_size: 15 does not divide image_size 224"),
    ("model: {vision: {num_heads: 15}}", "model.vision.num_heads: 15 does not divide hidden_size 1024"),
    ("model: {vision: {image_std: [1, 1]}}", "model.vision.image_std: must have three numbers: red, green, blue"),
    ("model: {vision: {image_std: [1, 1, 0]}}", "model.vision.image_std: must be above 0"),
    (
        "model: {vision: {kind: conv}}",
        "model.vision.channels: kind conv needs the output channels of each stage, as [32, 64, 128]",
    ),
    (
        "model: {vision: {kind: conv, image_size: 4, channels: [8, 8, 8]}}",
        "model.vision.image_size: 4 must be a multiple of 8, by which the stages shrink it",
    ),
    ("optimizer: {lr: .nan}", "optimizer.lr: must be above 0, not nan"),
    ("optimizer: {clip_norm: 0}", "optimizer.clip_norm: must be above 0, not 0.0"),
    ("optimizer: {betas: [0.9, 1]}", "optimizer.betas: must be in [0, 1)"),
    ("optimizer: {weight_decay: -1}", "optimizer.weight_decay: must be 0 or more"),
    ("optimizer: {encoder_lr_scale: -0.1}", "optimizer.encoder_lr_scale: must be 0 or more"),
    ("steps: 100", "optimizer.warmup_steps: 375 is not below steps 100; lower it, or raise steps"),
    ("on_nonfinite: rewind", "on_nonfinite: 'rewind' is none of stop, skip and rewind:N (N steps, at least 1)"),
    ("on_nonfinite: 'rewind:0'", "on_nonfinite: 'rewind:0' is none of stop, skip and rewind:N (N steps, at least 1)"),
    ("threads: -1", "threads: must be 0 (all cores) or more"),
    (
        f"data: {{sources: {{text: {SOURCE.replace('batch_rows: 2', 'batch_rows: 3')}}}}}",
        "data.sources.text.micro_batch_rows: 3 does not divide rows_per_step 4; 2 does",
    ),
    (
        f"data: {{sources: {{text: {SOURCE.replace('64', '4096')}}}}}",
        "data.sources.text.row_length: 4096 is more than model.decoder.max_positions 2048",
    ),
    (
        f"data: {{sources: {{text: {SOURCE.replace('a.jsonl', 'a.jsonl, weight: 0')}}}}}",
        "data.sources.text.corpora.0.weight: must be above 0",
    ),
    (
        "data: {sources: {text: {rows_per_step: 1, micro_batch_rows: 1, row_length: 8, corpora: []}}}",
        "data.sources.text.corpora: must name at least one corpus",
    ),
]


@pytest.mark.parametrize(("text", "message"), CONTRADICTIONS)
def test_contradictions(file: Path, text: str, message: str) -> None:
    assert errors(file, text) == [f"train.yaml: {message}"]


PRETRAINING_CONTRADICTIONS = [
    (
        "vision: {kind: conv}",
        "vision.channels: kind conv needs the output channels of each stage, as [32, 64, 128]",
    ),
    ("resampler: {num_heads: 7}", "resampler.num_heads: 7 does not divide hidden_size 192"),
    ("resampler: {num_latents: 0, num_heads: 6}", "resampler.num_latents: must be above 0, not 0"),
    ("batch_size: 0", "batch_size: must be above 0, not 0"),
    ("matrix_lr: .nan", "matrix_lr: must be above 0, not nan"),
    ("label_smoothing: 1.0", "label_smoothing: must be in [0, 1), not 1.0"),
    ("steps: 30", "warmup_steps: 50 is more than steps 30"),
    ("warmup_steps: -1", "warmup_steps: must be 0 or more"),
    ("weight_decay: -1", "weight_decay: must be 0 or more"),
    ("threads: -1", "threads: must be 0 (all cores) or more"),
    ("corpora: [{name: drawings, share: 0}]", "corpora.0.share: must be above 0, not 0.0"),
    ("corpora: [{name: ocr, share: 1, pictures: -1}]", "corpora.0.pictures: must be 0 (all there are) or more"),
]


@pytest.mark.parametrize(("text", "message"), PRETRAINING_CONTRADICTIONS)
def test_contradictions_of_vision_pretraining_and_the_demo(file: Path, text: str, message: str) -> None:
    tower = "vision: {kind: conv, image_size: 48, channels: [8, 16], hidden_size: 16}"
    whole = text if text.startswith("vision") else f"{tower}\n{text}"
    assert errors(file, whole, type_=VisionPretrainingConfig) == [f"train.yaml: {message}"]
    demo = "vision:\n" + "".join(f"  {line}\n" for line in whole.splitlines()) + "items: -1\ntrain: {steps: 0}\n"
    assert errors(file, demo, type_=DemoConfig) == [
        f"train.yaml: vision.{message}",
        "train.yaml: train.steps: must be above 0, not 0",
        "train.yaml: items: must be 0 (all) or more",
    ]


def test_sinusoidal_needs_no_even_head_but_an_even_width() -> None:
    check_config(ModelConfig(DecoderConfig(hidden_size=96, position="sinusoidal")))
    with pytest.raises(ConfigError, match="here: decoder.hidden_size: sinusoidal positions need an even hidden_size"):
        odd = DecoderConfig(hidden_size=31, num_heads=1, position="sinusoidal")
        check_config(ModelConfig(odd, vision=None), "here")


def test_saved_configurations_come_back_equal(file: Path) -> None:
    for name in preset_names():
        config = TrainConfig(model=load_preset(name), optimizer=OptimizerConfig(lr=1e-5, eps=1e-20))
        save_config(config, file)
        assert load_config(file, TrainConfig) == config
        assert YAML(typ="safe", pure=True).load(file) == config_to_mapping(config)
    assert "betas: [0.9, 0.98]" in file.read_text()
    with pytest.raises(StorageError, match="cannot write"):
        save_config(config, file / "below")


numbers = st.one_of(st.integers(-(10**6), 10**6), st.floats(allow_nan=False), st.booleans(), st.none())
data = st.recursive(
    st.one_of(numbers, st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text("abc1: #", max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.dictionaries(st.text("abc", min_size=1, max_size=4), data, max_size=3))
def test_yaml_round_trip(tmp_path_factory: pytest.TempPathFactory, mapping: dict[str, Any]) -> None:
    path = tmp_path_factory.mktemp("yaml") / "a.yaml"
    path.write_bytes(dump_yaml(mapping))
    assert read_yaml(path) == mapping


def test_mappings_given_in_code_are_not_changed() -> None:
    given: dict[str, Any] = {"preset": "tiny", "decoder": {"num_layers": 1}}
    config = config_from_mapping(given, ModelConfig, overrides=["decoder.num_layers=3"])
    assert config.decoder.num_layers == 3 and given == {"preset": "tiny", "decoder": {"num_layers": 1}}
    assert config_from_mapping(config_to_mapping(config), ModelConfig) == config


def test_every_class_is_strict() -> None:
    keys = set(known_keys(TrainConfig))
    assert {"model.vision.image_size", "data.sources.*.corpora.*.reader", "optimizer.betas"} <= keys

    found = [c for c in vars(kosmos.config).values() if isinstance(c, type) and dataclasses.is_dataclass(c)]
    assert len(found) >= 9
    assert all(c.__pydantic_config__ == {"extra": "forbid", "strict": True} for c in found)  # type: ignore[attr-defined]
    assert all(c.__dataclass_params__.frozen for c in found)  # type: ignore[attr-defined]


def test_presets() -> None:
    assert {"kosmos-1", "llm-baseline", "picturebook", "tiny"} <= set(preset_names())
    assert load_preset("kosmos-1") == ModelConfig()
    assert load_preset("llm-baseline") == ModelConfig(vision=None)
    for name in preset_names():
        check_config(load_preset(name))
        assert len(preset_summary(name)) > 20 and preset_text(name).startswith(f"# {preset_summary(name)}")
    with pytest.raises(UsageError, match=r"no preset 'kosmos1' \(did you mean 'kosmos-1'\?\)"):
        load_preset("kosmos1")


def test_the_papers_literals() -> None:
    config = load_preset("kosmos-1")
    decoder, vision = config.decoder, config.vision
    assert vision is not None
    assert (decoder.num_layers, decoder.hidden_size, decoder.ffn_size, decoder.num_heads) == (24, 2048, 8192, 32)
    assert (decoder.dropout, decoder.max_positions, decoder.vocab_size) == (0.1, 2048, 64_007)
    assert (decoder.position, decoder.sub_ln, config.resampler.num_latents) == ("xpos", True, 64)
    assert (vision.image_size, vision.hidden_size, vision.patch_size, vision.num_layers) == (224, 1024, 14, 24)
    optimizer = TrainConfig().optimizer
    assert (optimizer.lr, optimizer.betas, optimizer.weight_decay, optimizer.warmup_steps) == (
        2e-4,
        (0.9, 0.98),
        0.01,
        375,
    )
    assert vision.image_mean == (0.48145466, 0.4578275, 0.40821073)
    assert vision.image_std == (0.26862954, 0.26130258, 0.27577711)


def test_a_recipe_from_a_packaged_one(file: Path) -> None:
    file.write_text("recipe: kosmos-1-twin\nsteps: 7\noptimizer: {warmup_steps: 3}\ndata: {sources: {pairs: null}}")
    config, base = load_config(file, TrainConfig), load_recipe("kosmos-1-twin")
    assert (config.steps, config.optimizer.warmup_steps, config.optimizer.lr) == (7, 3, base.optimizer.lr)
    assert list(config.data.sources) == ["text", "interleaved"] and config.model == base.model
    assert config.data.sources["text"] == base.data.sources["text"]


def test_a_source_is_left_out_on_the_command_line(file: Path) -> None:
    file.write_text("steps: 500")
    config = load_config(file, TrainConfig, ["recipe=kosmos-1-twin", "data.sources.interleaved=null"])
    assert list(config.data.sources) == ["text", "pairs"] and config.steps == 500


def test_an_unknown_recipe(file: Path) -> None:
    assert errors(file, "recipe: kosmos1")[0].startswith(
        "train.yaml: recipe: no recipe 'kosmos1' (did you mean 'kosmos-1'?); there are: "
    )
