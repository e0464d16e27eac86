from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from kosmos.batch import Sequence
from kosmos.data.packing import Breaks, blocks, cut_document, fill_best, join, split_units, take, with_start
from kosmos.document import Document, Image
from tests.data.words import WordProcessor


def encode(*parts: str | Image, start: bool = False) -> Sequence:
    return WordProcessor().encode(Document(*parts), start=start)


BREAKS = Breaks(WordProcessor().tokenizer, line_id=7, end_id=2)


def test_lines_are_taken_whole() -> None:
    units = split_units(encode("w1 w2 . w3 / w4 w5 ."), room=6, breaks=BREAKS)
    assert units is not None
    assert units.ends.tolist() == [5, 9]  # `... w3 </line>` and `w4 w5 . </s>`
    assert not units.loose.any()


def test_a_long_line_falls_into_sentences_and_a_long_sentence_is_loose() -> None:
    units = split_units(encode("w1 w2 . w3 w4 w5 w6 w7 w8 . w9 ."), room=5, breaks=BREAKS)
    assert units is not None
    # The last mark is followed by `</s>`, which starts no new sentence.
    assert units.ends.tolist() == [3, 10, 13]
    assert units.loose.tolist() == [False, True, False]


def test_image_blocks_stand_alone_and_are_never_loose() -> None:
    document = encode("w1 w2", Image(b"a"), "w3 / w4")
    assert blocks(document) == [(2, 7)]
    units = split_units(document, room=5, breaks=BREAKS)
    assert units is not None
    assert units.ends.tolist() == [2, 7, 9, 11]
    assert split_units(document, room=4, breaks=BREAKS) is None


def test_closing_quotes_belong_to_the_sentence() -> None:
    pieces = ["<s>", "<pad>", "</s>", "<unk>", "▁He", "▁said", ".", '"', "▁Then", "2", '."']

    class Vocabulary:
        vocab_size = len(pieces)

        def id_to_piece(self, id: int, /) -> str:
            return pieces[id]

    breaks = Breaks(Vocabulary(), line_id=1, end_id=2)
    assert np.flatnonzero(breaks.sentences(np.array([4, 6, 7, 8, 5, 10, 8]))).tolist() == [2, 5]
    assert not breaks.sentences(np.array([4, 6, 9, 5])).any()  # `He.2` is no end


def test_take_and_join_move_the_slots() -> None:
    document = encode("w1", Image(b"a"), "w2", Image(b"b"))
    first, second = take(document, 0, 6), take(document, 6, len(document))
    assert [i.start for i in first.inputs] == [2]
    assert [i.start for i in second.inputs] == [2]
    assert second.inputs[0].features[0, 0, 0] == ord("b")
    row = with_start(join([second, first], separate=False), 0)
    assert row.segment_ids is None
    assert [i.start for i in row.inputs] == [3, 3 + len(second)]
    assert all(row.token_ids[i.start : i.start + 3].tolist() == [4, 4, 4] for i in row.inputs)


def test_joined_documents_are_numbered_when_separate() -> None:
    row = join([encode("w1", start=True), encode("w2 w3", start=True)], separate=True)
    assert row.segment_ids is not None
    assert row.segment_ids.tolist() == [1, 1, 1, 2, 2, 2, 2]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(lengths=st.lists(st.integers(1, 40), max_size=10), room=st.integers(0, 60))
def test_fill_best_is_the_best_sum(lengths: list[int], room: int) -> None:
    sums = {0}
    for length in lengths:
        sums |= {s + length for s in sums if s + length <= room}
    chosen = fill_best(lengths, room)
    assert chosen == sorted(set(chosen))
    assert sum(lengths[i] for i in chosen) == max(sums)


def test_fill_best_prefers_older_ones() -> None:
    assert fill_best([3, 5, 3, 5], 8) == [0, 1]


parts = st.lists(
    st.one_of(
        st.just("image"),
        st.lists(st.sampled_from(["w1", "w2", "w3", ".", "/"]), min_size=1, max_size=25).map(" ".join),
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(parts=parts, row_length=st.integers(7, 30))
def test_a_cut_document_loses_nothing_and_keeps_slots_whole(parts: list[str], row_length: int) -> None:
    document = encode(*[Image(bytes([n])) if p == "image" else p for n, p in enumerate(parts)], start=True)
    cut = cut_document(document, row_length, 0, BREAKS)
    assert cut is not None
    assert all(len(part) <= row_length and part.token_ids[0] == 0 and not part.supervised[0] for part in cut)
    assert np.concatenate([part.token_ids[1:] for part in cut]).tolist() == document.token_ids[1:].tolist()
    assert np.concatenate([part.supervised[1:] for part in cut]).tolist() == document.supervised[1:].tolist()
    pictures = [item for part in cut for item in part.inputs]
    assert [int(i.features[0, 0, 0]) for i in pictures] == [int(i.features[0, 0, 0]) for i in document.inputs]
    for part in cut:
        for item in part.inputs:
            block = part.token_ids[item.start - 1 : item.start + 4].tolist()
            assert block == [5, 4, 4, 4, 6]


def test_a_picture_longer_than_a_row_cannot_be_cut() -> None:
    assert cut_document(encode("w1", Image(b"a"), start=True), 5, 0, BREAKS) is None
