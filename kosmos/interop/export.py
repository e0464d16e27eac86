"""One model, several forms: the folder of ours, transformers' with its own code, Kosmos-2's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from kosmos.config import ModelConfig
from kosmos.config_files import save_config
from kosmos.errors import DataError, UsageError
from kosmos.interop.model_card import CARD_FILE, Format, exported_card
from kosmos.interop.self_check import compare_logits, make_probes, native_logits
from kosmos.model import weights
from kosmos.processor import Processor
from kosmos.runs import CONFIG_FILE, WEIGHTS_FILE, resolve
from kosmos.storage import write_atomic

Say = Callable[[str], None]


def export(
    run: Path, out: Path, format: Format, *, licence: str | None = None, check: bool = True, say: Say = print
) -> None:
    """Write the model behind `run` into the new folder `out` in one of the forms, with its card; or nothing at all.

    Raises ConfigError with every reason why a form cannot express it, DataError when the logits differ, UsageError when
    `out` exists.
    """
    weights.refuse_existing(out)
    folder = resolve(run)
    if format == "kosmos":
        _export_kosmos(folder, out, exported_card(run, folder, format, licence), check, say)
    elif format == "kosmos2":
        from kosmos.interop.kosmos2 import export_kosmos2

        export_kosmos2(folder, out, card=partial(exported_card, run, folder, format, licence), check=check, say=say)
    elif not check:
        raise UsageError("--skip-check: the transformers form is always checked; leave the option out")
    else:
        _export_transformers(folder, out, exported_card(run, folder, format, licence), say)


def _export_kosmos(folder: Path, out: Path, card: str, check: bool, say: Say) -> None:
    processor = Processor.load(folder)
    config = _without_paths(processor.config)
    tensors = weights.read_tensors(folder)

    def fill(temporary: Path) -> None:
        processor.save(temporary)
        save_config(config, temporary / CONFIG_FILE)
        weights.save_tensors(tensors, temporary / WEIGHTS_FILE)
        write_atomic(temporary / CARD_FILE, card.encode())
        written = weights.read_tensors(temporary)
        if written.keys() != tensors.keys() or not all(torch.equal(written[name], tensors[name]) for name in tensors):
            raise DataError(f"{out}: the weights read back are not those written; nothing was kept")
        if not check:
            say("warning: the check of both sides' logits was left out (--skip-check)")
            return
        probes = make_probes(processor)
        compare_logits(probes, partial(native_logits, folder, probes), partial(native_logits, temporary, probes), say)

    weights.write_folder(out.absolute(), fill)


def _without_paths(config: ModelConfig) -> ModelConfig:
    """The configuration without the folders of this machine that its parts once started from."""
    vision = None if config.vision is None else replace(config.vision, pretrained=None)
    return replace(config, vision=vision, resampler=replace(config.resampler, pretrained=None))


def _export_transformers(folder: Path, out: Path, card: str, say: Say) -> None:
    from kosmos.interop.transformers_export import export_folder

    def fill(temporary: Path) -> None:
        largest = export_folder(folder, temporary)
        say(f"check: logits of both sides differ by at most {largest:.1e} of the largest one")
        write_atomic(temporary / CARD_FILE, card.encode())

    weights.write_folder(out.absolute(), fill)
