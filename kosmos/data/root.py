"""`data.root`: where the relative paths of a recipe lie, so that one recipe serves every machine."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from string import Template

from kosmos.config import CorpusConfig
from kosmos.data.readers.files import is_url
from kosmos.errors import ConfigError


def within_root(path: str, root: str) -> str:
    """`path` as a recipe with this `data.root` means it: absolute paths and addresses stay as they are.

    `$NAME` in `root` comes from the environment. Raises ConfigError when the environment has none.
    """
    if not path or not root or is_url(path) or Path(path).expanduser().is_absolute():
        return path
    place = _expanded(root)
    return f"{place.rstrip('/')}/{path}" if is_url(place) else str(Path(place) / path)


def at_root(entry: CorpusConfig, root: str) -> CorpusConfig:
    """A corpus with the path that it is opened by. The path of a generated one is no place."""
    if entry.reader.startswith("picturebook."):
        return entry
    return replace(entry, path=within_root(entry.path, root))


def _expanded(root: str) -> str:
    try:
        place = Template(root).substitute(os.environ)
    except KeyError as error:
        name = str(error.args[0])
        raise ConfigError(
            f"data.root: '{root}' asks for {name}, which the environment does not have; `export {name}=FOLDER`, or say "
            "--data.root FOLDER"
        ) from None
    except ValueError:
        raise ConfigError(f"data.root: '{root}' has a $ that names no variable; write $$ for a dollar sign") from None
    return place if is_url(place) else os.path.expanduser(place)
