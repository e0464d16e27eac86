"""A transformers folder of ours, perhaps trained further elsewhere, back as a model folder: checked, with a card."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kosmos.interop.model_card import CARD_FILE, returned_card
from kosmos.interop.self_check import Probe, compare_logits, make_probes, native_logits, quiet_transformers
from kosmos.interop.transformers_import import import_folder
from kosmos.model import weights
from kosmos.processor import Processor
from kosmos.storage import write_atomic

Say = Callable[[str], None]


def import_exported(folder: Path, out: Path, *, check: bool = True, say: Say = print) -> None:
    """Write the model of a folder of `kosmos export --format transformers` into the new folder `out`, or nothing.

    The code that lies in the folder is never run: this package's own, of the same form, computes the other side. Raises
    what `import_folder` does, and DataError when the logits differ.
    """
    weights.refuse_existing(out)

    def fill(temporary: Path) -> None:
        import_folder(folder, temporary)
        processor = Processor.load(temporary)
        write_atomic(temporary / CARD_FILE, returned_card(folder, temporary).encode())
        if not check:
            say("warning: the check of both sides' logits was left out (--skip-check)")
            return
        probes = make_probes(processor)
        compare_logits(probes, partial(_their_logits, folder, probes), partial(native_logits, temporary, probes), say)

    weights.write_folder(out.absolute(), fill)


@torch.no_grad()
def _their_logits(folder: Path, probes: list[Probe]) -> list[Tensor]:
    """Logits [T, V] of transformers' form of the model for each probe."""
    from kosmos.interop.remote_code.modeling_kosmos import KosmosForConditionalGeneration

    with quiet_transformers():
        model: Any = KosmosForConditionalGeneration.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    model.eval()
    made = []
    for probe in probes:
        output = model(input_ids=probe.batch.token_ids, pixel_values=probe.pixels, use_cache=False)
        made.append(output.logits[0].float())
    return made
