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
from kosmos.config_files import save_config
from kosmos.errors import ConfigError, DataError
from kosmos.interop.kosmos2_config import kosmos2_config, native_config, notes_on_kosmos2, read_kosmos2_config
from kosmos.interop.kosmos2_names import EMBEDDING, TIED_HEAD, kosmos2_name, native_name
from kosmos.interop.kosmos2_processor import read_preprocessing, read_tokenizer, without_extras, write_processor
from kosmos.interop.model_card import imported_card
from kosmos.interop.self_check import Probe, compare_logits, make_probes, native_logits, quiet_transformers
from kosmos.interop.stored_weights import read_stored_weights
from kosmos.model import weights
from kosmos.model.kosmos import Kosmos
from kosmos.processor import Processor
from kosmos.runs import CONFIG_FILE, WEIGHTS_FILE
from kosmos.storage import write_atomic
from kosmos.tokenizer import Tokenizer

Say = Callable[[str], None]
_HALVES = (torch.float16, torch.bfloat16)


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
    weights.write_folder(out.absolute(), partial(_fill_native, folder, processor, tensors, check, say))


def native_tensors(stored: Mapping[str, Tensor], config: ModelConfig, where: str) -> dict[str, Tensor]:
    """Kosmos-2's tensors under our names, fp32, cut to our vocabulary.

    Raises DataError when some are missing, unknown or of another shape, ConfigError when the head is not tied.
    """
    if TIED_HEAD in stored and EMBEDDING in stored and not torch.equal(stored[TIED_HEAD], stored[EMBEDDING]):
        raise ConfigError(f"{where}: {TIED_HEAD} is not the embedding matrix; here the two are one")
    expected = {name: tensor.shape for name, tensor in weights.without_values(Kosmos, config).state_dict().items()}
    renamed: dict[str, Tensor] = {}
    for name, tensor in stored.items():
        native = native_name(name)
        if native is None:
            continue
        if name == EMBEDDING:
            tensor = tensor[: config.decoder.vocab_size]
        if tensor.dtype in _HALVES:
            tensor = tensor.float()
        if tensor.dtype != torch.float32:
            raise DataError(f"{where}: {name} is of type {tensor.dtype}; weights are float32, or half of it")
        if native in expected and tensor.shape != expected[native]:
            raise DataError(f"{where}: {name} is {list(tensor.shape)}, but config.json says {list(expected[native])}")
        renamed[native] = tensor
    missing, unknown = sorted(expected.keys() - renamed.keys()), sorted(renamed.keys() - expected.keys())
    if missing or unknown:
        shown = ", ".join(kosmos2_name(name) for name in (missing + unknown)[:3])
        raise DataError(
            f"{where}: weights and config.json do not fit: {len(missing)} tensors missing, {len(unknown)} too many "
            f"({shown})"
        )
    return renamed


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
            write_atomic(temporary / "README.md", card().encode())
        _check(source, temporary, processor, check, say, to_theirs=True)

    weights.write_folder(out.absolute(), fill)


@torch.no_grad()
def kosmos2_logits(folder: Path, probes: list[Probe]) -> list[Tensor]:
    """Logits [T, V] of transformers' Kosmos2 in `folder` for each probe."""
    from transformers import Kosmos2ForConditionalGeneration

    # transformers fills what a file lacks with random numbers, so what it had to fill is an error here.
    with quiet_transformers():
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


def _fill_native(
    folder: Path, processor: Processor, tensors: dict[str, Tensor], check: bool, say: Say, temporary: Path
) -> None:
    processor.save(temporary)
    save_config(processor.config, temporary / CONFIG_FILE)
    weights.save_tensors(tensors, temporary / WEIGHTS_FILE)
    write_atomic(temporary / "README.md", imported_card(folder, processor).encode())
    _check(folder, temporary, processor, check, say, to_theirs=False)


def _check(source: Path, made: Path, processor: Processor, check: bool, say: Say, to_theirs: bool) -> None:
    if not check:
        say("warning: the check of both sides' logits was left out (--skip-check)")
        return
    probes = make_probes(processor)
    sides = (native_logits, kosmos2_logits) if to_theirs else (kosmos2_logits, native_logits)
    compare_logits(probes, partial(sides[0], source, probes), partial(sides[1], made, probes), say)
