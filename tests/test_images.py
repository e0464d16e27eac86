"""Decoding of every kind of picture, the size limit, damaged files, and parity with CLIP's preprocessing."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kosmos.config import ModelConfig, replace
from kosmos.document import Image, Text
from kosmos.errors import ImageError, UsageError
from kosmos.images import decode_image, image_features, preprocess
from kosmos.modality import get_modality


def encoded(picture: PIL.Image.Image, format: str, **options: Any) -> bytes:
    out = io.BytesIO()
    picture.save(out, format, **options)
    return out.getvalue()


def noise(width: int, height: int, seed: int = 0) -> PIL.Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return PIL.Image.fromarray(pixels)


def pixels_of(source: Image | bytes) -> np.ndarray:
    return np.asarray(decode_image(source))


def png(width: int, height: int, bits: int, colour: int, rows: bytes, chunks: bytes = b"") -> bytes:
    """A PNG file made by hand: forms that Pillow does not write."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    parts = [b"\x89PNG\r\n\x1a\n", chunk(b"IHDR", header)]
    if chunks:
        parts.append(chunk(chunks[:4], chunks[4:]))
    return b"".join([*parts, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")])


@pytest.mark.parametrize(("format", "options"), [("PNG", {}), ("WEBP", {"lossless": True})])
def test_lossless_formats_keep_every_pixel(format: str, options: dict[str, Any]) -> None:
    picture = noise(7, 5)
    assert np.array_equal(pixels_of(encoded(picture, format, **options)), np.asarray(picture))


@pytest.mark.parametrize(("format", "options"), [("JPEG", {"quality": 95}), ("WEBP", {"quality": 95}), ("GIF", {})])
def test_lossy_formats_keep_a_flat_colour(format: str, options: dict[str, Any]) -> None:
    decoded = decode_image(encoded(PIL.Image.new("RGB", (16, 16), (200, 30, 90)), format, **options))
    assert decoded.mode == "RGB"
    assert np.abs(np.asarray(decoded).astype(int) - (200, 30, 90)).max() <= 6


@pytest.mark.parametrize("format", ["PNG", "WEBP", "GIF"])
def test_animation_gives_its_first_frame(format: str) -> None:
    frames = [PIL.Image.new("RGB", (8, 8), colour) for colour in ("red", "blue", "lime")]
    options = {"lossless": True} if format == "WEBP" else {}
    data = encoded(frames[0], format, save_all=True, append_images=frames[1:], duration=100, **options)
    assert PIL.Image.open(io.BytesIO(data)).n_frames == 3  # type: ignore[attr-defined]
    assert decode_image(data).getcolors() == [(64, (255, 0, 0))]


def test_alpha_is_laid_on_white() -> None:
    rgba = PIL.Image.new("RGBA", (2, 1), (255, 0, 0, 0))
    rgba.putpixel((1, 0), (0, 0, 0, 128))
    assert pixels_of(encoded(rgba, "PNG")).tolist() == [[[255, 255, 255], [127, 127, 127]]]


def test_grey_with_alpha_is_laid_on_white() -> None:
    grey = PIL.Image.new("LA", (2, 1), (0, 0))
    grey.putpixel((1, 0), (40, 255))
    assert pixels_of(encoded(grey, "PNG")).tolist() == [[[255, 255, 255], [40, 40, 40]]]


@pytest.mark.parametrize("format", ["PNG", "GIF"])
def test_palette_with_a_transparent_entry(format: str) -> None:
    picture = PIL.Image.new("P", (2, 1))
    picture.putpalette([0, 0, 0, 10, 20, 30])
    picture.putpixel((1, 0), 1)
    data = encoded(picture, format, transparency=0)
    assert pixels_of(data).tolist() == [[[255, 255, 255], [10, 20, 30]]]


def test_transparent_colour_of_an_rgb_png() -> None:
    data = png(2, 1, 8, 2, b"\0" + bytes([1, 2, 3, 9, 9, 9]), b"tRNS" + struct.pack(">HHH", 1, 2, 3))
    assert pixels_of(data).tolist() == [[[255, 255, 255], [9, 9, 9]]]


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    values = [0, 255, 256, 32768, 65535]
    data = png(5, 1, 16, 0, b"\0" + struct.pack(">5H", *values))
    assert pixels_of(data)[0, :, 0].tolist() == [0, 1, 1, 128, 255]
    seen = png(2, 1, 16, 0, b"\0" + struct.pack(">2H", 300, 600), b"tRNS" + struct.pack(">H", 300))
    assert np.asarray(decode_image(seen))[0, :, 1].tolist() == [255, 2]


def test_sixteen_bit_colour() -> None:
    data = png(1, 1, 16, 2, b"\0" + struct.pack(">3H", 65535, 32768, 0))
    assert pixels_of(data).tolist() == [[[255, 128, 0]]]


def test_cmyk_and_grey_and_bilevel() -> None:
    cmyk = decode_image(encoded(PIL.Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", quality=95))
    assert np.abs(np.asarray(cmyk)[0, 0].astype(int) - (255, 0, 0)).max() <= 6
    assert decode_image(encoded(PIL.Image.new("L", (1, 1), 77), "PNG")).getpixel((0, 0)) == (77, 77, 77)
    assert decode_image(encoded(PIL.Image.new("1", (1, 1), 1), "PNG")).getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_puts_the_picture_upright(orientation: int) -> None:
    from PIL import ImageOps

    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    data = encoded(noise(6, 4), "PNG", exif=exif)
    wanted = ImageOps.exif_transpose(PIL.Image.open(io.BytesIO(data)))
    assert np.array_equal(pixels_of(data), np.asarray(wanted))
    assert decode_image(data).size == ((6, 4) if orientation < 5 else (4, 6))
    assert np.array_equal(pixels_of(Image(PIL.Image.open(io.BytesIO(data)))), np.asarray(wanted))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif_is_no_reason_to_refuse() -> None:
    data = encoded(noise(6, 4), "PNG", exif=b"Exif\0\0MM\0*\0\0\xff\xff\xff\xff")
    assert decode_image(data).size == (6, 4)


def test_a_huge_picture_is_refused_before_its_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = tmp_path / "bomb.png"
    bomb.write_bytes(png(20_000, 20_000, 8, 2, b""))
    decoded: list[object] = []
    monkeypatch.setattr(PIL.Image.Image, "load", lambda self: decoded.append(self))
    with pytest.raises(ImageError, match=r"bomb\.png: 20000 x 20000 pixels are 400 megapixels, over the limit of 16"):
        decode_image(Image(bomb))
    assert not decoded


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("format", ["JPEG", "GIF", "WEBP", "PNG"])
def test_the_limit_holds_for_every_format(format: str) -> None:
    data = encoded(noise(40, 30), format)
    assert decode_image(data, max_megapixels=0.0012).size == (40, 30)
    with pytest.raises(ImageError, match="40 x 30 pixels"):
        decode_image(data, max_megapixels=0.0011)


@pytest.mark.filterwarnings("error")
def test_a_picture_over_the_limit_warns_nobody_else() -> None:
    with pytest.raises(ImageError, match="10000 x 10000 pixels are 100 megapixels"):
        decode_image(png(10_000, 10_000, 8, 0, b""))


def test_text_named_png(tmp_path: Path) -> None:
    path = tmp_path / "cat.png"
    path.write_text("not a picture at all\n")
    with pytest.raises(ImageError, match=r"cat\.png: not a PNG, JPEG, WEBP or GIF"):
        decode_image(Image(path))


def test_the_name_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "cat.jpg"
    path.write_bytes(encoded(noise(3, 3), "PNG"))
    assert np.array_equal(pixels_of(Image(path)), np.asarray(noise(3, 3)))


@pytest.mark.parametrize("format", ["BMP", "TIFF", "ICO", "PPM"])
def test_other_formats_are_refused(format: str) -> None:
    with pytest.raises(ImageError, match="not a PNG, JPEG, WEBP or GIF"):
        decode_image(encoded(noise(16, 16), format))


def test_missing_and_empty_files(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"none\.png: cannot read the picture: No such file"):
        decode_image(Image(tmp_path / "none.png"))
    with pytest.raises(ImageError, match="the file is empty"):
        decode_image(b"")
    with pytest.raises(ImageError, match="cannot read the picture: embedded null"):
        decode_image(Image("a\0b"))


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "GIF"])
def test_truncated_files(format: str, tmp_path: Path) -> None:
    data = encoded(noise(64, 64), format)
    path = tmp_path / "cut"
    for part in (0.01, 0.1, 0.5, 0.9):
        path.write_bytes(data[: max(13, int(len(data) * part))])
        with pytest.raises(
            ImageError, match=r"cut: the picture is damaged or cut short \(.+\); fetch or save it again"
        ) as e:
            decode_image(Image(path))
        assert "\n" not in str(e.value)


SAMPLES = [
    encoded(noise(9, 7), "PNG"),
    encoded(noise(9, 7), "JPEG"),
    encoded(noise(9, 7), "WEBP"),
    encoded(noise(9, 7), "GIF", save_all=True, append_images=[noise(9, 7, 1)]),
    encoded(noise(9, 7).convert("P"), "PNG", transparency=3),
]


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.sampled_from(SAMPLES), st.lists(st.tuples(st.integers(0, 120), st.integers(0, 255)), min_size=1, max_size=4))
def test_damage_gives_a_picture_or_an_image_error(data: bytes, changes: list[tuple[int, int]]) -> None:
    damaged = bytearray(data)
    for place, value in changes:
        damaged[place % len(damaged)] = value
    try:
        assert decode_image(bytes(damaged)).mode == "RGB"
    except ImageError as error:
        assert "\n" not in str(error)


def test_floating_point_pixels_are_refused() -> None:
    with pytest.raises(ImageError, match="floating-point"):
        decode_image(Image(PIL.Image.new("F", (2, 2))))


SIZES = [
    (300, 200),
    (200, 300),
    (224, 224),
    (100, 100),
    (225, 224),
    (224, 301),
    (640, 427),
    (50, 37),
    (1000, 30),
    (1, 1),
]


@pytest.fixture(scope="module")
def clip() -> Any:
    return pytest.importorskip("transformers").CLIPImageProcessorPil()


@pytest.mark.parametrize("size", SIZES)
def test_training_form_is_clips(clip: Any, size: tuple[int, int]) -> None:
    theirs = clip(noise(*size), do_rescale=False, do_normalize=False, return_tensors="np")["pixel_values"][0]
    ours = preprocess(noise(*size), 224, training=True)
    assert ours.dtype == np.uint8 and ours.shape == (3, 224, 224)
    assert np.array_equal(ours, theirs)


@pytest.mark.parametrize("size", SIZES)
def test_evaluation_form_is_the_square_resize(clip: Any, size: tuple[int, int]) -> None:
    square = {"height": 224, "width": 224}
    off = {"do_rescale": False, "do_normalize": False, "do_center_crop": False, "return_tensors": "np"}
    theirs = clip(noise(*size), size=square, **off)["pixel_values"][0]
    assert np.array_equal(preprocess(noise(*size), 224, training=False), theirs)


def test_a_very_long_picture_costs_nothing() -> None:
    long = PIL.Image.new("RGB", (1_000_000, 2), "blue")
    long.paste("red", (499_000, 0, 501_000, 2))
    for picture in (long, long.transpose(PIL.Image.Transpose.ROTATE_90)):
        pixels = preprocess(picture, 32, training=True)
        assert pixels.shape == (3, 32, 32) and (pixels[0] == 255).all() and (pixels[2] == 0).all()


def test_an_array_of_the_models_size_is_untouched() -> None:
    config = replace(ModelConfig(), **{"vision.image_size": 8})
    pixels = np.asarray(noise(8, 8)).copy()
    for training in (True, False):
        features = get_modality("image").features(Image(pixels), config, training)
        assert np.array_equal(features, pixels.transpose(2, 0, 1))
        assert image_features(Image(np.asarray(noise(9, 8)).copy()), config, training).shape == (3, 8, 8)


def test_a_model_without_vision_takes_no_images() -> None:
    with pytest.raises(UsageError, match="vision: null"):
        image_features(Image(b""), ModelConfig(vision=None), False)
    with pytest.raises(UsageError):
        image_features(Text("a"), ModelConfig(), False)


def test_a_jpeg_of_endless_scans_is_refused_before_it_is_decoded() -> None:
    out = io.BytesIO()
    PIL.Image.new("RGB", (16, 16), "red").save(out, "JPEG", progressive=True)
    data = out.getvalue()
    assert decode_image(data).size == (16, 16)
    first = data.index(b"\xff\xda")
    bomb = data[:-2] + data[first : first + 12] * 200 + data[-2:]
    with pytest.raises(ImageError, match="more than 100 scans"):
        decode_image(bomb)
