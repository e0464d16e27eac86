"""Positions: trained on rows of 128 tokens, tested on rows of 512. Does the loss stay bounded beyond 128?

    python -m benchmarks.training.positions --out runs/positions [--steps 500] [--seeds 2] [--plot FILE.png]

Two small decoders that differ in nothing but `decoder.position` (xpos, sinusoidal) learn WordNet's glosses from the
same rows, once for each seed. They are then asked about the same rows of 512 tokens, made of glosses that training
never showed, and the loss is told by the position of the token. Called again, it goes on where it stopped.
"""

from __future__ import annotations

import argparse
import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch
import torch.nn.functional as F

from benchmarks.data import measure
from kosmos.batch import Batch
from kosmos.config import (
    CorpusConfig,
    DataConfig,
    DecoderConfig,
    ModelConfig,
    OptimizerConfig,
    SourceConfig,
    TrainConfig,
    replace,
)
from kosmos.data.picturebook.reader import stream
from kosmos.data.picturebook.wordnet import load_wordnet
from kosmos.data.picturebook.worlds import glosses
from kosmos.model.kosmos import Kosmos
from kosmos.runs import resolve
from kosmos.storage import make_folder, write_atomic
from kosmos.tokenizer import Tokenizer
from kosmos.training.loop import train

TRAINED, TESTED = 128, 512
PIECES = 1500
KINDS = ("xpos", "sinusoidal")
RANGES = ((1, 32), (32, 128), (128, 192), (192, 256), (256, 384), (384, 512))


def tokenizer(folder: Path) -> Tokenizer:
    """A SentencePiece model of the glosses that training may show."""
    file = folder / "tokenizer.model"
    if not file.exists():
        lines = [line for index, lines in enumerate(load_wordnet().lines) for line in lines if not held_out(index)]
        Tokenizer.train(lines[::4], file, PIECES)
    return Tokenizer.load(file)


def held_out(index: int) -> bool:
    return glosses.held_out_synset(index)


def recipe(kind: Any, tokenizer_file: Path, vocabulary: int, steps: int, seed: int) -> TrainConfig:
    """Rows of 128 tokens of the glosses; no dropout, since no token comes often."""
    decoder = DecoderConfig(
        num_layers=4,
        hidden_size=192,
        ffn_size=768,
        num_heads=6,
        vocab_size=vocabulary,
        max_positions=TESTED,
        dropout=0.0,
        attention_dropout=0.0,
        position=kind,
    )
    text = SourceConfig(16, 16, TRAINED, (CorpusConfig("picturebook.glosses", ""),), leading_start=False)
    return TrainConfig(
        model=ModelConfig(decoder=decoder, vision=None),
        data=DataConfig(sources={"text": replace(text, packing="stream")}),
        optimizer=OptimizerConfig(lr=3e-3, warmup_steps=max(1, min(30, steps // 4))),
        tokenizer=str(tokenizer_file),
        steps=steps,
        seed=seed,
        checkpoint_every=100,
        threads=1,
    )


def test_rows(tokenizer: Tokenizer, count: int) -> torch.Tensor:
    """int64 [count, 512]: held-out glosses laid end to end, each row from `<s>`."""
    rows = []
    for number in range(count):
        ids = [tokenizer.bos_id]
        rng = stream("glosses", "test", 11, 0, number)
        while len(ids) < TESTED:
            ids += [*tokenizer.encode(glosses.sample(None, rng, "test").fields["text"]), tokenizer.eos_id]
        rows.append(ids[:TESTED])
    return torch.tensor(rows)


@torch.no_grad()
def loss_by_position(run: Path, rows: torch.Tensor) -> np.ndarray:
    """Mean nats of the token at each position, float64 [511]; the first token is not predicted."""
    model = Kosmos.from_pretrained(resolve(run))
    losses = []
    for part in rows.split(8):
        hidden = model(Batch(part, torch.ones_like(part, dtype=torch.bool)))
        logits = model.head(hidden[:, :-1]).float()
        losses.append(
            F.cross_entropy(logits.flatten(0, 1), part[:, 1:].flatten(), reduction="none").view(len(part), -1)
        )
    return torch.cat(losses).double().mean(0).numpy()


def plot(found: dict[str, list[np.ndarray]], path: Path, steps: int) -> None:
    """Loss against position, a running mean over 16; a line for each seed."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, 3.6), dpi=110, facecolor="white")
    axes = figure.add_axes((0.09, 0.15, 0.76, 0.72))
    for (name, runs), colour in zip(found.items(), ("#2b6cb0", "#c05621"), strict=True):
        for losses in runs:
            smooth = np.convolve(losses, np.ones(16) / 16, mode="valid")
            axes.plot(np.arange(len(smooth)) + 8, smooth, color=colour, linewidth=1.3, alpha=0.85)
        axes.text(TESTED + 4, float(np.mean([run[-16:].mean() for run in runs])), name, color=colour, va="center")
    axes.axvline(TRAINED, color="#7b8794", linewidth=0.9, linestyle="--")
    axes.text(TRAINED + 4, axes.get_ylim()[1], "length in training", color="#7b8794", fontsize=8.5, va="top")
    axes.set_xlim(0, TESTED)
    axes.set_title(f"Loss by position after {steps} steps on rows of {TRAINED}", loc="left", fontsize=11)
    axes.set_xlabel("position of the token", fontsize=9)
    axes.set_ylabel("nats", fontsize=9)
    axes.grid(axis="y", color="#e4e7eb", linewidth=0.8)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    drawn, buffer = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", metadata={"Software": None})
    # A palette is enough for two colours, and a third of the bytes.
    PIL.Image.open(drawn).convert("RGB").quantize(32).save(buffer, "PNG", optimize=True)
    make_folder(path.parent)
    write_atomic(path, buffer.getvalue())


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="seconds instead of minutes; the figures mean little")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="for the tokenizer and the two runs")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--plot", type=Path, metavar="PNG", help="draw the losses")
    args = parser.parse_args(arguments)
    steps, count = (20, 8) if args.small else (args.steps, 128)
    words = tokenizer(make_folder(args.out))
    rows = test_rows(words, count)
    found: dict[str, list[np.ndarray]] = {kind: [] for kind in KINDS}
    table = []
    for kind in KINDS:
        for seed in range(1, args.seeds + 1):
            made = recipe(kind, args.out / "tokenizer.model", words.vocab_size, steps, seed)
            run = train(made, args.out / f"{kind}-{seed}", resume=True, quiet=True)
            losses = loss_by_position(run, rows)
            found[kind].append(losses)
            # Entry i is the loss of the token at position i + 1.
            means = {f"{low}-{high}": f"{losses[low - 1 : high - 1].mean():.3f}" for low, high in RANGES}
            rise = losses[TESTED * 3 // 4 - 1 :].mean() - losses[31 : TRAINED - 1].mean()
            table.append({"positions": kind, "seed": seed, **means, "rise": f"{rise:+.3f}"})
    print(f"\nNats a token by position, {steps} steps on rows of {TRAINED}, {count} rows of {TESTED}\n")
    print(measure.table(table, list(table[0])))
    print(f"\nrise: the last quarter against 32-{TRAINED}; a uniform guess costs {math.log(words.vocab_size):.2f}")
    if args.plot:
        plot(found, args.plot, steps)
    result = {"steps": steps, "rows": count, "losses": table}
    measure.finish("positions", result)
    return result


if __name__ == "__main__":
    main()
