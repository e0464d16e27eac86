"""Budgets: how far is each step from its configured mixture, and each corpus from its weight?

    python -m benchmarks.data.budget [--steps 1000]

Sources: the paper's step is 244 rows of text, 244 of pairs and 98 of interleaved documents, 2,048 slots each. The
rivals' mixers get rows that are packed already (numbers stand for them), so that what is measured is the mixing alone:
the deviation of a source's slots in a step from its budget. Ours is the real stream over documents of drawn lengths.

Corpora: Table 20's eleven text corpora in one source, mixed by tokens; books of 60,000 tokens in the mean, others of
900. Each corpus's share of the tokens in the first tenth of the steps and in all, and how much its share of a step
varies (standard deviation, points); beside it what independent draws of documents in each lane would give.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from typing import Any

import numpy as np

from benchmarks.data import measure
from kosmos.batch import Sequence
from kosmos.config import CorpusConfig, DataConfig, SourceConfig
from kosmos.data.readers import register_reader
from kosmos.data.rows import RowMaker

BUDGET = {"text": 244, "pairs": 244, "interleaved": 98}
TOTAL = sum(BUDGET.values())
ROW = 2048
SEED = 1

# Weights in percent (paper, Table 20).
TABLE_20 = {
    "OpenWebText2": 21.8,
    "CC-2021-04": 17.7,
    "Books3": 16.2,
    "CC-2020-50": 14.7,
    "Pile-CC": 10.6,
    "Realnews": 10.2,
    "Wikipedia": 5.4,
    "BookCorpus2": 1.1,
    "Gutenberg": 1.0,
    "CC-Stories": 1.0,
    "NIH ExPorter": 0.2,
}
# Tokens of a document in the mean, by the kind of corpus; only their spread matters here.
MEAN = 900
MEANS = {"Books3": 60_000, "BookCorpus2": 60_000, "Gutenberg": 60_000}


class _Tokenizer:
    bos_id, pad_id, eos_id, line_id, vocab_size = 0, 1, 2, 7, 16

    def id_to_piece(self, number: int, /) -> str:
        return "▁word"


class Counted:
    """Documents that say which corpus they are of; record r of a corpus has a length drawn from r.

    A document is lines of 40 tokens whose ids are the corpus's number + 8 (0 to 7 are special), so a row tells what it
    was filled with.
    """

    tokenizer = _Tokenizer()

    def __init__(self, entry: CorpusConfig | None = None, seed: int = 0) -> None:
        self.path = entry.path if entry is not None else ""

    def shards(self) -> list[str]:
        return ["drawn"]

    def num_records(self, shard: str) -> int:
        return 1 << 30

    def read(self, shard: str, record: int, epoch: int) -> Any:
        name, _, number = self.path.partition(":")
        mean = {"pairs": 85, "interleaved": 400}.get(name, MEANS.get(name, MEAN))
        length = int(mean * np.random.default_rng(record).lognormal(-0.32, 0.8))
        return int(number or 0), max(4, min(length, 500_000 if name not in BUDGET else 2000))

    def encode(self, document: Any, *, training: bool = True, start: bool = True, end: bool = True) -> Sequence:
        number, length = document
        ids = np.full(length, number + 8, dtype=np.int64)
        ids[39::40] = 7
        ids[-1] = 2
        if start:
            ids[0] = 0
        return Sequence(ids, np.ones(length, bool))


register_reader("counted", Counted)


def _deviation(counts: np.ndarray, budget: np.ndarray) -> dict[str, Any]:
    """`counts` [steps, sources] and `budget` [sources] of rows; percent of each source's budget."""
    off = 100 * np.abs(counts - budget) / budget
    return {"mean %": float(off.mean()), "worst %": float(off.max()), "steps": len(counts)}


def our_sources(steps: int) -> dict[str, Any]:
    """The real stream; a step of an eighth of the paper's rows, to be done in a minute. Slots, and tokens in them."""
    from kosmos.data.stream import build_stream

    scale = 8
    layout = {
        name: SourceConfig(
            rows // scale,
            rows // scale,
            ROW,
            (CorpusConfig("counted", name),),
            leading_start=name != "text",
            document_mask=name == "pairs",
            look_ahead=48 if name == "interleaved" else None,
        )
        for name, rows in BUDGET.items()
    }
    stream = build_stream(DataConfig(sources=layout), Counted(), SEED)
    counts = np.zeros((steps, len(BUDGET)), np.int64)
    filled = np.zeros(len(BUDGET))
    for number in range(steps):
        step = next(stream)
        slots = [sum(batch.token_ids.numel() for batch in step.batches if batch.source == name) for name in BUDGET]
        counts[number] = np.array(slots) // ROW
        filled += [step.counts[name].tokens / made for name, made in zip(BUDGET, slots, strict=True)]
    share = {name: 100 * float(part) / steps for name, part in zip(BUDGET, filled, strict=True)}
    return _deviation(counts, np.array([rows // scale for rows in BUDGET.values()])) | {"filled %": share}


def _drawn(names: Iterator[int], steps: int) -> dict[str, Any]:
    """Deviations of a mixer that yields the number of the source of each row."""
    counts = np.zeros((steps, len(BUDGET)), np.int64)
    for step in range(steps):
        for _ in range(TOTAL):
            counts[step, next(names)] += 1
    return _deviation(counts, np.array(list(BUDGET.values())))


def energon(steps: int) -> dict[str, Any]:
    from megatron.energon import BlendDataset, SavableDataset, WorkerConfig

    workers = WorkerConfig(rank=0, world_size=1, num_workers=0)

    class Endless(SavableDataset):
        def __init__(self, number: int) -> None:
            super().__init__(worker_config=workers)
            self.number = number

        def __iter__(self) -> Iterator[dict[str, Any]]:
            for row in count():
                yield {"__restore_key__": (row,), "source": self.number}

        def len_worker(self, worker_idx: int | None = None) -> int:
            return 1 << 30

        def worker_has_samples(self) -> bool:
            return True

        def reset_state_own(self) -> None:
            pass

        def config(self) -> dict[str, Any]:
            return {}

    parts = [(Endless(number), rows / TOTAL) for number, rows in enumerate(BUDGET.values())]
    workers.worker_activate(0)
    return _drawn((sample["source"] for sample in BlendDataset(*parts, worker_config=workers)), steps)


def hf_datasets(steps: int) -> dict[str, Any]:
    import datasets

    def endless(number: int) -> Iterator[dict[str, int]]:
        while True:
            yield {"source": number}

    parts = [datasets.IterableDataset.from_generator(endless, gen_kwargs={"number": n}) for n in range(len(BUDGET))]
    mixed = datasets.interleave_datasets(parts, probabilities=[rows / TOTAL for rows in BUDGET.values()], seed=SEED)
    return _drawn((row["source"] for row in mixed), steps)


def grain(steps: int) -> dict[str, Any]:
    import grain as library

    parts = [library.MapDataset.source([number]).repeat() for number in range(len(BUDGET))]
    mixed = library.MapDataset.mix(parts, weights=[rows / TOTAL for rows in BUDGET.values()])
    return _drawn((mixed[number] for number in range(1 << 40)), steps)


def webdataset(steps: int) -> dict[str, Any]:
    import random

    import webdataset as wds

    random.seed(SEED)

    def endless(number: int) -> Iterator[int]:
        while True:
            yield number

    mixed = wds.RandomMix([endless(n) for n in range(len(BUDGET))], [rows / TOTAL for rows in BUDGET.values()])
    return _drawn(iter(mixed), steps)


CONTESTANTS: dict[str, Callable[[int], dict[str, Any]]] = {
    "ours": our_sources,
    "energon BlendDataset": energon,
    "datasets.interleave_datasets": hf_datasets,
    "grain MapDataset.mix": grain,
    "webdataset RandomMix": webdataset,
}


def corpora(steps: int, lanes: int) -> list[dict[str, Any]]:
    """Our mixing of Table 20's corpora in one text source of `lanes` rows a step."""
    entries = tuple(
        CorpusConfig("counted", f"{name}:{number}", weight) for number, (name, weight) in enumerate(TABLE_20.items())
    )
    source = SourceConfig(lanes, lanes, ROW, entries, leading_start=False)
    maker = RowMaker(DataConfig(sources={"text": source}), Counted(), SEED, {"text": tuple(range(lanes))})
    shares = np.zeros((steps, len(TABLE_20)))
    for step in range(steps):
        rows = next(maker)["text"].rows.values()
        ids = np.concatenate([row.token_ids for row in rows])
        shares[step] = np.bincount(ids, minlength=len(TABLE_20) + 8)[8:]
    weights = np.array(list(TABLE_20.values())) / sum(TABLE_20.values())
    drawn = independent_draws(weights, steps, lanes)
    found = []
    for number, name in enumerate(TABLE_20):
        row: dict[str, Any] = {"corpus": name, "weight %": 100 * weights[number]}
        for kind, tokens in (("ours", shares), ("drawn", drawn)):
            early = tokens[: max(1, steps // 10)].sum(axis=0)
            row[f"{kind}: first tenth %"] = 100 * early[number] / early.sum()
            row[f"{kind}: in all %"] = 100 * tokens[:, number].sum() / tokens.sum()
            row[f"{kind}: step deviation"] = 100 * float((tokens[:, number] / tokens.sum(axis=1)).std())
        found.append(row)
    return found


def independent_draws(weights: np.ndarray, steps: int, lanes: int) -> np.ndarray:
    """[steps, corpora] tokens when each lane draws documents at random, with these shares of the tokens in the mean."""
    means = np.array([MEANS.get(name, MEAN) for name in TABLE_20], dtype=float)
    chances = weights / means
    rng = np.random.default_rng(SEED)
    tokens = np.zeros((steps, len(weights)))
    for _ in range(lanes):
        used = 0
        while used < steps * ROW:
            corpus = int(rng.choice(len(weights), p=chances / chances.sum()))
            length = int(means[corpus] * rng.lognormal(-0.32, 0.8))
            end = min(used + length, steps * ROW)
            for step in range(used // ROW, (end - 1) // ROW + 1 if end > used else 0):
                tokens[step, corpus] += min(end, (step + 1) * ROW) - max(used, step * ROW)
            used = end
    return tokens


def main(argv: list[str] | None = None) -> dict[str, Any]:
    options = measure.parser(__doc__ or "")
    options.add_argument("--steps", type=int, default=1000)
    options.add_argument("--lanes", type=int, default=61, help="rows a step of the text source in the second part")
    args = options.parse_args(argv)
    if args.small:
        args.steps, args.lanes = 10, 16
    rows = [
        {"mixer": name, **measure.apart(partial(mixer, args.steps), args.small)} for name, mixer in CONTESTANTS.items()
    ]
    print(measure.table(rows, ["mixer", "steps", "mean %", "worst %", "error"]))
    mixed = corpora(args.steps, args.lanes)
    print(measure.table(mixed, list(mixed[0])))
    result = {"steps": args.steps, "rows": rows, "lanes": args.lanes, "corpora": mixed}
    measure.finish("budget", result)
    return result


if __name__ == "__main__":
    main()
