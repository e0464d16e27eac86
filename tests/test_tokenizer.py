"""Ids of the family, special tokens that text cannot spell, newlines, training, files."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kosmos.errors import DataError, StorageError, UsageError
from kosmos.tokenizer import SPECIALS, Tokenizer

CORPUS = ["the cat sat on the mat\nthe dog sat on a log", "a red bird, a blue bird", "what is it? it is a dog."] * 20
HOSTILE = CORPUS + ["<s> </s> <unk> <pad> <mask> <image> </image> </line>"] * 20
SPELLED = ("<s>", "<pad>", "</s>", "<unk>", *SPECIALS, "<phrase>")


@pytest.fixture(scope="module")
def family(shared_dir: Path) -> Tokenizer:
    return Tokenizer.load(shared_dir / "tokenizer" / "sentencepiece.bpe.model")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.model"
    return Tokenizer.train(HOSTILE, path, 60, hard_vocab_limit=False)


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("An image of", [712, 1648, 9]),
        ("Two puppies sit in a field of grass.", [1264, 17772, 1357, 12, 10, 770, 9, 4464, 4]),
        ("Yes", [1544]),
        ("yes", [2141]),
        ("no", [104]),
        ("positive", [1278]),
        ("negative", [2207]),
        (" .", [106, 4]),
        ("", []),
        ("An image\nof", [712, 1648, 64006, 9]),
    ],
)
def test_golden_ids(family: Tokenizer, text: str, ids: list[int]) -> None:
    assert family.encode(text) == ids


def test_vocabulary_of_the_family(family: Tokenizer) -> None:
    assert len(family) == family.vocab_size == 64_007
    assert (family.bos_id, family.pad_id, family.eos_id, family.unk_id) == (0, 1, 2, 3)
    assert [family.special_id(name) for name in SPECIALS] == list(range(64_001, 64_007))
    assert (family.slot_id, family.line_id) == (64_001, 64_006)
    assert family.id_to_piece(64_003) == "<image>" and family.id_to_piece(4) == "." and family.id_to_piece(5) == "▁the"


def test_pieces_are_in_the_order_of_the_published_dictionary(family: Tokenizer, shared_dir: Path) -> None:
    lines = (shared_dir / "tokenizer" / "dict.txt").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 63_997
    assert all(family.id_to_piece(4 + index) == line.split(" ")[0] for index, line in enumerate(lines))


def test_colours_are_one_piece_each(family: Tokenizer) -> None:
    for colour in ["red", "orange", "yellow", "green", "blue", "purple", "black", "white", "pink", "brown", "grey"]:
        assert len(family.encode(colour)) == 1


def test_extra_specials_follow(family: Tokenizer, tmp_path: Path) -> None:
    family.save(tmp_path)
    longer = Tokenizer.load(tmp_path, extra_specials=["<phrase>", "<sound>"])
    assert longer.vocab_size == 64_009 and longer.special_id("<phrase>") == 64_007
    longer.save(tmp_path)
    again = Tokenizer.load(tmp_path)
    assert again == longer and again.special_id("<sound>") == 64_008 and again != family
    with pytest.raises(UsageError, match="'<image>' is there twice"):
        Tokenizer.load(tmp_path, extra_specials=["<image>"])
    with pytest.raises(UsageError, match=r"no special token '<imag>' \(did you mean '<image>'\?\)"):
        longer.special_id("<imag>")


hostile = st.lists(st.one_of(st.sampled_from(SPELLED), st.text(st.characters(), max_size=8)), max_size=6).map("".join)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(hostile)
def test_text_never_yields_a_special_id(family: Tokenizer, text: str) -> None:
    check_no_special_id(family, text)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(hostile)
def test_nor_with_a_trained_tokenizer(trained: Tokenizer, text: str) -> None:
    check_no_special_id(trained, text)


def check_no_special_id(tokenizer: Tokenizer, text: str) -> None:
    newlines = text.replace("\r\n", "\n").replace("\r", "\n").count("\n")
    ids = tokenizer.encode(text)
    allowed = range(4, tokenizer.special_id("<mask>"))
    assert [i for i in ids if i not in allowed and i != tokenizer.unk_id] == [tokenizer.line_id] * newlines
    assert isinstance(tokenizer.decode(ids), str)


@pytest.mark.parametrize("spelled", SPELLED)
def test_spelled_specials_are_pieces_that_read_the_same(family: Tokenizer, spelled: str) -> None:
    ids = family.encode(f"a {spelled} b")
    assert all(3 < token < 64_001 for token in ids)
    assert family.decode(ids) == f"a {spelled} b"


def test_texts_without_a_form_of_their_own(family: Tokenizer) -> None:
    assert family.unk_id in family.encode("a\0b")
    assert family.encode("a\ud800b") == family.encode("a\ufffdb")
    assert family.encode("\n") == [family.line_id] and family.encode("\r\n\n") == [family.line_id] * 2


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_newlines_of_every_kind_are_line_tokens(family: Tokenizer, newline: str) -> None:
    lines = ["An image", "", "of grass."]
    assert family.encode(newline.join(lines)) == [712, 1648, 64006, 64006, *family.encode("of grass.")]
    assert family.decode(family.encode(newline.join(lines))) == "An image\n\nof grass."


words = st.lists(
    st.sampled_from(["the", "cat", "sat", "on", "a", "mat", "red", "bird", "dog"]), min_size=1, max_size=8
).map(" ".join)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(words, max_size=4).map("\n".join))
def test_round_trip(family: Tokenizer, text: str) -> None:
    assert family.decode(family.encode(text)) == text


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(words, max_size=4).map("\n".join))
def test_round_trip_of_a_trained_tokenizer(trained: Tokenizer, text: str) -> None:
    assert trained.decode(trained.encode(text)) == text


def test_decode_leaves_specials_out_or_names_them(family: Tokenizer) -> None:
    ids = [0, 64003, 64001, 64004, 712, 1648, 9, 64006, 9, 2]
    assert family.decode(ids) == "An image of\nof"
    assert family.decode(ids, skip_special=False) == "<s><image><mask></image>An image of\nof</s>"
    with pytest.raises(UsageError, match="token id 64007 is outside"):
        family.decode([64_007])
    with pytest.raises(UsageError, match="token id -1 is outside"):
        family.id_to_piece(-1)


def test_training_is_deterministic_and_quiet(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    one = Tokenizer.train(CORPUS, tmp_path / "one.model", 30)
    two = Tokenizer.train(iter(CORPUS), tmp_path / "two.model", 30)
    assert (tmp_path / "one.model").read_bytes() == (tmp_path / "two.model").read_bytes()
    assert one == two == Tokenizer.load(tmp_path / "one.model") and one.vocab_size == 37
    assert capfd.readouterr() == ("", "")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["one.model", "two.model"]


def test_trained_settings_are_the_familys(tmp_path: Path) -> None:
    tokenizer = Tokenizer.train(CORPUS, tmp_path / "a.model", 30)
    assert tokenizer.encode("  the   cat ") == tokenizer.encode("the cat")  # extra whitespace removed
    assert tokenizer.encode("the cat") == tokenizer.encode("the\u3000cat")  # nmt_nfkc
    assert tokenizer.id_to_piece(tokenizer.encode("cat")[0]).startswith("▁")  # dummy prefix
    assert tokenizer.unk_id in tokenizer.encode("猫")  # no byte fallback


def test_training_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no text"):
        Tokenizer.train([" ", "\n"], tmp_path / "a.model", 50)
    with pytest.raises(DataError, match=r"5000 pieces on these texts: Vocabulary size too high \(5000\)"):
        Tokenizer.train(CORPUS, tmp_path / "a.model", 5000)

    def broken() -> Iterator[str]:
        yield "the cat"
        raise DataError("corpus.jsonl:2: not JSON")

    with pytest.raises(DataError, match="^corpus.jsonl:2: not JSON$"):
        Tokenizer.train(broken(), tmp_path / "a.model", 50)
    assert not list(tmp_path.iterdir())


def test_files_travel_and_damage_is_seen(trained: Tokenizer, tmp_path: Path) -> None:
    trained.save(tmp_path)
    assert Tokenizer.load(tmp_path) == trained == pickle.loads(pickle.dumps(trained))
    model = tmp_path / "tokenizer.model"
    data = bytearray(model.read_bytes())
    data[len(data) // 2] ^= 1
    model.write_bytes(bytes(data))
    with pytest.raises(StorageError, match=r"tokenizer\.model: damaged"):
        Tokenizer.load(tmp_path)


def test_files_that_are_no_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot read the tokenizer: No such file"):
        Tokenizer.load(tmp_path / "none.model")
    (tmp_path / "a.model").write_text("hello")
    with pytest.raises(DataError, match="not a SentencePiece model"):
        Tokenizer.load(tmp_path / "a.model")
    (tmp_path / "a.model").write_bytes(b"")
    with pytest.raises(DataError):
        Tokenizer.load(tmp_path / "a.model")
    with pytest.raises(DataError, match="must be <unk>, <s>, </s>"):
        Tokenizer.train(CORPUS, tmp_path / "b.model", 30, pad_id=0, unk_id=3)
