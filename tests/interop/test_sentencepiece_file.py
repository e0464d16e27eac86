"""The bytes of SentencePiece models, read and written without protobuf."""

from __future__ import annotations

from pathlib import Path

import pytest

from kosmos.errors import DataError
from kosmos.interop.kosmos2.sentencepiece_file import precompiled_charsmap, unigram_model
from kosmos.tokenizer import Tokenizer
from tests.interop.kosmos2_folder import LINES, small_tokenizer


def test_a_model_made_of_its_pieces_is_the_same_tokenizer(tmp_path: Path) -> None:
    first = small_tokenizer(tmp_path)
    second = Tokenizer(unigram_model(first.scored_pieces(), precompiled_charsmap(first.model)))
    assert second.vocab_size == first.vocab_size
    assert [second.encode(line) for line in LINES] == [first.encode(line) for line in LINES]
    assert second.encode("half ½ ﬁ Å") == first.encode("half ½ ﬁ Å")
    assert unigram_model(second.scored_pieces(), precompiled_charsmap(second.model)) == second.model


def test_without_normalisation_there_is_no_table(tmp_path: Path) -> None:
    plain = Tokenizer.train(LINES * 4, tmp_path / "plain.model", 70, normalization_rule_name="identity")
    assert precompiled_charsmap(plain.model) == b""


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x0a\xff", "a number has no end"),
        (b"\x0a\x05ab", "ends in the middle of a field"),
        (b"\x0b", "an unknown kind of field"),
        (b"\x80" * 12, "a number has no end"),
    ],
)
def test_other_bytes_are_refused(data: bytes, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        precompiled_charsmap(data)
