"""Resuming: how long from a checkpoint's state to the next batch, early and late in a run, and how large is the state?

    python -m benchmarks.data.resume FOLDER [--gigabytes 2.3]

FOLDER receives a corpus of that size (half of it text as jsonl, a third pairs, the rest interleaved, as tars) and is
used again. The layout is the paper's: 244 + 244 + 98 rows of 2,048 slots, eleven text corpora, four of pairs and one of
interleaved documents. The state of a late step is that of the first with its counters moved on by what so many steps
read. Each resume is a process of its own, with the corpus dropped from the system's cache of files; times are without
its imports. "first rows" is from nothing to the first row of one lane of each source, "loader" is open_stream with all
lanes and that state. The whole first step is 1.2 million slots with some 6,000 pictures to decode, whoever makes it and
wherever it starts, so it is told apart.
"""

from __future__ import annotations

import json
import os
import pickle
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.data import measure, synthetic
from kosmos.batch import Sequence
from kosmos.config import CorpusConfig, DataConfig, ModelConfig, SourceConfig
from kosmos.data.corpora import open_corpora
from kosmos.data.index import prepare_index
from kosmos.data.loader import open_stream
from kosmos.data.packing import Breaks, cut_document
from kosmos.data.readers import BadRecord
from kosmos.data.rows import RowMaker, Share
from kosmos.document import Document, Image
from kosmos.processor import FeatureMaker, Processor

ROW = 2048
SEED = 1
STEPS = (1, 1_000, 100_000, 299_999)
TEXT_CORPORA = 11
PAIR_CORPORA = 4


def write(folder: Path, gigabytes: float) -> int:
    """The corpora: half text, a third pairs, the rest interleaved. The bytes of all files."""
    done = folder / "bytes.txt"
    if done.exists():
        return int(done.read_text())
    total = int(gigabytes * 1e9)
    written = 0
    pictures = max(8, min(200, total // 1_000_000))
    for number in range(TEXT_CORPORA):
        size = total // 2 // TEXT_CORPORA
        written += synthetic.write_text(folder / f"text{number}", 3, size // 3, seed=number)
    tars = max(1, total // 3 // PAIR_CORPORA // 29_000_000)  # a thousand pairs each
    for number in range(PAIR_CORPORA):
        records = max(20, min(1000, total // 3 // PAIR_CORPORA // 29_000))
        written += synthetic.write_pairs(folder / f"pairs{number}", tars, records, seed=number, pictures=pictures)
    records = max(20, min(1000, total // 6 // 84_000))
    tars = max(1, total // 6 // 84_000_000)
    written += synthetic.write_interleaved(folder / "interleaved", tars, records, pictures=pictures)
    done.write_text(str(written))
    return written


def layout(folder: Path, scale: int) -> DataConfig:
    """The paper's step, or a part of it."""
    text = tuple(CorpusConfig("jsonl", str(folder / f"text{n}"), 1.0 + n) for n in range(TEXT_CORPORA))
    pairs = tuple(CorpusConfig("pairs_tar", str(folder / f"pairs{n}")) for n in range(PAIR_CORPORA))
    pages = (CorpusConfig("interleaved_tar", str(folder / "interleaved")),)
    return DataConfig(
        sources={
            "text": SourceConfig(244 // scale, 4, ROW, text, leading_start=False),
            "pairs": SourceConfig(244 // scale, 4, ROW, pairs, document_mask=True),
            "interleaved": SourceConfig(98 // scale, 2, ROW, pages, look_ahead=48),
        }
    )


def late_state(first: dict[str, Any], step: int) -> dict[str, Any]:
    """The state after `step` steps, from that after the first: every counter moves on by what the first step took."""
    state: dict[str, Any] = json.loads(json.dumps(first))
    for source in state["sources"].values():
        for lane in source["lanes"].values():
            held = [lane["held"]] if lane.get("held") else []
            before = list(lane["turns"])
            rows = max(1, sum(before) - len(lane.get("pending", [])))
            share = [max(1, turns * rows // max(1, sum(before))) for turns in before]
            lane["turns"] = [turns + (step - 1) * more for turns, more in zip(before, share, strict=True)]
            lane["spent"] = [spent + (step - 1) * ROW // len(before) for spent in lane["spent"]]
            for document in held:  # [corpus, turn, offset]: the same distance behind the counter
                document[1] += lane["turns"][document[0]] - before[document[0]]
                # Another document may be shorter than what was used of the first.
                document[2] = 0
        source["health"]["read"] *= step
    state["step"] = step
    return state


class Undecoded(Processor):
    """Pictures become one grey square: what a state says of them is their slots, and decoding takes its time."""

    _square = Image(np.full((224, 224, 3), 128, np.uint8))

    def encode(
        self,
        document: Document,
        *,
        training: bool = False,
        start: bool = True,
        end: bool = True,
        features: FeatureMaker | None = None,
    ) -> Sequence:
        squares = Document(*(self._square if isinstance(segment, Image) else segment for segment in document))
        return super().encode(squares, training=training, start=start, end=end, features=features)


def fresh_pending(state: dict[str, Any], config: DataConfig, processor: Processor) -> dict[str, Any]:
    """The state with the lengths of the pending documents that are really at the places it names."""
    tokenizer = processor.tokenizer
    breaks = Breaks(tokenizer, tokenizer.line_id, tokenizer.eos_id)
    for name, source in config.sources.items():
        corpora = open_corpora(name, source, processor, SEED, config.shuffle_window)
        for number, lane in state["sources"][name]["lanes"].items():
            for document in lane.get("pending", []):
                turn = lane["turns"][document[0]] - document[1]
                sequence = corpora[document[0]].fetch(int(number) + turn * source.rows_per_step, lambda event: None)
                assert not isinstance(sequence, BadRecord)
                parts = cut_document(sequence, ROW, tokenizer.bos_id, breaks)
                assert parts
                document[2:] = [0, len(parts[0])]
    return state


def forget_pages(folders: list[Path]) -> None:
    """Drop the corpus from the system's cache of files: a resume usually comes on a machine that just started."""
    if not hasattr(os, "posix_fadvise"):
        return
    for path in (path for folder in folders for path in folder.iterdir()):
        handle = os.open(path, os.O_RDONLY)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)


def open_and_step(
    config: DataConfig, processor: Processor, state: dict[str, Any] | None, whole: bool
) -> dict[str, Any]:
    """Wall and CPU seconds of opening at a state, of the first rows, and, if asked for, of the first step."""
    forget_pages([Path(entry.path) for source in config.sources.values() for entry in source.corpora])
    times: dict[str, Any] = {}
    share: Share = {name: (0,) for name in config.sources}
    with measure.Stopwatch() as watch:
        maker = RowMaker(config, processor, SEED, share)
        if state is not None:
            maker.load_state(state["sources"])
        rows = next(maker)
    assert all(len(made.rows[0]) <= ROW for made in rows.values())
    times |= {"first rows": watch.wall, "first rows cpu": watch.cpu}
    with measure.Stopwatch() as watch:
        stream = open_stream(config, processor, SEED, state)
    times |= {"loader": watch.wall, "loader cpu": watch.cpu}
    if whole:
        with measure.Stopwatch() as watch:
            step = next(stream)
        slots = sum(batch.token_ids.numel() for batch in step.batches)
        images = sum(counts.images for counts in step.counts.values())
        times |= {"first step": watch.wall, "first step cpu": watch.cpu, "slots": slots, "images": images}
    stream.close()
    return times


def first_state(config: DataConfig, processor: Processor) -> dict[str, Any]:
    return {"state": next(open_stream(config, processor, SEED)).state}


def _datasets_resume(folder: Path, records: int) -> dict[str, Any]:
    """HF datasets: a state after so many records of streaming jsonl, and the time to the next one."""
    import datasets

    datasets.disable_progress_bars()
    files = sorted(str(path) for path in folder.glob("text*/*.jsonl"))
    stream = datasets.load_dataset("json", data_files={"train": files}, split="train", streaming=True)
    stream = stream.shuffle(seed=SEED, buffer_size=1000)
    taken = iter(stream)
    for _ in range(records):
        next(taken)
    state = stream.state_dict()
    again = datasets.load_dataset("json", data_files={"train": files}, split="train", streaming=True)
    again = again.shuffle(seed=SEED, buffer_size=1000)
    with measure.Stopwatch() as watch:
        again.load_state_dict(state)
        next(iter(again))
    return {"loader": watch.wall, "loader cpu": watch.cpu, "state bytes": len(pickle.dumps(state)), "records": records}


def _skip_resume(folder: Path, records: int) -> dict[str, Any]:
    """webdataset has no state: what is done is to read and throw away what was used."""
    import webdataset as wds

    tars = sorted(str(path) for path in folder.glob("pairs*/*.tar"))
    with measure.Stopwatch() as watch:
        stream = iter(wds.WebDataset(tars, shardshuffle=100, seed=SEED).shuffle(1000).to_tuple("jpg", "txt"))
        for _ in range(records):
            next(stream)
        next(stream)
    return {"loader": watch.wall, "loader cpu": watch.cpu, "state bytes": 0, "records": records}


def main(argv: list[str] | None = None) -> dict[str, Any]:
    options = measure.parser(__doc__ or "")
    options.add_argument("folder", type=Path)
    options.add_argument("--gigabytes", type=float, default=2.3)
    options.add_argument("--tokenizer", default="", help="a SentencePiece model file; default: trained on the spot")
    options.add_argument("--whole", action="store_true", help="make the whole first step too, once (minutes)")
    options.add_argument("--rivals", action="store_true", help="HF datasets and webdataset over the same files")
    args = options.parse_args(argv)
    if args.small:
        args.gigabytes, args.repeat, args.whole = 0.006, 1, True
    scale = 98 if args.small else 1
    folder = args.folder / f"corpus-{args.gigabytes:g}"
    folder.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    size = write(folder, args.gigabytes)
    print(f"{size / 1e9:.2f} GB in {folder} ({time.perf_counter() - began:.0f} s)", flush=True)
    with measure.Stopwatch() as indexing:
        for kind, suffix in (("lines", "jsonl"), ("tar", "tar")):
            for path in sorted(folder.glob(f"*/*.{suffix}")):
                prepare_index(str(path), kind)
    tokenizer = synthetic.tokenizer(args.tokenizer, args.folder)
    processor, undecoded = Processor(tokenizer, ModelConfig()), Undecoded(tokenizer, ModelConfig())
    config = layout(folder, scale)
    kept = args.folder / f"first-state-{args.gigabytes:g}.json"
    if not kept.exists() or args.small:
        kept.write_text(json.dumps(measure.apart(partial(first_state, config, undecoded), args.small)["state"]))
    first = json.loads(kept.read_text())
    rows = []
    for step in (0, STEPS[0], STEPS[-1]) if args.small else (0, *STEPS):
        state = None if step == 0 else fresh_pending(late_state(first, step), config, undecoded)
        whole = args.whole and (args.small or step in (0, STEPS[-1]))
        resume = partial(open_and_step, config, processor, state, whole)
        row = measure.repeated(resume, 1 if whole else args.repeat, args.small)
        rows.append({"step": step, "state bytes": len(json.dumps(state)) if state else 0, **row})
        print(json.dumps(rows[-1]), flush=True)
    columns = ["step", "state bytes", "loader", "loader cpu", "first rows", "first rows cpu"]
    columns += ["first step", "first step cpu", "images", "error"]
    print(measure.table(rows, columns))
    rivals = []
    if args.rivals:
        for name, action in (
            ("HF datasets, shuffled stream", _datasets_resume),
            ("webdataset, skipping", _skip_resume),
        ):
            for records in (1_000, 10_000) if not args.small else (20, 40):
                answer = measure.apart(partial(action, folder, records), args.small)
                rivals.append({"rival": name, **answer})
        print(measure.table(rivals, ["rival", "records", "loader", "loader cpu", "state bytes", "error"]))
    result = {"bytes": size, "index cpu": indexing.cpu, "rows": rows, "rivals": rivals}
    measure.finish("resume", result)
    return result


if __name__ == "__main__":
    main()
