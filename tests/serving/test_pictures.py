from __future__ import annotations

import asyncio
import dataclasses
import struct

import numpy as np
import pytest

from kosmos.document import Image
from kosmos.images import decode_image, preprocess
from kosmos.serving.options import ServeOptions
from kosmos.serving.picture_header import header_size
from kosmos.serving.pictures import read_picture
from kosmos.serving.refusals import Refusal
from tests.serving.pictures import data_url, gif_of_frames, picture, png_bomb

OPTIONS = ServeOptions()


def read(url: str, options: ServeOptions = OPTIONS, size: int | None = None) -> Image:
    return asyncio.run(read_picture(url, options, "here", size))


def refused(url: str, options: ServeOptions = OPTIONS) -> tuple[int, str | None]:
    with pytest.raises(Refusal) as caught:
        read(url, options)
    assert caught.value.param == "here" and caught.value.message.startswith("here: ")
    return caught.value.status, caught.value.code


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_bytes_come_out_as_they_went_in(kind: str) -> None:
    data = picture(kind)
    assert header_size(data) == (20, 12)
    assert read(data_url(data, kind.lower())).data == data


def test_pixels_are_those_the_engine_would_make() -> None:
    data = picture("PNG", (30, 20), "orange")
    made = read(data_url(data), size=8).source
    assert made.shape == (8, 8, 3) and made.dtype == np.uint8
    assert np.array_equal(made.transpose(2, 0, 1), preprocess(decode_image(data), 8, training=False))


def test_of_a_gif_the_first_frame_counts() -> None:
    pixels = read(data_url(gif_of_frames(40), "gif"), size=4).source
    assert (pixels == (255, 0, 0)).all()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "file:///etc/passwd",
        "/etc/passwd",
        "../../etc/passwd",
        "C:\\Windows\\win.ini",
        "http://127.0.0.1/a.png",
        "https://example.org/a.png",
        "ftp://example.org/a.png",
        "gopher://127.0.0.1:6379/_x",
        "//example.org/a.png",
        "data:",
        "data:,",
        "data:image/svg+xml;base64,PHN2Zy8+",
        "data:text/html;base64,AAAA",
        "data:image/png,AAAA",
        "data:image/png;charset=utf-8;base64,AAAA",
        "data:image/png" + ";x" * 100_000 + ";base64,AAAA",
        "\x00data:image/png;base64,AAAA",
    ],
)
def test_no_other_urls(url: str) -> None:
    assert refused(url) == (400, "invalid_image_url")


@pytest.mark.parametrize("payload", ["A", "AAA", "AA=A", "A A=", "AAAA\n", "AA-_", "%41AAA", "é", "AAAA===="])
def test_base64_is_strict(payload: str) -> None:
    assert refused("data:image/png;base64," + payload) == (400, "invalid_base64")


def test_a_bomb_is_measured_and_not_decoded() -> None:
    assert decode_image(png_bomb(300, 200)).size == (300, 200)  # it is a correct picture
    bomb = png_bomb()
    assert len(bomb) < 1_000_000 and header_size(bomb) == (16_585, 16_585)
    assert refused(data_url(bomb)) == (413, "image_too_large")


def test_a_webp_of_a_large_canvas_never_meets_the_decoder() -> None:
    canvas = (16383 - 1).to_bytes(3, "little")
    chunk = b"VP8X" + struct.pack("<I", 10) + bytes(4) + canvas * 2
    webp = b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk
    assert header_size(webp) == (16383, 16383)
    assert refused(data_url(webp, "webp")) == (413, "image_too_large")


def test_too_many_bytes_are_refused_before_base64_is_undone() -> None:
    options = dataclasses.replace(OPTIONS, max_image_bytes=1000)
    assert refused("data:image/png;base64," + "é" * 1400, options) == (413, "image_too_large")
    exactly = picture() + bytes(1000 - len(picture()))  # a PNG may be followed by anything
    assert read(data_url(exactly), options).data == exactly
    assert refused(data_url(exactly + b"0"), options) == (413, "image_too_large")


def test_damaged_pictures() -> None:
    whole = picture("PNG", (300, 200))
    for broken in (
        b"",
        b"GIF89a",
        b"\xff\xd8\xff",
        whole[:30],
        whole[:60],
        b"BM" + whole,
        whole.replace(b"IHDR", b"IHDX"),
    ):
        assert refused(data_url(broken)) == (400, "invalid_image")
    assert refused(data_url(whole, "jpeg")) == (400, "invalid_image")  # says one thing, is another
    assert refused(data_url(whole[:16] + bytes(8) + whole[24:])) == (400, "invalid_image")  # of no pixels


def test_a_jpeg_of_thousands_of_scans() -> None:
    scans = picture("JPEG").replace(b"\xff\xd9", b"\xff\xda" * 5000 + b"\xff\xd9")
    assert refused(data_url(scans, "jpeg")) == (400, "invalid_image")


def test_scans_times_pixels_are_bounded() -> None:
    large = picture("JPEG", (4000, 3000))
    assert len(read(data_url(large, "jpeg")).data or b"") == len(large)
    assert refused(data_url(large.replace(b"\xff\xd9", b"\xff\xda" * 30 + b"\xff\xd9"), "jpeg")) == (
        413,
        "image_too_large",
    )


def test_the_event_loop_goes_on_while_pictures_are_decoded() -> None:
    large = data_url(picture("PNG", (4000, 3900)))

    async def run() -> tuple[int, list[Image]]:
        done = asyncio.gather(*(read_picture(large, OPTIONS, "here", 8) for _ in range(3)))
        turns = 0
        while not done.done():
            await asyncio.sleep(0.001)
            turns += 1
        return turns, await done

    turns, images = asyncio.run(run())
    assert len({image.sha256 for image in images}) == 1
    assert turns > 20  # decoding on the loop itself leaves about one


def test_a_line_of_millions_of_pixels() -> None:
    """Within the pixels allowed, but squeezing it would hold up every thread."""
    assert refused(data_url(picture(size=(65_536, 1)))) == (413, "image_too_large")
    asyncio.run(read_picture(data_url(picture(size=(65_535, 1))), ServeOptions(), "here", 16))
