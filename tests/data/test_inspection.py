"""What is to be known of a picture, and records of any form."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from kosmos.data.inspection import PictureFacts, Seen, address_of, files_of, look, open_addressed, picture_facts
from kosmos.document import Image
from kosmos.errors import ConfigError, ImageError
from tests.cli.data.corpora import jpeg, write_lines
from tests.cli.tiny_run import png


def test_the_facts_of_a_picture() -> None:
    data = jpeg((1, 2, 3), width=50, height=30)
    assert picture_facts(Image(data)) == PictureFacts("jpeg", 50, 30, len(data))
    assert picture_facts(Image(png((1, 2, 3), size=16))).form == "png"
    assert picture_facts(Image(np.zeros((3, 5, 3), np.uint8))) == PictureFacts("pixels", 5, 3, 45)
    assert picture_facts(Image(PIL.Image.new("RGB", (5, 3)))) == PictureFacts("pixels", 5, 3, 45)


@pytest.mark.parametrize("data", [b"", b"GIF89a", b"<svg/>", png((0, 0, 0))[:20], b"BM" + bytes(60)])
def test_what_is_no_picture(data: bytes) -> None:
    with pytest.raises(ImageError, match="no header of a PNG, JPEG, WEBP or GIF picture"):
        picture_facts(Image(data))


def test_a_header_says_all_even_of_a_bomb() -> None:
    """No pixel is decoded: the sizes are those that the header claims."""
    data = bytearray(png((0, 0, 0)))
    data[16:24] = (30_000).to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(bytes(data[12:29])).to_bytes(4, "big")
    with pytest.raises(ImageError):  # 900 megapixels are over Pillow's own limit
        picture_facts(Image(bytes(data)))


def test_an_address_is_no_file() -> None:
    assert address_of(Image("http://example.com/a.jpg")) == "http://example.com/a.jpg"
    assert address_of(Image(b"data")) is None


def test_compressed_files_are_not_addressed(tmp_path: Path) -> None:
    plain = write_lines(tmp_path / "a.jsonl", [{"text": "x"}])
    packed = write_lines(tmp_path / "b.jsonl.gz", [{"text": "x"}])
    assert open_addressed("jsonl", str(plain)) is not None
    assert open_addressed("jsonl", str(packed)) is None
    assert files_of("jsonl", str(tmp_path)) == [str(plain), str(packed)]
    assert [isinstance(record, Seen) for record in look("jsonl", str(tmp_path))] == [True, True]


def test_an_unknown_reader(tmp_path: Path) -> None:
    for ask in (look, files_of, open_addressed):
        with pytest.raises(ConfigError, match="no reader 'jsonk'"):
            list(ask("jsonk", str(tmp_path)) or ())  # type: ignore[arg-type]
