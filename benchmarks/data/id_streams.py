"""The loaders as streams of record ids with a state, for the benchmarks of resuming and of changing ranks.

Every opener takes (folder, state or None, rank, world_size, records per batch of this rank) and gives an IdStream.
The folder holds the same records twice, as tars and as jsonl; a record's text is its id. Each loader is set up as its
documentation says, shuffled, with two worker processes where it has any.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from benchmarks.data.pairs import tars
from benchmarks.data.synthetic import jpeg
from kosmos.batch import Sequence, SlotInput
from kosmos.config import CorpusConfig, DataConfig, SourceConfig
from kosmos.data.loader import open_stream
from kosmos.data.stream import Stream, merge_states
from kosmos.data.tar_writer import PairsTarWriter
from kosmos.document import Document, Image

SEED = 1
WORKERS = 2
BUFFER = 100


def write(folder: Path, shards: int, records: int) -> None:
    """`shards` x `records` records whose caption is `w<number>`, as tars and as jsonl."""
    picture = jpeg(np.random.default_rng(SEED))
    folder.mkdir(parents=True, exist_ok=True)
    for shard in range(shards):
        names = [f"w{shard * records + record}" for record in range(records)]
        with PairsTarWriter(folder / f"{shard:05d}.tar") as tar:
            for number, name in enumerate(names):
                tar.add(f"{shard:05d}{number:04d}", picture, name)
        lines = "".join(json.dumps({"text": name}) + "\n" for name in names)
        (folder / f"{shard:05d}.jsonl").write_text(lines)


class IdStream(Protocol):
    """Batches of ids, and the state after the last one that was taken."""

    def __next__(self) -> list[str]: ...

    def state(self) -> Any: ...

    def close(self) -> None: ...


Opener = Callable[[Path, Any, int, int, int], IdStream]


class _Tokenizer:
    bos_id, pad_id, eos_id, line_id, vocab_size = 0, 1, 2, 7, 8

    def id_to_piece(self, number: int, /) -> str:
        return "▁word"


class Numbers:
    """An encoder that leaves pictures undecoded: 4 slots for them, and the caption's number plus 8."""

    tokenizer = _Tokenizer()

    def encode(self, document: Document, *, training: bool = True, start: bool = True, end: bool = True) -> Sequence:
        ids = [0] if start else []
        inputs = []
        for segment in document:
            if isinstance(segment, Image):
                inputs.append(SlotInput("image", len(ids) + 1, 4, np.zeros(1, np.uint8)))
                ids += [5, 4, 4, 4, 4, 6]
        ids += [int(document.text[1:]) + 8, 2]
        return Sequence(np.array(ids), np.ones(len(ids), bool), tuple(inputs))


class Ours:
    """Rows that hold one record each; the rank's batch is its share of a step of `batch` * world_size rows."""

    def __init__(
        self, folder: Path, state: Any, rank: int, world_size: int, batch: int, workers: int = 0, micro: int = 2
    ) -> None:
        entry = CorpusConfig("pairs_tar", str(folder))
        # 9 tokens a record, so that a row's ids are one record's.
        source = SourceConfig(batch * world_size, micro, 10, (entry,), document_mask=True, look_ahead=4)
        config = DataConfig(sources={"pairs": source}, workers=workers, shuffle_window=BUFFER)
        self._stream: Stream = open_stream(config, Numbers(), SEED, state, rank, world_size)
        self._state: Any = state

    def __next__(self) -> list[str]:
        step = next(self._stream)
        self._state = step.state
        ids = np.concatenate([batch.token_ids.numpy().ravel() for batch in step.batches])
        return [f"w{number - 8}" for number in ids if number >= 8]

    def state(self) -> Any:
        return json.loads(json.dumps(self._state))

    def close(self) -> None:
        self._stream.close()


def ours(folder: Path, state: Any, rank: int, world_size: int, batch: int) -> IdStream:
    return Ours(folder, state, rank, world_size, batch)


def ours_with_workers(folder: Path, state: Any, rank: int, world_size: int, batch: int) -> IdStream:
    return Ours(folder, state, rank, world_size, batch, WORKERS)


class _Plain:
    """An iterator with functions for its state and its end."""

    def __init__(
        self, batches: Iterator[list[str]], state: Callable[[], Any], close: Callable[[], None] = lambda: None
    ) -> None:
        self._batches, self.state, self.close = batches, state, close

    def __next__(self) -> list[str]:
        return next(self._batches)


def energon(
    folder: Path, state: Any, rank: int, world_size: int, batch: int, workers: int = WORKERS, micro: int | None = None
) -> IdStream:
    from benchmarks.data import with_energon

    with_energon.prepare(folder, {"text": "txt"}, "TextSample")
    loader = with_energon.text_loader(folder, rank, world_size, workers, micro or batch, BUFFER)
    if state is not None:
        loader.restore_state_rank(state)
    together = batch // (micro or batch)
    batches = iter(loader)

    def taken() -> Iterator[list[str]]:
        while True:
            texts = [text for _ in range(together) for text in next(batches).text]
            yield [text.decode() if isinstance(text, bytes) else str(text) for text in texts]

    return _Plain(taken(), loader.save_state_rank)


def energon_redistributed(states: list[Any], world_size: int) -> list[Any]:
    """What `energon checkpoint redist` makes of the states of all ranks for another number of them.

    The tool takes two files or more; the state of a single rank is dealt out here, as the tool would.
    """
    import torch

    if len(states) == 1:
        from megatron.energon.savable_loader import SavableDataLoaderState

        workers = states[0].worker_states
        if len(workers) % world_size:
            raise RuntimeError(f"{len(workers)} workers cannot be dealt to {world_size} ranks")
        each = len(workers) // world_size
        size = states[0].micro_batch_size
        return [
            SavableDataLoaderState(
                worker_states=workers[n * each : (n + 1) * each], next_worker_id=0, micro_batch_size=size
            )
            for n in range(world_size)
        ]
    with tempfile.TemporaryDirectory() as place:
        old, new = Path(place) / "old", Path(place) / "new"
        old.mkdir()
        new.mkdir()  # the tool does not make it
        for rank, state in enumerate(states):
            torch.save(state, old / f"rank_{rank}.pt")
        command = [str(Path(sys.executable).parent / "energon"), "checkpoint", "redist"]
        command += ["--new-world-size", str(world_size), *sorted(str(path) for path in old.iterdir()), str(new)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError((done.stdout + done.stderr).strip() or "energon checkpoint redist failed")
        return [torch.load(path, weights_only=False) for path in sorted(new.iterdir())]


def stateful_hf(
    folder: Path,
    state: Any,
    rank: int,
    world_size: int,
    batch: int,
    workers: int = WORKERS,
    shuffle: bool = True,
) -> IdStream:
    """torchdata's StatefulDataLoader over a streaming data set of HF datasets."""
    import datasets
    from datasets.distributed import split_dataset_by_node
    from torchdata.stateful_dataloader import StatefulDataLoader

    datasets.disable_progress_bars()
    files = sorted(str(path) for path in folder.glob("*.jsonl"))
    records = datasets.load_dataset("json", data_files={"train": files}, split="train", streaming=True)
    if shuffle:
        records = records.shuffle(seed=SEED, buffer_size=BUFFER)
    loader = StatefulDataLoader(split_dataset_by_node(records, rank, world_size), batch_size=batch, num_workers=workers)
    if state is not None:
        loader.load_state_dict(state)
    return _Plain((list(found["text"]) for found in iter(loader)), loader.state_dict)


def grain(folder: Path, state: Any, rank: int, world_size: int, batch: int, workers: int = WORKERS) -> IdStream:
    import grain as library

    lines = [line for path in sorted(folder.glob("*.jsonl")) for line in path.read_text().splitlines()]
    records = library.MapDataset.source(lines).seed(SEED).shuffle()[rank::world_size].map(json.loads)
    rows = records.to_iter_dataset(library.ReadOptions(num_threads=1)).batch(
        batch, batch_fn=lambda found: [record["text"] for record in found]
    )
    if workers:
        rows = rows.mp_prefetch(library.MultiprocessingOptions(num_workers=workers))
    batches = iter(rows)
    if state is not None:
        batches.set_state(state)
    return _Plain(batches, lambda: json.loads(json.dumps(batches.get_state())))


def webdataset(folder: Path, state: Any, rank: int, world_size: int, batch: int) -> IdStream:
    """No state: after an interruption the same epoch starts again."""
    import webdataset as wds

    mine = tars(folder)[rank::world_size]
    records = wds.WebDataset(mine, shardshuffle=100, seed=SEED).shuffle(BUFFER, rng=random.Random(SEED))
    texts = records.to_tuple("txt").map(lambda found: found[0].decode())
    return _Plain(iter(texts.batched(batch, collation_fn=list)), lambda: None)


def merged(states: list[Any]) -> Any:
    """Our state of all ranks."""
    return merge_states(states)
