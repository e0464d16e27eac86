"""KOSMOS tokenizer for transformers: a SentencePiece model with the ids of the KOSMOS family.

`<s>` 0, `<pad>` 1, `</s>` 2, `<unk>` 3, then SentencePiece piece i (i >= 3) at id i + 1, then the special tokens
`<mask> </doc> <image> </image> </chunk> </line>` and any further ones. A newline becomes `</line>`.

Text that spells a special token becomes ordinary pieces, unless `split_special_tokens=False` is passed, or the text is
a rendered chat: one that starts with `<s>` and the mark U+FDD0, as the chat template writes it. In a rendered chat
`<s>`, `</s>` and `<image>` are tokens; the template escapes what the user wrote (see `escape`), so that it never is.
The text `<image>` alone, asked for without special tokens, is that token: so servers look up a picture's placeholder.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import sentencepiece
from transformers import AddedToken, PreTrainedTokenizer

SPECIALS = ("<mask>", "</doc>", "<image>", "</image>", "</chunk>", "</line>")

# A Unicode noncharacter: no text that people exchange has it. In a rendered chat it stands before one letter:
# `l` for a `<` that is only text, `m` for the mark itself, `|` where the tokens before must not see the text after.
MARK = "\ufdd0"
RENDERED = "<s>" + MARK
# Before a picture written out, as the processor reports it: `<image>`, `<mask>` and `</image>` behind it are tokens.
WRITTEN_OUT = MARK + "~"
_CUT = MARK + "|"

_NEWLINE = re.compile(r"\r\n|\r|\n")
_SURROGATE = re.compile("[\ud800-\udfff]")
_SPELLED = re.compile(r"<(?=/?s>|image>)")
_ESCAPED = re.compile(MARK + "([lm])")
_CONTROL = re.compile(r"(<s>|</s>|<image>)")
_PICTURE = ("<image>", "<mask>", "</image>")
# What transformers' own `sanitize_control_tokens` puts around spelled tokens; the template has escaped them already.
_SANITIZED = re.compile("[\U000f0000\U000f0001]")


def escape(text: str) -> str:
    """`text` for a rendered chat, where nothing in it is a token, whatever it spells."""
    return _SPELLED.sub(MARK + "l", text.replace(MARK, MARK + "m"))


def unescape(text: str) -> str:
    """What `escape` was given."""
    return _ESCAPED.sub(lambda found: "<" if found[1] == "l" else MARK, text)


class KosmosTokenizer(PreTrainedTokenizer):
    """Text to ids and back. `vocab_file` is the SentencePiece model, `extra_specials` further special tokens."""

    vocab_files_names = {"vocab_file": "tokenizer.model"}
    model_input_names = ["input_ids", "attention_mask"]
    padding_side = "left"

    def __init__(
        self,
        vocab_file: str,
        bos_token: str | AddedToken = "<s>",
        eos_token: str | AddedToken = "</s>",
        unk_token: str | AddedToken = "<unk>",
        pad_token: str | AddedToken = "<pad>",
        extra_specials: Iterable[str] | None = None,
        **kwargs: Any,
    ) -> None:
        self.vocab_file = str(vocab_file)
        self.extra_specials = list(extra_specials or ())
        self._model = Path(self.vocab_file).read_bytes()
        self._pieces = sentencepiece.SentencePieceProcessor()
        self._pieces.LoadFromSerializedProto(self._model)
        first = len(self._pieces) + 1  # one more than the pieces: `<pad>` has none
        self._special_ids = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3}
        for offset, name in enumerate((*SPECIALS, *self.extra_specials)):
            self._special_ids[name] = first + offset
        self._special_names = {index: name for name, index in self._special_ids.items()}
        self._base_size = first + len(SPECIALS) + len(self.extra_specials)
        self._line_id = self._special_ids["</line>"]
        self._vocab: dict[str, int] = dict(self._special_ids)
        self._tokens: list[str] = []
        for index in range(self._base_size):
            name = self._special_names.get(index, "")
            if not name:
                name = str(self._pieces.id_to_piece(index - 1))
                while name in self._vocab:  # a piece may be spelled like a special token
                    name += f"#{index}"
                self._vocab[name] = index
            self._tokens.append(name)
        kwargs.setdefault("split_special_tokens", True)
        # `</line>` is a newline, which is text: nothing may skip it as special.
        kwargs.setdefault(
            "extra_special_tokens", [name for name in (*SPECIALS, *self.extra_specials) if name != "</line>"]
        )
        super().__init__(
            vocab_file=self.vocab_file,
            bos_token=bos_token,
            eos_token=eos_token,
            unk_token=unk_token,
            pad_token=pad_token,
            extra_specials=self.extra_specials,
            special_tokens_pattern="none",
            token_type_ids_pattern="all_zeros",
            **{
                name: value
                for name, value in kwargs.items()
                if not name.startswith(("special_tokens_p", "token_type_"))
            },
        )

    @property
    def vocab_size(self) -> int:
        """Number of ids, special tokens included, tokens added later not."""
        return self._base_size

    def get_vocab(self) -> dict[str, int]:
        return {**self._vocab, **self._added_tokens_encoder}

    def encode_text(self, text: str) -> list[int]:
        """Ids of plain text: pieces, `<unk>`, and `</line>` for every newline; never another special id."""
        ids: list[int] = []
        for index, line in enumerate(_NEWLINE.split(text)):
            if index:
                ids.append(self._line_id)
            # A lone surrogate has no UTF-8 form; U+FFFD stands for it.
            pieces = self._pieces.encode(_SURROGATE.sub("\ufffd", line), out_type=int)
            ids.extend(piece + 1 if piece > 2 else 3 for piece in pieces)
        return ids

    def encode_parts(self, text: str, parse_image: bool = False) -> list[int]:
        """Ids of a text for the processor, without any `<s>` of its own: one `<image>` id for each placeholder.

        A placeholder is `<image>` in a rendered chat, and with `parse_image` in any text. A rendered chat brings `<s>`.
        """
        rendered = text.startswith(RENDERED)
        if text.startswith(WRITTEN_OUT):
            return self._encode_names(text[len(WRITTEN_OUT) :], _PICTURE)
        if not rendered and not parse_image:
            return self._encode_added(text)
        ids: list[int] = [0] if rendered else []
        body = text[len(RENDERED) :] if rendered else text
        for part in _CONTROL.split(body) if rendered else re.split("(<image>)", body):
            if part in ("<s>", "</s>", "<image>") and (rendered or part == "<image>"):
                ids.append(self._special_ids[part])
            elif part and rendered:
                ids += self._encode_cut(part)
            elif part:
                ids += self._encode_added(part)
        return ids

    def _encode_cut(self, text: str) -> list[int]:
        """Escaped text, its tokens before a cut independent of the text after it."""
        parts = [unescape(part) for part in text.split(_CUT)]
        ids: list[int] = []
        while parts:
            joined = self._encode_added("".join(parts))
            done, whole = len(parts), joined
            for count in range(1, len(parts)):
                before = self._encode_added("".join(parts[:count]))
                if joined[: len(before)] != before:
                    done, whole = count, before
                    break
            ids += whole
            parts = parts[done:]
        return ids

    def _encode_added(self, text: str) -> list[int]:
        """Plain text, with the tokens that the user has added (`add_tokens`), if any."""
        added = [name for name, index in self._added_tokens_encoder.items() if index >= self._base_size]
        return self._encode_names(text, added) if added else self.encode_text(text)

    def _encode_names(self, text: str, names: Iterable[str]) -> list[int]:
        """Plain text, but each of `names` spelled in it is that token."""
        longest_first = sorted(names, key=len, reverse=True)
        ids: list[int] = []
        for index, part in enumerate(re.split(f"({'|'.join(map(re.escape, longest_first))})", text)):
            if index % 2:
                ids.append(self._added_tokens_encoder.get(part, self._special_ids.get(part, 3)))
            elif part:
                ids += self.encode_text(part)
        return ids

    def tokenize(
        self, text: str, pair: str | None = None, add_special_tokens: bool = False, **kwargs: Any
    ) -> list[str]:
        """Token strings of `text`; `split_special_tokens=False` makes spelled special tokens tokens.

        No `<s>` is added, and a `pair` is not read: both as in transformers' tokenizers of its kind.
        """
        split = kwargs.pop("split_special_tokens", self.split_special_tokens)
        if not split and not text.startswith(RENDERED):
            ids = self._encode_names(text, {*self._special_ids, *self._added_tokens_encoder})
        else:
            ids = self.encode_parts(text)
        return [str(self._convert_id_to_token(index)) for index in ids]

    def _encode_plus(self, text: Any, text_pair: Any = None, **kwargs: Any) -> Any:  # type: ignore[override]
        if kwargs.pop("sanitize_control_tokens", None):
            text = _without_marks(text)
        special = kwargs.get("add_special_tokens", True)
        if special and isinstance(text, str) and text.startswith(RENDERED):
            kwargs["add_special_tokens"] = False  # it brings its own `<s>`
        elif not special and text == "<image>":
            text = [self._special_ids[text]]
        return super()._encode_plus(text, text_pair, **kwargs)

    def _encode_without_added_tokens(self, text: str) -> list[int]:
        return self.encode_text(text)

    def _convert_token_to_id(self, token: str) -> int:
        return self._vocab.get(token, 3)

    def _convert_id_to_token(self, index: int) -> str:
        if 0 <= index < self._base_size:
            return self._tokens[index]
        added = self._added_tokens_decoder.get(index)
        return added.content if added is not None else "<unk>"

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        """Text of token strings, special tokens written by name."""
        return self._decode(self.convert_tokens_to_ids(list(tokens)))

    def _decode(
        self,
        token_ids: Any,
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
        **kwargs: Any,
    ) -> str:
        """Text of `token_ids`, `</line>` as a newline; other special tokens are left out or written by name."""
        out: list[str] = []
        run: list[int] = []

        def flush() -> None:
            if run:
                out.append(self._pieces.decode(run))
                run.clear()

        for token in [token_ids] if isinstance(token_ids, int) else token_ids:
            token = int(token)
            added = self._added_tokens_decoder.get(token)
            if token == self._line_id:
                flush()
                out.append("\n")
            elif 3 < token <= len(self._pieces):
                run.append(token - 1)
            elif token == 3 or not (token in self._special_names or added):
                run.append(self._pieces.unk_id())
            elif not skip_special_tokens or (added is not None and not added.special):
                flush()
                out.append(self._special_names.get(token) or str(added))
        flush()
        text = "".join(out)
        return str(self.clean_up_tokenization(text)) if clean_up_tokenization_spaces else text

    def build_inputs_with_special_tokens(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """`<s>` first; the end is the model's to say. A row that has its `<s>` (a rendered chat) gets no second one."""
        row = token_ids_0 + (token_ids_1 or [])
        return row if row[:1] == [0] else [0] + row

    def get_special_tokens_mask(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None, already_has_special_tokens: bool = False
    ) -> list[int]:
        if already_has_special_tokens:
            special = set(self.all_special_ids)
            return [int(token in special) for token in token_ids_0]
        return [1] + [0] * (len(token_ids_0) + len(token_ids_1 or []))

    def create_token_type_ids_from_sequences(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        return [0] * len(self.build_inputs_with_special_tokens(token_ids_0, token_ids_1))

    def save_vocabulary(self, save_directory: str, filename_prefix: str | None = None) -> tuple[str, ...]:
        path = Path(save_directory) / ((f"{filename_prefix}-" if filename_prefix else "") + "tokenizer.model")
        path.write_bytes(self._model)
        return (str(path),)


def _without_marks(text: Any) -> Any:
    if isinstance(text, str):
        return _SANITIZED.sub("", text)
    return [_without_marks(part) for part in text] if isinstance(text, list | tuple) else text
