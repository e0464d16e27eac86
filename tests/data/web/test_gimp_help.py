"""A real site: the pages of Debian's package gimp-help-en (2.10.34). Skipped where it is not installed.

KOSMOS_GIMP_HELP names another place for them, as a folder that `dpkg -x` made.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

for_pages = ("datatrove", "trafilatura", "resiliparse")

_INSTALLED = "/usr/share/gimp/2.0/help/en"


@pytest.fixture(scope="module")
def help_pages() -> Path:
    for library in for_pages:
        pytest.importorskip(library)
    folder = Path(os.environ.get("KOSMOS_GIMP_HELP", _INSTALLED))
    if not (folder / "images").is_dir():
        pytest.skip(f"no pages at {folder}: the Debian package gimp-help-en is not installed")
    return folder


def test_the_pages_become_documents(help_pages: Path, tmp_path: Path) -> None:
    from kosmos.data.web.pipeline import pages

    report = pages(str(help_pages), tmp_path / "out")
    assert report is not None
    assert report.read == len(list(help_pages.glob("*.html")))
    assert report.read == report.kept + sum(removal.count for removal in report.removed)
    assert report.pictures == report.kept_pictures + sum(removal.count for removal in report.removed_pictures)
    # Extractors differ a little between versions; docs/web.md has the figures of one.
    assert 0.4 < report.kept / report.read < 0.65
    assert report.removed_by("another language") <= 5  # all are English; a few are only names of menus
    # Half of the documents with one picture go; as many are kept.
    assert 30 <= report.removed_by("one picture, dropped at random") <= 90
    assert report.pictures_removed_by("smaller than 64 pixels") > 2_000
    assert (tmp_path / "out" / "00000-00000.tar").stat().st_size > 10e6
