"""The real datasets' files beside the repository, laid out as people would have them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

# Benchmark -> its folder of reference data, and how files there are called in the official layout, where otherwise.
_FOLDERS: dict[str, tuple[str, dict[str, str]]] = {
    "hellaswag": ("hellaswag", {"one_official_item.jsonl": "hellaswag_val.jsonl"}),
    "winograd": ("winograd", {}),
    "winograd_273": ("winograd", {}),
    "winogrande": ("winogrande", {"rebuilt_official_schema.jsonl": "dev.jsonl"}),
    "piqa": ("piqa", {}),
    "boolq": ("boolq", {}),
    "cb": ("cb", {}),
    "copa": ("copa", {}),
    "relative_size": ("relativesize", {}),
    "memory_color": ("memorycolor", {}),
    "color_terms": ("colorterms", {}),
}


def real_folder(name: str, shared_dir: Path, tmp_path: Path) -> Path:
    """The folder to read benchmark `name` from; skips where the files are not there."""
    folder, renamed = _FOLDERS[name]
    source = shared_dir / "data" / folder
    if not source.is_dir():
        pytest.skip(f"no real files of {name} at {source}")
    for old, new in renamed.items():
        shutil.copyfile(source / old, tmp_path / new)
    return tmp_path if renamed else source
