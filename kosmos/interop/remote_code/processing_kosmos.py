"""KOSMOS processor for transformers: text and pictures in order, as one row of ids and `pixel_values`.

`<image>` in a text stands for the next picture. As many must be there as pictures, so that a user's text that spells
`<image>` makes the call fail and never opens a picture; `KosmosProcessor.escape` and the chat template make it text.
"""

from __future__ import annotations

import re
from typing import Any

from transformers import BatchFeature
from transformers.processing_utils import MultiModalData, ProcessingKwargs, ProcessorMixin

from .tokenization_kosmos import RENDERED, WRITTEN_OUT, escape

# What transformers' own `sanitize_control_tokens` puts around spelled tokens; the template has escaped them already.
_SANITIZED = re.compile("[\U000f0000\U000f0001]")


class KosmosProcessorKwargs(ProcessingKwargs, total=False):
    """Nothing beyond transformers' own names."""

    _defaults = {}  # type: ignore[misc]  # transformers before 5.23 asks for it


class KosmosProcessor(ProcessorMixin):
    """Tokenizer and image processor as one. `num_image_tokens` slots stand for a picture in a row."""

    valid_processor_kwargs = KosmosProcessorKwargs
    # Before 5.23 transformers names the tokenizer's and image processor's classes here.
    attributes = ["image_processor", "tokenizer"]

    def __init__(
        self,
        image_processor: Any = None,
        tokenizer: Any = None,
        num_image_tokens: int = 64,
        chat_template: str | None = None,
        **kwargs: Any,
    ) -> None:
        self.num_image_tokens = num_image_tokens
        self.image_token = "<image>"
        ids = tokenizer.get_vocab()
        # The slots' id, which is the model's `image_token_id`; `<image>` and `</image>` stand around them.
        self.image_token_id = ids["<mask>"]
        self.image_token_ids = [self.image_token_id]
        self._begin_id, self._end_id = ids["<image>"], ids["</image>"]
        super().__init__(image_processor, tokenizer, chat_template=chat_template)

    @staticmethod
    def escape(text: str) -> str:
        """`text` such that nothing in it is a token or a picture, whatever it spells.

        For user text in a prompt built by hand; begin the prompt with `KosmosProcessor.rendered("")`.
        """
        return escape(text)

    @staticmethod
    def rendered(prompt: str) -> str:
        """`prompt`, to be read as the chat template's output is: `<s>`, `</s>` and `<image>` in it are tokens."""
        return RENDERED + prompt

    def __call__(self, images: Any = None, text: Any = None, **kwargs: Any) -> BatchFeature:
        """`input_ids` [B, T], `attention_mask` [B, T] and `pixel_values` [N, 3, S, S] of texts and their pictures.

        text    a str or a list of them
        images  a picture, or a list of them in the order of their `<image>`, or one list for each text
        Raises ValueError when the pictures are not as many as the `<image>`, in each text where pictures are nested.
        """
        if images is None and text is None:
            raise ValueError("give text, images or both")
        sanitized = bool(kwargs.pop("sanitize_control_tokens", False))
        init_kwargs = getattr(self.tokenizer, "init_kwargs", {})
        merged = self._merge_kwargs(
            KosmosProcessorKwargs,  # type: ignore[arg-type]
            tokenizer_init_kwargs=init_kwargs,
            **kwargs,
        )
        text_kwargs, images_kwargs = dict(merged["text_kwargs"]), dict(merged["images_kwargs"])
        return_tensors = text_kwargs.pop("return_tensors", None)
        images_kwargs.pop("return_tensors", None)
        mark_slots = bool(text_kwargs.pop("return_mm_token_type_ids", merged.get("return_mm_token_type_ids", False)))
        report = merged.get("return_text_replacement_offsets", False)
        report = bool(text_kwargs.pop("return_text_replacement_offsets", report))
        text_kwargs.pop("split_special_tokens", None)
        if images is not None:
            images = self.image_processor.fetch_images(images)
        pictures = _in_rows(images)
        made: dict[str, Any] = {}
        if text is not None:
            texts = [text] if isinstance(text, str) else list(text)
            if not all(isinstance(one, str) for one in texts):
                raise ValueError("text is a str or a list of str")
            if sanitized:
                texts = [_SANITIZED.sub("", one) for one in texts]
            made.update(self._encode(texts, pictures, text_kwargs))
            if mark_slots:
                made["mm_token_type_ids"] = self.create_mm_token_type_ids(made["input_ids"])
        flat = pictures if isinstance(pictures, _Flat) else [one for row in pictures or [] for one in row]
        if flat:
            made.update(self.image_processor(list(flat), return_tensors=return_tensors, **images_kwargs))
        out = BatchFeature(made, tensor_type=return_tensors)
        if report and text is not None:
            out["text_replacement_offsets"] = [self._replacements(one) for one in texts]
        return out

    def _encode(self, texts: list[str], pictures: Any, options: dict[str, Any]) -> dict[str, Any]:
        start = bool(options.pop("add_special_tokens", True))
        rows: list[list[int]] = []
        counts: list[int] = []
        slots = [self._begin_id, *[self.image_token_id] * self.num_image_tokens, self._end_id]
        for text in texts:
            ids = self.tokenizer.encode_parts(text, parse_image=True)
            counts.append(ids.count(self._begin_id))
            row = [0] if start and not text.startswith(RENDERED) else []
            for token in ids:
                row += slots if token == self._begin_id else [token]
            rows.append(row)
        self._check_counts(counts, pictures)
        made = dict(self.tokenizer(rows, add_special_tokens=False, **options))
        for count, row in zip(counts, made["input_ids"]):
            row = row.tolist() if hasattr(row, "tolist") else row
            if row.count(self.image_token_id) != count * self.num_image_tokens:
                raise ValueError(f"truncation to {len(row)} tokens cuts a picture's slots; shorten the text instead")
        return made

    def _check_counts(self, counts: list[int], pictures: Any) -> None:
        advice = "; user text that spells it goes through `escape` or the chat template"
        if pictures is None or isinstance(pictures, _Flat):
            given = len(pictures or ())
            if sum(counts) != given:
                raise ValueError(
                    f"{given} pictures given, but `<image>` stands {sum(counts)} times in the text{advice}"
                )
            return
        if len(pictures) != len(counts):
            raise ValueError(f"{len(pictures)} lists of pictures for {len(counts)} texts")
        for index, (count, row) in enumerate(zip(counts, pictures)):
            if count != len(row):
                raise ValueError(f"text {index}: {len(row)} pictures given, but `<image>` stands {count} times{advice}")

    def create_mm_token_type_ids(self, input_ids: Any) -> list[list[int]]:
        """1 where a picture's slot is, else 0, for each row of ids."""
        rows = [row.tolist() if hasattr(row, "tolist") else row for row in input_ids]
        return [[int(token == self.image_token_id) for token in row] for row in rows]

    @property
    def model_input_names(self) -> list[str]:
        return [*self.tokenizer.model_input_names, *self.image_processor.model_input_names]

    def replace_image_token(self, image_inputs: dict[str, Any], image_idx: int, **kwargs: Any) -> str:
        """What one `<image>` stands for, written out for the tokenizer."""
        return WRITTEN_OUT + "<image>" + "<mask>" * self.num_image_tokens + "</image>"

    def _replacements(self, text: str) -> list[dict[str, Any]]:
        """For vLLM: where each picture stands in `text`, and in the text with every picture written out."""
        written = self.replace_image_token({}, 0)
        longer = len(written) - len(self.image_token)
        found: list[dict[str, Any]] = []
        for index, match in enumerate(re.finditer(re.escape(self.image_token), text)):
            start = match.start() + index * longer
            found.append({
                "type": "image",
                "span": match.span(),
                "new_span": (start, start + len(written)),
                "text": match[0],
                "replacement": written,
            })  # fmt: skip
        return found

    def _get_num_multimodal_tokens(self, image_sizes: Any = None, **kwargs: Any) -> MultiModalData:
        """For vLLM: slots and pictures of each of `image_sizes`."""
        if image_sizes is None:
            return MultiModalData()
        count = len(image_sizes)
        return MultiModalData(num_image_tokens=[self.num_image_tokens] * count, num_image_patches=[1] * count)


class _Flat(list):
    """Pictures for all texts in order."""


def _in_rows(images: Any) -> Any:
    """None, `_Flat` pictures, or one list of pictures for each text."""
    if images is None:
        return None
    if not isinstance(images, list | tuple):
        return _Flat(images if getattr(images, "ndim", 3) == 4 else [images])
    if any(isinstance(one, list | tuple) for one in images):
        return [[] if row is None else list(row) if isinstance(row, list | tuple) else [row] for row in images]
    return _Flat(images)
