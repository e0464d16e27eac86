"""The whole pipeline on small sites: what comes out, that the numbers add up, that it goes on after a stop."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("datatrove")
pytest.importorskip("trafilatura")
pytest.importorskip("resiliparse")
pytest.importorskip("fastwarc")

from kosmos.data.fetch.results import FetchFailure, Picture
from kosmos.data.fetch.settings import FetchSettings
from kosmos.data.web.executors import ExecutorSettings
from kosmos.data.web.pipeline import pages
from kosmos.data.web.settings import PagesSettings, PictureRules
from kosmos.errors import DataError, UsageError
from tests.data.web.site import image, paragraphs, picture, plain_picture, prose, warc_record, write

ALL_ONE_PICTURE = PagesSettings(pictures=PictureRules(keep_one_picture=1.0))


def documents(out: Path) -> dict[str, dict[str, Any]]:
    """The layouts of all documents in the tars, by their page."""
    found = {}
    for path in sorted(out.glob("*.tar")):
        with tarfile.open(path) as archive:
            for member in archive.getmembers():
                if member.name.endswith(".json"):
                    file = archive.extractfile(member)
                    assert file is not None
                    layout = json.loads(file.read())
                    found[layout["id"]] = layout
    return found


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("site")
    for number in range(8):
        write(root, f"img/{number}.png", picture(number))
    write(root, "img/icon.png", picture(20, 16, 16))
    write(root, "img/red.jpg", plain_picture())
    write(root, "two.html", paragraphs(1, image("img/0.png"), image("/img/1.png")))
    write(root, "sub/one.html", paragraphs(2, image("../img/2.png")))
    write(root, "seven.html", paragraphs(3, *(image(f"img/{number}.png") for number in range(7))))
    write(root, "icons.html", paragraphs(4, image("img/icon.png"), image("img/red.jpg")))
    write(root, "none.html", paragraphs(5))
    write(root, "copy.html", paragraphs(1, image("img/3.png"), image("img/4.png")))
    write(root, "heap.html", paragraphs(6).replace("<article>", "<article>" + image("img/0.png") + image("img/1.png")))
    write(
        root,
        "german.html",
        paragraphs(7, image("img/0.png"))
        .replace("The ", "Der ")
        .replace(" of the ", " von der ")
        .replace(" that is from the year ", ", welche noch immer stammt aus dem Jahre "),
    )
    write(root, "test-item.html", paragraphs(8, image("img/5.png"), image("img/6.png")))
    write(root, "benchmark.jsonl", json.dumps({"question": " ".join(prose(8).split()[5:25])}))
    return root


@pytest.fixture(scope="module")
def settings(site: Path) -> PagesSettings:
    return PagesSettings(pictures=PictureRules(keep_one_picture=1.0), against=(str(site / "benchmark.jsonl"),))


@pytest.fixture(scope="module")
def made(site: Path, settings: PagesSettings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("made") / "out"
    pages(str(site), out, settings)
    return out


def test_documents_of_a_folder(made: Path, site: Path) -> None:
    found = documents(made)
    assert sorted(found) == ["copy.html", "seven.html", "sub/one.html"]  # copy.html comes before two.html
    seven = found["seven.html"]
    assert seven["texts"][0] == prose(3) and seven["texts"][2] == prose(4000)
    assert [name is None for name in seven["images"]] == [True, False] * 5 + [True]
    assert seven["texts"][-1] == "\n".join(prose(4000 + place) for place in (4, 5, 6))
    assert seven["image_urls"] == [f"img/{number}.png" for number in range(5)]
    assert "never in the text" not in json.dumps(found)


def test_the_report_says_what_each_rule_took_and_adds_up(site: Path, made: Path, settings: PagesSettings) -> None:
    report = pages(str(site), made, settings)  # finished: read again
    assert report is not None
    assert (report.read, report.kept) == (9, 3)
    assert report.kept + sum(removal.count for removal in report.removed) == report.read
    assert report.kept_pictures + sum(removal.count for removal in report.removed_pictures) == report.pictures
    for rule in ("another language", "no pictures", "near-duplicate", "no picture left", "pictures not among the text"):
        assert report.removed_by(rule) == 1, rule
    assert report.removed_by("overlaps evaluation data") == 1
    assert report.pictures_removed_by("smaller than 64 pixels") == 1
    assert report.pictures_removed_by("single-coloured") == 1
    assert report.pictures_removed_by("beyond 5 of a document") == 2
    assert "| near-duplicates | near-duplicate | 1 |" in (made / "report.md").read_text()


def test_the_tars_are_read_by_the_reader_and_what_stages_exchanged_is_gone(made: Path) -> None:
    from kosmos.config import CorpusConfig
    from kosmos.data.readers import open_reader
    from kosmos.document import Document

    reader = open_reader(CorpusConfig(reader="interleaved_tar", path=str(made), weight=1.0), 0)
    read = [reader.read(shard, record, 0) for shard in reader.shards() for record in range(reader.num_records(shard))]
    assert all(isinstance(document, Document) for document in read)
    assert sorted(len(document.images) for document in read if isinstance(document, Document)) == [1, 2, 5]
    assert not (made / "work" / "pages").exists()


def test_more_tasks_and_workers_give_the_same_documents(
    site: Path, made: Path, settings: PagesSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kosmos.data.web.pipeline._PAGES_PER_TASK", 3)
    report = pages(str(site), tmp_path / "out", settings, ExecutorSettings(workers=2))
    assert report is not None and (report.read, report.kept) == (9, 3)
    assert documents(tmp_path / "out") == documents(made)


def test_a_run_that_was_stopped_goes_on(
    site: Path, made: Path, settings: PagesSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("kosmos.data.web.picture_steps.picture_fault", fail)
        with pytest.raises(KeyboardInterrupt):
            pages(str(site), out, settings)
    assert not list(out.glob("*.tar"))
    # What is complete is not done again: the pages could not even be read.
    with monkeypatch.context() as patch:
        patch.setattr("kosmos.data.web.page_sources.read_capped", fail)
        report = pages(str(site), out, settings)
    assert report is not None and report.read == 9
    tar = "00000-00000.tar"
    assert (out / tar).read_bytes() == (made / tar).read_bytes()
    with pytest.raises(UsageError, match=r"begun with other settings \(seed\)"):
        pages(str(site), out, PagesSettings(pictures=settings.pictures, against=settings.against, seed=2))


def test_half_of_the_documents_with_one_picture_are_dropped(tmp_path: Path) -> None:
    write(tmp_path, "site/a.png", picture(1))
    for number in range(40):
        write(tmp_path, f"site/{number}.html", paragraphs(number, image("a.png")))
    report = pages(str(tmp_path / "site"), tmp_path / "out")
    assert report is not None
    assert report.removed_by("one picture, dropped at random") == 40 - report.kept
    assert 12 <= report.kept <= 28
    again = pages(str(tmp_path / "site"), tmp_path / "again")
    assert again is not None and documents(tmp_path / "again").keys() == documents(tmp_path / "out").keys()


class Web:
    """A web of one picture, in place of the fetcher."""

    def __init__(self, settings: FetchSettings) -> None:
        self.asked: list[str] = []

    def __enter__(self) -> Web:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def fetch(self, urls: list[str]) -> list[Picture | FetchFailure]:
        return [
            Picture(picture(1), 80, 70, url) if url.endswith("good.png") else FetchFailure("robots") for url in urls
        ]


def test_pages_of_a_warc(tmp_path: Path) -> None:
    good = paragraphs(1, image("/pics/good.png"), image("//other.example/refused.png"))
    records = [
        warc_record("http://a.example/x/good", good.encode()),
        warc_record("http://a.example/bad", paragraphs(2, image("refused.png")).encode()),
        warc_record("http://a.example/latin", paragraphs(3).encode("latin-1"), "text/html; charset=iso-8859-1"),
        warc_record("http://a.example/missing", good.encode(), status="404 Not Found"),
        warc_record("http://a.example/pdf", b"%PDF", "application/pdf"),
        warc_record("http://a.example/bomb", bytes(6_000_000)),
        warc_record("http://a.example/cut", paragraphs(4, image("good.png")).encode() * 20)[:-40],
    ]
    write(tmp_path, "crawl/a.warc.gz", b"".join(records))
    report = pages(str(tmp_path / "crawl"), tmp_path / "out", ALL_ONE_PICTURE, open_fetcher=Web)
    assert report is not None
    assert (report.read, report.kept, report.other["records passed over"]) == (5, 1, 2)
    assert report.removed_by("page over the size limit") == 1
    assert report.removed_by("page cut short") == 1
    assert report.pictures_removed_by("robots") == 2
    (document,) = documents(tmp_path / "out").values()
    assert document["url"] == "http://a.example/x/good"
    assert document["image_urls"] == ["http://a.example/pics/good.png"]


def test_inputs_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        pages(str(tmp_path / "missing"), tmp_path / "out")
    write(tmp_path, "empty/readme.txt", "no page")
    with pytest.raises(DataError, match="holds neither HTML files"):
        pages(str(tmp_path / "empty"), tmp_path / "out2")
    write(tmp_path, "full/other.txt", "here first")
    with pytest.raises(UsageError, match="holds other files"):
        pages(str(tmp_path / "empty"), tmp_path / "full")
