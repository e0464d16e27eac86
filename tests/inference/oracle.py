"""The plain way to do what the Engine does: the whole row, alone, without a cache, again for every token."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import strategies as st
from torch import Tensor

from kosmos.batch import Sequence, collate
from kosmos.document import Document, End, Image, Segment, Text
from kosmos.model.kosmos import Kosmos
from kosmos.processor import Processor


def _picture(seed: int) -> Image:
    """Noise around a colour of its own."""
    generator = np.random.default_rng(seed)
    colour = generator.integers(0, 200, 3)
    return Image((colour + generator.integers(0, 56, (16, 16, 3))).astype(np.uint8))


PICTURES = [_picture(seed) for seed in range(4)]


def plain_logits(model: Kosmos, row: Sequence) -> Tensor:
    """fp32 [T, V] of one row, by one full forward pass."""
    with torch.no_grad():
        hidden = model(collate([row], pad_id=1))
        return model.head(hidden)[0]


def append(row: Sequence, token_ids: list[int]) -> Sequence:
    ids = np.concatenate([row.token_ids, np.asarray(token_ids, dtype=np.int64)])
    return Sequence(ids, np.zeros(len(ids), dtype=bool), row.inputs)


def plain_greedy(
    model: Kosmos, processor: Processor, document: Document, max_new_tokens: int
) -> tuple[list[int], list[float]]:
    """Tokens and their log-probabilities, `</s>` included."""
    tokenizer = processor.tokenizer
    never = [0, 1, 3, *(tokenizer.special_id(n) for n in ("<mask>", "</doc>", "<image>", "</image>", "</chunk>"))]
    row = processor.encode(document.unsupervised(), end=False)
    tokens: list[int] = []
    log_probs: list[float] = []
    while len(tokens) < max_new_tokens and tokenizer.eos_id not in tokens:
        logits = plain_logits(model, append(row, tokens))[-1]
        allowed = logits.clone()
        allowed[never] = -torch.inf
        tokens.append(int(allowed.argmax()))
        log_probs.append(float(logits.log_softmax(-1)[tokens[-1]]))
    return tokens, log_probs


_words = st.lists(
    st.sampled_from(["an image", "of", "the red cat", "two dogs,", "it?", "Answer:", "été", "\n", "<image>", "x"]),
    max_size=4,
).map(" ".join)
_texts = st.one_of(_words, st.text(max_size=6), st.just(""))
_segments: st.SearchStrategy[Segment] = st.one_of(
    _texts.map(Text), st.sampled_from(PICTURES), st.sampled_from(PICTURES), st.just(End())
)
# Pictures first, last, in a row, nothing at all, text that spells a special token.
documents = st.lists(_segments, max_size=5).map(lambda segments: Document(*segments))
