"""What keeping pictures saves: 200 questions about 50 pictures, one at a time, with each of the Engine's caches.

    python -m benchmarks.inference.image_cache [--repeat 3] [--requests 200] [--pictures 50] [--threads 1] [--small]

A random model: CLIP of 12 layers x 384 at 224 pixels, 16 slots, a decoder of 4 layers x 256. The pictures are JPEGs of
640 x 480. Four questions a picture, shuffled (as few-shot demonstrations and VQAv2's three questions are), 2 tokens to
answer. `none` keeps nothing; `pixels` keeps decoded pictures; `memory` embeddings too; `disk, cold` writes them to an
empty folder as well; `disk, warm` is a new Engine on that folder, with the time to hash its weights in the first
request; `disk, no memory` reads every embedding from the folder every time. The forms take turns; medians are shown.
Answers are compared with those of `none`.
"""

from __future__ import annotations

import io
import random
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch

from benchmarks.data.measure import Stopwatch, finish, parser
from kosmos.config import DecoderConfig, ModelConfig, ResamplerConfig, VisionConfig
from kosmos.document import Document, Image
from kosmos.inference.embedding_cache import encoder_digest
from kosmos.inference.engine import Engine
from kosmos.inference.generation import Generation
from kosmos.model.kosmos import Kosmos
from kosmos.processor import Processor
from kosmos.tokenizer import Tokenizer

WORDS = "question what is on the left of red cat green house answer how many dogs two one there".split()
FORMS: dict[str, dict[str, Any]] = {
    "none": {"image_cache_bytes": 0, "feature_cache_bytes": 0},
    "pixels": {"image_cache_bytes": 0},
    "memory": {},
    "disk, cold": {"disk": "new"},
    "disk, warm": {"disk": "kept"},
    "disk, no memory": {"disk": "kept", "image_cache_bytes": 0},
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


def jpeg(seed: int) -> bytes:
    """A soft random picture of 640 x 480, about 60 kB."""
    pixels = np.random.default_rng(seed).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    file = io.BytesIO()
    PIL.Image.fromarray(pixels).resize((640, 480), PIL.Image.Resampling.BICUBIC).save(file, "jpeg", quality=90)
    return file.getvalue()


def requests(num_requests: int, num_pictures: int) -> list[Document]:
    """Each with an Image of its own, as requests come."""
    pictures = [jpeg(seed) for seed in range(num_pictures)]
    order = [index % num_pictures for index in range(num_requests)]
    draw = random.Random(0)
    draw.shuffle(order)
    return [
        Document(Image(pictures[index]), f"question {' '.join(draw.sample(WORDS, 6))} answer") for index in order
    ]


def run(
    model: Kosmos, processor: Processor, documents: list[Document], form: str, folder: Path
) -> tuple[dict[str, Any], list[Generation]]:
    """All requests, one after the other, in a new Engine."""
    options = dict(FORMS[form])
    disk = options.pop("disk", None)
    if disk is not None:
        options["image_cache_dir"] = folder if disk == "kept" else tempfile.mkdtemp(dir=folder)
    engine = Engine(model, processor, **options)
    fresh = [Document(*(Image(part.source) if isinstance(part, Image) else part for part in d)) for d in documents]
    with Stopwatch() as watch:
        made = [engine.generate([document], 2)[0] for document in fresh]
    return {
        "seconds": watch.wall,
        "cpu_seconds": watch.cpu,
        "pictures_encoded": engine.embeddings.num_encoded,
        "embeddings_from_disk": engine.embeddings.num_from_disk,
    }, made


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
        run(model, processor, documents, "disk, warm", folder / "kept")
        expected: list[Generation] = []
        for _ in range(args.repeat):
            for form in FORMS:
                row, made = run(model, processor, documents, form, folder / "kept")
                expected = expected or made
                row["other_answers"], row["log_prob_difference"] = difference(made, expected)
                rows[form].append(row)
        one = next((folder / "kept").rglob("*.embedding")).stat().st_size
    table = [
        {"kept": form, **{key: statistics.median(row[key] for row in of) for key in of[0]}} for form, of in rows.items()
    ]
    slowest = table[0]["seconds"]
    for row in table:
        row["times_faster"] = slowest / row["seconds"]
    result = {
        "requests": args.requests,
        "pictures": args.pictures,
        "threads": args.threads,
        "bytes_per_embedding": one,
        "weights_hashed_seconds": hashing.wall,
        "rows": table,
    }
    finish("inference.image_cache", result, table)
    return result


if __name__ == "__main__":
    main()
