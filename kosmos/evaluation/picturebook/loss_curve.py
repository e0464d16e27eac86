"""The loss curve of a run, one line per source, from its metrics.jsonl."""

from __future__ import annotations

import io
import itertools
import json
from pathlib import Path

import numpy as np

from kosmos.errors import DataError
from kosmos.storage import make_folder, write_atomic

_COLOURS = ("#2b6cb0", "#c05621", "#2f855a", "#805ad5", "#b83280", "#4a5568")
_GREY, _LINE = "#7b8794", "#e4e7eb"


def read_losses(metrics: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Loss per source of a metrics.jsonl: name -> (steps int64 [S], loss float64 [S]), in order of appearance.

    Steps without a figure for a source are left out; a run without sources gives one curve, `loss`. A line cut short
    by a crash ends the reading. Raises DataError when the file is missing or holds no loss.
    """
    points: dict[str, list[tuple[int, float]]] = {}
    try:
        lines = metrics.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise DataError(f"{metrics}: cannot read the metrics: {error.strerror or error}") from error
    for line in lines:
        try:
            record = json.loads(line)
        except ValueError:
            break
        sources = record.get("sources") or {"loss": {"loss": record.get("loss")}}
        for name, figures in sources.items():
            if figures.get("loss") is not None:
                points.setdefault(name, []).append((int(record["step"]), float(figures["loss"])))
    if not points:
        raise DataError(f"{metrics}: no step with a loss in it yet")
    return {
        name: (np.array([s for s, _ in pairs], dtype=np.int64), np.array([loss for _, loss in pairs]))
        for name, pairs in points.items()
    }


def smooth(values: np.ndarray, window: int) -> np.ndarray:
    """Running mean of `values` [S] over `window` steps around each.

    At the start, where a loss falls steeply, the window shrinks on both sides; at the end only its missing part goes,
    so that the last figure is still a mean of many.
    """
    sums = np.concatenate([[0.0], np.cumsum(values)])
    index = np.arange(len(values))
    before = np.minimum(index, window // 2)
    last = np.minimum(index + before, len(values) - 1)
    return (sums[last + 1] - sums[index - before]) / (last - index + before + 1)


def write_loss_curve(path: Path, metrics: Path, title: str = "Training loss") -> None:
    """Draw the curves of `metrics` (a metrics.jsonl) to a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    losses = read_losses(metrics)
    figure = Figure(figsize=(9.0, 4.2), dpi=160, facecolor="white")
    axes = figure.add_axes((0.07, 0.14, 0.77, 0.74))
    ends = []
    for (name, (steps, values)), colour in zip(losses.items(), _COLOURS * (len(losses) // len(_COLOURS) + 1)):
        smoothed = smooth(values, max(1, len(values) // 40))
        axes.plot(steps, values, color=colour, alpha=0.18, linewidth=0.8)
        axes.plot(steps, smoothed, color=colour, linewidth=1.8)
        ends.append((float(smoothed[-1]), f"{name}  {smoothed[-1]:.2f}", colour))
    last = max(int(steps[-1]) for steps, _ in losses.values())
    top = max(float(np.quantile(values, 0.995)) for _, values in losses.values())
    axes.set_xlim(0, max(1, last))
    axes.set_ylim(0, top * 1.05 or 1.0)
    right = axes.get_yaxis_transform()
    for height, (_, label, colour) in zip(_spread([end for end, _, _ in ends], top * 0.07), ends):
        axes.text(1.012, height, label, transform=right, color=colour, va="center", fontsize=9.5)
    axes.set_title(title, loc="left", fontsize=12, color="#1f2933", pad=10)
    axes.set_xlabel("optimizer step", color=_GREY, fontsize=9.5)
    axes.set_ylabel("nats per supervised token", color=_GREY, fontsize=9.5)
    axes.grid(axis="y", color=_LINE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=_GREY, length=0, labelsize=9)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(_LINE)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    make_folder(path.parent)
    write_atomic(path, buffer.getvalue())


def _spread(heights: list[float], gap: float) -> list[float]:
    """Move labels up as little as keeps them `gap` apart, in the order of their heights."""
    placed = list(heights)
    order = sorted(range(len(heights)), key=lambda index: heights[index])
    for lower, upper in itertools.pairwise(order):
        placed[upper] = max(placed[upper], placed[lower] + gap)
    return placed
