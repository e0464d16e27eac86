"""What a new run begins with: its tokenizer, and new weights or those of another run (`start_from`)."""

from __future__ import annotations

from pathlib import Path

from kosmos.config import ModelConfig, TrainConfig
from kosmos.config_files import config_to_mapping
from kosmos.data.root import within_root
from kosmos.errors import ConfigError, UsageError
from kosmos.model import weights
from kosmos.model.kosmos import Kosmos
from kosmos.runs import resolve
from kosmos.tokenizer import Tokenizer
from kosmos.training.same_recipe import flat

# What may be another than in the run that the weights come from: nothing of it is in a tensor's shape or use.
_FREE_TO_CHANGE = (
    "trained_precision",
    "decoder.dropout",
    "decoder.attention_dropout",
    "decoder.activation_dropout",
    "decoder.max_positions",
    "decoder.init",
    "resampler.attention_dropout",
    "resampler.pretrained",
    "vision.pretrained",
    "vision.trainable",
)


def start_model(config: TrainConfig, model_config: ModelConfig) -> Kosmos:
    """The model of a new run, with the weights of `start_from` where the recipe names it.

    Raises ConfigError when the model found there is another, and what `kosmos.runs.resolve` raises.
    """
    if not config.start_from:
        return Kosmos(model_config, random_vision=config.random_vision)
    folder = _begun(config)
    _check_same_model(config, weights.read_config(folder), folder)
    model = weights.without_values(Kosmos, model_config)
    weights.assign(model, weights.read_tensors(folder), folder)
    # Tensors of a mapped file lie at other alignments, and matrix products may round otherwise there.
    for tensor in [*model.parameters(), *model.buffers()]:
        tensor.data = tensor.data.clone()
    return model


def start_tokenizer(config: TrainConfig) -> Tokenizer:
    """The tokenizer of a new run. Raises ConfigError when there is none, or another than that of `start_from`."""
    begun = Tokenizer.load(_begun(config)) if config.start_from else None
    if not config.tokenizer:
        if begun is None:
            raise ConfigError("tokenizer: name a SentencePiece model file; `kosmos tokenizer train` makes one")
        return begun
    path = Path(within_root(config.tokenizer, config.data.root))
    tokenizer = Tokenizer.load(path)
    if begun is not None and tokenizer != begun:
        raise ConfigError(
            f"tokenizer: {path} is not the one of start_from ({config.start_from}), whose weights mean other pieces; "
            "leave it empty"
        )
    return tokenizer


def _begun(config: TrainConfig) -> Path:
    """The folder with the weights that `start_from` means."""
    try:
        return resolve(config.start_from)
    except UsageError as error:
        raise ConfigError(f"start_from: {error}; train it first, or say --start-from RUN") from error


def _check_same_model(config: TrainConfig, found: ModelConfig, folder: Path) -> None:
    mine, theirs = flat(config_to_mapping(config.model)), flat(config_to_mapping(found))
    keys = [key for key in [*mine, *(k for k in theirs if k not in mine)] if key not in _FREE_TO_CHANGE]
    different = [key for key in keys if mine.get(key) != theirs.get(key)]
    if different:
        said = ", ".join(f"{key} is {_shown(theirs, key)} there, {_shown(mine, key)} here" for key in different[:4])
        raise ConfigError(f"start_from: {folder} holds another model: {said}; say as there, with --model.KEY VALUE")


def _shown(keys: dict[str, object], key: str) -> str:
    if key not in keys:
        return "absent"
    value = keys[key]
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
