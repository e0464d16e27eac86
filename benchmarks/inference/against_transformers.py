"""Our Engine against transformers' Kosmos2 on the same weights: greedy, beams, candidates, few-shot; int8 against fp32.

    python -m benchmarks.inference.against_transformers [--pairs 7] [--threads 2] [--only WORD] [--small]

Decoders of 8 layers, 64 and 512 wide, 8,000 tokens, fp32, SDPA on both sides. The two take turns and the median of the
ratios of neighbouring runs is shown (above 1: ours is faster). Ours starts from text each time and keeps nothing from
the run before; theirs is given token ids. Every case compares what comes out. Batches are compared with transformers
one prompt at a time: its own batches of unequal prompts come out different, because Kosmos2 counts the padding in the
positions of new tokens.

Candidates: "one pass each" is one row of prompt and candidate at a time with logits everywhere, as lm-eval does at its
default batch size of 1. "one batch" is the strongest that transformers allows in a few lines: all candidates of a
prompt as one padded batch, with logits for the candidates' positions only.
"""

from __future__ import annotations

import argparse
import inspect
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.data.measure import finish, table
from benchmarks.inference.rivals import Pair, Shape, in_turns, text_of
from kosmos.document import Document
from kosmos.inference.engine import Engine
from kosmos.inference.generation import Decoding
from kosmos.inference.quantization import int8_linear
from kosmos.model.decoder import DecoderLayer

COLUMNS = ["case", "size", "ours ms", "theirs ms", "ratio", "range", "goal", "result"]


@dataclass(frozen=True)
class Sizes:
    """How much each case does."""

    shapes: tuple[Shape, ...]
    prompts: tuple[int, ...]  # tokens
    new_tokens: int
    contexts: dict[str, tuple[int, float]]  # name -> tokens of the prompt, goal over one pass each
    questions: int
    pairs: int


def sizes(small: bool, pairs: int) -> Sizes:
    if small:
        shapes = (Shape(2, 32, 4), Shape(2, 64, 4))
        return Sizes(shapes, (32,), 6, {"0-shot": (40, 2.5), "4-shot": (90, 4.0)}, 2, 1)
    shapes = (Shape(8, 64, 4), Shape(8, 512, 8))
    return Sizes(shapes, (32, 256), 64, {"0-shot": (100, 2.5), "4-shot": (500, 4.0)}, 8, pairs)


# Goals of greedy search and beam 5, for the narrow and the wide decoder.
_GOALS = {"greedy": (1.5, 1.0), "beam 5": (2.0, 1.4)}
_INT8_GOAL = 3.0


def generation(pair: Pair, shape: Shape, size: Sizes) -> Iterator[dict[str, Any]]:
    """One prompt continued by greedy search and by five beams; then a few prompts as a batch."""
    narrow = size.shapes.index(shape)
    for length in size.prompts:
        document = Document(text_of(pair.tokenizer, length - 1, seed=length))
        for name, num_beams in (("greedy", 1), ("beam 5", 5)):
            goal = _GOALS[name][narrow]
            yield _generated(pair, shape, size, f"{name}, prompt {length}", [document], num_beams, goal)
    lengths = [max(8, size.prompts[0] * step // 4) for step in range(1, 9)]
    documents = [Document(text_of(pair.tokenizer, length, seed=100 + length)) for length in lengths]
    for name, num_beams in (("greedy", 1), ("beam 5", 5)):
        case = f"{name}, 8 prompts of {lengths[0]} to {lengths[-1]}"
        yield _generated(pair, shape, size, case, documents, num_beams, None)


def _generated(
    pair: Pair, shape: Shape, size: Sizes, case: str, documents: list[Document], num_beams: int, goal: float | None
) -> dict[str, Any]:
    option = Decoding(size.new_tokens, size.new_tokens, num_beams=num_beams)
    made: dict[str, Any] = {}

    def ours() -> None:
        made["ours"] = pair.engine.generate(documents, options=option)

    def theirs() -> None:
        made["theirs"] = pair.generate(documents, size.new_tokens, num_beams=num_beams)

    timing = in_turns(ours, theirs, size.pairs).row()
    alone = [pair.generate([document], size.new_tokens, num_beams=num_beams)[0] for document in documents]
    own = [list(generation.token_ids) for generation in made["ours"]]
    count = size.new_tokens * len(documents)
    equal, padded = _num_equal(own, alone), _num_equal(made["theirs"], alone)
    result = f"{equal} of {count} tokens equal"
    if len(documents) > 1:
        result += f" to theirs one by one; their own batch: {padded}"
    return {"case": case, "size": str(shape), **timing, "goal": goal or "", "wrong": equal < count, "result": result}


def _num_equal(ours: list[list[int]], theirs: list[list[int]]) -> int:
    return sum(a == b for pair in zip(ours, theirs, strict=True) for a, b in zip(*pair, strict=True))


@dataclass(frozen=True)
class Question:
    """A prompt and its candidates."""

    document: Document
    candidates: tuple[str, ...]


def question(pair: Pair, prompt_tokens: int, seed: int, before: str = "") -> Question:
    """Four candidates of about 15 tokens, as in HellaSwag; `before` stands in front of the prompt."""
    text = text_of(pair.tokenizer, prompt_tokens, seed)
    candidates = tuple(" " + text_of(pair.tokenizer, 13 + place, 1000 * seed + place) for place in range(4))
    return Question(Document(f"{before} {text}" if before else text), candidates)


def scoring(pair: Pair, shape: Shape, size: Sizes) -> Iterator[dict[str, Any]]:
    """Candidates of one question, and of several that share their demonstrations."""
    for shots, (tokens, goal) in size.contexts.items():
        asked = [question(pair, tokens - 1, seed=tokens)]
        yield from _scored(
            pair, shape, size, f"{shots} scoring, prompt {len(pair.ids(asked[0].document))}", asked, goal
        )
    tokens = max(size.contexts.values())[0]
    demonstrations = text_of(pair.tokenizer, tokens * 4 // 5, seed=3)
    asked = [question(pair, tokens // 5, seed, demonstrations) for seed in range(10, 10 + size.questions)]
    yield from _scored(pair, shape, size, f"4-shot scoring, {len(asked)} questions, same demonstrations", asked, None)
    yield _answers(pair, shape, size, [item.document for item in asked])


def _scored(
    pair: Pair, shape: Shape, size: Sizes, case: str, asked: list[Question], goal: float | None
) -> Iterator[dict[str, Any]]:
    documents = [item.document for item in asked]
    candidates = [list(item.candidates) for item in asked]
    ids = [[pair.candidate_ids(item.document, text) for text in item.candidates] for item in asked]
    made: dict[str, list[float]] = {}

    def ours() -> None:
        made["ours"] = [score.sum for row in pair.engine.score(documents, candidates) for score in row]

    def one_pass_each() -> None:
        made["theirs"] = [sum_of_one(pair, *row) for rows in ids for row in rows]

    def one_batch() -> None:
        made["theirs"] = [total for rows in ids for total in sums_of_batch(pair, rows)]

    for name, theirs in (("one pass each", one_pass_each), ("one batch", one_batch)):
        timing = in_turns(ours, theirs, size.pairs).row()
        difference = max(abs(a - b) for a, b in zip(made["ours"], made["theirs"], strict=True))
        yield {"case": f"{case}, {name}", "size": str(shape), **timing, "difference": difference,
               "goal": (goal or "") if name == "one pass each" else "", "wrong": difference > 1e-3,
               "result": f"sums differ by {difference:.1e}"}  # fmt: skip


def sum_of_one(pair: Pair, row: list[int], num_scored: int) -> float:
    """Log-probability of a row's last tokens: one pass, logits everywhere."""
    ids = torch.tensor([row])
    with torch.inference_mode():
        log_probs = pair.their_text(input_ids=ids, use_cache=False).logits.log_softmax(-1)
    targets = ids[0, -num_scored:]
    return float(log_probs[0, -num_scored - 1 : -1].gather(1, targets[:, None]).sum())


def sums_of_batch(pair: Pair, rows: Sequence[tuple[list[int], int]]) -> list[float]:
    """The same of candidates of one prompt, padded on the right; logits from the prompt's last token on."""
    width = max(len(row) for row, _ in rows)
    start = min(len(row) - count for row, count in rows)
    pad = pair.tokenizer.pad_id
    ids = torch.tensor([row + [pad] * (width - len(row)) for row, _ in rows])
    with torch.inference_mode():
        # Causality hides the padding, which is on the right, so no mask is needed.
        kept = width - start + 1
        logits = pair.their_text(input_ids=ids, use_cache=False, logits_to_keep=kept).logits
        log_probs = logits[:, :-1].log_softmax(-1).gather(2, ids[:, start:, None])[..., 0]
    sums = []
    for values, (row, count) in zip(log_probs, rows):
        end = len(row) - start
        sums.append(float(values[end - count : end].sum()))
    return sums


def _answers(pair: Pair, shape: Shape, size: Sizes, documents: list[Document]) -> dict[str, Any]:
    """Short greedy answers to questions that share their demonstrations."""
    short = Sizes(size.shapes, size.prompts, min(size.new_tokens, 10), size.contexts, size.questions, size.pairs)
    case = f"4-shot answers, {len(documents)} questions, same demonstrations"
    return _generated(pair, shape, short, case, documents, 1, None)


def int8(pair: Pair, shape: Shape, size: Sizes) -> Iterator[dict[str, Any]]:
    """Decoding with int8 weights against our own fp32, and what it does to scores."""
    if "quantization" not in inspect.signature(Engine.__init__).parameters:
        print("int8: this Engine has no quantization yet; the case is left out", file=sys.stderr)
        return
    wanted: dict[str, Any] = {"quantization": "int8"}
    quantized = Engine(pair.model, pair.processor, **wanted)
    document = Document(text_of(pair.tokenizer, size.prompts[0] - 1, seed=size.prompts[0]))
    made: dict[str, Any] = {}
    with quantized.prefill(document) as fast, pair.engine.prefill(document) as exact:

        def ours() -> None:
            made["int8"] = fast.greedy(size.new_tokens, min_new_tokens=size.new_tokens)

        def theirs() -> None:
            made["fp32"] = exact.greedy(size.new_tokens, min_new_tokens=size.new_tokens)

        timing = in_turns(ours, theirs, size.pairs).row()
    equal = sum(a == b for a, b in zip(made["int8"].token_ids, made["fp32"].token_ids))
    effect = effect_on_scores(pair, quantized, size)
    result = (
        f"{equal} of {size.new_tokens} tokens equal; sums differ by {effect['mean']:.2g} in the mean, "
        f"{effect['greatest']:.2g} at most; same best candidate {effect['same_best']} of {effect['questions']}"
    )
    case = f"int8 decode against our fp32, prompt {size.prompts[0]}"
    yield {"case": case, "size": str(shape), **timing, "goal": _INT8_GOAL, "wrong": False, "effect": effect,
           "result": result}  # fmt: skip
    yield products_alone(pair, shape, size)


def products_alone(pair: Pair, shape: Shape, size: Sizes) -> dict[str, Any]:
    """The matrix products of one token in their order, queries, keys and values as one, and nothing else."""
    parts: list[list[torch.nn.Linear]] = []
    for layer in cast(Sequence[DecoderLayer], pair.model.decoder.layers):
        attention, ffn = layer.attention, layer.ffn
        parts += [[attention.q_proj, attention.k_proj, attention.v_proj], [attention.out_proj], [ffn.fc1], [ffn.fc2]]
    weights: list[tuple[Tensor, Tensor | None]] = [
        (torch.cat([one.weight.detach() for one in joined]), torch.cat([one.bias.detach() for one in joined]))
        for joined in parts
    ]
    weights.append((pair.model.decoder.embedding.weight.detach(), None))
    inputs = {weight.shape[1]: torch.randn(1, weight.shape[1]) for weight, _ in weights}
    packed = [(int8_linear(weight, bias), inputs[weight.shape[1]]) for weight, bias in weights]

    @torch.inference_mode()
    def ours() -> None:
        for _ in range(size.new_tokens):
            for linear, x in packed:
                linear(x)

    @torch.inference_mode()
    def theirs() -> None:
        for _ in range(size.new_tokens):
            for weight, bias in weights:
                F.linear(inputs[weight.shape[1]], weight, bias)

    timing = in_turns(ours, theirs, size.pairs).row()
    return {"case": "the products alone, int8 against fp32", "size": str(shape), **timing, "goal": "", "wrong": False,
            "result": "the bound of the case before"}  # fmt: skip


def effect_on_scores(pair: Pair, quantized: Engine, size: Sizes) -> dict[str, Any]:
    """Differences of sums, and how often the best candidate stays the best."""
    tokens = min(size.contexts.values())[0]
    asked = [question(pair, tokens, seed) for seed in range(200, 200 + 5 * size.questions)]
    documents = [item.document for item in asked]
    candidates = [list(item.candidates) for item in asked]
    exact, fast = (
        [[score.sum for score in row] for row in engine.score(documents, candidates)]
        for engine in (pair.engine, quantized)
    )
    differences = [abs(a - b) for rows in zip(exact, fast) for a, b in zip(*rows)]
    same = sum(a.index(max(a)) == b.index(max(b)) for a, b in zip(exact, fast))
    return {"mean": sum(differences) / len(differences), "greatest": max(differences), "same_best": same,
            "questions": len(asked), "mean_sum": sum(map(sum, exact)) / len(differences)}  # fmt: skip


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument(
        "--small", action="store_true", help="tiny models and one run of each: only to see that it runs"
    )
    options.add_argument("--pairs", type=int, default=7, help="runs of each contestant that count")
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--only", default="", help="one part: generation, scoring or int8")
    args = options.parse_args(arguments)
    torch.set_num_threads(args.threads)
    size = sizes(args.small, args.pairs)
    rows: list[dict[str, Any]] = []
    for shape in size.shapes:
        pair = Pair.of(shape)
        for part in (generation, scoring, int8):
            if args.only not in part.__name__ or (part is int8 and shape != size.shapes[-1]):
                continue
            for row in part(pair, shape, size):
                rows.append(row)
                print({key: value for key, value in row.items() if key in COLUMNS}, file=sys.stderr, flush=True)
    print(table(rows, COLUMNS))
    finish("inference.against_transformers", {"threads": args.threads, "pairs": size.pairs, "rows": rows})
    return {"rows": rows}


if __name__ == "__main__":
    if any(row["wrong"] for row in main()["rows"]):
        sys.exit("something came out different: see the column `result`")
