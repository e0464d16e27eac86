"""What the picture book gives vision pretraining: the training artists' drawings, and pictures of any world."""

from __future__ import annotations

import numpy as np

from kosmos.config import VisionPretrainingConfig
from kosmos.data.own_pictures import open_own_pictures
from kosmos.data.picture_corpus import PictureCorpus
from kosmos.data.picturebook.concepts import PictureBook
from kosmos.data.picturebook.reader import shared_book, training_examples
from kosmos.data.picturebook.worlds.pictures import may_flip
from kosmos.errors import ConfigError
from kosmos.example import Example


def open_picture_corpora(config: VisionPretrainingConfig) -> list[PictureCorpus]:
    """The corpora of a vision pretraining, in its order. Raises ConfigError, and DataError for files."""
    size = config.vision.image_size
    return [
        open_own_pictures(corpus.reader, corpus.path, corpus.pictures, size)
        if corpus.reader
        else open_picture_corpus(corpus.name, corpus.pictures, config.seed, size)
        for corpus in config.corpora
    ]


def open_picture_corpus(name: str, pictures: int, seed: int, size: int) -> PictureCorpus:
    """`drawings`: every drawing of the training artists with its name. Any other name is a world, from which
    `pictures` examples are drawn once, each with the caption of `describe`.

    Raises ConfigError for a name that is none, a world without exactly one picture, and a number that does not fit.
    """
    if name == "drawings":
        if pictures:
            raise ConfigError("picture corpus 'drawings': is taken whole; leave `pictures` out")
        return _drawings(shared_book())
    if pictures < 1:
        raise ConfigError(f"picture corpus '{name}': say how many pictures to draw (pictures: N)")
    return _world(name, pictures, seed, size)


def _drawings(book: PictureBook) -> PictureCorpus:
    images = np.concatenate([book.pictures[artist] for artist in book.training_artists])
    concepts = np.concatenate([book.indices[artist] for artist in book.training_artists])
    captions = tuple(book.labels[concept] for concept in concepts.tolist())
    flip = np.array([may_flip(caption) for caption in captions])
    return PictureCorpus(images, captions, strength=1.0, flip=flip)


def describe(example: Example) -> str:
    """A caption of a made picture: what is written, or what stands where; its answer where that is all there is."""
    meta, answer = example.meta, str(example.fields["answer"])
    match example.id.split("/")[0]:
        case "equations":
            return f"{meta['text']}{answer}"
        case "webpages":
            return " ".join(f"{key} {value}" for key, value in meta["page"])
        case "colors" | "dialogue":
            return ", ".join(f"{color} {thing}" for thing, color in meta["objects"])
        case "counting":
            return " ".join(f"{count} {thing}" for thing, count in meta["objects"])
        case "explanation":
            return " ".join((meta["odd"], *meta["same"]))
    return answer


def _world(name: str, pictures: int, seed: int, size: int) -> PictureCorpus:
    images: list[np.ndarray] = []
    captions: list[str] = []
    for example in training_examples(name, pictures, seed, size):
        if len(example.images) != 1:
            raise ConfigError(f"picture corpus '{name}': its examples have {len(example.images)} pictures, not one")
        pixels = np.asarray(example.images[0].source)
        images.append(np.concatenate((pixels, np.full((*pixels.shape[:2], 1), 255, dtype=np.uint8)), axis=2))
        captions.append(describe(example))
    # Made pictures vary by themselves, and mirrored letters are other letters.
    return PictureCorpus(np.stack(images), tuple(captions), strength=0.3, flip=np.zeros(len(images), dtype=bool))
