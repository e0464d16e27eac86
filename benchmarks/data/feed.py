"""Feeding a GPU: how many cores of reading, tokenizing, decoding and packing does one H100 need?

    python -m benchmarks.data.feed FOLDER [--tokenizer MODEL] [--profile]

Text: jsonl -> SentencePiece -> full-sentence rows -> batch, tokens per CPU second. Pictures: tars of JPEGs with a short
side of 256 pixels -> CLIP's form -> masked rows -> batch, pictures per CPU second. Everything is in line, with the
indices made before. The need is of the paper's mixture on one H100 at 40 % of its peak: 17,000 text tokens and 210
(mean) to 260 (peak) pictures a second. FOLDER receives the corpora and is used again.
"""

from __future__ import annotations

import cProfile
import pstats
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.data import measure, synthetic
from kosmos.config import CorpusConfig, DataConfig, ModelConfig, SourceConfig
from kosmos.data.corpora import Order
from kosmos.data.loader import open_stream
from kosmos.data.readers import BadRecord, open_reader
from kosmos.data.stream import Stream
from kosmos.processor import Processor

ROW = 2048
TEXT_NEED = 17_000
PICTURE_NEED = (210, 260)
SEED = 1


def stream(source: str, entry: CorpusConfig, processor: Processor, rows: int) -> Stream:
    text = source == "text"
    config = SourceConfig(rows, rows, ROW, (entry,), document_mask=source == "pairs", leading_start=not text)
    return open_stream(DataConfig(sources={source: config}), processor, SEED)


def whole_path(source: str, entry: CorpusConfig, processor: Processor, steps: int, rows: int) -> dict[str, Any]:
    """Rates of the stream of one source after its first step, which opens the files."""
    steps_made = stream(source, entry, processor, rows)
    next(steps_made)
    tokens = images = padding = 0
    with measure.Stopwatch() as watch:
        for _ in range(steps):
            counts = next(steps_made).counts[source]
            tokens, images, padding = tokens + counts.tokens, images + counts.images, padding + counts.padding
    # A text row's `<s>` is the packer's own, and nobody's need.
    tokens -= steps * rows if source == "text" else 0
    rate = (images if source == "pairs" else tokens) / watch.cpu
    return {"rate": rate, "tokens": tokens, "images": images, "padding %": 100 * padding / (steps * rows * ROW)}


def stages(source: str, entry: CorpusConfig, processor: Processor, records: int) -> dict[str, Any]:
    """CPU microseconds a record of the first two stages, each run alone: reading, and encoding what was read."""
    reader = open_reader(entry, SEED)
    shards = reader.shards()
    order = Order([reader.num_records(shard) for shard in shards], 1 << 14, SEED)
    documents = []
    with measure.Stopwatch() as reading:
        for position in range(records):
            epoch, shard, record = order(position)
            document = reader.read(shards[shard], record, epoch)
            assert not isinstance(document, BadRecord), document
            documents.append(document)
    tokens = 0
    with measure.Stopwatch() as encoding:
        for document in documents:
            tokens += len(processor.encode(document, training=True, start=source != "text"))
    with measure.Stopwatch() as plain:
        for document in documents:
            processor.tokenizer._pieces.encode(document.text.replace("\n", " "), out_type=int)
    return {
        "read us": 1e6 * reading.cpu / records,
        "encode us": 1e6 * encoding.cpu / records,
        "SentencePiece alone us": 1e6 * plain.cpu / records,
        "tokens a record": tokens / records,
    }


def print_profile(source: str, entry: CorpusConfig, processor: Processor, steps: int, rows: int) -> None:
    steps_made = stream(source, entry, processor, rows)
    next(steps_made)
    profile = cProfile.Profile()
    profile.enable()
    for _ in range(steps):
        next(steps_made)
    profile.disable()
    print(f"--- {source}")
    pstats.Stats(profile).sort_stats("tottime").print_stats(25)


def main(argv: list[str] | None = None) -> dict[str, Any]:
    options = measure.parser(__doc__ or "")
    options.add_argument("folder", type=Path)
    options.add_argument("--tokenizer", default="", help="a SentencePiece model file; default: trained on the spot")
    options.add_argument("--profile", action="store_true", help="also print where the time goes (cProfile)")
    args = options.parse_args(argv)
    megabytes, records, text_steps, picture_steps = (1, 60, 2, 1) if args.small else (64, 2000, 40, 12)
    args.repeat = 1 if args.small else args.repeat
    text = args.folder / f"text-{megabytes}"
    if not text.exists():
        synthetic.write_text(text, 2, megabytes << 19)
    pairs = args.folder / f"feed-pairs-{records}"
    if not pairs.exists():
        synthetic.write_pairs(pairs, 2, records // 2)
    processor = Processor(synthetic.tokenizer(args.tokenizer, args.folder), ModelConfig())
    jobs = [
        ("text", CorpusConfig("jsonl", str(text)), text_steps, 16),
        ("pairs", CorpusConfig("pairs_tar", str(pairs)), picture_steps, 4),
    ]
    found: dict[str, dict[str, Any]] = {}
    for source, entry, steps, rows in jobs:
        path = partial(whole_path, source, entry, processor, steps, rows)
        parts = partial(stages, source, entry, processor, records // 2)
        found[source] = measure.repeated(path, args.repeat, args.small)
        found[source] |= measure.repeated(parts, args.repeat, args.small)
        if args.profile:
            print_profile(source, entry, processor, steps, rows)
    text_rate, picture_rate = found["text"]["rate"], found["pairs"]["rate"]
    cores = [TEXT_NEED / text_rate + need / picture_rate for need in PICTURE_NEED]
    table = [
        {"what": "text tokens", "a CPU second": text_rate, "one H100 needs": TEXT_NEED, "cores": TEXT_NEED / text_rate},
        *(
            {"what": "pictures", "a CPU second": picture_rate, "one H100 needs": need, "cores": need / picture_rate}
            for need in PICTURE_NEED
        ),
    ]
    print(measure.table(table, ["what", "a CPU second", "one H100 needs", "cores"]))
    stage_columns = ["source", "read us", "encode us", "SentencePiece alone us", "tokens a record", "padding %"]
    print(measure.table([{"source": name, **row} for name, row in found.items()], stage_columns))
    print(f"cores that feed one H100: {cores[0]:.2f} (mean need) to {cores[1]:.2f} (peak)")
    result = {"vocabulary": processor.tokenizer.vocab_size, "sources": found, "cores": cores}
    measure.finish("feed", result)
    return result


if __name__ == "__main__":
    main()
