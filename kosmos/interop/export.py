"""One model, several forms: the folder of ours, transformers' with its own code, Kosmos-2's."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from kosmos.errors import DataError
from kosmos.interop.model_card import Format, exported_card
from kosmos.interop.native_folder import write_native
from kosmos.interop.self_check import check_conversion, native_logits
from kosmos.model import weights
from kosmos.processor import Processor
from kosmos.runs import resolve

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
    card = partial(exported_card, run, folder, format, licence)
    if format == "kosmos":
        _export_kosmos(folder, out, card(), check, say)
    elif format == "kosmos2":
        from kosmos.interop.kosmos2.conversion import export_kosmos2

        export_kosmos2(folder, out, card=card, check=check, say=say)
    else:
        from kosmos.interop.transformers.exporting import export_folder

        export_folder(folder, out, card=card, check=check, say=say)


def _export_kosmos(folder: Path, out: Path, card: str, check: bool, say: Say) -> None:
    processor = Processor.load(folder)
    # Without the folders of this machine that its parts once started from.
    config = weights.without_pretrained(processor.config)
    processor = Processor(processor.tokenizer, config, processor.chat_format)
    tensors = weights.read_tensors(folder)

    def fill(temporary: Path) -> None:
        write_native(temporary, processor, tensors, card)
        written = weights.read_tensors(temporary)
        if written.keys() != tensors.keys() or not all(torch.equal(written[name], tensors[name]) for name in tensors):
            raise DataError(f"{out}: the weights read back are not those written; nothing was kept")
        check_conversion(processor, partial(native_logits, folder), partial(native_logits, temporary), say, check)

    weights.write_folder(out.absolute(), fill)
