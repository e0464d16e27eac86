"""Documents: equality by content, immutability, hashing, pickling."""

from __future__ import annotations

import copy
import io
import pickle
from dataclasses import FrozenInstanceError
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kosmos.document import Document, End, Image, Segment, Text
from kosmos.errors import ImageError, UsageError

texts = st.builds(Text, st.text(st.characters(), max_size=12), st.booleans())
pictures = st.builds(Image, st.binary(min_size=1, max_size=12))
segments = st.one_of(texts, pictures, st.builds(End, st.booleans()))
documents = st.lists(segments, max_size=5).map(lambda parts: Document(*parts))


def pixels(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (4, 6, 3), dtype=np.uint8)


def png(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    PIL.Image.fromarray(array).save(out, "PNG")
    return out.getvalue()


def test_bytes_and_path_with_the_same_bytes_are_equal(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png(pixels()))
    ways = [Image(png(pixels())), Image(path), Image(str(path)), Image(bytearray(png(pixels())))]
    assert len(set(ways)) == 1 and len({Document(way, "x") for way in ways}) == 1
    assert Image(png(pixels(1))) not in ways


def test_pil_and_array_with_the_same_pixels_are_equal() -> None:
    picture = PIL.Image.open(io.BytesIO(png(pixels())))
    assert Image(pixels()) == Image(PIL.Image.fromarray(pixels())) == Image(picture)
    assert Image(pixels()) == Image(np.asfortranarray(pixels()))
    assert hash(Image(pixels())) == hash(Image(picture))
    assert Image(pixels()) != Image(pixels(1))
    assert Image(pixels()) != Image(pixels().reshape(6, 4, 3))


def test_pil_pictures_differ_by_mode_palette_and_transparency() -> None:
    grey = PIL.Image.new("L", (2, 2), 9)
    red = PIL.Image.new("P", (2, 2))
    red.putpalette([255, 0, 0])
    blue = red.copy()
    blue.putpalette([0, 0, 255])
    clear = red.copy()
    clear.info["transparency"] = 0
    assert len({Image(picture) for picture in (grey, grey.convert("RGB"), red, blue, clear, red.copy())}) == 5


@settings(deadline=None, derandomize=True)
@given(documents, documents)
def test_equality_is_that_of_segments_and_survives_pickling(one: Document, two: Document) -> None:
    same = [(s.modality, s.content(), s.supervised) for s in one] == [
        (s.modality, s.content(), s.supervised) for s in two
    ]
    assert (one == two) is same and (one.sha256 == two.sha256) is same
    for again in (pickle.loads(pickle.dumps(one)), copy.deepcopy(one), Document(*one.segments)):
        assert again == one and hash(again) == hash(one) and again.sha256 == one.sha256
    assert len(one + two) == len(one) + len(two) and (one + two)[: len(one)] == one


@pytest.mark.parametrize("source", [png(pixels()), pixels(), PIL.Image.fromarray(pixels())])
def test_pictures_survive_pickling(source: object) -> None:
    assert pickle.loads(pickle.dumps(Document(Image(source)))) == Document(Image(source))


def test_later_changes_of_the_pixels_do_not_reach_the_document() -> None:
    array, picture, raw = pixels(), PIL.Image.fromarray(pixels()), bytearray(png(pixels()))
    made = [Image(array), Image(picture), Image(raw)]
    array[:] = 0
    picture.paste("black", (0, 0, 6, 4))
    raw[:] = b""
    assert made[0] == made[1] == Image(pixels()) and made[2] == Image(png(pixels()))
    with pytest.raises(ValueError, match="read-only"):
        made[0].source[0, 0, 0] = 1


def test_a_pil_picture_outlives_its_file(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png(pixels()))
    with PIL.Image.open(path) as opened:
        image = Image(opened)
    path.unlink()
    assert image == Image(pixels())


def test_nothing_can_be_changed() -> None:
    document = Document("a", Image(pixels()))
    with pytest.raises(AttributeError, match="immutable"):
        document._segments = ()
    with pytest.raises(AttributeError, match="immutable"):
        del document._segments
    for segment in document:
        with pytest.raises(FrozenInstanceError):
            segment.supervised = True
    assert isinstance(document.segments, tuple)


def test_supervision_is_part_of_what_is_equal() -> None:
    assert Text("a") != Text("a", supervised=False)
    assert Document("a") != Document(Text("a", supervised=False)) == Document("a").unsupervised()
    assert Document("a", End()).unsupervised() == Document(Text("a", False), End(False))
    assert Document("a", "b") != Document("ab")
    assert Text("a") != "a" and Document("a") != "a"


def test_parts() -> None:
    document = Document("a ", Image(b"x"), Text("b", supervised=False), End())
    assert document.text == "a b" and document.images == (Image(b"x"),) and len(document) == 4
    assert document[0] == Text("a ") and document[1:3] == Document(Image(b"x"), Text("b", supervised=False))
    assert repr(document) == "Document('a ', <image>, 'b', <end>)" and repr(Image(b"x")) == "Image(picture from bytes)"
    assert Document() == Document() and len(Document()) == 0


@pytest.mark.parametrize("part", [1, None, b"x", ["a"], np.zeros(3)])
def test_other_parts_are_refused(part: object) -> None:
    with pytest.raises(UsageError, match="a Document takes segments or str, not"):
        Document(part)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "source",
    [None, 3, ["a.png"], np.zeros((2, 2, 3)), np.zeros((2, 2), np.uint8), np.zeros((0, 2, 3), np.uint8)],
)
def test_other_picture_sources_are_refused(source: object) -> None:
    with pytest.raises(UsageError, match="image"):
        Image(source)


def test_images_are_never_supervised_and_text_is_text() -> None:
    with pytest.raises(UsageError, match="only discrete tokens"):
        Image(b"x", supervised=True)
    with pytest.raises(UsageError, match="takes a str, not bytes"):
        Text(b"x")  # type: ignore[arg-type]


def test_a_damaged_pil_picture() -> None:
    with pytest.raises(ImageError, match="PIL image: cannot decode it"):
        Image(PIL.Image.open(io.BytesIO(png(pixels())[:60])))


def test_a_new_kind_of_segment_needs_only_its_content() -> None:
    class Tone(Segment):
        modality = "tone"
        supervised = False

        def __init__(self, hertz: int) -> None:
            self.hertz = hertz

        def content(self) -> bytes:
            return str(self.hertz).encode()

    assert Document(Tone(440)) == Document(Tone(440)) != Document(Tone(220))
    assert Document(Tone(440)) != Document("440")
