"""The same random weights as our Engine and as transformers' Kosmos2, prompts for both, and timing in turns.

The vocabulary's special tokens, and entries that no text has, get embeddings of zero: the tied head then never chooses
them. So transformers needs no processors of logits to make what we make, and runs as fast as it can.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from transformers import Kosmos2Config, Kosmos2ForConditionalGeneration

from benchmarks.data import synthetic
from kosmos.config import Precision
from kosmos.document import Document, Text
from kosmos.inference.engine import Engine
from kosmos.interop.kosmos2.config import native_config
from kosmos.interop.kosmos2.conversion import native_tensors
from kosmos.model.kosmos import Kosmos
from kosmos.processor import Processor
from kosmos.tokenizer import Tokenizer

MAX_POSITIONS = 1024


@dataclass(frozen=True)
class Shape:
    """Sizes of a decoder."""

    layers: int
    width: int
    heads: int
    vocabulary: int = 8000

    def __str__(self) -> str:
        return f"{self.layers} x {self.width}"


class Pair:
    """Our model and theirs, on the same random weights. bf16: theirs is converted, ours has the Engine's option."""

    def __init__(
        self,
        config: Kosmos2Config,
        device: str = "cpu",
        precision: Precision = "fp32",
        max_slots: int = 64,
        static_decode: bool = False,
    ) -> None:
        with tempfile.TemporaryDirectory() as folder:
            self.tokenizer: Tokenizer = synthetic.tokenizer("", Path(folder))
        torch.manual_seed(1)
        theirs: Any = _kosmos2(config, self.tokenizer)
        model = Kosmos(native_config(config, trainable="all")).eval()
        model.load_state_dict(native_tensors(theirs.state_dict(), model.config, "transformers"))
        self.device = torch.device(device)
        self.dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        self.theirs = theirs.to(device=self.device, dtype=self.dtype)
        self.model = model.to(self.device)
        self.processor = Processor(self.tokenizer, model.config)
        options: dict[str, Any] = {"precision": precision, "max_slots": max_slots, "static_decode": static_decode}
        self.engine = Engine(self.model, self.processor, **options)

    @classmethod
    def of(cls, shape: Shape) -> Pair:
        """A decoder of this shape; no pictures, so the smallest tower there is."""
        tower = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1}
        return cls(kosmos2_config(shape, MAX_POSITIONS, tower | {"image_size": 16, "patch_size": 8}, num_latents=1))

    @property
    def their_text(self) -> Any:
        """Their language model alone."""
        return self.theirs.text_model

    def ids(self, document: Document) -> list[int]:
        """A prompt's tokens."""
        return self.processor.encode(document.unsupervised(), end=False).token_ids.tolist()

    def candidate_ids(self, document: Document, candidate: str) -> tuple[list[int], int]:
        """Tokens of prompt and candidate together, and how many of them are the candidate's."""
        row = self.processor.encode(document.unsupervised() + Text(candidate, supervised=True), end=False)
        return row.token_ids.tolist(), int(row.supervised.sum())

    def generate(self, documents: Sequence[Document], new_tokens: int, **options: Any) -> list[list[int]]:
        """What transformers' `generate` makes; prompts of different lengths are padded on the left."""
        rows = [self.ids(document) for document in documents]
        width = max(map(len, rows))
        pad = self.tokenizer.pad_id
        ids = torch.tensor([[pad] * (width - len(row)) + row for row in rows], device=self.device)
        made = self.their_text.generate(
            input_ids=ids,
            attention_mask=(ids != pad).long(),
            max_new_tokens=new_tokens,
            do_sample=False,
            pad_token_id=pad,
            **options,
        )
        return made[:, width:].tolist()


def kosmos2_config(shape: Shape, max_positions: int, vision: dict[str, Any], num_latents: int) -> Kosmos2Config:
    """Transformers' configuration of a decoder and a CLIP tower."""
    text = {
        "vocab_size": shape.vocabulary,
        "max_position_embeddings": max_positions,
        "embed_dim": shape.width,
        "layers": shape.layers,
        "ffn_dim": 4 * shape.width,
        "attention_heads": shape.heads,
        "dropout": 0.0,
        "attention_dropout": 0.0,
    }
    return Kosmos2Config(text_config=text, vision_config=vision, latent_query_num=num_latents)


def _kosmos2(config: Kosmos2Config, tokenizer: Tokenizer) -> Kosmos2ForConditionalGeneration:
    made = Kosmos2ForConditionalGeneration(config).eval()
    text: Any = made.text_model
    with torch.no_grad():
        for name, parameter in text.named_parameters():
            if parameter.ndim == 1 and "layer_norm" not in name:
                parameter.normal_(std=0.02)  # biases, which a new model has at zero
            elif ".layers." in name and parameter.ndim == 2:
                parameter.mul_(6.0)  # so that what was read counts, not the last token alone
        embedding = text.model.embed_tokens.weight
        # Sharp logits, so that the best token is the best by far more than rounding.
        embedding.mul_(3.0)
        embedding[: tokenizer.unk_id + 1] = 0.0
        embedding[tokenizer.slot_id :] = 0.0
        # A random tied model repeats its last token; with signs flipped before the head it wanders.
        text.model.layer_norm.weight.copy_(torch.randint(0, 2, (embedding.shape[1],)) * 2.0 - 1.0)
    text.generation_config.eos_token_id = None  # no end before the last token
    return made


def text_of(tokenizer: Tokenizer, num_tokens: int, seed: int) -> str:
    """Sentences of the Python manual, cut to `num_tokens` or a few less."""
    rng = np.random.default_rng(seed)
    words: list[str] = []
    while len(words) < num_tokens:  # a word is a token at least
        words += synthetic.paragraph(rng).split()
    low, high = 1, len(words)
    while low < high:
        middle = (low + high + 1) // 2
        fits = len(tokenizer.encode(" ".join(words[:middle]))) <= num_tokens
        low, high = (middle, high) if fits else (low, middle - 1)
    return " ".join(words[:low])


@dataclass(frozen=True)
class Paired:
    """Seconds of two contestants over the same turns."""

    ours: tuple[float, ...]
    theirs: tuple[float, ...]

    def row(self) -> dict[str, Any]:
        """Medians, the median of the ratios of neighbours (above 1: ours is faster), and their range."""
        ratios = [theirs / ours for ours, theirs in zip(self.ours, self.theirs)]
        return {
            "ours ms": round(1000 * median(self.ours), 2),
            "theirs ms": round(1000 * median(self.theirs), 2),
            "ratio": round(median(ratios), 3),
            "range": [round(min(ratios), 3), round(max(ratios), 3)],
        }


def in_turns(ours: Callable[[], object], theirs: Callable[[], object], pairs: int) -> Paired:
    """Time both in turns, after one run of each that does not count; who goes first alternates."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for turn in range(-1, pairs):
        order = (0, 1) if turn % 2 == 0 else (1, 0)
        for which in order:
            begin = time.perf_counter()
            (ours, theirs)[which]()
            if turn >= 0:
                seconds[which].append(time.perf_counter() - begin)
    return Paired(tuple(seconds[0]), tuple(seconds[1]))
