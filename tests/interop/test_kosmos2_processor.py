"""Tokenizer and preprocessing of Kosmos-2 folders: ids and pixels equal transformers', what differs is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from transformers import AutoProcessor, XLMRobertaTokenizer

from kosmos.config import ModelConfig
from kosmos.config import replace as change
from kosmos.document import Document, Image
from kosmos.errors import ConfigError, DataError
from kosmos.interop.kosmos2.processor import (
    GROUNDING_TOKENS,
    SENTENCEPIECE_FILE,
    SENTENCES,
    read_tokenizer,
    write_processor,
)
from kosmos.interop.kosmos2.sentencepiece_file import precompiled_charsmap
from kosmos.interop.self_check import make_probes
from kosmos.processor import Processor
from kosmos.tokenizer import Tokenizer
from tests.interop.kosmos2_folder import IMAGE_SIZE, edit_json, small_tokenizer, their_processor
from tests.model.tiny import tiny_config

# From transformers' own test of Kosmos-2's processor.
GOLDEN = {
    "An image of": [712, 1648, 9],
    "Two puppies sit in a field of grass.": [1264, 17772, 1357, 12, 10, 770, 9, 4464, 4],
}


def config_for(tokenizer: Tokenizer, **changes: Any) -> ModelConfig:
    made: ModelConfig = change(
        tiny_config(**{"decoder.position": "sinusoidal", "decoder.vocab_size": tokenizer.vocab_size}), **changes
    )
    return made


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return small_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="module")
def released(shared_dir: Path) -> bytes:
    """The family's SentencePiece model."""
    file = shared_dir / "tokenizer" / SENTENCEPIECE_FILE
    if not file.is_file():
        pytest.skip(f"no {SENTENCEPIECE_FILE} at {file.parent}")
    return file.read_bytes()


@pytest.fixture(scope="module")
def released_folder(released: bytes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Processor files of the released checkpoint's form, written from our side."""
    folder = tmp_path_factory.mktemp("released")
    full = Tokenizer(released, GROUNDING_TOKENS)
    sizes = {"vision.image_size": 224, "resampler.num_latents": 64, "decoder.max_positions": 2048}
    assert write_processor(Processor(full, config_for(full, **sizes)), folder) == []
    return folder


def test_the_released_vocabulary(released_folder: Path) -> None:
    tokenizer = read_tokenizer(released_folder, 65_037)
    assert tokenizer.vocab_size == 65_037
    ids = {"<mask>": 64_001, "<image>": 64_003, "</image>": 64_004, "</line>": 64_006, "<phrase>": 64_007}
    ids |= {"<grounding>": 64_012, "<patch_index_0000>": 64_013, "<patch_index_1023>": 65_036}
    theirs = AutoProcessor.from_pretrained(released_folder).tokenizer
    assert len(theirs) == 65_037
    for name, index in ids.items():
        assert (tokenizer.special_id(name), theirs.convert_tokens_to_ids(name)) == (index, index)


def test_ids_equal_transformers_on_its_own_sentences(released_folder: Path) -> None:
    ours = read_tokenizer(released_folder, 65_037)
    theirs = AutoProcessor.from_pretrained(released_folder).tokenizer
    for sentence, ids in GOLDEN.items():
        assert ours.encode(sentence) == ids
        assert theirs(sentence, add_special_tokens=False).input_ids == ids
    for sentence in SENTENCES:
        assert ours.encode(sentence) == theirs(sentence, add_special_tokens=False).input_ids


@pytest.mark.skipif(find_spec("google.protobuf") is None, reason="transformers reads the file with protobuf")
def test_ids_equal_what_transformers_makes_of_the_file_itself(released: bytes, tmp_path: Path) -> None:
    (tmp_path / SENTENCEPIECE_FILE).write_bytes(released)
    theirs = XLMRobertaTokenizer.from_pretrained(tmp_path)
    ours = Tokenizer(released)
    for sentence in (*GOLDEN, *SENTENCES):
        assert ours.encode(sentence) == theirs(sentence, add_special_tokens=False).input_ids


def test_the_snowman_prompt_has_transformers_ids(released_folder: Path) -> None:
    """The ids that transformers' own integration test expects before the answer."""
    processor: Any = AutoProcessor.from_pretrained(released_folder)
    picture = PIL.Image.new("RGB", (100, 60), "white")
    given = processor(text="<grounding> An image of", images=picture, return_tensors="pt")
    assert given["input_ids"][0].tolist() == [0, 64_003, *range(4, 68), 64_004, 64_012, 712, 1648, 9]
    assert tuple(given["pixel_values"].shape) == (1, 3, 224, 224)


def test_a_plain_prompt_differs_from_ours_only_in_the_slots(released: bytes, released_folder: Path) -> None:
    full = Tokenizer(released, GROUNDING_TOKENS)
    config = config_for(full, **{"vision.image_size": 224, "resampler.num_latents": 64})
    picture = PIL.Image.new("RGB", (100, 60), "white")
    ours = Processor(full, config).encode(Document(Image(picture), "An image of"), end=False).token_ids
    theirs = AutoProcessor.from_pretrained(released_folder)(text="An image of", images=picture)["input_ids"]
    slots = slice(2, 66)
    assert theirs[slots] == list(range(4, 68))
    assert set(ours[slots].tolist()) == {full.slot_id}
    assert [*theirs[:2], *theirs[66:]] == [*ours[:2].tolist(), *ours[66:].tolist()]


def test_without_a_sentencepiece_file_one_is_made_of_tokenizer_json(tokenizer: Tokenizer, tmp_path: Path) -> None:
    their_processor(tokenizer).save_pretrained(tmp_path)
    assert not (tmp_path / SENTENCEPIECE_FILE).exists()
    made = read_tokenizer(tmp_path, tokenizer.vocab_size + 9)
    assert made.scored_pieces() == tokenizer.scored_pieces()
    assert precompiled_charsmap(made.model) == precompiled_charsmap(tokenizer.model) != b""
    for text in (*SENTENCES, "  two  spaces ", "line\nbreak", "ﬁ Å Å 猫", ""):
        assert made.encode(text) == tokenizer.encode(text)
        assert made.decode(made.encode(text)) == tokenizer.decode(tokenizer.encode(text))


def test_a_sentencepiece_file_alone_gets_the_known_grounding_tokens(tokenizer: Tokenizer, tmp_path: Path) -> None:
    (tmp_path / SENTENCEPIECE_FILE).write_bytes(tokenizer.model)
    assert read_tokenizer(tmp_path, tokenizer.vocab_size + 1030).extra_specials == GROUNDING_TOKENS
    assert read_tokenizer(tmp_path, tokenizer.vocab_size).extra_specials == ()
    added = {name: tokenizer.vocab_size + place for place, name in enumerate(("<a>", "<b>"))}
    (tmp_path / "added_tokens.json").write_text(json.dumps(added), encoding="utf-8")
    assert read_tokenizer(tmp_path, tokenizer.vocab_size + 2).extra_specials == ("<a>", "<b>")


def test_a_tokenizer_given_by_hand(tokenizer: Tokenizer, tmp_path: Path) -> None:
    (tmp_path / "mine.model").write_bytes(tokenizer.model)
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(DataError, match="no tokenizer here: neither .* give one with --tokenizer"):
        read_tokenizer(folder, tokenizer.vocab_size)
    assert read_tokenizer(folder, tokenizer.vocab_size, tmp_path / "mine.model") == tokenizer


def test_files_that_do_not_belong_together_are_refused(tokenizer: Tokenizer, tmp_path: Path) -> None:
    other = Tokenizer.train(["quite another text, with other words in it"] * 3, tmp_path / "other.model", 24)
    their_processor(tokenizer).save_pretrained(tmp_path)
    (tmp_path / SENTENCEPIECE_FILE).write_bytes(other.model)
    with pytest.raises(DataError, match=r"tokenizer.json: id \d+ is '.*', but '.*' by the SentencePiece model"):
        read_tokenizer(tmp_path, tokenizer.vocab_size + 9)


def test_gaps_between_added_tokens_are_refused(tokenizer: Tokenizer, tmp_path: Path) -> None:
    (tmp_path / SENTENCEPIECE_FILE).write_bytes(tokenizer.model)
    (tmp_path / "added_tokens.json").write_text(json.dumps({"<a>": tokenizer.vocab_size + 3}), encoding="utf-8")
    with pytest.raises(DataError, match=r"the added token <a> has id \d+, not the next free \d+"):
        read_tokenizer(tmp_path, tokenizer.vocab_size + 9)


def test_a_tokenizer_of_another_family_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": {"type": "BPE", "vocab": {"a": 0}}}))
    with pytest.raises(DataError, match="not a unigram tokenizer; give its SentencePiece model with --tokenizer"):
        read_tokenizer(tmp_path, 100)
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(DataError, match="tokenizer.json: cannot be read as JSON"):
        read_tokenizer(tmp_path, 100)


def test_a_tokenizer_that_transformers_cuts_otherwise_is_refused(tmp_path: Path) -> None:
    texts = ["An image of a cat in a field of grass. Question: what color is the cat? Answer: black"] * 3
    odd = Tokenizer.train(texts, tmp_path / "odd.model", 33, add_dummy_prefix=False)
    with pytest.raises(ConfigError, match="the tokenizer's transformers form: other ids for 'An image of'"):
        write_processor(Processor(odd, config_for(odd)), tmp_path / "out")


def test_extras_of_ones_own_keep_their_ids(tokenizer: Tokenizer, tmp_path: Path) -> None:
    own = Tokenizer(tokenizer.model, ("<speech>", "</speech>"))
    notes = write_processor(Processor(own, config_for(own)), tmp_path)
    theirs: Any = AutoProcessor.from_pretrained(tmp_path).tokenizer
    assert theirs.convert_tokens_to_ids("<speech>") == own.special_id("<speech>")
    assert theirs.convert_tokens_to_ids("<phrase>") == own.vocab_size
    assert any("6 grounding tokens" in note for note in notes)
    assert any("call the processor with num_image_tokens=4" in note for note in notes)
    assert read_tokenizer(tmp_path, own.vocab_size) == own


def test_pixels_equal_transformers(tokenizer: Tokenizer, tmp_path: Path) -> None:
    """The square of our evaluation is what the exported preprocessing makes, for any shape of picture."""
    processor = Processor(tokenizer, config_for(tokenizer, **{"vision.image_mean": (0.5, 0.4, 0.3)}))
    write_processor(processor, tmp_path)
    theirs: Any = AutoProcessor.from_pretrained(tmp_path).image_processor
    random = np.random.default_rng(0)
    vision = processor.config.vision
    assert vision is not None
    mean, deviation = (np.asarray(v)[:, None, None] for v in (vision.image_mean, vision.image_std))
    for width, height in ((100, 37), (20, 90), (IMAGE_SIZE, IMAGE_SIZE)):
        picture = PIL.Image.fromarray(random.integers(0, 256, (height, width, 3), dtype=np.uint8))
        row = processor.encode(Document(Image(picture)))
        ours = (row.inputs[0].features / 255 - mean) / deviation
        found = theirs(picture, return_tensors="np")["pixel_values"][0]
        np.testing.assert_allclose(found, ours, rtol=0, atol=1e-5)


def test_probes_are_normalised_as_the_model_does(tokenizer: Tokenizer) -> None:
    from kosmos.model.kosmos import Kosmos

    config = config_for(tokenizer)
    probe = make_probes(Processor(tokenizer, config))[2]
    encoder: Any = Kosmos(config, random_vision=True).encoders["image"]
    assert probe.pixels is not None
    torch.testing.assert_close(probe.pixels, encoder.normalize(probe.batch.inputs["image"].features))
    assert int(probe.slots.sum()) == 3 * config.resampler.num_latents


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda stored: stored.pop("model"), "not a unigram tokenizer"),
        (lambda stored: stored["added_tokens"][0].pop("id"), "an added token without id or content"),
        (lambda stored: stored["decoder"].update(split={}), "the tokenizers library cannot read it"),
    ],
    ids=["model", "added token", "decoder"],
)
def test_a_damaged_tokenizer_json_is_named(
    edit: Callable[[dict[str, Any]], object], message: str, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    processor = their_processor(tokenizer)
    processor.save_pretrained(tmp_path)
    (tmp_path / SENTENCEPIECE_FILE).write_bytes(tokenizer.model)
    edit_json(tmp_path / "tokenizer.json", edit)
    with pytest.raises(DataError, match=f"tokenizer.json: {message}|tokenizer.json: damaged: {message}"):
        read_tokenizer(tmp_path, len(processor.tokenizer))
