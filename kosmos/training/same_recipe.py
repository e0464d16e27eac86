"""Whether a run may be resumed with a recipe: what a resumed run may change, and what it may not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kosmos.config import TrainConfig
from kosmos.config_files import config_to_mapping
from kosmos.errors import UsageError
from kosmos.training.absolute_paths import with_absolute_paths

# Nothing of it moves a bit of the result on the same ranks, or it is the user's own machine.
_FREE_TO_CHANGE = (
    "device",
    "deterministic",
    "threads",
    "log_every",
    "checkpoint_every",
    "keep_checkpoints",
    "keep_every",
    "asynchronous_checkpoints",
    "on_nonfinite",
    "data.workers",
    "trackers",
)
_FREE_GROUPS = ("parallel.", "validation.")
# What a run starts from; it may lie in the run directory, which may be moved, or be named by another path.
_PATHS = ("tokenizer", "start_from", "model.vision.pretrained", "model.resampler.pretrained")


def check_same_recipe(config: TrainConfig, before: TrainConfig, out: Path) -> None:
    """Raises UsageError that names the keys in which a resumed run would differ."""
    # Relative paths were stored by earlier versions; they are taken from here, as the run itself takes them.
    config, before = with_absolute_paths(config), with_absolute_paths(before)
    now_keys, before_keys = flat(config_to_mapping(config)), flat(config_to_mapping(before))
    keys = [*now_keys, *(key for key in before_keys if key not in now_keys)]
    different = [
        key
        for key in keys
        if key not in _FREE_TO_CHANGE
        and not key.startswith(_FREE_GROUPS)
        and (now := now_keys.get(key)) != (then := before_keys.get(key))
        and not (key in _PATHS and now and then and _same_within(out, now, then))
        and not (key.endswith(".corpora") and now and then and _same_corpora(now, then))
    ]
    if different:
        raise UsageError(
            f"{out}: the run was started with another recipe ({', '.join(different[:5])}); "
            "resume with its own config.yaml, or start a new run"
        )


def _same_corpora(now: list[dict[str, Any]], before: list[dict[str, Any]]) -> bool:
    """Whether nothing but the folder in which data, recipe and run lie together has another name now."""
    return len(now) == len(before) and all(
        {**new, "path": ""} == {**old, "path": ""}
        and (new["path"] == old["path"] or _same_within(Path(), new["path"], old["path"]))
        for new, old in zip(now, before)
    )


def _same_within(folder: Path, now: str, before: str) -> bool:
    """Whether `now` lies in `folder`, such as the run directory, and `before` named the same place in it."""
    whole, place = folder.resolve(), Path(now).resolve()
    if whole not in place.parents:
        return False
    inside = place.relative_to(whole).parts
    return Path(before).parts[-len(inside) :] == inside


def flat(data: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, with dotted keys."""
    if not isinstance(data, dict):
        return {prefix: data}
    found: dict[str, Any] = {}
    for key, value in data.items():
        found |= flat(value, f"{prefix}.{key}" if prefix else str(key))
    return found
