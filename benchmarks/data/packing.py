"""Packing: how much of a row is padding, how much of the text is lost, and what does it cost?

    python -m benchmarks.data.packing [--tokens 10000000]

Every rule gets the same encoded documents and makes rows of 2,048 slots (token ids and the mask of what is supervised)
of them. Lengths are drawn, not read: captions of 15 tokens in the median, pages of 1 to 5 pictures, texts of lines of
33 tokens in the median. The rules of others are written anew here from their description:

  best fit       nanochat: of 1,000 waiting documents the longest that fits; when none does, the shortest is cut to
                 fill the row and its rest is thrown away
  first fit      64 open rows; a document goes into the first with room; when there is none the fullest is closed
  concatenate    everything in one stream, cut wherever a row is full
  kosmos-2       whole lines; a line longer than a row is cut short; captions: batches of 6, padded to the longest
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from benchmarks.data import measure
from kosmos.batch import Sequence, SlotInput
from kosmos.config import CorpusConfig, DataConfig, SourceConfig
from kosmos.data.packing import blocks, join, take
from kosmos.data.readers import register_reader
from kosmos.data.rows import RowMaker

ROW = 2048
WAITING = 1000  # documents, of best fit
OPEN_ROWS = 64  # of first fit
_LINE, _DOT, _WORD = 7, 8, 10


class _Tokenizer:
    """Numbers for what packing looks at: ends of lines and sentences."""

    bos_id, pad_id, eos_id, line_id, vocab_size = 0, 1, 2, _LINE, 16

    def id_to_piece(self, number: int, /) -> str:
        return "▁end." if number == _DOT else "▁word"


def _words(rng: np.random.Generator, count: int) -> list[int]:
    return [_DOT if place % 22 == 21 else _WORD for place in range(count)]


def _length(rng: np.random.Generator, mean: float, deviation: float) -> int:
    return max(3, int(rng.lognormal(mean, deviation)))


def document(kind: str, rng: np.random.Generator) -> Sequence:
    """One encoded document with drawn lengths; pictures are 64 slots between their two tokens."""
    ids = [] if kind == "text" else [0]
    inputs = []

    def picture() -> None:
        inputs.append(SlotInput("image", len(ids) + 1, 64, np.zeros(1, np.uint8)))
        ids.extend([5, *[4] * 64, 6])

    if kind == "pairs":
        picture()
        ids += _words(rng, _length(rng, 2.7, 0.6))
    elif kind == "interleaved":
        for _ in range(min(5, 1 + int(rng.geometric(0.45)))):
            for _ in range(int(rng.integers(1, 6))):
                ids += [*_words(rng, _length(rng, 3.8, 0.8)), _LINE]
            picture()
        ids += _words(rng, _length(rng, 4.0, 1.0))
    else:
        for _ in range(int(rng.lognormal(2.5, 0.8)) + 1):
            ids += [*_words(rng, _length(rng, 3.5, 0.9)), _LINE]
    ids.append(2)
    token_ids = np.array(ids)
    return Sequence(token_ids, ~np.isin(token_ids, (0, 4, 5, 6)), tuple(inputs))


DOCUMENTS: dict[str, list[Sequence]] = {}


class _Drawn:
    """A reader and an encoder of the documents in memory, so that our lanes run as they are."""

    tokenizer = _Tokenizer()

    def __init__(self, entry: CorpusConfig | None = None, seed: int = 0) -> None:
        self._documents = DOCUMENTS[entry.path] if entry is not None else []

    def shards(self) -> list[str]:
        return ["memory"]

    def num_records(self, shard: str) -> int:
        return len(self._documents)

    def read(self, shard: str, record: int, epoch: int) -> Any:
        return self._documents[record]

    def encode(self, document: Any, *, training: bool = True, start: bool = True, end: bool = True) -> Sequence:
        return document


register_reader("drawn", _Drawn)


@dataclass
class Made:
    """What a rule made of the documents: `slots` used for them, all told, and what was lost or cut on the way."""

    rows: int = 0
    slots: int = 0
    tokens: int = 0
    cropped: int = 0  # tokens thrown away
    cut: int = 0  # documents that go on in another row, or nowhere
    pictures_cut: int = 0


def ours(kind: str, rows: int, look_ahead: int, packing: str = "full_sentence") -> Made:
    """Our lanes, 8 of them."""
    text = kind == "text"
    source = SourceConfig(8, 8, ROW, (CorpusConfig("drawn", kind),), document_mask=kind == "pairs")
    source = replace(source, leading_start=not text, packing=packing, look_ahead=look_ahead)  # type: ignore[arg-type]
    config = DataConfig(sources={kind: source})
    maker = RowMaker(config, _Drawn(), 1, {kind: tuple(range(8))})
    made = Made()
    while made.rows < rows:
        step = next(maker)[kind]
        for row in step.rows.values():
            made.rows += 1
            made.slots += ROW
            made.tokens += len(row)
        made.cut += sum(counts.events.total() for counts in step.health.values())
    return made


def _lay(pieces: list[Sequence], made: Made, length: int = ROW) -> None:
    """Make the row, as every rule must."""
    row = join(pieces, separate=False)
    assert len(row) <= length
    made.rows += 1
    made.slots += length
    made.tokens += len(row)


def _cuts_picture(sequence: Sequence, at: int) -> bool:
    return any(start < at < end for start, end in blocks(sequence))


def best_fit(documents: list[Sequence]) -> Made:
    made = Made()
    most = min(WAITING, len(documents) // 4)
    source = iter(documents)
    waiting: list[Sequence] = []
    while True:
        pieces: list[Sequence] = []
        room = ROW
        while room:
            while len(waiting) < most and (document := next(source, None)) is not None:
                waiting.append(document)
            if len(waiting) < most:
                return made  # the end of the corpus is no fair part of the figures
            lengths = [len(document) for document in waiting]
            best = max((length for length in lengths if length <= room), default=0)
            if best:
                pieces.append(waiting.pop(lengths.index(best)))
                room -= best
                continue
            shortest = waiting.pop(lengths.index(min(lengths)))
            pieces.append(take(shortest, 0, room))
            made.cropped += len(shortest) - room
            made.pictures_cut += _cuts_picture(shortest, room)
            made.cut += 1
            room = 0
        _lay(pieces, made)


def first_fit(documents: Iterable[Sequence]) -> Made:
    made = Made()
    open_rows: list[tuple[int, list[Sequence]]] = [(ROW, []) for _ in range(OPEN_ROWS)]
    for document in documents:
        if len(document) > ROW:
            made.cropped += len(document) - ROW
            made.cut += 1
            made.pictures_cut += _cuts_picture(document, ROW)
            document = take(document, 0, ROW)
        number = next((n for n, (room, _) in enumerate(open_rows) if room >= len(document)), None)
        if number is None:
            number = min(range(OPEN_ROWS), key=lambda n: open_rows[n][0])
            _lay(open_rows.pop(number)[1], made)
            open_rows.append((ROW, []))
            number = OPEN_ROWS - 1
        room, pieces = open_rows[number]
        pieces.append(document)
        open_rows[number] = (room - len(document), pieces)
    return made


def concatenate(documents: Iterable[Sequence]) -> Made:
    made = Made()
    pieces: list[Sequence] = []
    room = ROW
    for document in documents:
        first = 0
        while len(document) - first >= room:
            pieces.append(take(document, first, first + room))
            first += room
            if first < len(document):
                made.cut += 1
                made.pictures_cut += _cuts_picture(document, first)
            _lay(pieces, made)
            pieces, room = [], ROW
        if first < len(document):
            pieces.append(take(document, first, len(document)))
            room -= len(document) - first
    return made


def kosmos2_text(documents: Iterable[Sequence]) -> Made:
    made = Made()
    pieces: list[Sequence] = []
    room = ROW - 1  # `<s>`
    for document in documents:
        ends = np.flatnonzero((document.token_ids == _LINE) | (document.token_ids == 2)) + 1
        for start, end in zip([0, *ends[:-1].tolist()], ends.tolist(), strict=True):
            if end - start > ROW - 1:
                made.cropped += end - start - (ROW - 1)
                made.cut += 1
                end = start + ROW - 1
            if end - start > room:
                _lay(pieces, made)
                pieces, room = [], ROW - 1
            pieces.append(take(document, start, end))
            room -= end - start
    return made


def kosmos2_pairs(documents: Iterable[Sequence]) -> Made:
    made = Made()
    batch: list[Sequence] = []
    for document in documents:
        batch.append(document)
        if len(batch) == 6:
            longest = max(len(piece) for piece in batch)
            for piece in batch:
                _lay([piece], made, longest)
            batch = []
    return made


def contestants(kind: str, rows: int) -> Iterator[tuple[str, Callable[[], Made]]]:
    if kind == "text":
        yield "ours, full sentences", lambda: ours(kind, rows, 1)
        yield "ours, stream", lambda: ours(kind, rows, 1, "stream")
    else:
        for look_ahead in (1, 4, 16, 48):
            yield f"ours, look-ahead {look_ahead}", partial(ours, kind, rows, look_ahead)
    yield "best fit (nanochat)", lambda: best_fit(DOCUMENTS[kind])
    yield "first fit", lambda: first_fit(DOCUMENTS[kind])
    yield "concatenate and cut", lambda: concatenate(DOCUMENTS[kind])
    if kind == "text":
        yield "kosmos-2", lambda: kosmos2_text(DOCUMENTS[kind])
    if kind == "pairs":
        yield "kosmos-2", lambda: kosmos2_pairs(DOCUMENTS[kind])


def contest(pack: Callable[[], Made]) -> dict[str, Any]:
    with measure.Stopwatch() as watch:
        made = pack()
    return {
        "padding %": 100 * (1 - made.tokens / made.slots),
        "cropped %": 100 * made.cropped / (made.cropped + made.tokens),
        "cuts per row": made.cut / made.rows,
        "pictures cut": made.pictures_cut,
        "rate": made.tokens / watch.cpu,
        "rows": made.rows,
    }


def main(argv: list[str] | None = None) -> dict[str, Any]:
    options = measure.parser(__doc__ or "")
    options.add_argument("--tokens", type=int, default=10_000_000, help="tokens of each source's documents")
    args = options.parse_args(argv)
    if args.small:
        args.tokens, args.repeat = 600_000, 1
    found = []
    for number, kind in enumerate(("text", "pairs", "interleaved")):
        rng = np.random.default_rng(number)
        drawn, total = [], 0
        while total < args.tokens:
            drawn.append(document(kind, rng))
            total += len(drawn[-1])
        DOCUMENTS[kind] = drawn
        for name, pack in contestants(kind, args.tokens // ROW):
            row = measure.repeated(partial(contest, pack), args.repeat, args.small)
            found.append({"source": kind, "rule": name, **row})
    columns = ["source", "rule", "padding %", "cropped %", "cuts per row", "pictures cut", "rate", "spread", "error"]
    print(measure.table(found, columns))
    result = {"tokens": args.tokens, "rows": found}
    measure.finish("packing", result)
    return result


if __name__ == "__main__":
    main()
