"""What keeping pictures saves: 200 questions about 50 pictures, one at a time, with each of the Engine's caches.

    python -m benchmarks.inference.image_cache [--repeat 3] [--requests 200] [--pictures 50] [--threads 1] [--small]

A random model: CLIP of 12 layers x 384 at 224 pixels, 16 slots, a decoder of 4 layers x 256. The pictures are JPEGs
with a short side of 256. Each is asked about several times, shuffled, with 2 tokens to answer. `none` keeps nothing;
`pixels` keeps decoded pictures; `memory` embeddings too; `disk, cold` writes them to an empty folder as well; `disk,
warm` is a new Engine on a full folder, with the time to hash its weights in the first request; `disk, no memory` reads
every embedding from the folder every time. The forms take turns; medians are shown; `times_faster` is of CPU seconds.
Answers are compared with those of `none`. The last figures are of reading requests alone, without a model.
"""

from __future__ import annotations

import random
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.data.measure import Stopwatch, finish, parser, table
from benchmarks.data.synthetic import jpeg
from kosmos.config import DecoderConfig, ModelConfig, ResamplerConfig, VisionConfig
from kosmos.document import Document, Image
from kosmos.inference.embedding_cache import encoder_digest
from kosmos.inference.engine import Engine
from kosmos.inference.generation import Generation
from kosmos.model.kosmos import Kosmos
from kosmos.processor import Processor
from kosmos.tokenizer import Tokenizer

WORDS = ("question", "what", "is", "on", "the", "left", "of", "red", "cat", "green", "house", "answer", "dogs", "two")
FORMS: dict[str, dict[str, Any]] = {
    "none": {"image_cache_bytes": 0, "feature_cache_bytes": 0},
    "pixels": {"image_cache_bytes": 0},
    "memory": {},
    "disk, cold": {"disk": True},
    "disk, warm": {"disk": True},
    "disk, no memory": {"disk": True, "image_cache_bytes": 0},
}


def build(folder: Path, small: bool) -> tuple[Kosmos, Processor]:
    """The model and a tokenizer of a few words."""
    texts = [" ".join(WORDS[i:] + WORDS[:i]) for i in range(len(WORDS))]
    tokenizer = Tokenizer.train(texts, folder / "t.model", vocab_size=200, hard_vocab_limit=False)
    layers, width, size = (1, 32, 32) if small else (12, 384, 224)
    config = ModelConfig(
        decoder=DecoderConfig(
            num_layers=1 if small else 4,
            hidden_size=32 if small else 256,
            ffn_size=64 if small else 1024,
            num_heads=4,
            vocab_size=tokenizer.vocab_size,
            max_positions=128,
        ),
        vision=VisionConfig(
            image_size=size, patch_size=16, hidden_size=width, ffn_size=4 * width, num_layers=layers, num_heads=4
        ),
        resampler=ResamplerConfig(num_latents=16, num_heads=4),
    )
    torch.manual_seed(0)
    model = Kosmos(config, random_vision=True).eval()
    with torch.no_grad():  # random latents would drown the picture
        model.encoders.get_submodule("image.resampler.dense").get_parameter("weight").mul_(50.0)
    return model, Processor(tokenizer, config)


def requests(num_requests: int, num_pictures: int) -> list[Document]:
    """Each with an Image of its own, as requests come."""
    pictures = [jpeg(np.random.default_rng(seed)) for seed in range(num_pictures)]
    order = [index % num_pictures for index in range(num_requests)]
    draw = random.Random(0)
    draw.shuffle(order)
    return [Document(Image(pictures[index]), f"question {' '.join(draw.sample(WORDS, 6))} answer") for index in order]


def run(
    model: Kosmos, processor: Processor, documents: list[Document], form: str, folder: Path
) -> tuple[dict[str, Any], list[Generation]]:
    """All requests, one after the other, in a new Engine."""
    options = dict(FORMS[form])
    if options.pop("disk", False):
        options["image_cache_dir"] = folder
    engine = Engine(model, processor, **options)
    received = [new(document) for document in documents]
    with Stopwatch() as watch:
        made = [engine.generate([document], 2)[0] for document in received]
    return {
        "seconds": watch.wall,
        "cpu_seconds": watch.cpu,
        "pictures_encoded": engine.embeddings.num_encoded,
        "embeddings_from_disk": engine.embeddings.num_from_disk,
    }, made


def new(document: Document) -> Document:
    """The same from elsewhere: nothing is known of its pictures yet."""
    return Document(*(Image(part.source) if isinstance(part, Image) else part for part in document))


def reading(model: Kosmos, processor: Processor, documents: list[Document], num_bytes: int) -> float:
    """CPU milliseconds to make one request's row, and its picture's key twice, as `generate` does."""
    engine = Engine(model, processor, feature_cache_bytes=num_bytes)
    received = [new(document) for document in documents]
    with Stopwatch() as watch:
        for document in received:
            (item,) = engine.encode(document).inputs
            for _ in range(2):
                engine.features.content_key(item)
    return watch.cpu / len(documents) * 1e3


def difference(made: list[Generation], expected: list[Generation]) -> tuple[int, float]:
    """Answers whose tokens differ, and the largest difference of a log-probability."""
    tokens = sum(a.token_ids != b.token_ids for a, b in zip(made, expected))
    return tokens, max(abs(x - y) for a, b in zip(made, expected) for x, y in zip(a.log_probs, b.log_probs))


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    options = parser(__doc__ or "")
    options.add_argument("--requests", type=int, default=200)
    options.add_argument("--pictures", type=int, default=50)
    options.add_argument("--threads", type=int, default=1)
    args = options.parse_args(arguments)
    torch.set_num_threads(args.threads)
    rows: dict[str, list[dict[str, Any]]] = {form: [] for form in FORMS}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model, processor = build(folder, args.small)
        documents = requests(args.requests, args.pictures)
        run(model, processor, documents[:2], "none", folder)
        with Stopwatch() as hashing:
            encoder_digest(model.encoders["image"], model.config)
        kept = folder / "kept"
        run(model, processor, documents, "disk, warm", kept)
        expected: list[Generation] = []
        for turn in range(args.repeat):
            for form in list(FORMS)[:: -1 if turn % 2 else 1]:
                used = folder / f"cold-{turn}" if form == "disk, cold" else kept
                row, made = run(model, processor, documents, form, used)
                expected = expected or made
                row["other_answers"], row["log_prob_difference"] = difference(made, expected)
                rows[form].append(row)
        read = {
            name: statistics.median(reading(model, processor, documents, size) for _ in range(args.repeat))
            for name, size in (("read_ms_without", 0), ("read_ms_with_pixels_kept", 64 << 20))
        }
        num_bytes = next(kept.rglob("*.embedding")).stat().st_size
    medians = [
        {"kept": form, **{key: statistics.median(row[key] for row in of) for key in of[0]}} for form, of in rows.items()
    ]
    for row in medians:
        row["times_faster"] = medians[0]["cpu_seconds"] / row["cpu_seconds"]
    print(table(medians, list(medians[0])))
    result = {
        "requests": len(documents),
        "pictures": args.pictures,
        "threads": args.threads,
        "bytes_per_embedding": num_bytes,
        "weights_hashed_seconds": hashing.wall,
        **read,
        "rows": medians,
    }
    print(read)
    finish("inference.image_cache", result)
    return result


if __name__ == "__main__":
    main()
