"""Documents to rows: the layout, what is supervised, joined text, and the files that travel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kosmos.config import DecoderConfig, ModelConfig, ResamplerConfig, VisionConfig, replace
from kosmos.document import Document, End, Image, Segment, Text
from kosmos.errors import ConfigError, DataError, ImageError, StorageError, UsageError
from kosmos.processor import Processor
from kosmos.tokenizer import Tokenizer

CORPUS = ["question: what is it? answer: a red cat", "the dog sat on the mat (the cat)", "an image of two birds"] * 20
PICTURE = Image(np.full((4, 4, 3), 7, np.uint8))
BEGIN, SLOT, CLOSE = "<image>", "<mask>", "</image>"
CONFIG = ModelConfig(
    decoder=DecoderConfig(vocab_size=80, max_positions=16),
    vision=VisionConfig(kind="conv", image_size=4, channels=(8,)),
    resampler=ResamplerConfig(num_latents=2),
)


@pytest.fixture(scope="module")
def processor(tmp_path_factory: pytest.TempPathFactory) -> Processor:
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.model"
    return Processor(Tokenizer.train(CORPUS, path, 60, hard_vocab_limit=False), CONFIG)


def layout(processor: Processor, document: Document, start: bool = True, end: bool = True) -> list[tuple[str, bool]]:
    """(special token, or `text` for a piece, supervised) of every token."""
    row = processor.encode(document, start=start, end=end)
    assert row.token_ids.dtype == np.int64 and row.supervised.dtype == np.bool_ and row.segment_ids is None
    names = [processor.tokenizer.id_to_piece(int(token)) for token in row.token_ids]
    specials = {"<s>", "</s>", "<pad>", "<unk>", "</line>", BEGIN, SLOT, CLOSE}
    return [(n if n in specials else "text", bool(flag)) for n, flag in zip(names, row.supervised, strict=True)]


def test_a_caption_pair(processor: Processor) -> None:
    row = processor.encode(Document(PICTURE, "cat"))
    pieces = processor.tokenizer.encode("cat")
    image = [processor.tokenizer.special_id(n) for n in (BEGIN, SLOT, SLOT, CLOSE)]
    assert row.token_ids.tolist() == [0, *image, *pieces, 2]
    assert row.supervised.tolist() == [False] * 5 + [True] * (len(pieces) + 1)
    (slot,) = row.inputs
    assert (slot.modality, slot.start, slot.num_slots) == ("image", 2, 2)
    assert slot.features.dtype == np.uint8 and slot.features.shape == (3, 4, 4) and (slot.features == 7).all()


CASES = {
    "text": (Document("a"), [("<s>", False), ("text", True), ("</s>", True)]),
    "prompt": (Document(Text("a", False)), [("<s>", False), ("text", False), ("</s>", False)]),
    "prompt, answer": (
        Document(Text("a", False), Text(" a")),
        [("<s>", False), ("text", False), ("text", True), ("</s>", True)],
    ),
    "answer, prompt": (
        Document("a", Text(" a", False)),
        [("<s>", False), ("text", True), ("text", False), ("</s>", False)],
    ),
    "lines": (
        Document("a\na", Text("\n", False)),
        [("<s>", False), ("text", True), ("</line>", True), ("text", True), ("</line>", False), ("</s>", False)],
    ),
    "image alone": (
        Document(PICTURE),
        [("<s>", False), (BEGIN, False), (SLOT, False), (SLOT, False), (CLOSE, False), ("</s>", False)],
    ),
    "image after text": (
        Document("a", PICTURE),
        [("<s>", False), ("text", True), (BEGIN, False), (SLOT, False), (SLOT, False), (CLOSE, False), ("</s>", True)],
    ),
    "image within text": (
        Document("a", PICTURE, "a"),
        [("<s>", False), ("text", True), (BEGIN, False), (SLOT, False), (SLOT, False), (CLOSE, False)]
        + [("text", True), ("</s>", True)],
    ),
    "two images": (
        Document(PICTURE, PICTURE),
        [("<s>", False), *[(BEGIN, False), (SLOT, False), (SLOT, False), (CLOSE, False)] * 2, ("</s>", False)],
    ),
    "demonstration": (
        Document("a", End(), Text("a", False)),
        [("<s>", False), ("text", True), ("</s>", True), ("text", False), ("</s>", False)],
    ),
    "quiet end": (
        Document("a", End(supervised=False), "a"),
        [("<s>", False), ("text", True), ("</s>", False), ("text", True), ("</s>", True)],
    ),
    "end at the end": (Document("a", End()), [("<s>", False), ("text", True), ("</s>", True)]),
    "unsupervised": (
        Document("a", PICTURE, End(), "a").unsupervised(),
        [("<s>", False), ("text", False), (BEGIN, False), (SLOT, False), (SLOT, False), (CLOSE, False)]
        + [("</s>", False), ("text", False), ("</s>", False)],
    ),
    "unknown characters": (
        Document("a 猫"),
        [("<s>", False), ("text", True), ("text", True), ("<unk>", True), ("</s>", True)],
    ),
    "nothing": (Document(), [("<s>", False), ("</s>", False)]),
    "empty text": (Document(""), [("<s>", False), ("</s>", True)]),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_supervised(processor: Processor, case: str) -> None:
    document, wanted = CASES[case]
    assert layout(processor, document) == wanted
    assert layout(processor, document, start=False) == wanted[1:]
    closing = 0 if case == "end at the end" else 1
    assert layout(processor, document, end=False) == wanted[: len(wanted) - closing]


words = st.sampled_from(["the", " cat", "sat ", " ", "(", ")", "\n", "dog", ".", "", "\r\n", "猫", " on", ": "])
texts = st.builds(Text, st.lists(words, max_size=4).map("".join), st.booleans())
segments = st.one_of(texts, texts, st.just(PICTURE), st.builds(End, st.booleans()))


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(segments, max_size=6).map(lambda parts: Document(*parts)))
def test_only_text_and_ends_are_ever_supervised(processor: Processor, document: Document) -> None:
    row = processor.encode(document)
    special = [processor.tokenizer.special_id(n) for n in ("<s>", "<pad>", BEGIN, SLOT, CLOSE)]
    assert not row.supervised[np.isin(row.token_ids, special)].any()
    slots = np.concatenate([np.arange(i.start, i.start + i.num_slots) for i in row.inputs] or [np.array([], int)])
    assert np.array_equal(np.flatnonzero(row.token_ids == processor.tokenizer.slot_id), slots)
    assert len(row.inputs) == len(document.images)
    assert not processor.encode(document.unsupervised()).supervised.any()


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(st.lists(words, max_size=4).map("".join), max_size=5), st.booleans())
def test_adjoining_text_is_encoded_as_one(processor: Processor, parts: list[str], flag: bool) -> None:
    apart = processor.encode(Document(*(Text(part, flag) for part in parts)))
    joined = processor.encode(Document(Text("".join(parts), flag)))
    assert np.array_equal(apart.token_ids, joined.token_ids)
    if parts:
        assert np.array_equal(apart.supervised, joined.supervised)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(words, max_size=4).map("".join), st.lists(words, max_size=4).map("".join))
def test_a_prompts_tokens_do_not_depend_on_its_answer(processor: Processor, prompt: str, answer: str) -> None:
    asked = processor.encode(Document(Text(prompt, False)), end=False)
    trained = processor.encode(Document(Text(prompt, False), Text(answer)), end=False)
    assert trained.token_ids[: len(asked)].tolist() == asked.token_ids.tolist()
    assert not trained.supervised[: len(asked)].any() and trained.supervised[len(asked) :].all()


@pytest.mark.parametrize("cut", [("answer:", " a red cat"), ("answer: ", "a red cat"), ("answer:\n", "a red cat")])
def test_the_space_before_an_answer_belongs_to_it(processor: Processor, cut: tuple[str, str]) -> None:
    row = processor.encode(Document(Text(cut[0], False), Text(cut[1])), start=False, end=False)
    assert row.token_ids.tolist() == processor.tokenizer.encode("".join(cut))
    assert row.token_ids[row.supervised].tolist() == processor.tokenizer.encode("a red cat")


def test_joined_text_keeps_pieces_across_segments(processor: Processor) -> None:
    whole = processor.tokenizer.encode("the cat")
    assert processor.encode(Document("th", "e c", "at"), start=False, end=False).token_ids.tolist() == whole


def test_decode(processor: Processor) -> None:
    row = processor.encode(Document(PICTURE, "a red cat\nthe dog"))
    assert processor.decode(row.token_ids) == "a red cat\nthe dog"


def test_pictures_are_cropped_in_training_and_squeezed_otherwise(processor: Processor) -> None:
    wide = np.zeros((4, 12, 3), np.uint8)
    wide[:, 4:8] = 255
    document = Document(Image(wide))
    assert (processor.encode(document, training=True).inputs[0].features == 255).all()
    assert (processor.encode(document).inputs[0].features < 255).any()


def test_a_broken_picture_names_its_file(processor: Processor, tmp_path: Path) -> None:
    (tmp_path / "cat.png").write_text("no picture")
    with pytest.raises(ImageError, match=r"cat\.png: not a PNG"):
        processor.encode(Document(Image(tmp_path / "cat.png"), "a cat"))


def test_modalities_that_the_model_does_not_take(processor: Processor) -> None:
    class Sound(Segment):
        modality = "sound"
        supervised = False

    with pytest.raises(UsageError, match="no modality 'sound' is registered"):
        processor.encode(Document(Sound()))
    blind = Processor(processor.tokenizer, replace(CONFIG, vision=None))
    with pytest.raises(UsageError, match="this model takes no 'image'; it takes text"):
        blind.encode(Document(PICTURE))
    assert len(blind.encode(Document("a"))) == 3


def test_length_is_checked_with_its_reason(processor: Processor) -> None:
    row = processor.encode(Document(PICTURE, "a a a"))
    processor.check_length(row, new_tokens=16 - len(row))
    with pytest.raises(
        UsageError, match=rf"{len(row)} tokens \(1 image\(s\) among them\) and 9 new ones do not fit .* 16"
    ):
        processor.check_length(row, new_tokens=9)


def test_a_tokenizer_too_large_for_the_model(processor: Processor) -> None:
    small = replace(CONFIG, **{"decoder.vocab_size": processor.tokenizer.vocab_size - 1})
    with pytest.raises(ConfigError, match=rf"set it to {processor.tokenizer.vocab_size}"):
        Processor(processor.tokenizer, small)


def test_everything_travels(processor: Processor, tmp_path: Path) -> None:
    processor.save(tmp_path / "weights")
    again = Processor.load(tmp_path / "weights")
    assert again.config == CONFIG and again.tokenizer == processor.tokenizer and again.chat_format == "kosmos-qa"
    names = ["config.yaml", "processor.yaml", "tokenizer.model", "tokenizer.yaml"]
    assert sorted(path.name for path in (tmp_path / "weights").iterdir()) == names
    stored = (tmp_path / "weights" / "processor.yaml").read_text()
    assert "evaluation_images: square-bicubic" in stored and "chat_format: kosmos-qa" in stored


def test_unknown_forms_are_refused(processor: Processor, tmp_path: Path) -> None:
    processor.save(tmp_path)
    file = tmp_path / "processor.yaml"
    text = file.read_text()
    file.write_text(text.replace("square-bicubic", "padded"))
    with pytest.raises(StorageError, match=r"processor\.yaml: evaluation_images: 'padded' is unknown to this version"):
        Processor.load(tmp_path)
    file.write_text(text.replace("kosmos-qa", "kosmos-q"))
    with pytest.raises(UsageError, match=r"no chat format 'kosmos-q' \(did you mean 'kosmos-qa'\?\)"):
        Processor.load(tmp_path)
    file.write_text(text)
    (tmp_path / "tokenizer.model").unlink()
    with pytest.raises(DataError, match="cannot read the tokenizer"):
        Processor.load(tmp_path)
    with pytest.raises(ConfigError, match="No such file"):
        Processor.load(tmp_path / "none")
