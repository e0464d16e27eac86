"""The plan of a pipeline's folder: one folder holds one input under one set of settings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kosmos.errors import StorageError, UsageError
from kosmos.storage import make_folder, write_atomic

WORK = "work"
PLAN = "plan.json"


def begin(out: Path, settings: Mapping[str, Any], inputs: Any) -> Any:
    """Make the folder and its plan, or go on with the one that is there; returns the inputs as first listed.

    Raises UsageError when the folder was begun with other settings or holds something else.
    """
    path = out / WORK / PLAN
    wanted = json.loads(json.dumps(settings))
    if path.exists():
        try:
            plan = json.loads(path.read_bytes())
            earlier, listed = plan["settings"], plan["inputs"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StorageError(f"{path}: cannot be read; remove {out} and start anew") from error
        if earlier != wanted:
            changed = ", ".join(sorted(key for key in {*earlier, *wanted} if earlier.get(key) != wanted.get(key)))
            raise UsageError(f"{out} was begun with other settings ({changed}); give the same, or take a new folder")
        return listed
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} holds other files: choose an empty or a new folder")
    # Listed first: inputs that are not there leave no folder that a second try would stumble over.
    listed = inputs()
    make_folder(path.parent)
    write_atomic(path, json.dumps({"settings": wanted, "inputs": listed}, ensure_ascii=False).encode())
    return listed
