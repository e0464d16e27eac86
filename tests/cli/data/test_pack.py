"""`kosmos data pack`: a folder of pictures becomes tars that the readers read."""

from __future__ import annotations

import io
import json
from pathlib import Path

import PIL.Image
import pytest

from kosmos.config import CorpusConfig
from kosmos.data.readers import BadRecord, open_reader
from kosmos.document import Document, Image, Text
from kosmos.images import decode_image
from tests.cli.process import Command, one_line, snapshot
from tests.cli.tiny_run import COLOURS, png


def documents(reader: str, path: Path) -> list[Document]:
    opened = open_reader(CorpusConfig(reader, str(path)), 0)
    found = [opened.read(shard, i, 0) for shard in opened.shards() for i in range(opened.num_records(shard))]
    assert not any(isinstance(document, BadRecord) for document in found)
    return [document for document in found if isinstance(document, Document)]


def jpeg(width: int, height: int) -> bytes:
    out = io.BytesIO()
    PIL.Image.new("RGB", (width, height), (200, 30, 30)).save(out, "JPEG")
    return out.getvalue()


def test_pictures_with_captions(kosmos_here: Command, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    (photos / "more").mkdir(parents=True)
    for name, colour in COLOURS.items():
        folder = photos / "more" if name == "red" else photos
        (folder / f"{name}.png").write_bytes(png(colour))
        (folder / f"{name}.txt").write_text(f"a {name} square\n")
    (photos / "alone.PNG").write_bytes(png((0, 0, 0)))
    (photos / "cut.jpg").write_bytes(jpeg(40, 40)[:300])
    (photos / "cut.txt").write_text("cut short")
    (photos / "mute.png").write_bytes(png((0, 0, 0)))
    (photos / "mute.txt").write_text(" \n")
    (photos / "scan.bmp").write_bytes(b"BM")
    (photos / "scan.txt").write_text("a scan")
    (photos / "orphan.txt").write_text("no picture of mine")
    before = snapshot(photos)

    finished = kosmos_here("data", "pack", "photos", "tars", cwd=tmp_path)
    assert (finished.returncode, finished.stderr) == (0, "")
    lines = finished.stdout.splitlines()
    assert lines[0] == "tars: 4 pairs in 1 tar"
    assert lines[1] == "left out, no .txt beside the picture: 1; the first: photos/alone.PNG"
    assert lines[2].startswith("left out, broken or too large a picture: 1; the first: photos/cut.jpg: ")
    assert lines[3] == "left out, empty caption: 1; the first: photos/mute.txt"
    assert lines[4].startswith("left out, a picture of another form than jpg,") and lines[4].endswith("scan.bmp")
    assert lines[5] == "left out, no picture beside the caption: 1; the first: photos/orphan.txt"
    assert lines[6:] == ["in a recipe: {reader: pairs_tar, path: tars}"]
    assert {path.name for path in (tmp_path / "tars").glob("*")} == {"00000.tar", "MANIFEST.sha256"}
    found = documents("pairs_tar", tmp_path / "tars")
    captions = [segment.text for document in found for segment in document if isinstance(segment, Text)]
    assert [caption.split()[-2] for caption in captions] == ["blue", "green", "red", "white"]
    (image,) = (segment for segment in found[2] if isinstance(segment, Image))
    assert image.data == png(COLOURS["red"])  # as it was, byte for byte
    assert snapshot(photos) == before

    again = kosmos_here("data", "pack", "photos", "tars", cwd=tmp_path)
    assert one_line(again) == "tars: exists already; choose another folder" and again.returncode == 2
    training = kosmos_here("data", "inspect", "photos", "--reader", "pairs_tar", cwd=tmp_path)
    assert "`kosmos data pack photos OUT` makes tars of pictures with captions" in one_line(training)


def test_large_pictures_are_shrunk_when_asked(kosmos_here: Command, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "wide.jpg").write_bytes(jpeg(5000, 4000))
    (photos / "small.jpg").write_bytes(jpeg(64, 32))
    for name in ("wide", "small"):
        (photos / f"{name}.txt").write_text(name)
    finished = kosmos_here("data", "pack", "photos", "as-they-are", cwd=tmp_path)
    assert (
        "as-they-are: 1 pair in 1 tar" in finished.stdout and "20 megapixels, over the limit of 16" in finished.stdout
    )
    assert kosmos_here("data", "pack", "photos", "tars", "--shrink", "100", cwd=tmp_path).returncode == 0
    images = [s for document in documents("pairs_tar", tmp_path / "tars") for s in document if isinstance(s, Image)]
    assert [decode_image(image).size for image in images] == [(64, 32), (100, 80)]
    assert images[0].data == jpeg(64, 32)


def test_interleaved_documents(kosmos_here: Command, tmp_path: Path) -> None:
    stories = tmp_path / "stories"
    stories.mkdir()
    (stories / "red.png").write_bytes(png(COLOURS["red"]))
    story = {"texts": ["First", None, "and the end."], "images": [None, "red.png", None]}
    (stories / "a.json").write_text(json.dumps(story))
    (stories / "b.json").write_text(json.dumps({**story, "images": [None, "gone.png", None]}))
    (stories / "c.json").write_text('{"texts": []}')
    (stories / "d.json").write_text(json.dumps({**story, "texts": ["First", "both", None]}))
    finished = kosmos_here("data", "pack", "stories", "tars", "--interleaved", cwd=tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.splitlines()[0] == "tars: 1 document in 1 tar"
    assert "left out, not an interleaved document: 2; the first: stories/c.json: must be" in finished.stdout
    assert "left out, broken or too large a picture: 1; the first: stories/gone.png: cannot read" in finished.stdout
    (document,) = documents("interleaved_tar", tmp_path / "tars")
    assert [type(segment).__name__ for segment in document] == ["Text", "Image", "Text"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nothing", "tars"], 3, "nothing: no such folder"),
        (["empty", "tars"], 3, "empty: it holds no picture (jpg, jpeg, png, webp, gif)"),
        (["empty", "tars", "--interleaved"], 3, "empty: it holds no document: a.json with"),
        (["mute", "tars"], 3, "mute: nothing in it can be packed; no .txt beside the picture: mute/a.png"),
        (["mute", "tars", "--shrink", "0"], 2, "argument --shrink: 0: must be at least 1"),
    ],
)
def test_bad_calls(kosmos_here: Command, tmp_path: Path, arguments: list[str], code: int, message: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "mute").mkdir()
    (tmp_path / "mute" / "a.png").write_bytes(png((0, 0, 0)))
    finished = kosmos_here("data", "pack", *arguments, cwd=tmp_path)
    assert one_line(finished).startswith(message)
    assert finished.returncode == code
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "mute"]
