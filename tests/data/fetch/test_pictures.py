from __future__ import annotations

import io
from collections.abc import Callable

import PIL.Image
import pytest

from kosmos.data.fetch.pictures import check_picture
from kosmos.data.fetch.results import FetchError
from kosmos.data.fetch.settings import FetchSettings

MakePicture = Callable[..., bytes]


def refusal(data: bytes, **settings: object) -> str | None:
    try:
        check_picture(data, FetchSettings(**settings))  # type: ignore[arg-type]
    except FetchError as error:
        return error.reason
    return None


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF"])
def test_size_of_each_form(picture: MakePicture, form: str) -> None:
    assert check_picture(picture(1, (24, 16), form), FetchSettings()) == (24, 16)


def test_the_size_is_that_of_the_upright_picture() -> None:
    out = io.BytesIO()
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    PIL.Image.new("RGB", (24, 16)).save(out, "JPEG", exif=exif)
    assert check_picture(out.getvalue(), FetchSettings()) == (16, 24)


def test_refusals(picture: MakePicture) -> None:
    assert refusal(picture(1, (24, 16)), min_size=16) is None
    assert refusal(picture(1, (24, 16)), min_size=17) == "too small"
    assert refusal(picture(1, (24, 16), "PNG"), max_megapixels=0.0001) == "too many pixels"
    assert refusal(picture(1, (24, 16), "BMP")) == "not a picture"
    assert refusal(b"<svg/>") == "not a picture"
    assert refusal(b"RIFF....AVI ") == "broken picture"
    assert refusal(picture(1)[:-50]) == "broken picture"


def test_a_jpeg_of_very_many_scans() -> None:
    out = io.BytesIO()
    PIL.Image.new("RGB", (64, 64), "red").save(out, "JPEG", progressive=True)
    data = out.getvalue()
    last = data[data.rindex(b"\xff\xda") : -2]
    assert refusal(data) is None
    assert refusal(data[:-2] + last * 200 + data[-2:]) == "broken picture"
