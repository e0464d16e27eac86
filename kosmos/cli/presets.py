"""List, show and copy the named configurations of models.

examples:
  kosmos presets
  kosmos presets show kosmos-1
  kosmos presets show kosmos-1 --json
  kosmos presets copy picturebook my-model.yaml

`show` counts the parameters without making them, so any size is shown at once. `copy` never writes over a file; a
recipe takes the copy as `model: {preset: my-model.yaml}`, or `kosmos train` as --model.preset my-model.yaml.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from kosmos.config_files import preset_names
from kosmos.errors import StorageError, UsageError
from kosmos.presets import load_preset, preset_summary, preset_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    actions.add_parser("list", help="list them (the default)").epilog = "example:\n  kosmos presets list"
    show = actions.add_parser("show", help="show one, with its parameter counts")
    show.epilog = "examples:\n  kosmos presets show picturebook\n  kosmos presets show kosmos-1 --json"
    show.add_argument("name", metavar="NAME")
    show.add_argument("--json", action="store_true", help="everything as JSON, defaults included")
    copy = actions.add_parser("copy", help="copy one to a YAML file, to edit")
    copy.epilog = "example:\n  kosmos presets copy picturebook my-model.yaml"
    copy.add_argument("name", metavar="NAME")
    copy.add_argument("file", type=Path, metavar="FILE", help="must not exist yet")


def run(args: argparse.Namespace) -> int:
    if args.action == "show":
        return _show(args.name, args.json)
    if args.action == "copy":
        copy_text(preset_text(args.name), args.file)
        print(f"a recipe takes it as `model: {{preset: {args.file}}}`")
        return 0
    names = preset_names()
    width = max(map(len, names))
    for name in names:
        print(f"{name:<{width}}  {preset_summary(name)}")
    return 0


def _counts(name: str) -> dict[str, int]:
    from kosmos.model.counting import count_parameters

    return asdict(count_parameters(load_preset(name)))


def _show(name: str, as_json: bool) -> int:
    config = load_preset(name)
    counts = _counts(name)
    if as_json:
        from kosmos.config_files import config_to_mapping

        everything: dict[str, Any] = {"name": name, "parameters": counts, "config": config_to_mapping(config)}
        print(json.dumps(everything, indent=2))
        return 0
    print(preset_text(name).rstrip("\n"))
    print("\n# parameters")
    for part, number in counts.items():
        print(f"# {part:<10}{number:>15,}")
    return 0


def copy_text(text: str, file: Path) -> int:
    """Write `text` to a file that must not exist yet. Raises UsageError when it does."""
    try:
        with file.open("x", encoding="utf-8") as target:
            target.write(text)
    except FileExistsError:
        raise UsageError(f"{file} is there already; choose another name or remove it") from None
    except OSError as error:
        raise StorageError(f"{file}: cannot write: {error.strerror}") from error
    print(f"wrote {file}")
    return 0
