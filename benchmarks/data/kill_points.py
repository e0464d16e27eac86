"""Killing and resuming: how many records come twice, and how many never?

    python -m benchmarks.data.kill_points FOLDER [--points 20]

A run over one epoch of 2,400 records is killed at 20 points, with the state of the last batch that was used. A second
run goes on from that state. Its next 400 records are compared with what the first would have gone on with: `repeated`
were delivered before the kill already, `skipped` are due and do not come, `moved` come at another place.
Loaders have two worker processes where they have any, so prefetched batches that were not used are part of the test.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.data import id_streams, measure
from benchmarks.data.id_streams import Opener

BATCH = 8

CONTESTANTS: dict[str, Opener] = {
    "ours": id_streams.ours,
    "ours, 2 workers": id_streams.ours_with_workers,
    "energon, 2 workers": id_streams.energon,
    "StatefulDataLoader + HF datasets, 2 workers": id_streams.stateful_hf,
    "the same, no workers": partial(id_streams.stateful_hf, workers=0),
    "the same, 2 workers, not shuffled": partial(id_streams.stateful_hf, shuffle=False),
    "grain, 2 workers": id_streams.grain,
    "webdataset": id_streams.webdataset,
}


def contest(opener: Opener, folder: Path, kills: list[int], after: int) -> dict[str, Any]:
    """Sums over the kill points, each so many batches into the run."""
    first = opener(folder, None, 0, 1, BATCH)
    whole = [next(first) for _ in range(max(kills) + after)]
    first.close()
    repeated = skipped = moved = exact = 0
    failed: list[str] = []
    for kill in kills:
        killed = opener(folder, None, 0, 1, BATCH)
        for _ in range(kill):
            next(killed)
        state = killed.state()
        next(killed)  # being made when the kill comes: delivered, but not used
        killed.close()
        try:
            resumed = opener(folder, state, 0, 1, BATCH)
            found = [name for _ in range(after) for name in next(resumed)]
            resumed.close()
        except Exception as error:  # a loader that cannot go on from its own state is a result
            failed.append(measure.describe(error))
            continue
        before = {name for batch in whole[:kill] for name in batch}
        due = [name for batch in whole[kill : kill + after] for name in batch]
        repeated += sum(name in before and name not in due for name in found)
        skipped += len(set(due) - set(found))
        moved += sum(a != b for a, b in zip(due, found, strict=True))
        exact += due == found
    return {
        "repeated": repeated,
        "skipped": skipped,
        "moved": moved,
        "of": (len(kills) - len(failed)) * after * BATCH,
        "exact": f"{exact} of {len(kills)}",
        "failed": len(failed),
        "failure": failed[0] if failed else "",
    }


def main(argv: list[str] | None = None) -> dict[str, Any]:
    options = measure.parser(__doc__ or "")
    options.add_argument("folder", type=Path)
    options.add_argument("--points", type=int, default=20)
    options.add_argument("--worker-points", type=int, default=5, help="of ours with workers, which start slowly")
    options.add_argument("--only", nargs="*", default=list(CONTESTANTS), choices=list(CONTESTANTS))
    args = options.parse_args(argv)
    shards, records, after = (8, 300, 50) if not args.small else (4, 60, 8)
    if args.small:
        args.points = args.worker_points = 3
    folder = args.folder / f"ids-{shards}x{records}"
    if not folder.exists():
        id_streams.write(folder, shards, records)
    rng = np.random.default_rng(2)
    last = shards * records // BATCH - after - 1
    kills = sorted(rng.choice(np.arange(1, last), args.points, replace=False).tolist())
    rows = []
    for name in args.only:
        opener = CONTESTANTS[name]
        chosen = kills[:: max(1, len(kills) // args.worker_points)] if name == "ours, 2 workers" else kills
        row = measure.apart(partial(contest, opener, folder, chosen, after), args.small)
        rows.append({"loader": name, "kills": len(chosen), **row})
    print(
        measure.table(
            rows, ["loader", "kills", "repeated", "skipped", "moved", "of", "exact", "failed", "failure", "error"]
        )
    )
    result = {"kills": kills, "rows": rows}
    measure.finish("kill_points", result)
    return result


if __name__ == "__main__":
    main()
