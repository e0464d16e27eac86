"""The exported tokenizer gives the ids and texts of `kosmos.tokenizer.Tokenizer`, whatever the text."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from kosmos.config import ModelConfig
from kosmos.interop.remote_code.tokenization_kosmos import MARK, RENDERED, KosmosTokenizer, escape, unescape
from kosmos.interop.transformers.processor import save_processor
from kosmos.processor import Processor
from kosmos.tokenizer import Tokenizer
from tests.inference.tiny import tiny_config, tiny_tokenizer

TEXTS = [
    "",
    " ",
    "\n",
    "an image of",
    " an  image   of ",
    "an image of\nthe red cat\r\n\ntwo dogs\r",
    "Question: what is it? Answer:",
    "Question: what is it? Answer: Yes",
    "été naïve ﬁ ① Ａ e\u0301 \u00a0 \u200b \ufeff",
    "猫 🐱 漢字 \U0001f600\U000e0100",
    "<image> </s><s> <mask></image> <pad><unk></line>\n</doc>",
    " <image>",
    "cat</s>",
    "\x00\x01\t tab",
    "lone \ud800 surrogate",
    f"{MARK}limage>{MARK}m{MARK}",
    "▁an▁image",
]
SPELLED = ["<s>", "</s>", "<pad>", "<unk>", "<mask>", "<image>", "</image>", "</doc>", "</chunk>", "</line>", "<note>"]


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    model = tiny_tokenizer(tmp_path_factory.mktemp("tokenizer"))
    return Tokenizer(model.model, ["<note>", "</note>"])


@pytest.fixture(scope="module")
def exported(ours: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("exported")
    save_processor(Processor(ours, tiny_config(ours.vocab_size)), out)
    return out


@pytest.fixture(scope="module")
def theirs(exported: Path) -> Any:
    return AutoTokenizer.from_pretrained(exported, trust_remote_code=True)


@pytest.mark.parametrize("text", TEXTS)
def test_ids_and_texts_are_ours(text: str, ours: Tokenizer, theirs: Any) -> None:
    ids = ours.encode(text)
    assert theirs(text)["input_ids"] == [0, *ids]
    assert theirs(text, add_special_tokens=False)["input_ids"] == ids
    assert theirs.decode(ids) == ours.decode(ids)
    assert theirs.convert_tokens_to_ids(theirs.tokenize(text)) == ids


@settings(max_examples=100, deadline=None)
@given(text=st.lists(st.one_of(st.text(max_size=12), st.sampled_from([*SPELLED, " ", "\n", "an image"]))).map("".join))
def test_ids_are_ours_on_any_text(text: str, ours: Tokenizer, theirs: Any) -> None:
    if text.startswith(RENDERED):
        return
    ids = ours.encode(text)
    assert theirs(text)["input_ids"] == [0, *ids]
    assert not {0, 1, 2, ours.special_id("<image>"), ours.slot_id} & set(ids)
    assert theirs.decode([0, *ids], skip_special_tokens=True) == ours.decode(ids)


@settings(max_examples=100, deadline=None)
@given(ids=st.lists(st.integers(0, 400)))
def test_every_row_of_ids_is_decoded_as_ours(ids: list[int], ours: Tokenizer, theirs: Any) -> None:
    ids = [token % ours.vocab_size for token in ids]
    assert theirs.decode(ids, skip_special_tokens=True) == ours.decode(ids)
    assert theirs.decode(ids) == ours.decode(ids, skip_special=False)
    assert theirs.convert_tokens_to_string(theirs.convert_ids_to_tokens(ids)) == ours.decode(ids, skip_special=False)


def test_a_spelled_special_token_is_one_only_when_asked(ours: Tokenizer, theirs: Any) -> None:
    text = "an <image> of </s> <note>"
    specials = {ours.special_id(name) for name in SPELLED}
    assert not specials - {ours.unk_id} & set(theirs(text, add_special_tokens=False)["input_ids"])
    asked = theirs(text, add_special_tokens=False, split_special_tokens=False)["input_ids"]
    assert [token for token in asked if token in specials] == [
        ours.special_id("<image>"),
        ours.eos_id,
        ours.special_id("<note>"),
    ]


def test_unknown_characters_that_spell_a_special_token_are_unknown(tmp_path: Path) -> None:
    """SentencePiece joins unknown characters to one piece, whose text may be `<image>` to the letter."""
    few = Tokenizer.train(["aba bab " * 20], tmp_path / "few.model", vocab_size=7, hard_vocab_limit=False)
    config = tiny_config(few.vocab_size)
    save_processor(Processor(few, config), tmp_path / "out")
    theirs = AutoTokenizer.from_pretrained(tmp_path / "out", trust_remote_code=True)
    for text in ("<s>", "<e>", "x <s> y"):
        assert theirs(text, add_special_tokens=False)["input_ids"] == few.encode(text)
    assert few.eos_id not in theirs("</s>")["input_ids"]


def test_a_piece_spelled_like_a_special_token_stays_a_piece(tmp_path: Path) -> None:
    odd = Tokenizer.train(
        ["an image of it " * 9], tmp_path / "odd.model", 30, user_defined_symbols=["<image>"], hard_vocab_limit=False
    )
    save_processor(Processor(odd, tiny_config(odd.vocab_size)), tmp_path / "out")
    theirs = AutoTokenizer.from_pretrained(tmp_path / "out", trust_remote_code=True)
    ids = odd.encode("an <image> of")
    assert odd.special_id("<image>") not in ids
    assert theirs("an <image> of", add_special_tokens=False)["input_ids"] == ids
    assert theirs.decode(ids) == odd.decode(ids)
    assert len(theirs.get_vocab()) == odd.vocab_size


def test_the_vocabulary_and_special_tokens_are_ours(ours: Tokenizer, theirs: Any) -> None:
    assert (len(theirs), theirs.vocab_size) == (ours.vocab_size, ours.vocab_size)
    assert sorted(theirs.get_vocab().values()) == list(range(ours.vocab_size))
    for name in SPELLED:
        assert theirs.convert_tokens_to_ids(name) == ours.special_id(name)
    assert (theirs.bos_token_id, theirs.eos_token_id, theirs.pad_token_id, theirs.unk_token_id) == (0, 2, 1, 3)
    assert theirs.model_max_length == 128
    assert theirs.decode([theirs.vocab_size + 5]) == ours.decode([ours.unk_id])


def test_rows_are_padded_on_the_left(ours: Tokenizer, theirs: Any) -> None:
    made = theirs(["an image", "an image of the red cat"], padding=True, return_tensors="pt")
    assert made["input_ids"][0, :2].tolist() == [1, 1]
    assert made["attention_mask"][0].tolist() == [0] * (made["input_ids"].shape[1] - 3) + [1] * 3
    assert made["attention_mask"][1].all()
    kept = made["input_ids"][0][made["attention_mask"][0].bool()].tolist()
    assert kept == [0, *ours.encode("an image")]


def test_save_load_and_pickle_change_nothing(theirs: Any, tmp_path: Path) -> None:
    theirs.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path, trust_remote_code=True)
    text = "an image\nof <image> 猫 <note>"
    assert again(text)["input_ids"] == theirs(text)["input_ids"]
    assert again.get_vocab() == theirs.get_vocab()
    assert again.padding_side == "left"
    assert again.chat_template == theirs.chat_template
    unpickled = pickle.loads(pickle.dumps(KosmosTokenizer(theirs.vocab_file, extra_specials=["<note>", "</note>"])))
    assert unpickled(text)["input_ids"] == theirs(text)["input_ids"]


def test_added_tokens_come_after_ours(ours: Tokenizer, exported: Path) -> None:
    theirs = AutoTokenizer.from_pretrained(exported, trust_remote_code=True)
    assert theirs.add_tokens(["catdog"]) == 1
    ids = theirs("an catdog of", add_special_tokens=False)["input_ids"]
    assert ids == [*ours.encode("an "), ours.vocab_size, *ours.encode(" of")]
    assert theirs.decode(ids) == "ancatdogof"
    assert len(theirs) == ours.vocab_size + 1


@given(text=st.lists(st.one_of(st.text(max_size=5), st.sampled_from([*SPELLED, MARK, "l", "m", "|"]))).map("".join))
def test_escape_is_undone_and_leaves_no_token(text: str) -> None:
    escaped = escape(text)
    assert unescape(escaped) == text
    assert not any(name in escaped for name in ("<s>", "</s>", "<image>", MARK + "|"))


def test_the_familys_tokenizer_gives_the_known_ids(shared_dir: Path, tmp_path: Path) -> None:
    ours = Tokenizer.load(shared_dir / "tokenizer" / "sentencepiece.bpe.model")
    save_processor(Processor(ours, ModelConfig()), tmp_path)
    theirs = AutoTokenizer.from_pretrained(tmp_path, trust_remote_code=True)
    assert len(theirs) == 64_007
    assert theirs("An image of")["input_ids"] == [0, 712, 1648, 9]
    assert theirs("Two puppies sit in a field of grass.", add_special_tokens=False)["input_ids"] == [
        1264, 17772, 1357, 12, 10, 770, 9, 4464, 4,
    ]  # fmt: skip
    for text in TEXTS:
        assert theirs(text, add_special_tokens=False)["input_ids"] == ours.encode(text)
