from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from kosmos.batch import SlotInput
from kosmos.config import Precision, replace
from kosmos.document import Document
from kosmos.inference import embedding_cache
from kosmos.inference.embedding_cache import EmbeddingCache, content_key, encoder_digest
from kosmos.inference.embedding_store import EmbeddingStore
from kosmos.inference.engine import Engine
from kosmos.model.kosmos import Kosmos
from kosmos.processor import Processor
from kosmos.tokenizer import Tokenizer
from tests.inference.oracle import PICTURES
from tests.inference.tiny import tiny_model

CPU = torch.device("cpu")
ONE = 3 * 32 * 4  # bytes of an embedding: slots, hidden size, fp32
# Embeddings of the same picture in batches of different sizes: kernels sum in another order.
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def model(tokenizer: Tokenizer) -> Kosmos:
    """One of this module's own: some tests move its weights."""
    return tiny_model(tokenizer)


@pytest.fixture(scope="module")
def processor(model: Kosmos, tokenizer: Tokenizer) -> Processor:
    return Processor(tokenizer, model.config)


def picture(seed: int) -> SlotInput:
    pixels = np.random.default_rng(seed).integers(0, 256, (3, 16, 16), dtype=np.uint8)
    return SlotInput("image", 1, 3, pixels)


def items(*seeds: int) -> dict[str, SlotInput]:
    return {content_key(picture(seed)): picture(seed) for seed in seeds}


def encoded(model: Kosmos, *seeds: int) -> dict[str, Tensor]:
    """By one plain call."""
    with torch.inference_mode():
        features = torch.from_numpy(np.stack([picture(seed).features for seed in seeds]))
        return dict(zip(items(*seeds), model.encode_inputs("image", features)))


def embed(cache: EmbeddingCache, *seeds: int) -> dict[str, Tensor]:
    with torch.inference_mode():
        return cache.embed(items(*seeds))


def assert_equal(made: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float = 0.0) -> None:
    assert made.keys() == expected.keys()
    for key, value in expected.items():
        torch.testing.assert_close(made[key], value, rtol=0, atol=tolerance)


@contextmanager
def moved(model: Kosmos, name: str, by: float) -> Iterator[None]:
    """One of the image encoder's weights, moved for a while."""
    weight = model.encoders.get_submodule("image").get_parameter(name)
    before = weight.detach().clone()
    try:
        with torch.no_grad():
            weight.add_(by)
        yield
    finally:
        with torch.no_grad():
            weight.copy_(before)


def test_off_cold_warm_and_after_a_restart(model: Kosmos, tmp_path: Path) -> None:
    expected = encoded(model, 1, 2, 3)
    off = EmbeddingCache(model, CPU, 0)
    for _ in range(2):
        assert_equal(embed(off, 1, 2, 3), expected)
    assert (off.num_encoded, off.num_from_disk) == (6, 0)
    cache = EmbeddingCache(model, CPU, 1 << 20, EmbeddingStore(tmp_path))
    for _ in range(2):
        assert_equal(embed(cache, 1, 2, 3), expected)
    assert (cache.num_encoded, cache.num_from_disk) == (3, 0)
    again = EmbeddingCache(model, CPU, 1 << 20, EmbeddingStore(tmp_path))
    for _ in range(2):
        assert_equal(embed(again, 1, 2, 3), expected)
    assert (again.num_encoded, again.num_from_disk) == (0, 3)
    # Alone, or with others: the last bits may differ, and nothing more.
    mixed = embed(again, 3, 4, 1, 5)
    assert (again.num_encoded, again.num_from_disk) == (2, 3)
    assert_equal(mixed, encoded(model, 3, 4, 1, 5), TOLERANCE)
    for seed in (1, 2, 3, 4, 5):
        assert_equal(embed(again, seed), encoded(model, seed), TOLERANCE)
    assert again.num_encoded == 2


def test_without_memory_the_disk_is_read(model: Kosmos, tmp_path: Path) -> None:
    cache = EmbeddingCache(model, CPU, 0, EmbeddingStore(tmp_path))
    for _ in range(3):
        assert_equal(embed(cache, 1, 2), encoded(model, 1, 2))
    assert (cache.num_encoded, cache.num_from_disk) == (2, 4)


def test_other_weights_are_other_embeddings(model: Kosmos, tmp_path: Path) -> None:
    first = encoded(model, 1, 2)
    cache = EmbeddingCache(model, CPU, 1 << 20, EmbeddingStore(tmp_path))
    assert_equal(embed(cache, 1, 2), first)
    with moved(model, "resampler.dense.bias", 0.5):
        second = encoded(model, 1, 2)
        assert not torch.equal(second[next(iter(second))], first[next(iter(first))])
        cache.clear()
        assert_equal(embed(cache, 1, 2), second)
        assert_equal(embed(EmbeddingCache(model, CPU, 0, EmbeddingStore(tmp_path)), 1, 2), second)
        assert cache.num_encoded == 4
    cache.clear()
    assert_equal(embed(cache, 1, 2), first)  # what the old weights gave is still there
    assert (cache.num_encoded, cache.num_from_disk) == (4, 2)


def test_releasing_the_memory_keeps_what_is_known_of_the_weights(
    model: Kosmos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests: list[str] = []

    def counted(*arguments: object) -> str:
        digests.append(encoder_digest(*arguments))  # type: ignore[arg-type]
        return digests[-1]

    monkeypatch.setattr(embedding_cache, "encoder_digest", counted)
    without_store = EmbeddingCache(model, CPU, 1 << 20)
    embed(without_store, 1)
    assert digests == []  # hashing the weights takes seconds: only where it is needed
    cache = EmbeddingCache(model, CPU, 1 << 20, EmbeddingStore(tmp_path))
    for _ in range(3):
        embed(cache, 1, 2)
        cache.release()
    assert (cache.num_encoded, cache.num_from_disk, len(digests)) == (2, 4, 1)
    cache.clear()
    embed(cache, 1, 2)
    assert len(digests) == 2 and digests[0] == digests[1]


def test_the_digest_is_of_all_that_matters(model: Kosmos, tokenizer: Tokenizer, tmp_path: Path) -> None:
    config = model.config
    encoder = model.encoders.get_submodule("image")
    digest = encoder_digest(encoder, config)
    assert digest == encoder_digest(copy.deepcopy(encoder), config)
    model.save_pretrained(tmp_path / "model", Processor(tokenizer, config))
    loaded = Kosmos.from_pretrained(tmp_path / "model")
    assert digest == encoder_digest(loaded.encoders["image"], loaded.config)
    for name, parameter in encoder.named_parameters():
        before = parameter.detach().clone()
        with torch.no_grad():
            parameter[(-1,) * parameter.ndim] += 0.01
            assert encoder_digest(encoder, config) != digest, name
            parameter.copy_(before)
    assert encoder_digest(encoder, config) == digest
    # What no weight shows.
    for change in ({"vision.image_mean": (0.5, 0.5, 0.5)}, {"resampler.num_heads": 2}):
        assert encoder_digest(encoder, replace(config, **change)) != digest
    assert encoder_digest(copy.deepcopy(encoder).bfloat16(), config) != digest
    buffered = copy.deepcopy(encoder)
    buffered.register_buffer("window", torch.zeros(2), persistent=False)
    first = encoder_digest(buffered, config)
    buffered.get_buffer("window")[0] = 1.0
    assert encoder_digest(buffered, config) != first


class Packed(nn.Module):
    """As quantised modules of others: its weights are no tensors of the module."""

    def __init__(self, values: list[float]) -> None:
        super().__init__()
        self._values = values

    def get_extra_state(self) -> dict[str, object]:
        return {"packed": self._values, "quantised": torch.tensor(self._values)}


def test_the_digest_of_packed_weights(model: Kosmos) -> None:
    digests = [encoder_digest(Packed(values), model.config) for values in ([1.0, 2.0], [1.0, 2.0], [1.0, 2.1])]
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_precision_is_in_the_key(model: Kosmos, processor: Processor, precision: Precision, tmp_path: Path) -> None:
    documents = [Document(picture, "an image") for picture in PICTURES]
    both: tuple[Precision, ...] = ("fp32", "bf16")
    for other in both:
        filling = Engine(model, processor, precision=other, image_cache_dir=tmp_path)
        filling.generate(documents, 1)
        assert (filling.embeddings.num_encoded, filling.embeddings.num_from_disk) == (4, 0)
    engine = Engine(model, processor, precision=precision, image_cache_dir=tmp_path)
    assert engine.generate(documents, 6) == Engine(model, processor, precision=precision).generate(documents, 6)
    assert (engine.embeddings.num_encoded, engine.embeddings.num_from_disk) == (0, 4)


def test_the_precision_of_products_is_in_the_key(model: Kosmos, tmp_path: Path) -> None:
    before = torch.get_float32_matmul_precision()
    try:
        for index, precision in enumerate(("highest", "high", "highest")):
            torch.set_float32_matmul_precision(precision)
            cache = EmbeddingCache(model, CPU, 0, EmbeddingStore(tmp_path))
            embed(cache, 1)
            assert (cache.num_encoded, cache.num_from_disk) == ((0, 1) if index == 2 else (1, 0))
    finally:
        torch.set_float32_matmul_precision(before)


def test_an_engine_reads_what_another_wrote(model: Kosmos, processor: Processor, tmp_path: Path) -> None:
    documents = [Document(PICTURES[i % 3], f"an image {i}", PICTURES[(i + 1) % 3]) for i in range(6)]
    off = Engine(model, processor, image_cache_bytes=0).generate(documents, 8)
    first = Engine(model, processor, image_cache_dir=tmp_path)
    assert first.generate(documents, 8) == first.generate(documents, 8) == off
    second = Engine(model, processor, image_cache_dir=str(tmp_path))
    assert second.generate(documents, 8) == off
    assert (second.embeddings.num_encoded, second.embeddings.num_from_disk) == (0, 3)
    # Alone, in another order: the same tokens, and log-probabilities up to the last bits.
    third = Engine(model, processor, image_cache_dir=tmp_path)
    for document, expected in reversed(list(zip(documents, off))):
        (made,) = third.generate([document], 8)
        assert made.token_ids == expected.token_ids
        np.testing.assert_allclose(made.log_probs, expected.log_probs, atol=1e-4)


def test_an_engine_whose_weights_change(model: Kosmos, processor: Processor, tmp_path: Path) -> None:
    documents = [Document(picture, "an image") for picture in PICTURES]
    engine = Engine(model, processor, image_cache_dir=tmp_path)
    before = engine.generate(documents, 6)
    with moved(model, "vision.post_layernorm.bias", 3.0):
        engine.clear()
        after = engine.generate(documents, 6)
        assert after == Engine(model, processor).generate(documents, 6)
        assert [made.log_probs for made in after] != [made.log_probs for made in before]
    engine.clear()
    assert engine.generate(documents, 6) == before
    assert engine.embeddings.num_encoded == 8


def test_the_least_recently_used_go(model: Kosmos) -> None:
    cache = EmbeddingCache(model, CPU, 2 * ONE)
    for seed, encoded_by_then in ((1, 1), (2, 2), (1, 2), (3, 3), (1, 3), (2, 4)):
        embed(cache, seed)
        assert cache.num_encoded == encoded_by_then
    assert cache._num_bytes == 2 * ONE
    # A chunk's embeddings are copies: what is kept does not keep the others.
    assert all(held.untyped_storage().nbytes() == ONE for held in cache._held.values())


def calls_of(model: Kosmos, monkeypatch: pytest.MonkeyPatch, most: int, error: Exception) -> list[int]:
    """How many pictures each call has; more than `most` raise `error`."""
    calls: list[int] = []
    original = Kosmos.encode_inputs

    def limited(self: Kosmos, name: str, features: Tensor) -> Tensor:
        calls.append(len(features))
        if len(features) > most:
            raise error
        return original(self, name, features)

    monkeypatch.setattr(Kosmos, "encode_inputs", limited)
    return calls


OUT_OF_MEMORY = RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")


def test_calls_are_bounded_by_pictures_and_bytes(model: Kosmos, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = encoded(model, *range(10))
    calls = calls_of(model, monkeypatch, 99, OUT_OF_MEMORY)
    for name, bound in (("_CHUNK", 4), ("_CHUNK_BYTES", 4 * 768)):
        with monkeypatch.context() as patch:
            patch.setattr(embedding_cache, name, bound)
            assert_equal(embed(EmbeddingCache(model, CPU, 0), *range(10)), expected, TOLERANCE)
        assert calls == [4, 4, 2]
        calls.clear()
    monkeypatch.setattr(embedding_cache, "_CHUNK_BYTES", 10)  # smaller than one picture
    embed(EmbeddingCache(model, CPU, 0), *range(3))
    assert calls == [1, 1, 1]


def test_out_of_memory_halves_a_call(model: Kosmos, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    expected = encoded(model, *range(10))
    calls = calls_of(model, monkeypatch, 3, OUT_OF_MEMORY)
    cache = EmbeddingCache(model, CPU, 1 << 20, EmbeddingStore(tmp_path))
    assert_equal(embed(cache, *range(10)), expected, TOLERANCE)
    assert calls == [10, 5, 2, 2, 2, 2, 2]
    assert (cache.num_encoded, cache.num_halvings) == (10, 2)
    embed(cache, *range(10))
    assert len(calls) == 7


def test_a_single_picture_that_does_not_fit(model: Kosmos, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = calls_of(model, monkeypatch, 0, torch.OutOfMemoryError("CUDA out of memory"))
    with pytest.raises(torch.OutOfMemoryError):
        embed(EmbeddingCache(model, CPU, 1 << 20), 1, 2, 3)
    assert calls == [3, 1]


def test_other_errors_are_not_taken_for_it(model: Kosmos, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = calls_of(model, monkeypatch, 0, RuntimeError("shapes do not fit"))
    with pytest.raises(RuntimeError, match="shapes"):
        embed(EmbeddingCache(model, CPU, 1 << 20), 1, 2, 3)
    assert calls == [3]


def test_a_fixed_number_a_call_makes_companions_irrelevant(model: Kosmos) -> None:
    """Whatever else is new, and wherever a picture stands in the call: equal to the last bit."""
    seen: dict[int, list[Tensor]] = {}
    for seeds in ([0], [1, 0], [2, 3, 4, 0, 5], [5, 4, 3, 2, 1, 0, 6, 7, 8], [0, 1, 2, 3]):
        cache = EmbeddingCache(model, CPU, 1 << 20, per_call=4)
        for seed, embeddings in zip(seeds, embed(cache, *seeds).values()):
            seen.setdefault(seed, []).append(embeddings)
        assert cache.num_encoded == len(seeds)
    for made in seen.values():
        assert all(torch.equal(made[0], other) for other in made)
    torch.testing.assert_close(seen[0][0], encoded(model, 0)[content_key(picture(0))], atol=TOLERANCE, rtol=0)
