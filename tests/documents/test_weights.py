"""The commands of docs/weights.md, run as they stand on tiny random folders; its tables are those of the code."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from kosmos.config_files import parse_yaml
from kosmos.interop.clip_folder import recipe_part
from kosmos.interop.kosmos2.names import PREFIXES
from kosmos.model.clip_tower import stored_vision
from tests.cli.tiny_run import COLOURS, png
from tests.documents.reading import REPOSITORY, blocks
from tests.documents.running import run_document
from tests.evaluation.small_model import write_datasets
from tests.interop.kosmos2_folder import small_tokenizer, write_kosmos2
from tests.interop.test_clip_folder import write_clip

DOCUMENT = "docs/weights.md"


def test_the_commands(tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer datasets than the commands name: `--available` leaves out the rest."""
    write_kosmos2(tmp_path / "kosmos-2", small_tokenizer(tmp_path), text={"max_position_embeddings": 2048})
    write_clip(tmp_path / "clip-vit-large-patch14", whole=True)
    shutil.copytree(tiny_run, tmp_path / "runs" / "demo")
    for name, colour in (("cat", "red"), ("dog", "blue")):
        (tmp_path / f"{name}.png").write_bytes(png(COLOURS[colour]))
    write_datasets(tmp_path / "eval-data", "flickr30k", "vqav2", "copa")
    monkeypatch.chdir(tmp_path)
    said = run_document(DOCUMENT, tmp_path)
    checked = [text for command, text in said.items() if command.startswith(("kosmos import", "kosmos export"))]
    assert len(checked) == 6
    assert all("differ by at most" in text for text in checked)
    results = json.loads((tmp_path / "models" / "kosmos-2" / "eval" / "metrics.json").read_text(encoding="utf-8"))
    assert set(results["cells"]) == {"flickr30k", "vqav2", "copa"}
    for folder in ("shared/demo", "shared/demo-transformers", "shared/kosmos-2", "models/demo-again"):
        assert (tmp_path / folder / "README.md").read_text(encoding="utf-8").startswith("---\n")


def test_the_table_of_names_is_the_one_of_the_code() -> None:
    text = (REPOSITORY / DOCUMENT).read_text(encoding="utf-8").split("## Names of tensors")[1]
    assert tuple(re.findall(r"^\| `(\S+)` \| `(\S+)` \|$", text, flags=re.MULTILINE)) == PREFIXES


def test_the_lines_for_a_recipe_have_the_keys_that_are_printed(tmp_path: Path) -> None:
    (shown,) = [block.text for block in blocks(REPOSITORY / DOCUMENT) if block.language == "text"]
    write_clip(tmp_path / "clip")
    printed = parse_yaml(recipe_part(stored_vision(str(tmp_path / "clip")), Path("towers/clip")))
    assert list(parse_yaml(shown)["model"]["vision"]) == list(printed["model"]["vision"])
