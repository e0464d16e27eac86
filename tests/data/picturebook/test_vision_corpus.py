"""What vision pretraining is given of the picture book."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from kosmos.data.picture_corpus import PictureCorpus
from kosmos.data.picturebook import vision_corpus
from kosmos.data.picturebook.concepts import PictureBook
from kosmos.data.picturebook.reader import training_examples
from kosmos.data.picturebook.vision_corpus import describe, open_picture_corpus
from kosmos.errors import ConfigError
from kosmos.example import Example


def test_a_world_without_the_book() -> None:
    corpus = open_picture_corpus("equations", 6, seed=3, size=32)
    examples = training_examples("equations", 6, 3, 32)
    assert corpus.images.shape == (6, 32, 32, 4) and corpus.images.dtype == np.uint8
    assert (corpus.images[..., 3] == 255).all()
    assert np.array_equal(corpus.images[4, ..., :3], np.asarray(examples[4].images[0].source))
    # The equation as it is written, and what it comes to.
    assert [c.split("=")[1] for c in corpus.captions] == [example.fields["answer"] for example in examples]
    assert all(eval(equation.replace("=", "==")) for equation in corpus.captions)
    # Mirrored letters are other letters.
    assert corpus.flip.tolist() == [False] * 6 and corpus.strength == 0.3


def test_seeds_draw_other_pictures() -> None:
    one, same, other = (open_picture_corpus("ocr", 3, seed, 48) for seed in (1, 1, 2))
    assert np.array_equal(one.images, same.images) and one.captions == same.captions
    assert not np.array_equal(one.images, other.images)


def test_captions_say_all_that_is_to_be_seen() -> None:
    webpage = open_picture_corpus("webpages", 1, 1, 48).captions[0].split()
    (example,) = training_examples("webpages", 1, 1, 48)
    assert list(zip(webpage[::2], webpage[1::2], strict=True)) == [tuple(map(str, row)) for row in example.meta["page"]]
    objects = (("lemon", "red"), ("dog", "blue"))
    made = Example("colors/train/0/1", {"answer": "red"}, meta={"objects": objects})
    assert describe(made) == "red lemon, blue dog"
    assert describe(replace(made, id="vqa/train/0/1", meta={})) == "red"


def test_drawings_are_the_training_artists(book: PictureBook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vision_corpus, "shared_book", lambda: book)
    corpus: PictureCorpus = open_picture_corpus("drawings", 0, seed=1, size=48)
    sizes = [len(book.pictures[artist]) for artist in book.training_artists]
    assert len(corpus.captions) == len(corpus.images) == len(corpus.flip) == sum(sizes) == 2715
    artist = book.training_artists[1]
    assert np.array_equal(corpus.images[sizes[0] + 7], book.pictures[artist][7])
    assert corpus.captions[sizes[0] + 7] == book.labels[int(book.indices[artist][7])]
    assert "twemoji" not in book.training_artists
    handed = [caption for caption, flip in zip(corpus.captions, corpus.flip, strict=True) if not flip]
    assert 50 < len(handed) < 400 and all("left" in c or "right" in c or "moon" in c or "o’clock" in c
        or "-thirty" in c or "crescent" in c or "gibbous" in c for c in handed)  # fmt: skip


@pytest.mark.parametrize(
    ("name", "pictures", "message"),
    [
        ("equations", 0, "picture corpus 'equations': say how many pictures to draw"),
        ("equation", 3, "no picture-book world 'equation' .did you mean 'equations'"),
        ("raven", 3, r"picture corpus 'raven': its examples have \d pictures, not one"),
        ("drawings", 3, "picture corpus 'drawings': is taken whole; leave `pictures` out"),
    ],
)
def test_what_is_no_picture_corpus(name: str, pictures: int, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        open_picture_corpus(name, pictures, 1, 48)
