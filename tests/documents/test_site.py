"""The documentation as a site: it builds without a warning, loads nothing from elsewhere, and leaves no page out."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.documents.reading import REPOSITORY


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for package in ("mkdocs", "material", "mkdocstrings"):
        pytest.importorskip(package)
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(out)]
    quiet = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=240, env=quiet)
    assert built.returncode == 0, built.stderr[-2000:]
    return out


def test_every_page_is_built(site: Path) -> None:
    pages = {path.relative_to(REPOSITORY / "docs").with_suffix("") for path in (REPOSITORY / "docs").rglob("*.md")}
    built = {path.relative_to(site).with_suffix("") for path in site.rglob("*.html")}
    assert pages <= built and Path("index") in pages


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    loaded = re.compile(r"<(?:script|link|img|iframe)\b[^>]*(?:src|href)=\"?(?:https?:)?//[^\" >]+")
    assert [hit for page in site.rglob("*.html") for hit in loaded.findall(page.read_text(encoding="utf-8"))] == []
    styles = "".join(path.read_text(encoding="utf-8") for path in site.rglob("*.css"))
    assert "fonts.g" not in styles and "@import" not in styles


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ("reference/api", ["generate_batch", "Log-probability of each candidate"]),
        ("reference/documents", ["unsupervised", "Canonical bytes of the content"]),
        ("reference/engine", ["prefill", "Decoding"]),
        (
            "reference/evaluation",
            ["chance_score", "what to ask, how to answer", "max_new_tokens: limit of a generated"],
        ),
        ("reference/configuration", ["checkpoint_every", "steps between two checkpoints", "xpos_scale_base"]),
        ("reference/commands", ["kosmos tokenizer", "--num-beams"]),
        ("reference/errors", ["PromptTooLong", "interrupted"]),
        ("changelog", ["0.1.0"]),
    ],
)
def test_the_reference_is_filled_from_the_code(site: Path, page: str, said: list[str]) -> None:
    text = re.sub(r"<[^>]+>", "", (site / f"{page}.html").read_text(encoding="utf-8"))
    assert [words for words in said if words.lower() not in text.lower()] == []


def test_every_configuration_key_has_a_row(site: Path) -> None:
    import dataclasses

    from kosmos import config

    text = (site / "reference" / "configuration.html").read_text(encoding="utf-8")
    for kind in (config.TrainConfig, config.DecoderConfig, config.VisionPretrainingConfig, config.CorpusConfig):
        assert all(f"<code>{field.name}</code>" in text for field in dataclasses.fields(kind)), kind
