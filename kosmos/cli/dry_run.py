"""`kosmos train RECIPE --dry-run`: options, and the figures for people."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from kosmos.cli.parser import positive
from kosmos.cli.tables import counted, readable_bytes
from kosmos.errors import UsageError

if TYPE_CHECKING:
    from kosmos.config import TrainConfig
    from kosmos.training.dry_run import DryRun


def add_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("dry run")
    group.add_argument("--dry-run", action="store_true", help="print what the recipe would take, and stop")
    group.add_argument(
        "--hardware",
        default="h100",
        metavar="NAME",
        help="h100, a100, ..., a number of TFLOP/s, or here (default: h100)",
    )
    group.add_argument("--ranks", type=positive, default=1, metavar="N", help="devices (default: 1)")
    group.add_argument("--mfu", type=_fraction, default=0.4, metavar="X", help="share of the peak (default: 0.4)")
    group.add_argument("--images", type=positive, metavar="N", help="pictures in a step (default: assumed)")
    group.add_argument("--measure", action="store_true", help="count pictures in the first rows instead")
    group.add_argument("--json", action="store_true", help="everything as one JSON object")


def run(args: argparse.Namespace, config: TrainConfig) -> int:
    """Print the dry run of a recipe."""
    from kosmos.training.dry_run import dry_run
    from kosmos.training.expectations import expected_step, measured_step
    from kosmos.training.hardware import find_hardware, this_machine

    if args.measure and args.images:
        raise UsageError("--images and --measure say the same thing in two ways; give one")
    hardware = this_machine() if args.hardware == "here" else find_hardware(args.hardware)
    sources = measured_step(config) if args.measure else expected_step(config, args.images)
    found = dry_run(config, sources, hardware, args.ranks, args.mfu)
    print(json.dumps(found.to_json(), indent=2) if args.json else "\n".join(lines(found, bool(args.images))))
    return 0


def lines(found: DryRun, images_given: bool = False) -> list[str]:
    """The figures, a topic a line, with what they rest on."""
    counts, flops, layout, memory = found.parameters, found.flops, found.layout, found.memory
    parts = [("text", counts.text), ("vision", counts.vision), ("resampler", counts.resampler), ("other", counts.other)]
    said = [("parameters", f"{counts.total:,}, of which {counts.trainable:,} trained")]
    said.append(("", ", ".join(f"{name} {number:,}" for name, number in parts if number)))
    measured = all(source.measured for source in found.sources.values())
    how = "counted in the first rows" if measured else "as told" if images_given else "assumed, --measure counts"
    pictures = f", about {found.images:,.0f} pictures ({how})" if found.images else ""
    said.append(("step", f"{found.tokens:,} tokens{pictures}"))
    for name, source in found.sources.items():
        figures = f"{counted(source.rows, 'row')} x {source.row_length:,}: {source.tokens:,} tokens"
        said.append(("", f"{name} {figures}" + (f", {source.images:,.0f} pictures" if source.images else "")))
    said.append(("compute", f"{_flops(flops.counted)} a step: {_shares(found)}"))
    left_out = [
        ("backward of the tower", 0.0 if flops.counts_tower_backward else flops.tower_backward),
        ("resampler", flops.resampler),
        ("the decoder's forward pass again", found.made_again),
    ]
    if uncounted := ", ".join(f"{name} {_flops(n)}" for name, n in left_out if abs(n) >= 1):
        said.append(("", f"MFU does not count: {uncounted}"))
    if flops.head_left_out >= 1:
        left_out_of_head = f"{_flops(flops.head_left_out)} of the head, without supervision"
        said.append(("", f"MFU counts, though left out: {left_out_of_head}"))
    dealt = ", ".join(f"{name} {number:,}" for name, number in layout.micro_batches.items())
    said.append(("layout", f"{sum(layout.micro_batches.values()):,} micro-batches a step ({dealt})"))
    spare = f", {layout.spare} of them idle in the last" if layout.spare else ""
    busy = f"; busy {100 * layout.busy:.1f} % of the time" if layout.ranks > 1 else ""
    said.append(("", f"{counted(layout.ranks, 'rank')}, {counted(layout.rounds, 'round')}{spare}{busy}"))
    said.append(("memory", f"about {readable_bytes(memory.total)} a rank, {_fits(found)}"))
    shares = [(name, getattr(memory, name)) for name in ("weights", "gradients", "optimizer", "gathered", "copies")]
    shares += [(f"activations ({memory.source})", memory.activations), ("head", memory.head)]
    said.append(("", ", ".join(f"{name} {readable_bytes(size)}" for name, size in shares if size)))
    speed = f"{found.tokens / found.step_seconds:,.0f} tokens/s"
    if found.images:
        speed += f", {found.images / found.step_seconds:,.0f} pictures/s"
    basis = f"{found.precision} at {100 * found.mfu:g} % of {_flops(found.hardware.peak(found.precision))}/s"
    said.append(("time", f"{_seconds(found.step_seconds)} a step on {layout.ranks} x {found.hardware.name} ({basis})"))
    said.append(("", speed))
    of_all = f", {_days(found.device_days)} of one device" if layout.ranks > 1 else ""
    said.append(("", f"{found.steps:,} steps: {_days(found.days)}{of_all}"))
    disk = f"{readable_bytes(found.checkpoint_bytes)} a checkpoint, {found.checkpoints_kept:,} kept at the end"
    said.append(("disk", f"{disk}: {readable_bytes(found.checkpoint_bytes * found.checkpoints_kept)}"))
    return [f"{topic:<11} {text}" for topic, text in said]


def _shares(found: DryRun) -> str:
    flops = found.flops
    parts = [("decoder", flops.decoder), ("attention", flops.attention), ("head", flops.head)]
    parts.append(("vision tower", flops.tower_forward + (flops.tower_backward if flops.counts_tower_backward else 0)))
    return ", ".join(f"{name} {_flops(number)}" for name, number in parts if number)


def _fits(found: DryRun) -> str:
    if found.fits is None:
        return "whatever the device has"
    whole = readable_bytes(found.hardware.memory)
    if found.fits:
        return f"which fits into {whole}"
    again = "" if found.made_again else "set parallel.activation_checkpointing, or "
    return f"which does not fit into {whole}: lower micro_batch_rows, or {again}take more ranks"


def _flops(number: float) -> str:
    """`11.3 PFLOP`."""
    sign, size = ("-" if number < 0 else ""), abs(number)
    for unit in ("", "k", "M", "G", "T", "P"):
        if size < 999.5:
            return f"{sign}{size:.3g} {unit}FLOP"
        size /= 1000
    return f"{sign}{size:,.3g} EFLOP"


def _seconds(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds < 1000 else f"{seconds:,.0f} s"


def _days(days: float) -> str:
    if days < 1 / 24:
        return f"{24 * 60 * days:.3g} minutes"
    if days < 1:
        return f"{24 * days:.3g} hours"
    return f"{days:.3g} days" if days < 1000 else f"{days:,.0f} days"


def _fraction(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number") from None
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text}: must be above 0 and at most 1, as 0.4")
    return value
