"""A hostile set of pages leaves the pipeline unharmed, and each is counted under what it did."""

from __future__ import annotations

import base64
import os
import resource
from pathlib import Path

import pytest

pytest.importorskip("datatrove")
pytest.importorskip("trafilatura")
pytest.importorskip("resiliparse")

from kosmos.data.fetch.settings import FetchSettings
from kosmos.data.web.html_folder import MISSING, NOT_A_FILE, OUTSIDE, TOO_LARGE, list_pages, local_picture
from kosmos.data.web.page_sources import PAGE_TOO_LARGE
from kosmos.data.web.pipeline import pages
from kosmos.data.web.settings import PageLimits, PagesSettings, PictureRules
from tests.data.web.site import html, huge_png, image, paragraphs, picture, prose, write


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """Ten pages that are read, and five that are not."""
    root = tmp_path / "site"
    write(tmp_path, "secret.png", picture(1))
    write(tmp_path, "secret.html", paragraphs(1, image("a.png")))
    for number in range(2):
        write(root, f"{number}.png", picture(10 + number))
    good = image("0.png"), image("1.png")
    write(root, "tracker.png", picture(3, 1, 1))
    write(root, "huge.png", huge_png())
    write(root, "fat.png", picture(6, 400, 400))
    write(root, "broken.png", picture(4)[:900])
    write(root, "text.png", "not a picture at all")
    data = "data:image/png;base64," + base64.b64encode(picture(5)).decode()
    large = "data:image/png;base64," + "A" * 60_000
    links = [
        *("../secret.png", "%2e%2e/secret.png", "/../secret.png", "link.png", "loop.png", "pipe.png", "missing.png"),
        *("file:///etc/passwd", "javascript:alert(1)", "http://127.0.0.1/x.png", "http://169.254.169.254/meta.png"),
        *(
            "tracker.png",
            "huge.png",
            "fat.png",
            "broken.png",
            "text.png",
            "http://[bad",
            "\x00.png",
            "a" * 5000,
            data,
            large,
        ),
    ]
    write(root, "links.html", paragraphs(20, *(image(link) for link in links), *good))
    write(root, "broken.html", paragraphs(21, *good).replace("</p>", "").replace("<html>", "<<<html <a=' ><b><i"))
    write(root, "deep.html", html("<div>" * 30_000, prose(22), *good))
    write(root, "giant.html", paragraphs(23, *good) + " " * 600_000)
    write(root, "slow.html", "<p>" * 160_000)
    write(root, "nul.html", bytes(1000))
    write(root, "latin.html", paragraphs(24, *good).replace("lamp", "lämp").encode("latin-1"))
    write(root, "utf16.html", paragraphs(25, *good).encode("utf-16"))
    write(root, "empty.html", b"")
    write(root, "gibberish.html", html(*("<p>" + "qzxv kjhw " * 60 + "</p>" for _ in range(3)), *good))
    (root / "link.png").symlink_to(tmp_path / "secret.png")
    (root / "loop.png").symlink_to(root / "loop.png")
    (root / "outside.html").symlink_to(tmp_path / "secret.html")
    (root / "circle.html").symlink_to(root / "circle.html")
    (root / "around").symlink_to(root, target_is_directory=True)
    os.mkfifo(root / "pipe.png")
    os.mkfifo(root / "pipe.html")
    (root / "folder.html").mkdir()
    return root


def test_a_hostile_set_leaves_the_pipeline_unharmed(hostile: Path, tmp_path: Path) -> None:
    settings = PagesSettings(
        pictures=PictureRules(max_bytes=400_000, max_pictures=50, keep_one_picture=1.0),
        limits=PageLimits(max_bytes=500_000, cpu_seconds=0.5),
        fetch=FetchSettings(retries=0),
        web_pictures=True,
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    report = pages(str(hostile), tmp_path / "out", settings)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # kB: nothing huge was unpacked
    assert report is not None
    assert report.read == 13
    assert report.removed_by(OUTSIDE) == 1
    assert report.removed_by(NOT_A_FILE) == 2  # a circle of links, and a pipe
    assert report.removed_by(PAGE_TOO_LARGE) == 1
    assert report.removed_by("page took too long") >= 1
    assert sum(removal.count for removal in report.removed) + report.kept == report.read
    kept = (tmp_path / "out" / "00000-00000.tar").read_bytes()
    assert picture(1) not in kept  # the file outside
    for name in ("links.html", "latin.html", "utf16.html"):
        assert f'"id": "{name}"'.encode() in kept, name
    expected = {
        OUTSIDE: 4,  # ../, %2e%2e/, /../ and a link
        MISSING: 2,
        NOT_A_FILE: 3,
        "not a web address": 2,  # file: and javascript:
        "private address": 2,
        "smaller than 64 pixels": 1,
        "not a picture": 2,  # a text, and what a data: address holds
        "broken picture": 1,
        "too many pixels": 1,
        TOO_LARGE: 1,
    }
    assert {rule: report.pictures_removed_by(rule) for rule in expected} == expected


def test_local_pictures(tmp_path: Path) -> None:
    root = tmp_path / "root"
    write(root, "a/page.html", "")
    write(root, "pics/p q.png", b"12345")
    write(tmp_path, "secret", b"secret")
    page = "a/page.html"
    assert local_picture(root, page, "../pics/p%20q.png?v=1#x", 10) == b"12345"
    assert local_picture(root, page, "/pics/p q.png", 5) == b"12345"
    assert local_picture(root, page, "/pics/p q.png", 4) == TOO_LARGE
    assert local_picture(root, page, "../../secret", 10) == OUTSIDE
    assert local_picture(root, page, "..%2f..%2fsecret", 10) == OUTSIDE
    assert local_picture(root, page, "../pics", 10) == NOT_A_FILE
    assert local_picture(root, page, "none.png", 10) == MISSING
    assert local_picture(root, page, "%00", 10) == "bad address"
    assert local_picture(root, page, "?x", 10) == "bad address"


def test_pages_of_a_folder_in_order_and_links_not_entered(tmp_path: Path) -> None:
    write(tmp_path, "b.html", "")
    write(tmp_path, "a/c.HTM", "")
    write(tmp_path, "a/d.txt", "")
    (tmp_path / "a" / "again").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "b2.html").symlink_to(tmp_path / "b.html")
    assert list(list_pages(tmp_path)) == [("b.html", ""), ("b2.html", ""), ("a/c.HTM", "")]
