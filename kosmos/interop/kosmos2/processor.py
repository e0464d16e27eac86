"""Tokenizer and pictures' preprocessing of a Kosmos-2 folder in transformers' form: read, and written."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kosmos.config import VisionConfig
from kosmos.errors import ConfigError, DataError, UsageError
from kosmos.interop.kosmos2.sentencepiece_file import precompiled_charsmap, unigram_model
from kosmos.interop.stored_json import read_json
from kosmos.processor import Processor
from kosmos.storage import write_atomic
from kosmos.tokenizer import SPECIALS, Tokenizer

SENTENCEPIECE_FILE = "sentencepiece.bpe.model"
TOKENIZER_FILE = "tokenizer.json"
# Kosmos-2's grounding tokens, which follow `</line>`: 6 tags and the 32 x 32 places of a picture.
GROUNDING_TAGS = ("<phrase>", "</phrase>", "<object>", "</object>", "</delimiter_of_multi_objects/>", "<grounding>")
GROUNDING_TOKENS = GROUNDING_TAGS + tuple(f"<patch_index_{index:04}>" for index in range(1024))
# Both tokenizers must cut these alike. No newline: `</line>` is ours, transformers' tokenizer takes it for a space.
SENTENCES = (
    "An image of",
    "Two puppies sit in a field of grass.",
    "Question: what color is the cat? Answer: black and white",
    'It has 12,345 parts - e.g. "wheels", a half (½), the ligature ﬁ, naïve café.',
)
# What processors of transformers always take for a picture's slots where the call does not say it.
DEFAULT_SLOTS = 64


def read_tokenizer(folder: Path, vocab_size: int, model_file: Path | None = None) -> Tokenizer:
    """The tokenizer of a folder: its SentencePiece model (or `model_file`), with its added tokens as extras.

    Without a SentencePiece model one is made again of tokenizer.json, whose entries it holds. Ids are compared with
    tokenizer.json's where there is one. Raises DataError when no tokenizer is there, or its ids are not the family's.
    """
    stored = _read_json(folder / TOKENIZER_FILE)
    if model_file is None and (folder / SENTENCEPIECE_FILE).is_file():
        model_file = folder / SENTENCEPIECE_FILE
    if model_file is not None:
        plain, where = Tokenizer.load(model_file), str(model_file)
    elif stored is not None:
        where = str(folder / TOKENIZER_FILE)
        plain = Tokenizer(_model_of_json(stored, where), where=where)
    else:
        raise DataError(
            f"{folder}: no tokenizer here: neither {SENTENCEPIECE_FILE} nor {TOKENIZER_FILE}; give one with --tokenizer"
        )
    if stored is not None:
        _compare_entries(stored, plain, folder / TOKENIZER_FILE)
    tokenizer = Tokenizer(plain.model, _extra_specials(folder, stored, plain, vocab_size), where=where)
    if stored is not None:
        _compare_ids(tokenizer, _ids_of_file(folder / TOKENIZER_FILE), str(folder / TOKENIZER_FILE), DataError)
    return tokenizer


def write_processor(processor: Processor, folder: Path) -> list[str]:
    """Write processor and tokenizer files that transformers' AutoProcessor reads as Kosmos2Processor.

    Returns in words what a user of them must know. Raises ConfigError when the tokenizer has no such form.
    """
    from transformers import XLMRobertaTokenizer
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
    from transformers.models.kosmos2.processing_kosmos2 import Kosmos2Processor

    tokenizer, vision = processor.tokenizer, processor.config.vision
    assert vision is not None
    theirs: Any = XLMRobertaTokenizer(
        vocab=_vocabulary(tokenizer),
        _spm_precompiled_charsmap=precompiled_charsmap(tokenizer.model),  # type: ignore[arg-type]
        model_max_length=processor.config.decoder.max_positions,
    )
    _add_tokens(theirs, tokenizer)
    patches = sum(name in GROUNDING_TOKENS[len(GROUNDING_TAGS) :] for name in tokenizer.extra_specials)
    pictures = CLIPImageProcessorPil(**_preprocessing(vision))
    Kosmos2Processor(pictures, theirs, num_patch_index_tokens=patches).save_pretrained(folder)
    # For versions of transformers before 5, and for `kosmos import`.
    settings = pictures.to_dict() | {
        "image_processor_type": "CLIPImageProcessor",
        "processor_class": "Kosmos2Processor",
    }
    write_atomic(folder / "preprocessor_config.json", json.dumps(settings, indent=2, sort_keys=True).encode() + b"\n")
    write_atomic(folder / SENTENCEPIECE_FILE, tokenizer.model)
    _compare_ids(tokenizer, _ids_of_file(folder / TOKENIZER_FILE), "the tokenizer's transformers form", ConfigError)
    notes = []
    if missing := [name for name in GROUNDING_TAGS if name not in tokenizer.extra_specials]:
        notes.append(
            f"transformers' processor knows {len(missing)} grounding tokens (<phrase> ...) that this model has no "
            "embeddings for: keep them out of prompts"
        )
    if (slots := processor.config.resampler.num_latents) != DEFAULT_SLOTS:
        notes.append(f"a picture takes {slots} slots here: call the processor with num_image_tokens={slots}")
    return notes


def _preprocessing(vision: VisionConfig) -> dict[str, Any]:
    side = {"height": vision.image_size, "width": vision.image_size}
    return {
        "size": side,
        "crop_size": side,
        "do_center_crop": False,
        "image_mean": list(vision.image_mean),
        "image_std": list(vision.image_std),
    }


def _vocabulary(tokenizer: Tokenizer) -> list[tuple[str, float]]:
    """transformers' list of pieces with scores, in the order of ids up to `<mask>`."""
    first = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    return [*first, *tokenizer.scored_pieces(), (SPECIALS[0], 0.0)]


def _add_tokens(theirs: Any, tokenizer: Tokenizer) -> None:
    """Give transformers' tokenizer our further special tokens; raises ConfigError when one gets another id."""
    from tokenizers import AddedToken

    names = (*SPECIALS[1:], *tokenizer.extra_specials)
    theirs.add_tokens([AddedToken(name, lstrip=True, rstrip=False, normalized=False) for name in names])
    for name in names:
        if theirs.convert_tokens_to_ids(name) != tokenizer.special_id(name):
            raise ConfigError(
                f"the tokenizer's token {name} cannot have id {tokenizer.special_id(name)} in transformers"
            )


def _extra_specials(
    folder: Path, stored: Mapping[str, Any] | None, plain: Tokenizer, vocab_size: int
) -> tuple[str, ...]:
    """The tokens that follow `</line>`, in the order of their ids."""
    if stored is not None:
        added = _added_tokens(stored, folder / TOKENIZER_FILE)
    elif (listed := _read_json(folder / "added_tokens.json")) is not None:
        if not all(isinstance(index, int) for index in listed.values()):
            raise DataError(f"{folder / 'added_tokens.json'}: damaged: ids are whole numbers")
        added = {index: name for name, index in listed.items()}
    elif plain.vocab_size + len(GROUNDING_TOKENS) == vocab_size:
        return GROUNDING_TOKENS
    else:
        added = {}
    extras = [(index, name) for index, name in sorted(added.items()) if index >= plain.vocab_size]
    for place, (index, name) in enumerate(extras):
        if index != plain.vocab_size + place:
            raise DataError(
                f"{folder}: the added token {name} has id {index}, not the next free {plain.vocab_size + place}"
            )
    inside = [(index, name) for index, name in extras if index < vocab_size]
    return tuple(name for _, name in inside)


def _added_tokens(stored: Mapping[str, Any], file: Path) -> dict[int, str]:
    try:
        return {int(entry["id"]): str(entry["content"]) for entry in stored.get("added_tokens") or ()}
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{file}: damaged: an added token without id or content") from error


def _compare_entries(stored: Mapping[str, Any], tokenizer: Tokenizer, file: Path) -> None:
    """Raise DataError unless every entry of tokenizer.json up to `</line>` has the same id here."""
    try:
        entries = {index: str(piece) for index, (piece, _) in enumerate(stored["model"]["vocab"])}
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{file}: not a unigram tokenizer") from error
    entries |= _added_tokens(stored, file)
    for index, name in entries.items():
        if index < tokenizer.vocab_size and tokenizer.id_to_piece(index) != name:
            raise DataError(
                f"{file}: id {index} is '{name}', but '{tokenizer.id_to_piece(index)}' by the SentencePiece model in "
                "the order of this family; the two files do not belong together"
            )


def _ids_of_file(file: Path) -> list[list[int]]:
    from tokenizers import Tokenizer as FastTokenizer

    try:
        fast = FastTokenizer.from_file(str(file))
    except Exception as error:  # tokenizers raises nothing more special
        raise DataError(f"{file}: the tokenizers library cannot read it: {error}") from error
    fast.no_padding()
    fast.no_truncation()
    return [list(fast.encode(sentence, add_special_tokens=False).ids) for sentence in SENTENCES]


def _compare_ids(
    tokenizer: Tokenizer, theirs: Sequence[list[int]], what: str, error: type[DataError] | type[ConfigError]
) -> None:
    for sentence, found in zip(SENTENCES, theirs):
        if (ours := tokenizer.encode(sentence)) != found:
            raise error(f"{what}: other ids for {sentence!r}: {found[:8]} ..., here {ours[:8]} ...")


def _model_of_json(stored: Mapping[str, Any], where: str) -> bytes:
    """A SentencePiece model with the entries of a tokenizer.json. Raises DataError when it is no unigram model."""
    try:
        vocabulary = [(str(piece), float(score)) for piece, score in stored["model"]["vocab"]]
        normalizer = stored["normalizer"]
        parts = normalizer.get("normalizers", [normalizer]) if normalizer else []
        table = next((part["precompiled_charsmap"] for part in parts if part["type"] == "Precompiled"), None)
        charsmap = b"" if not table else base64.b64decode(table)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{where}: not a unigram tokenizer; give its SentencePiece model with --tokenizer") from error
    first = [piece for piece, _ in vocabulary[:4]]
    if first != ["<s>", "<pad>", "</s>", "<unk>"] or vocabulary[-1][0] != SPECIALS[0]:
        raise DataError(f"{where}: entries are not in the order of this family (<s> <pad> </s> <unk> pieces <mask>)")
    return unigram_model(vocabulary[4:-1], charsmap)


def _read_json(file: Path) -> dict[str, Any] | None:
    return read_json(file) if file.is_file() else None


def without_extras(tokenizer: Tokenizer, vocab_size: int) -> Tokenizer:
    """The tokenizer up to `</line>`. Raises UsageError when there is nothing to leave out."""
    plain = Tokenizer(tokenizer.model)
    if vocab_size <= plain.vocab_size:
        raise UsageError(f"--truncate-vocabulary: the vocabulary of {vocab_size} entries has none beyond `</line>`")
    return plain
