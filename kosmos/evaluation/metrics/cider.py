"""CIDEr-D: how much a caption says what most people said of the picture, and not of other pictures.

R. Vedantam et al., 2015, in the form of the official scorer: n-grams of 1 to 4 words weighted by tf-idf, clipped
products, a Gaussian penalty on the difference of lengths (sigma 6), the mean over n and references, times 10.

Document frequencies come from the references of the whole set, so the value of a part is another quantity: it is
computed with the whole set's frequencies and named `cider_subset`, never `cider`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain

import numpy as np

from kosmos.errors import UsageError
from kosmos.evaluation.metrics.answered import Answered, Measured, SetMetric
from kosmos.evaluation.metrics.captions import tokenize_captions, tokenize_references
from kosmos.evaluation.metrics.ngrams import count_ngrams
from kosmos.evaluation.metrics.ptb_tokenizer import words

MAX_ORDER = 4
SIGMA = 6.0
SCALE = 10.0


def cider_values(
    captions: Sequence[str], references: Sequence[Sequence[str]], corpus: Sequence[Sequence[str]] | None = None
) -> np.ndarray:
    """CIDEr-D of each picture, float64 [pictures], from tokenized captions and references (words between spaces).

    `corpus`: tokenized references of all pictures that the document frequencies count; `references` when None.
    """
    if len(captions) != len(references):
        raise UsageError(f"{len(captions)} captions for {len(references)} pictures")
    corpus_given = corpus is not None
    documents = corpus if corpus is not None else references
    sentences = [words(text) for text in chain(captions, *references, *(documents if corpus_given else ()))]
    num_captions = len(captions)
    num_references = np.fromiter(map(len, references), dtype=np.int64, count=num_captions)
    picture = np.concatenate([np.arange(num_captions), np.repeat(np.arange(num_captions), num_references)])
    document_sizes = np.fromiter(map(len, documents), dtype=np.int64, count=len(documents))
    document = np.repeat(np.arange(len(documents)), document_sizes)
    first_document = len(picture) if corpus_given else num_captions

    # The official scorer takes the number of bigrams for the length; a single word has none.
    lengths = np.maximum(np.fromiter(map(len, sentences), dtype=np.int64, count=len(sentences)) - 1, 0)[: len(picture)]
    log_documents = math.log(len(documents))
    similarity = np.zeros(len(picture) - num_captions)
    for counts in count_ngrams(sentences, MAX_ORDER):
        in_corpus = counts.sentence >= first_document
        pairs = document[counts.sentence[in_corpus] - first_document] * max(counts.num_grams, 1)
        pairs = np.unique(pairs + counts.gram[in_corpus])
        frequency = np.bincount(pairs % max(counts.num_grams, 1), minlength=counts.num_grams)
        scored = counts.sentence < len(picture)
        sentence, gram = counts.sentence[scored], counts.gram[scored]
        weight = counts.count[scored] * (log_documents - np.log(np.maximum(frequency, 1.0)))[gram]
        norm = np.sqrt(np.bincount(sentence, weights=weight * weight, minlength=len(picture)))

        is_caption = sentence < num_captions
        key = picture[sentence] * max(counts.num_grams, 1) + gram
        caption_keys, caption_weights = key[is_caption], weight[is_caption]
        wanted, reference_weights = key[~is_caption], weight[~is_caption]
        at = np.minimum(np.searchsorted(caption_keys, wanted), max(len(caption_keys) - 1, 0))
        product = np.zeros(len(wanted))
        if len(caption_keys):
            found = caption_keys[at] == wanted
            product[found] = np.minimum(caption_weights[at[found]], reference_weights[found]) * reference_weights[found]
        dot = np.bincount(sentence[~is_caption] - num_captions, weights=product, minlength=len(similarity))
        norms = norm[picture[num_captions:]] * norm[num_captions:]
        similarity += np.divide(dot, norms, out=np.zeros(len(dot)), where=norms > 0)
    difference = (lengths[picture[num_captions:]] - lengths[num_captions:]).astype(np.float64)
    similarity *= np.exp(-(difference**2) / (2 * SIGMA**2)) / MAX_ORDER
    total = np.bincount(picture[num_captions:], weights=similarity, minlength=num_captions)
    return SCALE * total / num_references


def _measure(answered: Sequence[Answered], corpus: Sequence[Sequence[str]] | None = None) -> Measured:
    captions, references = tokenize_captions(answered)
    values = [float(value) for value in cider_values(captions, references, corpus)]
    num_documents = len(references) if corpus is None else len(corpus)
    return Measured(math.fsum(values) / len(values), tuple(values), {"documents": float(num_documents)})


def cider_of_subset(references: Sequence[Sequence[str]]) -> SetMetric:
    """CIDEr-D of a part of the set: document frequencies of all `references`, as they stand in the files."""
    corpus = tokenize_references(references)
    return SetMetric("cider_subset", lambda answered: _measure(answered, corpus), bounded=False)


CIDER = SetMetric("cider", _measure, bounded=False, subset=cider_of_subset)
