"""Tokenizer: a SentencePiece model with the ids of the KOSMOS family (fairseq order, paper 2.1).

`<s>` 0, `<pad>` 1, `</s>` 2, `<unk>` 3, then SentencePiece piece i (i >= 3) at id i + 1, then the special tokens
`<mask> </doc> <image> </image> </chunk> </line>` and any further ones. Special tokens enter a row as ids only:
text that spells one becomes ordinary pieces. SentencePiece drops newlines, so each becomes `</line>`.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import sentencepiece

from kosmos.config_files import dump_yaml, read_yaml
from kosmos.errors import DataError, StorageError, UsageError, nearest
from kosmos.storage import make_folder, write_atomic

SPECIALS = ("<mask>", "</doc>", "<image>", "</image>", "</chunk>", "</line>")
MODEL_FILE = "tokenizer.model"
METADATA_FILE = "tokenizer.yaml"

_NEWLINE = re.compile(r"\r\n|\r|\n")
_SURROGATE = re.compile("[\ud800-\udfff]")


class Tokenizer:
    """Text to ids and back. `model` is the serialized SentencePiece model, `extra_specials` further special tokens."""

    bos_id = 0
    pad_id = 1
    eos_id = 2
    unk_id = 3

    def __init__(self, model: bytes, extra_specials: Iterable[str] = (), where: str = "tokenizer") -> None:
        self._model = bytes(model)
        self.extra_specials = tuple(extra_specials)
        self._pieces = _load_pieces(self._model, where)
        self.sha256 = hashlib.sha256(self._model).hexdigest()
        first = len(self._pieces) + 1  # one more than the pieces: `<pad>` has none
        self._special_ids = {"<s>": self.bos_id, "<pad>": self.pad_id, "</s>": self.eos_id, "<unk>": self.unk_id}
        for offset, name in enumerate((*SPECIALS, *self.extra_specials)):
            if name in self._special_ids:
                raise UsageError(f"special token '{name}' is there twice; leave it out of extra_specials")
            self._special_ids[name] = first + offset
        self._special_names = {index: name for name, index in self._special_ids.items()}
        self.vocab_size = first + len(SPECIALS) + len(self.extra_specials)
        self.slot_id = self._special_ids["<mask>"]
        self.line_id = self._special_ids["</line>"]

    def __len__(self) -> int:
        return self.vocab_size

    def __reduce__(self) -> tuple[Any, ...]:
        return Tokenizer, (self._model, self.extra_specials)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Tokenizer):
            return NotImplemented
        return self.sha256 == other.sha256 and self.extra_specials == other.extra_specials

    def __hash__(self) -> int:
        return hash((self.sha256, self.extra_specials))

    @property
    def model(self) -> bytes:
        """The serialized SentencePiece model."""
        return self._model

    def scored_pieces(self) -> list[tuple[str, float]]:
        """Every piece with an id from 4 on, in the order of ids, with its log-probability in the unigram model."""
        return [(self._pieces.id_to_piece(i), self._pieces.get_score(i)) for i in range(3, len(self._pieces))]

    def special_id(self, name: str) -> int:
        """Id of a special token such as `<image>`. Raises UsageError when there is none of that name."""
        if name not in self._special_ids:
            raise UsageError(f"no special token '{name}'{nearest(name, self._special_ids)}")
        return self._special_ids[name]

    def encode(self, text: str) -> list[int]:
        """Ids of `text`: pieces, `<unk>`, and `</line>` for every newline; never another special id."""
        ids: list[int] = []
        for index, line in enumerate(_NEWLINE.split(text)):
            if index:
                ids.append(self.line_id)
            # A lone surrogate has no UTF-8 form; U+FFFD stands for it.
            pieces = self._pieces.encode(_SURROGATE.sub("\ufffd", line), out_type=int)
            ids.extend(piece + 1 if piece > 2 else self.unk_id for piece in pieces)
        return ids

    def decode(self, ids: Iterable[int], skip_special: bool = True) -> str:
        """Text of `ids`, `</line>` as a newline; other special tokens are left out or written by name."""
        out: list[str] = []
        run: list[int] = []

        def flush() -> None:
            if run:
                out.append(self._pieces.decode(run))
                run.clear()

        for token in ids:
            token = int(token)
            if token == self.line_id:
                flush()
                out.append("\n")
            elif token == self.unk_id:
                run.append(self._pieces.unk_id())
            elif token in self._special_names:
                if not skip_special:
                    flush()
                    out.append(self._special_names[token])
            else:
                run.append(self._piece(token))
        flush()
        return "".join(out)

    def id_to_piece(self, token: int) -> str:
        """The piece or special token behind an id, with SentencePiece's mark for a leading space."""
        token = int(token)
        name = self._special_names.get(token)
        return name if name is not None else str(self._pieces.id_to_piece(self._piece(token)))

    def _piece(self, token: int) -> int:
        if not 3 < token < len(self._pieces) + 1:
            raise UsageError(f"token id {token} is outside the vocabulary of {self.vocab_size}")
        return token - 1

    def save(self, folder: str | Path) -> None:
        """Write `tokenizer.model` and `tokenizer.yaml` into `folder`."""
        folder = make_folder(folder)
        write_atomic(folder / MODEL_FILE, self._model)
        metadata = {
            "format": "kosmos-tokenizer-1",
            "vocab_size": self.vocab_size,
            "extra_specials": list(self.extra_specials),
            "sha256": self.sha256,
        }
        write_atomic(folder / METADATA_FILE, dump_yaml(metadata))

    @classmethod
    def load(cls, path: str | Path, extra_specials: Iterable[str] = ()) -> Tokenizer:
        """Load a SentencePiece model file, or a folder written by `save`.

        Raises DataError when it is missing or not a usable model, StorageError when a saved one was changed.
        """
        path = Path(path)
        metadata: dict[str, Any] = {}
        if path.is_dir():
            if (path / METADATA_FILE).exists():
                metadata = read_yaml(path / METADATA_FILE)
            path = path / MODEL_FILE
        try:
            model = path.read_bytes()
        except OSError as error:
            raise DataError(f"{path}: cannot read the tokenizer: {error.strerror or error}") from error
        if "sha256" in metadata and hashlib.sha256(model).hexdigest() != metadata["sha256"]:
            raise StorageError(f"{path}: damaged: its sha256 is not the one in {METADATA_FILE}")
        extras = tuple(metadata.get("extra_specials") or ()) + tuple(extra_specials)
        return cls(model, extras, where=str(path))

    @classmethod
    def train(cls, texts: Iterable[str], path: str | Path, vocab_size: int, **options: Any) -> Tokenizer:
        """Train a unigram model of `vocab_size` pieces on `texts` and write it to the file `path`.

        Settings are the family's (nmt_nfkc, dummy prefix, coverage 0.99999, no byte fallback); `options` override
        SentencePiece's trainer settings by name. The same texts give the same file. Raises DataError when the texts
        are empty or too few for the vocabulary.
        """
        settings: dict[str, Any] = {
            "model_type": "unigram",
            "normalization_rule_name": "nmt_nfkc",
            "add_dummy_prefix": True,
            "remove_extra_whitespaces": True,
            "character_coverage": 0.99999,
            "byte_fallback": False,
            "split_digits": False,
            "num_threads": 1,  # more threads add floating-point sums in another order
            "max_sentence_length": 1 << 20,  # longer lines are left out silently
            "minloglevel": 3,
            **options,
        }
        out = io.BytesIO()
        lines = _Lines(texts)
        try:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=iter(lines), model_writer=out, vocab_size=vocab_size, **settings
            )
        except (RuntimeError, ValueError, OSError) as error:
            if lines.error is not None:  # SentencePiece hides what the texts themselves raised
                raise lines.error from None
            if not lines.count:
                raise DataError("cannot train a tokenizer: there is no text") from error
            reason = " ".join(str(error).split()).rpartition("] ")[2]
            raise DataError(f"cannot train a tokenizer of {vocab_size} pieces on these texts: {reason}") from error
        path = Path(path)
        make_folder(path.parent)
        tokenizer = cls(out.getvalue(), where=str(path))
        write_atomic(path, tokenizer._model)
        return tokenizer


class _Lines:
    """The non-empty lines of texts, counted; remembers what the texts raised."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._texts = texts
        self.count = 0
        self.error: BaseException | None = None

    def __iter__(self) -> Iterator[str]:
        try:
            for text in self._texts:
                for line in _NEWLINE.split(text):
                    if line.strip():
                        self.count += 1
                        yield _SURROGATE.sub("\ufffd", line)
        except GeneratorExit:
            raise
        except BaseException as error:
            self.error = error
            raise


def _load_pieces(model: bytes, where: str) -> sentencepiece.SentencePieceProcessor:
    pieces = sentencepiece.SentencePieceProcessor()
    try:
        pieces.LoadFromSerializedProto(model)
    except (RuntimeError, ValueError, TypeError) as error:
        raise DataError(f"{where}: not a SentencePiece model") from error
    count = len(pieces)
    if (count, pieces.unk_id(), pieces.bos_id(), pieces.eos_id()) != (max(count, 4), 0, 1, 2):
        raise DataError(f"{where}: pieces 0, 1, 2 must be <unk>, <s>, </s>; train one with `kosmos tokenizer train`")
    return pieces
