from __future__ import annotations

import gc
import io
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from kosmos import images
from kosmos.batch import SlotInput
from kosmos.config import replace
from kosmos.document import Document, Image
from kosmos.errors import ImageError
from kosmos.inference import feature_cache
from kosmos.inference.embedding_cache import content_key
from kosmos.inference.engine import Engine
from kosmos.inference.feature_cache import FeatureCache
from kosmos.modality import get_modality
from kosmos.model.kosmos import Kosmos
from kosmos.processor import Processor

ONE = 3 * 16 * 16  # bytes of one picture of the tiny model


def png(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (24, 20, 3), dtype=np.uint8)
    file = io.BytesIO()
    PIL.Image.fromarray(pixels).save(file, "png")
    return file.getvalue()


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was decoded, in order."""
    made: list[str] = []
    original = images.decode_image

    def counted(image: Image | bytes, max_megapixels: float = images.MAX_MEGAPIXELS) -> PIL.Image.Image:
        assert isinstance(image, Image)
        made.append(image.sha256)
        return original(image, max_megapixels)

    monkeypatch.setattr(images, "decode_image", counted)
    return made


def test_a_picture_is_decoded_once(processor: Processor, decoded: list[str], tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(1))
    documents = [Document(Image(png(1)), "a", Image(png(2))), Document("b", Image(tmp_path / "a.png"))] * 3
    plain = [processor.encode(document) for document in documents]
    assert len(decoded) == 9
    cache = FeatureCache(1 << 20)
    rows = [processor.encode(document, features=cache.features) for document in documents]
    assert len(decoded) == 9 + 2
    assert (cache.num_made, cache.num_reused) == (2, 7)
    for row, expected in zip(rows, plain, strict=True):
        np.testing.assert_array_equal(row.token_ids, expected.token_ids)
        for mine, other in zip(row.inputs, expected.inputs, strict=True):
            assert (mine.start, mine.num_slots) == (other.start, 3)
            assert mine.features.dtype == other.features.dtype
            np.testing.assert_array_equal(mine.features, other.features)
            assert cache.content_key(mine) == content_key(other)


def test_the_preprocessing_is_in_the_key(processor: Processor) -> None:
    cache = FeatureCache(1 << 20)
    modality, picture = get_modality("image"), Image(png(1))
    for training in (False, True, False):
        made = cache.features(modality, picture, processor.config, training)
        np.testing.assert_array_equal(made, modality.features(picture, processor.config, training))
    assert cache.num_made == 2
    larger = replace(processor.config, **{"vision.image_size": 32})
    assert cache.features(modality, picture, larger, False).shape == (3, 32, 32)
    assert cache.features(modality, picture, processor.config, False).shape == (3, 16, 16)


def test_the_least_recently_used_go(processor: Processor, decoded: list[str]) -> None:
    cache = FeatureCache(2 * ONE + 1)
    modality = get_modality("image")
    arrays = []
    for seed in (1, 2, 1, 3, 1, 2):  # 3 takes the place of 2, the last 2 that of 3
        arrays.append(weakref.ref(cache.features(modality, Image(png(seed)), processor.config, False)))
    assert decoded == [Image(png(seed)).sha256 for seed in (1, 2, 3, 2)]
    gc.collect()
    assert [array() is not None for array in arrays] == [True, False, True, False, True, True]
    assert cache._num_bytes == 2 * ONE == sum(held.features.nbytes for held in cache._by_array.values())
    cache.clear()
    assert (cache._num_bytes, len(cache._held), len(cache._by_array)) == (0, 0, 0)


def test_without_bytes_nothing_is_kept(processor: Processor, decoded: list[str]) -> None:
    cache = FeatureCache(0)
    for _ in range(2):
        row = processor.encode(Document(Image(png(1))), features=cache.features)
        assert cache.content_key(row.inputs[0]) == content_key(row.inputs[0])
    assert len(decoded) == 2 and not cache._held


def test_training_keeps_nothing(processor: Processor) -> None:
    """The data path calls `encode` without a cache: its arrays die with their rows."""
    row = processor.encode(Document(Image(png(1))), training=True)
    array = weakref.ref(row.inputs[0].features)
    del row
    gc.collect()
    assert array() is None


def test_what_it_gives_cannot_be_written_to(processor: Processor) -> None:
    features = FeatureCache(1 << 20).features(get_modality("image"), Image(png(1)), processor.config, False)
    with pytest.raises(ValueError, match="read-only"):
        features[:] = 0


def test_the_content_key_is_computed_once(processor: Processor, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[SlotInput] = []

    def counted(item: SlotInput) -> str:
        calls.append(item)
        return content_key(item)

    monkeypatch.setattr(feature_cache, "content_key", counted)
    cache = FeatureCache(2 * ONE)
    rows = [processor.encode(Document(Image(png(seed))), features=cache.features) for seed in (1, 2, 1)]
    keys = [cache.content_key(row.inputs[0]) for row in rows for _ in range(3)]
    assert len(calls) == 2
    assert len(set(keys)) == 2 and keys[0] == keys[-1]
    processor.encode(Document(Image(png(3))), features=cache.features)  # 2 is forgotten, but its row is still right
    assert cache.content_key(rows[1].inputs[0]) == keys[3]
    assert len(calls) == 3


def test_a_damaged_picture_is_refused_each_time(processor: Processor) -> None:
    cache = FeatureCache(1 << 20)
    for _ in range(2):
        with pytest.raises(ImageError):
            processor.encode(Document(Image(png(1)[:200])), features=cache.features)
    assert not cache._held


def test_threads_share_it(processor: Processor) -> None:
    cache = FeatureCache(3 * ONE)
    pictures = [png(seed) for seed in range(6)]
    expected = [processor.encode(Document(Image(data))).inputs[0] for data in pictures]
    start = threading.Barrier(4)

    def work(thread: int) -> int:
        start.wait()
        right = 0
        for turn in range(150):
            index = (turn * (thread + 1)) % 6
            item = processor.encode(Document(Image(pictures[index])), features=cache.features).inputs[0]
            same = np.array_equal(item.features, expected[index].features)
            right += same and cache.content_key(item) == content_key(expected[index])
        return right

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(work, range(4))) == [150] * 4
    assert cache._num_bytes == 3 * ONE == ONE * len(cache._held) == ONE * len(cache._by_array)


def test_the_engine_has_one(model: Kosmos, processor: Processor, decoded: list[str]) -> None:
    documents = [Document(Image(png(i % 2)), f"Question: {i}") for i in range(6)]
    off = Engine(model, processor, feature_cache_bytes=0).generate(documents, 4)
    assert len(decoded) == 6
    engine = Engine(model, processor)
    assert engine.generate(documents, 4) == off
    assert len(decoded) == 8
    engine.clear()  # pixels do not depend on the weights
    assert engine.generate(documents, 4) == off
    assert len(decoded) == 8
