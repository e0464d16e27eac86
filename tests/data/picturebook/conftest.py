"""The picture book out of the cache; tests never fetch it."""

from __future__ import annotations

import pytest

from kosmos.data.picturebook.concepts import PictureBook, load_picturebook
from kosmos.data.picturebook.wordnet import WordNet, load_wordnet
from kosmos.errors import DataError


@pytest.fixture(scope="session")
def book() -> PictureBook:
    try:
        return load_picturebook(download=False)
    except DataError as error:
        pytest.skip(f"the picture book is not in the cache: {error}")


@pytest.fixture(scope="session")
def wordnet() -> WordNet:
    try:
        return load_wordnet(download=False)
    except DataError as error:
        pytest.skip(f"WordNet is not in the cache: {error}")
