"""The full-size model on one GPU against transformers' `generate`: captions, 4-shot questions, decoding.

    python -m benchmarks.inference.full_size [--pairs 3] [--batch 32] [--precision bf16] [--small] [--device cuda]

The preset `kosmos-1` (24 layers x 2048, CLIP ViT-L/14, 64 slots a picture) with random weights and, so that
transformers' Kosmos2 is the same model, sinusoidal positions. The two take turns; the median of the ratios of
neighbouring runs is shown (above 1: ours is faster).

Captions: beam 5 and 20 tokens, a new picture each. Questions: four demonstrations with a picture each, greedy, 5
tokens; once with the same demonstrations for all questions and once with a draw of their own from a pool that is twice
as large as the set. Pictures are pixels before the clock starts; ours forgets their embeddings before each run. Prompts
of a case have the same length, because transformers' Kosmos2 counts padding in the positions of new tokens. Decoding:
tokens a second behind a prompt that is read, and what share of the measured bandwidth of a copy the weights, keys and
values of a step make up.

There is no form of it for a CPU but `--device cpu --small`, a tiny model that shows that it runs.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

import numpy as np
import torch
from transformers import Kosmos2Config

from benchmarks.data.measure import finish, table
from benchmarks.inference.rivals import Pair, Paired, Shape, in_turns, kosmos2_config, text_of
from kosmos.batch import Sequence as Row
from kosmos.config import Precision
from kosmos.document import Document, Image
from kosmos.inference.generation import Decoding
from kosmos.presets import load_preset

COLUMNS = ["case", "what", "ours", "theirs", "ratio", "range", "bandwidth %", "theirs bandwidth %", "tokens equal"]


@dataclass(frozen=True)
class Sizes:
    """How much each case does."""

    pictures: int
    caption_tokens: int
    questions: int
    answer_tokens: int
    question_tokens: int
    decode_tokens: int
    prompt_tokens: int
    decode_batches: tuple[int, ...]
    copied_bytes: int


FULL = Sizes(64, 20, 64, 5, 12, 128, 64, (1, 16), 1 << 30)
SMALL = Sizes(4, 3, 3, 2, 12, 4, 16, (1, 2), 1 << 24)


def model_config(small: bool) -> Kosmos2Config:
    """The preset in transformers' terms."""
    if small:
        tower = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
        return kosmos2_config(Shape(2, 64, 4), 1024, tower | {"image_size": 28, "patch_size": 14}, num_latents=4)
    preset = load_preset("kosmos-1")
    decoder, vision = preset.decoder, preset.vision
    assert vision is not None and decoder.ffn_size == 4 * decoder.hidden_size
    shape = Shape(decoder.num_layers, decoder.hidden_size, decoder.num_heads, decoder.vocab_size)
    tower = {
        "hidden_size": vision.hidden_size,
        "intermediate_size": vision.ffn_size,
        "num_hidden_layers": vision.num_layers,
        "num_attention_heads": vision.num_heads,
        "image_size": vision.image_size,
        "patch_size": vision.patch_size,
    }
    return kosmos2_config(shape, decoder.max_positions, tower, preset.resampler.num_latents)


def picture(pair: Pair, number: int) -> Image:
    """Smooth noise of the model's size."""
    vision = pair.model.config.vision
    assert vision is not None
    coarse = np.random.default_rng(number).integers(0, 256, (7, 7, 3), dtype=np.uint8)
    side = -(-vision.image_size // 7)
    return Image(coarse.repeat(side, 0).repeat(side, 1)[: vision.image_size, : vision.image_size])


def questions(pair: Pair, size: Sizes, shared: bool) -> list[Document]:
    """4-shot prompts of one length."""
    drawn = random.Random(1)
    texts = _texts_of_one_length(pair, size.question_tokens, 4 + 2 * size.questions)
    pool = [
        (picture(pair, 1000 + n), f"Question: {text} Answer: red")
        for n, text in enumerate(texts[: 4 if shared else None])
    ]
    made = []
    for number, text in enumerate(texts[-size.questions :]):
        document = Document()
        for image, demonstration in drawn.sample(pool, 4) if not shared else pool:
            document = document + image + demonstration
        made.append(document + picture(pair, number) + f"Question: {text} Answer:")
    return made


def _texts_of_one_length(pair: Pair, num_tokens: int, count: int) -> list[str]:
    found: list[str] = []
    seed = 0
    while len(found) < count:
        text = text_of(pair.tokenizer, num_tokens, seed)
        # The length that counts is that inside the prompt.
        if len(pair.tokenizer.encode(f"Question: {text} Answer:")) == num_tokens + _around(pair):
            found.append(text)
        seed += 1
    return found


def _around(pair: Pair) -> int:
    return len(pair.tokenizer.encode("Question: the Answer:")) - len(pair.tokenizer.encode("the"))


class TheirInputs:
    """What `generate` of transformers wants, made before the clock starts: prompts of one length, with pictures."""

    def __init__(self, pair: Pair, rows: list[Row]) -> None:
        self._pair = pair
        lengths = {len(row) for row in rows}
        assert len(lengths) == 1, f"prompts of lengths {sorted(lengths)}"
        self.ids = torch.stack([torch.from_numpy(row.token_ids) for row in rows]).to(pair.device)
        mask = torch.zeros_like(self.ids)
        for place, row in enumerate(rows):
            for item in row.inputs:
                mask[place, item.start : item.start + item.num_slots] = 1
        self.mask = mask
        encoder: Any = pair.model.encoders["image"]
        pixels = torch.from_numpy(np.stack([item.features for row in rows for item in row.inputs]))
        self.pixels = encoder.normalize(pixels.to(pair.device)).to(pair.dtype)

    def generate(self, new_tokens: int, num_beams: int) -> list[list[int]]:
        made = self._pair.theirs.generate(
            pixel_values=self.pixels,
            input_ids=self.ids,
            attention_mask=torch.ones_like(self.ids),
            image_embeds_position_mask=self.mask,
            max_new_tokens=new_tokens,
            num_beams=num_beams,
            do_sample=False,
            pad_token_id=self._pair.tokenizer.pad_id,
        )
        return made[:, self.ids.shape[1] :].tolist()


def generated(
    pair: Pair, case: str, what: str, documents: list[Document], new_tokens: int, num_beams: int, batch: int, pairs: int
) -> dict[str, Any]:
    """Prompts with pictures, continued by both in batches of the same size."""
    rows = [pair.processor.encode(document.unsupervised(), end=False) for document in documents]
    inputs = [TheirInputs(pair, rows[first : first + batch]) for first in range(0, len(rows), batch)]
    option = Decoding(new_tokens, new_tokens, num_beams=num_beams)
    made: dict[str, list[list[int]]] = {}

    def ours() -> None:
        pair.engine.embeddings.release()
        generations = pair.engine.generate(documents, options=option, batch_size=batch)
        made["ours"] = [list(generation.token_ids) for generation in generations]

    def theirs() -> None:
        with torch.inference_mode():
            made["theirs"] = [row for one in inputs for row in one.generate(new_tokens, num_beams)]

    timing = in_turns(ours, theirs, pairs)
    count = new_tokens * len(documents)
    equal = sum(a == b for both in zip(made["ours"], made["theirs"]) for a, b in zip(*both, strict=True))
    return {"case": case, "what": what, **_rates(timing, len(documents)), "prompt": len(rows[0]),
            "tokens equal": f"{equal} of {count}", "equal": equal / count}  # fmt: skip


def _rates(timing: Paired, count: float) -> dict[str, Any]:
    row = timing.row()
    return {"ours": count / median(timing.ours), "theirs": count / median(timing.theirs), "ratio": row["ratio"],
            "range": row["range"]}  # fmt: skip


def decoding(pair: Pair, size: Sizes, batch: int, pairs: int, bandwidth: float) -> dict[str, Any]:
    """Tokens a second behind prompts that are read already."""
    documents = [Document(text) for text in _texts_of_one_length(pair, size.prompt_tokens, batch)]
    option = Decoding(size.decode_tokens + 1, size.decode_tokens + 1)
    made: dict[str, list[list[int]]] = {}
    prefixes = pair.engine.prefill(documents)

    def ours() -> None:
        # The first token comes from the prompt's own logits: so many steps as `decode_tokens`.
        generations = pair.engine.decode(prefixes, [option] * batch)
        made["ours"] = [list(generation.token_ids) for generation in generations]

    def reading() -> None:
        with torch.inference_mode():
            pair.generate(documents, 1)

    def theirs() -> None:
        with torch.inference_mode():
            made["theirs"] = pair.generate(documents, size.decode_tokens + 1)

    before = median(in_turns(reading, reading, pairs).theirs)
    timing = in_turns(ours, theirs, pairs)
    # What is left of theirs is never taken as less than half, so that noise makes no wonders.
    timing = Paired(timing.ours, tuple(max(seconds - before, seconds / 2) for seconds in timing.theirs))
    for prefix in prefixes:
        prefix.free()
    count = batch * size.decode_tokens
    rates = _rates(timing, count)
    step_bytes = _bytes_of_a_step(pair, batch, len(pair.ids(documents[0])) + size.decode_tokens // 2)
    equal = sum(a == b for both in zip(made["ours"], made["theirs"]) for a, b in zip(*both, strict=True))
    return {"case": f"decoding, batch {batch}", "what": "tokens/s", **rates,
            "bandwidth %": 100 * rates["ours"] / batch * step_bytes / bandwidth,
            "theirs bandwidth %": 100 * rates["theirs"] / batch * step_bytes / bandwidth,
            "tokens equal": f"{equal} of {count + batch}", "equal": equal / (count + batch)}  # fmt: skip


def _bytes_of_a_step(pair: Pair, batch: int, length: int) -> int:
    """Weights once (the tied head among them), keys and values of every row."""
    decoder = pair.model.config.decoder
    weights = sum(parameter.numel() for parameter in pair.model.decoder.parameters())
    cached = 2 * decoder.num_layers * decoder.hidden_size * length * batch
    return (weights + cached) * pair.dtype.itemsize


def copy_bandwidth(device: torch.device, num_bytes: int) -> float:
    """Bytes a second that a copy reads and writes; the best of some."""
    source = torch.ones(num_bytes // 4, device=device)
    target = torch.empty_like(source)
    best = float("inf")
    for _ in range(10):
        _wait(device)
        begin = time.perf_counter()
        target.copy_(source)
        _wait(device)
        best = min(best, time.perf_counter() - begin)
    return 2 * num_bytes / best


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def refusal(device: str, small: bool) -> str | None:
    """Why it cannot run here, in a line."""
    if device.startswith("cuda") and not torch.cuda.is_available():
        return "no GPU here; to see that it runs: --device cpu --small"
    if device == "cpu" and not small:
        return "the full-size model on a CPU would take hours; add --small for a tiny one"
    return None


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--device", default="cuda")
    options.add_argument("--precision", choices=("bf16", "fp32"), default="", help="default: bf16; with --small fp32")
    options.add_argument("--pairs", type=int, default=3, help="runs of each contestant that count")
    options.add_argument("--batch", type=int, default=32, help="prompts in a batch, of both")
    options.add_argument("--static-decode", action="store_true", help="steps of fixed shape, as CUDA graphs")
    options.add_argument("--small", action="store_true", help="a tiny model: only to see that it runs")
    args = options.parse_args(arguments)
    refused = refusal(args.device, args.small)
    if refused:
        options.exit(2, f"{refused}\n")
    size = SMALL if args.small else FULL
    precision: Precision = args.precision or ("fp32" if args.small else "bf16")
    pair = Pair(model_config(args.small), args.device, precision, static_decode=args.static_decode)
    bandwidth = copy_bandwidth(pair.device, size.copied_bytes)
    rows: list[dict[str, Any]] = []
    captions = [Document(picture(pair, number), "An image of") for number in range(size.pictures)]
    prompts = {
        "captions, beam 5": (captions, "pictures/s", size.caption_tokens, 5),
        "4-shot, same demonstrations": (questions(pair, size, True), "questions/s", size.answer_tokens, 1),
        "4-shot, own demonstrations": (questions(pair, size, False), "questions/s", size.answer_tokens, 1),
    }
    cases: list[Callable[[], dict[str, Any]]] = [
        partial(generated, pair, case, what, documents, new_tokens, num_beams, args.batch, args.pairs)
        for case, (documents, what, new_tokens, num_beams) in prompts.items()
    ]
    cases += [partial(decoding, pair, size, batch, args.pairs, bandwidth) for batch in size.decode_batches]
    for case in cases:
        rows.append(case())
        print({key: value for key, value in rows[-1].items() if key in COLUMNS}, file=sys.stderr, flush=True)
    print(table(rows, COLUMNS))
    device = torch.cuda.get_device_name() if pair.device.type == "cuda" else "cpu"
    parameters = sum(parameter.numel() for parameter in pair.model.parameters())
    result = {"device": device, "precision": precision, "parameters": parameters, "bandwidth": bandwidth,
              "batch": args.batch, "pairs": args.pairs, "rows": rows}  # fmt: skip
    finish("inference.full_size", result)
    return result


if __name__ == "__main__":
    main()
