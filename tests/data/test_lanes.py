from __future__ import annotations

from itertools import islice

import pytest

from kosmos.config import SourceConfig
from kosmos.data.readers import BadRecord
from kosmos.data.stream import Step
from kosmos.document import Document, Image, Text
from kosmos.errors import ConfigError, DataError
from tests.data.memory import READS, corpus, rows, source, stream
from tests.data.words import WordProcessor

START, END, IMAGE, SLOT, IMAGE_END, LINE, DOT = 0, 2, 5, 4, 6, 7, 8


def text_source(*documents: str, length: int, row_count: int = 1) -> SourceConfig:
    entry = corpus("text", [Document(text) for text in documents])
    return source(entry, rows=row_count, length=length, leading_start=False)


def first_rows(config: SourceConfig, steps: int, look_ahead: int = 4) -> list[list[int]]:
    made = stream(look_ahead=look_ahead, s=config)
    return [row for step in islice(made, steps) for row in rows(step, "s")]


def test_text_rows_hold_whole_lines_and_documents_follow_each_other() -> None:
    # One document of `w1 w2 </line> w3 </s>`, again and again.
    found = first_rows(text_source("w1 w2 / w3", length=10), steps=3)
    document = [11, 12, LINE, 13, END]
    assert found[0] == [START, *document, 11, 12, LINE]  # `w3 </s>` would pass the row's end
    assert found[1] == [START, 13, END, *document]


def test_a_10000_token_line_comes_out_whole_and_no_sentence_is_cut() -> None:
    sentence = " ".join(f"w{n}" for n in range(19)) + " ."
    line = " ".join([sentence] * 500)
    found = first_rows(text_source(line, length=128), steps=84)
    joined = [token for row in found for token in row[1:]]
    assert joined[:10_001] == [*WordProcessor().tokenizer.encode(line), END]
    assert all(row[0] == START for row in found)
    assert all(row[-1] in (DOT, END) for row in found[:83])
    assert all(len(row) == 121 for row in found[:83])  # six sentences of 20 in 127


def test_a_sentence_longer_than_a_row_is_cut_at_a_token_and_counted() -> None:
    line = " ".join(f"w{n}" for n in range(100))
    made = stream(s=text_source(line, length=11))
    steps = list(islice(made, 11))
    joined = [token for step in steps for row in rows(step, "s") for token in row[1:]]
    assert joined[:101] == [*range(10, 110), END]
    assert [len(rows(step, "s")[0]) for step in steps[:10]] == [11] * 10
    assert steps[9].counts["s"].events["sentence cut at a token"] == 10


def test_pairs_start_each_and_are_masked_from_each_other() -> None:
    pair = Document(Image(b"a"), Text("w1 w2"))
    step = next(stream(s=source(corpus("p", [pair]), length=20, rows=1, document_mask=True)))
    one = [START, IMAGE, SLOT, SLOT, SLOT, IMAGE_END, 11, 12, END]
    assert rows(step, "s") == [[*one, *one]]
    batch = step.batches[0]
    assert batch.segment_ids is not None
    assert batch.segment_ids.tolist() == [[1] * 9 + [2] * 9 + [0] * 2]
    assert batch.inputs["image"].slots.tolist() == [[2, 3, 4], [11, 12, 13]]
    counts = step.counts["s"]
    assert (counts.rows, counts.tokens, counts.padding, counts.images, counts.supervised_tokens) == (1, 18, 2, 2, 6)


def test_interleaved_documents_start_each_and_see_each_other() -> None:
    page = Document(Image(b"a"), Text("w1"), Image(b"b"), Text("w2"))
    step = next(stream(s=source(corpus("i", [page]), length=30, rows=1)))
    assert step.batches[0].segment_ids is None
    assert rows(step, "s")[0].count(START) == 2
    assert rows(step, "s")[0].count(END) == 2


def supervised_tokens(step: Step) -> list[list[int]]:
    batch = step.batches[0]
    return [ids[marks].tolist() for ids, marks in zip(batch.token_ids, batch.supervised, strict=True)]


@pytest.mark.parametrize(
    ("document", "kinds", "expected"),
    [
        (Document("w1 / w2"), {"leading_start": False}, [11, LINE, 12, END]),
        (Document(Image(b"a"), Text("w1")), {"document_mask": True}, [11, END]),
        (Document(Image(b"a"), Text("w1"), Image(b"b"), Text("w2")), {}, [11, 12, END]),
        (Document(Text("w1 w2", supervised=False), Text("w3")), {}, [13, END]),
        (Document(Image(b"a"), Text("w1", supervised=False), Text("w2")), {"document_mask": True}, [12, END]),
    ],
    ids=["text", "pair", "interleaved", "instruction", "question"],
)
def test_only_text_line_ends_and_document_ends_are_supervised(
    document: Document, kinds: dict[str, bool], expected: list[int]
) -> None:
    length = len(WordProcessor().encode(document, start=True)) + 1
    step = next(stream(s=source(corpus("d", [document]), length=length, rows=1, **kinds)))
    assert supervised_tokens(step)[0][: len(expected)] == expected
    batch = step.batches[0]
    forbidden = {START, 1, IMAGE, SLOT, IMAGE_END}
    assert not forbidden & set(batch.token_ids[batch.supervised].tolist())
    assert step.counts["s"].supervised_tokens == batch.num_supervised


def test_a_long_pair_is_a_bad_record_and_a_long_page_is_cut() -> None:
    long = Document(Image(b"a"), Text(" ".join(["w1"] * 30)))
    short = Document(Image(b"b"), Text("w2"))
    made = stream(s=source(corpus("p", [long, short]), length=20, rows=1, document_mask=True))
    step = [next(made) for _ in range(5)][-1]
    assert step.counts["s"].bad_records == {"longer than a row": pytest.approx(9, abs=8)}
    assert all(token != 11 for row in rows(step, "s") for token in row)
    found = first_rows(source(corpus("p", [long]), length=20, rows=1), steps=8)
    assert all(len(row) <= 20 and row[0] == START for row in found)
    assert sum(row.count(11) for row in found) >= 90


def test_the_look_ahead_fills_rows() -> None:
    documents = [Document(" ".join(["w1"] * (3 + n % 11))) for n in range(97)]
    padding = []
    for look_ahead in (1, 16):
        made = stream(look_ahead=look_ahead, s=source(corpus("d", list(documents)), length=64, rows=4))
        steps = list(islice(made, 50))
        padding.append(sum(step.counts["s"].padding for step in steps) / (50 * 4 * 64))
    assert padding[0] > 0.03
    assert padding[1] < 0.015


def test_books_do_not_crowd_the_first_steps_and_come_to_their_share() -> None:
    book = corpus("books", [Document(" ".join(["w1"] * 1000))] * 40, weight=0.2)
    news = corpus("news", [Document(" ".join(["w2"] * 9))] * 40, weight=0.8)
    config = source(book, news, rows=60, micro=60, length=20, leading_start=False)
    shares = []
    for step in islice(stream(s=config), 600):
        ids = step.batches[0].token_ids
        shares.append(float((ids == 11).sum() / ((ids == 11) | (ids == 12)).sum()))
    # A book is 50 rows and a fifth of a lane: 250 rows from one book's begin to the next.
    assert sum(shares[:10]) / 10 < 0.2
    assert all(sum(shares[n : n + 50]) / 50 < 0.4 for n in range(0, 600, 50))
    assert sum(shares[100:]) / 500 == pytest.approx(0.2, abs=0.04)


def test_no_document_waits_for_ever() -> None:
    odd = Document(" ".join(["w9"] * 40))
    documents: list[Document | BadRecord] = [odd, *[Document(" ".join(["w1"] * 6)) for _ in range(9)]]
    found = first_rows(source(corpus("d", documents), length=48, rows=1), steps=20)
    assert sum(row.count(19) == 40 for row in found) >= 6


def test_bad_records_are_skipped_counted_and_named_and_change_nothing_else() -> None:
    good = [Document(f"w{n}") for n in range(40)]
    bad: list[Document | BadRecord] = list(good)
    for n in (3, 17):
        bad[n] = BadRecord(f"record {n}", "bad json", "detail")

    def order(documents: list[Document | BadRecord]) -> list[int]:
        found = first_rows(source(corpus("d", documents), length=60, rows=1), steps=1, look_ahead=1)
        return [token for token in found[0] if token >= 10]

    kept = [token for token in order(list(good)) if token not in (13, 27)]
    assert order(bad)[: len(kept)] == kept
    step = next(stream(s=source(corpus("d", bad), length=105, rows=1)))
    assert step.counts["s"].bad_records == {"bad json": 2}
    assert sorted(record.where for name, record in step.bad if name == "s") == ["record 17", "record 3"]


def test_too_many_bad_records_stop_the_run() -> None:
    documents = [BadRecord(f"r{n}", "bad json") if n % 2 else Document("w1") for n in range(100)]
    made = stream(max_bad=0.1, s=source(corpus("d", documents), length=200, rows=1))
    with pytest.raises(DataError, match=r"source 's': (\d+) of \d+ records are bad \(bad json \1\), .*0\.1 allows"):
        next(made)


def test_nothing_but_bad_records_stops_whatever_the_rate() -> None:
    made = stream(max_bad=1.0, s=source(corpus("d", [BadRecord("r", "bad json")]), length=20, rows=1))
    with pytest.raises(DataError, match="10000 records are bad one after another"):
        next(made)
    made = stream(max_bad=0.9, s=source(corpus("d", [BadRecord("r", "bad json")]), length=20, rows=1))
    with pytest.raises(DataError, match="200 records are bad one after another"):
        next(made)


def test_stream_packing_has_no_padding_and_cuts_no_image() -> None:
    page = Document(Text("w1 w2 . w3 /"), Image(b"a"), Text("w4 w5"))
    entry = corpus("i", [page, Document("w6 w7 w8 / w9")])
    made = stream(s=source(entry, rows=1, length=16, leading_start=False, packing="stream"))
    whole = stream(s=source(entry, rows=1, length=400, leading_start=False))
    joined: list[int] = []
    for step in islice(made, 20):
        (row,) = rows(step, "s")
        assert row[0] == START and len(row) <= 16
        # Only a picture's slots that would pass the end leave room.
        assert len(row) == 16 or row[-1] == LINE
        assert row.count(IMAGE) == row.count(IMAGE_END) and row.count(SLOT) == 3 * row.count(IMAGE)
        joined += row[1:]
    assert joined == rows(next(whole), "s")[0][1 : len(joined) + 1]
    text = stream(s=source(corpus("t", [Document("w6 w7 w8 / w9")]), length=7, leading_start=False, packing="stream"))
    assert all(step.counts["s"].padding == 0 for step in islice(text, 20))


def test_broken_pictures_are_dropped_from_their_document() -> None:
    page = Document(Image(b"broken"), Text("w1"), Image(b"a"), Text("w2"))
    step = next(stream(s=source(corpus("i", [page]), length=12, rows=1)))
    assert rows(step, "s") == [[START, 11, IMAGE, SLOT, SLOT, SLOT, IMAGE_END, 12, END]]
    assert step.counts["s"].events["broken picture dropped"] >= 1
    assert step.counts["s"].bad_records == {}
    lonely = [Document(Image(b"broken"), Text("w1")), Document("w2")]
    step = next(stream(s=source(corpus("i", list(lonely)), length=12, rows=1)))
    assert set(step.counts["s"].bad_records) == {"broken picture"}


def test_every_record_comes_once_an_epoch() -> None:
    documents = [Document(" ".join([f"w{n}"] * (1 + n % 5))) for n in range(23)]
    made = stream(s=source(corpus("d", list(documents)), length=16, rows=3))
    for _ in range(40):
        next(made)
    assert set(READS.values()) == {1}
    for epoch in range(5):
        assert sorted(index for _, e, index in READS if e == epoch) == list(range(23))


def test_layouts_that_cannot_work_are_refused() -> None:
    entry = corpus("d", [Document("w1")])
    with pytest.raises(ConfigError, match="document_mask needs leading_start"):
        stream(s=source(entry, document_mask=True, leading_start=False))
    with pytest.raises(ConfigError, match="at least one corpus"):
        stream(s=source())
    with pytest.raises(DataError, match="holds no record"):
        stream(s=source(corpus("empty", [])))
