"""Kosmos-2 in transformers' form, imported as a model of ours, and a model of ours exported to it.

Kosmos-2's are the only public weights of the family. Tensors pass unchanged, under other names; both sides' logits are
compared before anything is there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig

from kosmos.config import ModelConfig
from kosmos.errors import ConfigError, DataError
from kosmos.interop.kosmos2.config import kosmos2_config, native_config, notes_on_kosmos2, read_kosmos2_config
from kosmos.interop.kosmos2.names import EMBEDDING, TIED_HEAD, kosmos2_name, native_name
from kosmos.interop.kosmos2.processor import read_tokenizer, without_extras, write_processor
from kosmos.interop.model_card import CARD_FILE, imported_card
from kosmos.interop.native_folder import checked_config, fitting_tensors, write_native
from kosmos.interop.preprocessing import read_preprocessing
from kosmos.interop.self_check import Probe, check_conversion, native_logits, transformers_loads
from kosmos.interop.stored_weights import read_stored_weights
from kosmos.model import weights
from kosmos.processor import Processor
from kosmos.runs import WEIGHTS_FILE
from kosmos.storage import write_atomic
from kosmos.tokenizer import Tokenizer

Say = Callable[[str], None]


def import_kosmos2(
    folder: Path,
    out: Path,
    *,
    truncate_vocabulary: bool = False,
    tokenizer_file: Path | None = None,
    check: bool = True,
    say: Say = print,
) -> None:
    """Write the Kosmos-2 of `folder` as a model folder of ours into the new folder `out`, or nothing at all.

    `truncate_vocabulary` leaves out the entries beyond `</line>` (grounding tokens), which changes every probability.
    Raises ConfigError with every reason why it cannot be expressed, DataError when parts are missing, damaged or do not
    give the same logits, UsageError when `out` exists.
    """
    weights.refuse_existing(out)
    fields, notes = read_preprocessing(folder)
    theirs = read_kosmos2_config(folder)
    notes += notes_on_kosmos2(theirs, folder)
    config = native_config(theirs, where=str(folder / "config.json"), **fields)
    config = checked_config(config, str(folder / "config.json"))
    tokenizer = read_tokenizer(folder, config.decoder.vocab_size, tokenizer_file)
    if truncate_vocabulary:
        tokenizer = without_extras(tokenizer, config.decoder.vocab_size)
        dropped = config.decoder.vocab_size - tokenizer.vocab_size
        config = replace(config, decoder=replace(config.decoder, vocab_size=tokenizer.vocab_size))
        notes.append(
            f"warning: the last {dropped:,} entries of the vocabulary are left out, so every probability is another "
            "than in the original: it is shared by fewer tokens"
        )
    processor = Processor(tokenizer, config)
    tensors = native_tensors(read_stored_weights(folder), config, where=str(folder))
    count = sum(tensor.numel() for tensor in tensors.values())
    say(f"{folder}: Kosmos-2, {count:,} parameters, {config.decoder.vocab_size:,} entries in the vocabulary")
    for note in notes:
        say(note if note.startswith("warning") else f"note: {note}")

    def fill(temporary: Path) -> None:
        write_native(temporary, processor, tensors, imported_card(folder, processor))
        check_conversion(processor, partial(kosmos2_logits, folder), partial(native_logits, temporary), say, check)

    weights.write_folder(out.absolute(), fill)


def native_tensors(stored: Mapping[str, Tensor], config: ModelConfig, where: str) -> dict[str, Tensor]:
    """Kosmos-2's tensors under our names, fp32, cut to our vocabulary.

    Raises DataError when some are missing, unknown or of another shape, ConfigError when the head is not tied.
    """
    if TIED_HEAD in stored and EMBEDDING in stored and not torch.equal(stored[TIED_HEAD], stored[EMBEDDING]):
        raise ConfigError(f"{where}: {TIED_HEAD} is not the embedding matrix; here the two are one")
    renamed: dict[str, Tensor] = {}
    for name, tensor in stored.items():
        native = native_name(name)
        if native is None:
            continue
        renamed[native] = tensor[: config.decoder.vocab_size] if name == EMBEDDING else tensor
    return fitting_tensors(renamed, config, where, kosmos2_name)


def kosmos2_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our tensors under Kosmos-2's names; the tied head is not stored, as transformers does not."""
    return {kosmos2_name(name): tensor for name, tensor in tensors.items()}


def export_kosmos2(
    source: Path, out: Path, *, card: Callable[[], str] | None = None, check: bool = True, say: Say = print
) -> None:
    """Write the model folder `source` of ours into the new folder `out` as transformers' Kosmos2 reads it.

    Raises ConfigError with every reason why it cannot be expressed, DataError when the logits differ, UsageError when
    `out` exists.
    """
    weights.refuse_existing(out)
    config = weights.read_config(source)
    theirs = kosmos2_config(config)
    processor = Processor.load(source)
    tensors = kosmos2_tensors(weights.read_tensors(source))

    def fill(temporary: Path) -> None:
        for note in write_processor(processor, temporary):
            say(f"note: {note}")
        theirs.save_pretrained(temporary)
        ends = {"bos_token_id": Tokenizer.bos_id, "eos_token_id": Tokenizer.eos_id, "pad_token_id": Tokenizer.pad_id}
        GenerationConfig(**ends).save_pretrained(temporary)
        weights.save_tensors(tensors, temporary / WEIGHTS_FILE, metadata={"format": "pt"})
        if card is not None:
            write_atomic(temporary / CARD_FILE, card().encode())
        check_conversion(processor, partial(native_logits, source), partial(kosmos2_logits, temporary), say, check)

    weights.write_folder(out.absolute(), fill)


@torch.no_grad()
def kosmos2_logits(folder: Path, probes: list[Probe]) -> list[Tensor]:
    """Logits [T, V] of transformers' Kosmos2 in `folder` for each probe."""
    from transformers import Kosmos2ForConditionalGeneration

    # transformers fills what a file lacks with random numbers, so what it had to fill is an error here.
    with transformers_loads(folder):
        loaded: Any = Kosmos2ForConditionalGeneration.from_pretrained(
            folder, dtype=torch.float32, local_files_only=True, output_loading_info=True
        )
    model, report = loaded
    if report["missing_keys"] or report["mismatched_keys"]:
        raise DataError(f"{folder}: transformers finds {len(report['missing_keys'])} tensors missing")
    model.eval()
    made = []
    for probe in probes:
        pixels = probe.pixels
        if pixels is None:  # its class refuses a row without a picture
            output = model.text_model(input_ids=probe.batch.token_ids)
        else:
            output = model(
                pixel_values=pixels,
                input_ids=probe.batch.token_ids,
                image_embeds_position_mask=probe.slots.long(),
            )
        made.append(output.logits[0].float())
    return made
