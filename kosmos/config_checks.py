"""Contradictions that no single key shows: a head count that does not divide the width, an empty mixture, ..."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

from kosmos.config import (
    DataConfig,
    DecoderConfig,
    DemoConfig,
    ModelConfig,
    OptimizerConfig,
    TrainConfig,
    VisionConfig,
    VisionPretrainingConfig,
)
from kosmos.errors import ConfigError

Problem = tuple[str, str]


def problems(config: Any) -> list[Problem]:
    """(dotted key, message) of every contradiction in a configuration, empty when there is none."""
    if isinstance(config, ModelConfig):
        return list(_model(config))
    if isinstance(config, TrainConfig):
        return list(_train(config))
    if isinstance(config, DataConfig):
        return list(_data(config, None))
    if isinstance(config, VisionPretrainingConfig):
        return list(_vision_pretraining(config))
    if isinstance(config, DemoConfig):
        return list(_demo(config))
    return []


def check_config(config: Any, where: str = "configuration") -> None:
    """Raise ConfigError that lists every contradiction, one line each; for configurations made or changed in code."""
    found = problems(config)
    if found:
        raise ConfigError("\n".join(f"{where}: {key}: {message}" for key, message in found))


def _model(config: ModelConfig) -> Iterator[Problem]:
    yield from _under("decoder", _decoder(config.decoder))
    if config.vision is not None:
        yield from _under("vision", _vision(config.vision))
        yield from _under("resampler", _positive(config.resampler, "num_latents", "num_heads", "num_layers"))
        yield from _under("resampler", _fractions(config.resampler, "attention_dropout"))
        width, heads = config.decoder.hidden_size, config.resampler.num_heads
        if heads > 0 and width % heads:
            yield "resampler.num_heads", f"{heads} does not divide decoder.hidden_size {width}"
        if config.resampler.num_latents + 3 > config.decoder.max_positions:
            yield "resampler.num_latents", "one image does not fit into decoder.max_positions"


def _decoder(config: DecoderConfig) -> Iterator[Problem]:
    yield from _positive(
        config,
        "num_layers",
        "hidden_size",
        "ffn_size",
        "num_heads",
        "max_positions",
        "xpos_scale_base",
        "layer_norm_eps",
    )
    yield from _fractions(config, "dropout", "attention_dropout", "activation_dropout")
    if config.vocab_size < 10:
        yield "vocab_size", f"{config.vocab_size} is too small: the special tokens alone take 10"
    if config.num_heads > 0 and config.hidden_size % config.num_heads:
        yield "num_heads", f"{config.num_heads} does not divide hidden_size {config.hidden_size}"
    elif config.num_heads > 0 and config.position == "xpos" and config.hidden_size // config.num_heads % 2:
        yield "num_heads", f"xpos needs an even head size, not {config.hidden_size // config.num_heads}"
    if config.position == "sinusoidal" and config.hidden_size % 2:
        yield "hidden_size", "sinusoidal positions need an even hidden_size"


def _vision(config: VisionConfig) -> Iterator[Problem]:
    yield from _positive(config, "image_size", "hidden_size")
    for name in ("image_mean", "image_std"):
        if len(getattr(config, name)) != 3:
            yield name, "must have three numbers: red, green, blue"
    if any(value <= 0 for value in config.image_std):
        yield "image_std", "must be above 0"
    if config.kind == "clip":
        yield from _positive(config, "patch_size", "num_layers", "num_heads", "ffn_size", "layer_norm_eps")
        if config.patch_size > 0 and config.image_size % config.patch_size:
            yield "patch_size", f"{config.patch_size} does not divide image_size {config.image_size}"
        if config.num_heads > 0 and config.hidden_size % config.num_heads:
            yield "num_heads", f"{config.num_heads} does not divide hidden_size {config.hidden_size}"
    else:
        if not config.channels or any(channels <= 0 for channels in config.channels):
            yield "channels", "kind conv needs the output channels of each stage, as [32, 64, 128]"
        yield from _positive(config, "stem_stride", "blocks")
        shrink = config.stem_stride * 2 ** max(0, len(config.channels) - 1)
        if shrink > 0 and config.image_size % shrink:
            yield "image_size", f"{config.image_size} must be a multiple of {shrink}, by which the stages shrink it"


def _train(config: TrainConfig) -> Iterator[Problem]:
    yield from _under("model", _model(config.model))
    yield from _under("data", _data(config.data, config.model))
    yield from _under("optimizer", _optimizer(config.optimizer))
    yield from _under("validation", _validation(config))
    vision = config.model.vision
    if vision and (vision.kind, vision.norm, vision.trainable, vision.pretrained) == ("conv", "batch", "all", None):
        message = "batch statistics move in vision pretraining only; use norm: group, or a tower that is pretrained"
        yield "model.vision.norm", message
    yield from _positive(config, "steps", "log_every", "checkpoint_every", "keep_checkpoints")
    if config.threads < 0:
        yield "threads", "must be 0 (all cores) or more"
    if not re.fullmatch(r"stop|skip|rewind:0*[1-9][0-9]*", config.on_nonfinite):
        yield "on_nonfinite", f"'{config.on_nonfinite}' is none of stop, skip and rewind:N (N steps, at least 1)"
    # The rate must come down to 0 at the last step, after the warm-up.
    if config.optimizer.warmup_steps >= config.steps > 0:
        message = f"{config.optimizer.warmup_steps} is not below steps {config.steps}; lower it, or raise steps"
        yield "optimizer.warmup_steps", message


def _validation(config: TrainConfig) -> Iterator[Problem]:
    validation = config.validation
    if validation.every < 0:
        yield "every", "must be 0 (none) or more"
    yield from _positive(validation, "batches")
    yield from _data(DataConfig(sources=validation.sources), config.model)
    if validation.every > 0 and not validation.sources:
        yield "sources", "must name at least one source"
    # Generated records are others for another seed; files are what they are.
    trained = {(c.reader, c.path) for source in config.data.sources.values() for c in source.corpora if c.path}
    for name, source in validation.sources.items():
        for index, corpus in enumerate(source.corpora):
            if (corpus.reader, corpus.path) in trained and not corpus.reader.startswith("picturebook."):
                yield f"sources.{name}.corpora.{index}.path", f"{corpus.path} is trained on; name shards that are not"


def _vision_pretraining(config: VisionPretrainingConfig) -> Iterator[Problem]:
    yield from _under("vision", _vision(config.vision))
    yield from _under("resampler", _positive(config.resampler, "num_latents", "num_heads", "num_layers"))
    yield from _under("resampler", _fractions(config.resampler, "attention_dropout"))
    yield from _positive(config, "hidden_size", "steps", "batch_size", "matrix_lr", "lr", "embedding_size", "log_every")
    yield from _fractions(config, "label_smoothing")
    for name in ("weight_decay", "warmup_steps"):
        if not 0 <= getattr(config, name) < math.inf:
            yield name, "must be 0 or more"
    heads = config.resampler.num_heads
    if heads > 0 and config.hidden_size % heads:
        yield "resampler.num_heads", f"{heads} does not divide hidden_size {config.hidden_size}"
    if config.threads < 0:
        yield "threads", "must be 0 (all cores) or more"
    if config.warmup_steps > config.steps:
        yield "warmup_steps", f"{config.warmup_steps} is more than steps {config.steps}"
    for index, corpus in enumerate(config.corpora):
        yield from _under(f"corpora.{index}", _positive(corpus, "share"))
        if corpus.pictures < 0:
            yield f"corpora.{index}.pictures", "must be 0 (all there are) or more"
        if bool(corpus.name) == bool(corpus.reader) or bool(corpus.reader) != bool(corpus.path):
            yield f"corpora.{index}", "wants a name (drawings, or a world), or a reader and a path"


def _demo(config: DemoConfig) -> Iterator[Problem]:
    yield from _under("vision", _vision_pretraining(config.vision))
    yield from _under("train", _train(config.train))
    yield from _positive(config, "pieces")
    if config.items < 0:
        yield "items", "must be 0 (all) or more"


def _optimizer(config: OptimizerConfig) -> Iterator[Problem]:
    yield from _positive(config, "lr", "eps", "clip_norm")
    if any(not 0 <= beta < 1 for beta in config.betas):
        yield "betas", "must be in [0, 1)"
    for name in ("weight_decay", "warmup_steps", "encoder_lr_scale"):
        if not 0 <= getattr(config, name) < math.inf:
            yield name, "must be 0 or more"


def _data(config: DataConfig, model: ModelConfig | None) -> Iterator[Problem]:
    if config.look_ahead is not None and config.look_ahead < 1:
        yield "look_ahead", "must be 1 or more"
    if not 0 <= config.max_bad_fraction <= 1:
        yield "max_bad_fraction", "must be in [0, 1]"
    for name, source in config.sources.items():
        key = f"sources.{name}"
        yield from _under(key, _positive(source, "rows_per_step", "micro_batch_rows", "row_length"))
        rows, micro = source.rows_per_step, source.micro_batch_rows
        if rows > 0 and micro > 0 and rows % micro:
            fits = max(n for n in range(1, min(micro, rows) + 1) if rows % n == 0)
            yield f"{key}.micro_batch_rows", f"{micro} does not divide rows_per_step {rows}; {fits} does"
        if not source.corpora:
            yield f"{key}.corpora", "must name at least one corpus"
        for index, corpus in enumerate(source.corpora):
            if not 0 < corpus.weight < math.inf:
                yield f"{key}.corpora.{index}.weight", "must be above 0"
        if model is not None and source.row_length > model.decoder.max_positions:
            limit = model.decoder.max_positions
            yield f"{key}.row_length", f"{source.row_length} is more than model.decoder.max_positions {limit}"


def _under(prefix: str, found: Iterator[Problem]) -> Iterator[Problem]:
    for key, message in found:
        yield f"{prefix}.{key}", message


def _positive(config: Any, *names: str) -> Iterator[Problem]:
    for name in names:
        if not 0 < getattr(config, name) < math.inf:
            yield name, f"must be above 0, not {getattr(config, name)}"


def _fractions(config: Any, *names: str) -> Iterator[Problem]:
    for name in names:
        if not 0 <= getattr(config, name) < 1:
            yield name, f"must be in [0, 1), not {getattr(config, name)}"
