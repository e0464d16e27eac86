"""Image-caption pairs: how many samples does a CPU second read, decode and resize to CLIP's training form?

    python -m benchmarks.data.pairs FOLDER [--tokenizer MODEL] [--shards 4 --records 1000]

FOLDER receives the tars (img2dataset's layout) and is used again by the next call. All contestants give batches of
the same pixels, uint8 [N, 3, 224, 224], which is checked. Ours also tokenizes, packs into masked rows of 2,048 slots
and collates; the others only bring pixels and caption strings. Nobody has worker processes. Run it with the Python
of `rivals.sh` to have the rivals too.
"""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import PIL.Image

from benchmarks.data import measure, synthetic

SIZE = 224
BATCH = 64
BUFFER = 1000
SEED = 1


def clip_pixels(data: bytes) -> np.ndarray:
    """What a training script writes with Pillow: uint8 [3, 224, 224], short side to 224, the centre of it."""
    picture = PIL.Image.open(io.BytesIO(data)).convert("RGB")
    width, height = (int(SIZE * side / min(picture.size)) for side in picture.size)
    left, top = (width - SIZE) // 2, (height - SIZE) // 2
    picture = picture.resize((width, height), PIL.Image.Resampling.BICUBIC)
    picture = picture.crop((left, top, left + SIZE, top + SIZE))
    return np.ascontiguousarray(np.asarray(picture).transpose(2, 0, 1))


def tars(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.glob("*.tar"))


def ours(folder: Path, tokenizer: Any) -> Iterator[np.ndarray]:
    """Packed steps of the real loader, in line; their pixels."""
    from kosmos.config import CorpusConfig, DataConfig, ModelConfig, SourceConfig
    from kosmos.data.loader import open_stream
    from kosmos.processor import Processor

    entry = CorpusConfig("pairs_tar", str(folder))
    config = DataConfig(sources={"pairs": SourceConfig(4, 4, 2048, (entry,), document_mask=True)})
    for step in open_stream(config, Processor(tokenizer, ModelConfig()), SEED):
        yield step.batches[0].inputs["image"].features.numpy()


def webdataset(folder: Path, tokenizer: Any) -> Iterator[np.ndarray]:
    import webdataset as wds

    pairs = wds.WebDataset(tars(folder), shardshuffle=100, seed=SEED).repeat().shuffle(BUFFER)
    pairs = pairs.to_tuple("jpg", "txt").map_tuple(clip_pixels, lambda text: text.decode())
    for pixels, _ in pairs.batched(BATCH, collation_fn=lambda found: (np.stack([p for p, _ in found]), None)):
        yield pixels


def hf_datasets(folder: Path, tokenizer: Any) -> Iterator[np.ndarray]:
    import datasets

    datasets.disable_progress_bars()
    pairs = datasets.load_dataset("webdataset", data_files={"train": tars(folder)}, split="train", streaming=True)
    pairs = pairs.cast_column("jpg", datasets.Image(decode=False)).shuffle(seed=SEED, buffer_size=BUFFER)
    while True:
        for batch in pairs.iter(BATCH):
            yield np.stack([clip_pixels(picture["bytes"]) for picture in batch["jpg"]])


class TarSource:
    """What grain needs by hand: the pictures of tars by number. The offsets are found when it is made."""

    def __init__(self, paths: list[str]) -> None:
        self._places: list[tuple[str, int, int, int, int]] = []
        for path in paths:
            with tarfile.open(path) as tar:
                found = {member.name: (member.offset_data, member.size) for member in tar}
            keys = [name[:-4] for name in found if name.endswith(".jpg")]
            self._places += [(path, *found[key + ".jpg"], *found[key + ".txt"]) for key in keys]
        self._files = {path: open(path, "rb", buffering=0) for path in paths}  # noqa: SIM115  open as long as it lives

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, number: Any) -> tuple[bytes, str]:
        path, start, size, text_start, text_size = self._places[int(number)]
        file = self._files[path].fileno()
        return os.pread(file, size, start), os.pread(file, text_size, text_start).decode()


def grain(folder: Path, tokenizer: Any) -> Iterator[np.ndarray]:
    import grain as library

    pairs = library.MapDataset.source(TarSource(tars(folder))).seed(SEED).shuffle().repeat()
    rows = pairs.map(lambda pair: (clip_pixels(pair[0]), pair[1])).to_iter_dataset(
        library.ReadOptions(num_threads=1, prefetch_buffer_size=BATCH)
    )
    batches = rows.batch(BATCH, batch_fn=lambda found: np.stack([pixels for pixels, _ in found]))
    yield from iter(batches)


def energon(folder: Path, tokenizer: Any) -> Iterator[np.ndarray]:
    from benchmarks.data import with_energon

    with_energon.prepare(folder, {"image": "jpg", "caption": "txt"}, "CaptioningSample")
    loader = with_energon.pairs_loader(folder, clip_pixels, BATCH, BUFFER)
    for batch in loader:
        yield batch.pixels.numpy()


CONTESTANTS: dict[str, Callable[[Path, Any], Iterator[np.ndarray]]] = {
    "ours": ours,
    "webdataset + PIL": webdataset,
    "energon": energon,
    "grain + tar offsets by hand": grain,
    "HF datasets streaming": hf_datasets,
}


def pixels_of(folder: Path) -> set[str]:
    """SHA-256 of the pixels of every picture, made with nothing but tarfile and Pillow."""
    found = set()
    for path in tars(folder):
        with tarfile.open(path) as tar:
            for member in tar:
                if member.name.endswith(".jpg"):
                    file = tar.extractfile(member)
                    assert file is not None
                    found.add(hashlib.sha256(clip_pixels(file.read()).tobytes()).hexdigest())
    return found


def contest(make: Callable[[], Iterator[np.ndarray]], samples: int, expected: set[str] | None) -> dict[str, Any]:
    """Time `samples` pictures after a first batch, which opens the files. With `expected`, check pixels instead."""
    batches = make()
    with measure.Stopwatch() as opening:
        first = next(batches)
    seen = 0
    with measure.Stopwatch() as watch:
        while seen < samples:
            pixels = next(batches)
            assert pixels.dtype == np.uint8 and pixels.shape[1:] == (3, SIZE, SIZE)
            seen += len(pixels)
            if expected is not None:
                wrong = {hashlib.sha256(picture.tobytes()).hexdigest() for picture in pixels} - expected
                assert not wrong, "other pixels than Pillow's"
    return {
        "rate": seen / watch.cpu,
        "samples": seen,
        "cpu": watch.cpu,
        "wall": watch.wall,
        "first batch cpu": opening.cpu,
        "first batch": len(first),
    }


def index_cost(folder: Path) -> float:
    """CPU seconds that our sidecars take, once for these files."""
    from kosmos.data.readers.files import INDEX_SUFFIX

    code = "import sys; from kosmos.data.index import prepare_index; [prepare_index(p, 'tar') for p in sys.argv[1:]]"
    for path in tars(folder):
        Path(path + INDEX_SUFFIX).unlink(missing_ok=True)
    costs = []
    for paths in (tars(folder), []):  # the second is what the imports cost
        with measure.Stopwatch() as watch:
            subprocess.run([sys.executable, "-c", code, *paths], check=True)
        costs.append(watch.cpu)
    return costs[0] - costs[1]


def main(argv: list[str] | None = None) -> dict[str, Any]:
    options = measure.parser(__doc__ or "")
    options.add_argument("folder", type=Path)
    options.add_argument("--tokenizer", default="", help="a SentencePiece model file; default: trained on the spot")
    options.add_argument("--shards", type=int, default=4)
    options.add_argument("--records", type=int, default=1000)
    options.add_argument("--samples", type=int, default=0, help="timed each time; default: as many as there are")
    options.add_argument("--only", nargs="*", default=list(CONTESTANTS), choices=list(CONTESTANTS))
    args = options.parse_args(argv)
    if args.small:
        args.shards, args.records, args.repeat = 2, 32, 1
    folder = args.folder / f"pairs-{args.shards}x{args.records}"
    if len(tars(folder)) < args.shards:
        synthetic.write_pairs(folder, args.shards, args.records)
    tokenizer = synthetic.tokenizer(args.tokenizer, args.folder)
    samples = args.samples or args.shards * args.records
    expected = pixels_of(folder)
    made_index = index_cost(folder)
    makers = {name: partial(CONTESTANTS[name], folder, tokenizer) for name in args.only}
    checks = {
        name: measure.apart(partial(contest, make, min(samples, 300), expected), args.small)
        for name, make in makers.items()
    }
    # Round by round, so that a busy minute of the machine meets all contestants.
    rounds: dict[str, list[dict[str, Any]]] = {name: [] for name in makers}
    for _ in range(args.repeat):
        for name, make in makers.items():
            if "error" not in checks[name]:
                rounds[name].append(measure.apart(partial(contest, make, samples, None), args.small))
    rows = [{"loader": name, **measure.merge(rounds[name] or [checks[name]])} for name in makers]
    base = rounds.get("webdataset + PIL", [])
    for row in rows:
        both = [(own, other) for own, other in zip(rounds[row["loader"]], base) if "rate" in own and "rate" in other]
        if both:
            row["x webdataset"] = median(own["rate"] / other["rate"] for own, other in both)
    print(measure.table(rows, ["loader", "rate", "x webdataset", "spread", "cpu", "wall", "first batch cpu", "error"]))
    result = {"samples": samples, "index_cpu": made_index, "rows": rows}
    measure.finish("pairs", result)
    return result


if __name__ == "__main__":
    main()
