"""A tiny corpus, its tokenizer and a recipe, all on disk, and what makes two runs equal.

Small as it is, everything that a checkpoint must carry is in it: dropout, pictures, documents longer than a row,
corpora read many times over, bad records, and two sources whose micro-batches do not divide evenly over ranks.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from kosmos.config import (
    CorpusConfig,
    DataConfig,
    DecoderConfig,
    ModelConfig,
    OptimizerConfig,
    ResamplerConfig,
    SourceConfig,
    TrainConfig,
    VisionConfig,
)
from kosmos.runs import CHECKPOINTS
from kosmos.storage import MANIFEST
from kosmos.tokenizer import Tokenizer

_WORDS = ("a", "the", "red", "green", "cat", "dog", "bird", "sits", "runs", "on", "under", "house", "tree", "river")
_TEXTS, _PAIRS = 18, 10


def make_corpora(folder: Path) -> None:
    """text.jsonl (one record broken, every fifth document several rows long), pairs.tar and tokenizer.model."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(0)

    def sentence() -> str:
        return " ".join(generator.choice(_WORDS, generator.integers(3, 9))) + "."

    texts = [" ".join(sentence() for _ in range(12 if n % 5 == 0 else 1 + n % 3)) for n in range(_TEXTS)]
    records = [json.dumps({"text": text}) for text in texts]
    records[17] = "{broken"
    (folder / "text.jsonl").write_text("\n".join(records) + "\n")
    with tarfile.open(folder / "pairs.tar", "w") as archive:
        for number in range(_PAIRS):
            picture = io.BytesIO()
            PIL.Image.fromarray(generator.integers(0, 255, (20, 24, 3), dtype=np.uint8)).save(picture, "PNG")
            for suffix, data in (("png", picture.getvalue()), ("txt", sentence().encode())):
                info = tarfile.TarInfo(f"{number:05d}.{suffix}")
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    Tokenizer.train(texts, folder / "tokenizer.model", vocab_size=34)


def make_recipe(corpora: Path, steps: int, checkpoint_every: int = 3) -> TrainConfig:
    """Five micro-batches a step in fp32 with dropout 0.1: two seconds for a hundred steps on a quiet core."""
    model = ModelConfig(
        decoder=DecoderConfig(
            num_layers=1,
            hidden_size=32,
            ffn_size=64,
            num_heads=4,
            vocab_size=Tokenizer.load(corpora / "tokenizer.model").vocab_size,
            max_positions=64,
        ),
        vision=VisionConfig(kind="conv", trainable="all", image_size=16, hidden_size=16, channels=(16,)),
        resampler=ResamplerConfig(num_latents=2, num_heads=4),
    )
    text = SourceConfig(3, 1, 32, (CorpusConfig("jsonl", str(corpora / "text.jsonl")),), leading_start=False)
    pairs = SourceConfig(2, 1, 48, (CorpusConfig("pairs_tar", str(corpora / "pairs.tar")),), document_mask=True)
    return TrainConfig(
        model=model,
        data=DataConfig(sources={"text": text, "pairs": pairs}, max_bad_fraction=0.2, look_ahead=4),
        optimizer=OptimizerConfig(lr=3e-3, warmup_steps=2),
        tokenizer=str(corpora / "tokenizer.model"),
        steps=steps,
        precision="fp32",
        device="cpu",
        threads=1,
        checkpoint_every=checkpoint_every,
        random_vision=True,
    )


def changed(recipe: TrainConfig, asynchronous: bool = False, workers: int = 0, keep: int = 2) -> TrainConfig:
    """The same run, saved and fed in another way."""
    data = replace(recipe.data, workers=workers)
    return replace(recipe, asynchronous_checkpoints=asynchronous, data=data, keep_checkpoints=keep)


def lines(run: Path) -> list[dict[str, Any]]:
    """metrics.jsonl without the timing."""
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in record.items() if key != "timing"} for record in records]


def checksums(folder: Path) -> dict[str, str]:
    """sha256 of every file of a checkpoint, but for those that name the save itself (and so the manifest)."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name not in (".metadata", MANIFEST))
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def differences(run: Path, reference: Path, steps: int) -> list[str]:
    """What of a finished run is not to the last bit the reference's: figures, log of bad records, last checkpoint."""
    found = []
    mine, theirs = lines(run), lines(reference)
    if [line["step"] for line in mine] != list(range(1, steps + 1)):
        found.append(f"{run.name}: the steps of metrics.jsonl are not 1 to {steps}")
    for line, wanted in zip(mine, theirs, strict=False):
        if line != wanted:
            found.append(f"{run.name}: step {line['step']}: loss {line['loss']} for {wanted['loss']}")
            break
    if (run / "bad_records.log").read_bytes() != (reference / "bad_records.log").read_bytes():
        found.append(f"{run.name}: bad_records.log differs")
    last = Path(CHECKPOINTS) / f"step-{steps}"
    here, there = checksums(run / last), checksums(reference / last)
    found += [f"{run.name}: {last / name}" for name in sorted(here.keys() | there) if here.get(name) != there.get(name)]
    return found


def place_in_data(checkpoint: Path) -> dict[str, Any]:
    """Where in the corpora a checkpoint stands: passes made over each (the fraction: mid-epoch), and what is cut."""
    state = json.loads((checkpoint / "state.json").read_text())["stream"]["sources"]
    passes, mid_document = {}, False
    for name, source in state.items():
        lanes = source["lanes"].values()
        passes[name] = round(sum(sum(lane["turns"]) for lane in lanes) / sum(source["records"]), 2)
        mid_document |= any(lane.get("held") and lane["held"][2] > 0 for lane in lanes)
    return {"passes": passes, "mid_epoch": any(p % 1 for p in passes.values()), "mid_document": mid_document}
