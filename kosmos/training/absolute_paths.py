"""A recipe whose paths do not depend on the folder that the command was called in."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from kosmos.config import CorpusConfig, SourceConfig, TrainConfig
from kosmos.config import replace as change
from kosmos.data.readers.files import is_url

# Readers whose path is always one of files; of others it is only made absolute when there is such a file.
_OF_FILES = (
    *("jsonl", "instructions", "text", "text_blocks", "parquet"),
    *("pairs_tar", "pairs_parquet", "interleaved_tar"),
)


def with_absolute_paths(config: TrainConfig) -> TrainConfig:
    """The recipe with every relative local path taken from the working directory; those below data.root stay."""
    root = config.data.root
    changes: dict[str, object] = {}
    if root:
        changes["data.root"] = root if "$" in root else _absolute(root)
    else:
        changes["tokenizer"] = _absolute(config.tokenizer)
        changes["data.sources"] = _sources(config.data.sources)
        changes["validation.sources"] = _sources(config.validation.sources)
    if config.start_from:
        changes["start_from"] = _absolute(config.start_from)
    vision = config.model.vision
    # What is not there may be the id of a model on a hub.
    if vision is not None and vision.pretrained and os.path.exists(vision.pretrained):
        changes["model.vision.pretrained"] = _absolute(vision.pretrained)
    if config.model.resampler.pretrained:
        changes["model.resampler.pretrained"] = _absolute(config.model.resampler.pretrained)
    changed: TrainConfig = change(config, **changes)
    return changed


def _sources(sources: dict[str, SourceConfig]) -> dict[str, SourceConfig]:
    return {
        name: replace(source, corpora=tuple(_corpus(entry) for entry in source.corpora))
        for name, source in sources.items()
    }


def _corpus(entry: CorpusConfig) -> CorpusConfig:
    if entry.reader not in _OF_FILES and (entry.reader.startswith("picturebook.") or not os.path.exists(entry.path)):
        return entry
    return replace(entry, path=_absolute(entry.path))


def _absolute(path: str) -> str:
    return path if not path or is_url(path) or path.startswith("~") else str(Path(path).absolute())
