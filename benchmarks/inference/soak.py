"""Thousands of random requests in one engine: memory stays flat, slots come back, a sample equals the plain path.

    python -m benchmarks.inference.soak [--requests 10000] [--every 50] [--seed 1] [--positions xpos] [--small]

A tiny random model with few slots and small caches, so that slots move, caches forget and prompts reach the limit.
Requests: greedy, draws, beams, lists of names, candidates, streams (half of them left half-way), forks, `reread`,
prefixes held over many requests, prompts at the limit, requests that must raise, and steps that fail inside (out of
memory, an error, an interrupt). After each one the number of free slots is checked. Every `--every`th is compared with
`benchmarks.inference.plain`, which runs whole rows without a cache, one forward pass for each token and beam. Where two
choices are within 1e-4 of each other, either counts as right; such ties are counted.
"""

from __future__ import annotations

import argparse
import gc
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.data.measure import finish, table
from benchmarks.inference.plain import Plain
from benchmarks.inference.soak_comparison import TOLERANCE, Check, PlainComparison
from benchmarks.inference.soak_requests import RandomRequests
from kosmos.document import Document, Image
from kosmos.errors import KosmosError
from kosmos.inference.cache import Step
from kosmos.inference.engine import Engine
from kosmos.inference.generation import Decoding, Generation
from kosmos.inference.prefix import Prefix
from kosmos.processor import Processor
from tests.inference.tiny import tiny_model, tiny_tokenizer

SLOTS = 12
MAX_HELD = 4
# Growth of resident memory after the warm-up that is still called flat: the allocator's own coming and going.
FLAT_BYTES = 8 << 20


class Soak:
    """One engine, and random requests of every kind."""

    def __init__(self, folder: Path, seed: int, positions: str) -> None:
        tokenizer = tiny_tokenizer(folder)
        model = tiny_model(tokenizer, positions)
        processor = Processor(tokenizer, model.config)
        self.engine = Engine(
            model, processor, max_slots=SLOTS, image_cache_bytes=16 << 10, feature_cache_bytes=64 << 10
        )
        self.plain = Plain(model, processor, self.engine.max_length)
        self.random = random.Random(seed)
        self.ask = RandomRequests(self.engine, self.random)
        self.plainly = PlainComparison(processor, self.plain)
        self.held: list[tuple[Prefix, Generation]] = []
        self.counts: Counter[str] = Counter()
        self._fail_at: tuple[int, BaseException] | None = None
        # Every pass asks the pool for its columns, whether it reads a prompt or continues one.
        self._step = self.engine.pool.step
        self.engine.pool.step = self._step_that_may_fail  # type: ignore[method-assign]

    # -- requests: each does one, and returns how to check it ------------------------------------------------------

    def greedy(self) -> Check:
        documents = self.ask.documents()
        options = [self.ask.decoding() for _ in documents]
        made = self.engine.generate(documents, options=options, batch_size=self.random.choice([None, 1, 2]))
        return self.plainly.check(documents, options, made)

    def draws(self) -> Check:
        documents = self.ask.documents(3)
        options = [self.ask.drawing(self.random.choice([1, 1, 3])) for _ in documents]
        return self.plainly.check(documents, options, self.engine.generate(documents, options=options))

    def beams(self) -> Check:
        documents = self.ask.documents(3)
        options = [self.ask.beaming() for _ in documents]
        return self.plainly.check(documents, options, self.engine.generate(documents, options=options))

    def mixed(self) -> Check:
        """Greedy, drawn and beams in one batch."""
        documents = self.ask.documents()
        options = [self.random.choice([self.ask.decoding, self.ask.drawing, self.ask.beaming])() for _ in documents]
        return self.plainly.check(documents, options, self.engine.generate(documents, options=options))

    def names(self) -> Check:
        documents = self.ask.documents(2)
        words = {self.ask.words(self.random.randint(1, 3)).strip() for _ in range(self.random.randint(1, 8))}
        names = [" " + name for name in sorted(words - {""})] or [" red"]
        option = Decoding(
            num_beams=self.random.choice([1, 2, 5]), length_penalty=self.random.choice([0.0, 1.0]), num_results=1
        )
        made = self.engine.generate(documents, options=option, names=names)

        def check() -> list[str]:
            return [
                wrong
                for document, generation in zip(documents, made)
                for wrong in self.plainly.beams(document, option, generation, names)
            ]

        return check

    def candidates(self) -> Check:
        documents = self.ask.documents(3)
        texts = [[" " + self.ask.words(self.random.randint(0, 5)) for _ in range(self.random.randint(0, 4))]
                 for _ in documents]  # fmt: skip
        include_end = self.random.random() < 0.5
        made = self.engine.score(documents, texts, include_end=include_end)

        def check() -> list[str]:
            wrong = []
            for document, row, scores in zip(documents, texts, made, strict=True):
                for text, score in zip(row, scores, strict=True):
                    expected = self.plain.score(document, text, include_end)
                    if abs(expected - score.sum) > TOLERANCE:
                        wrong.append(f"sum of {text!r} behind {document} is {score.sum}, not {expected}")
            return wrong

        return check

    def stream(self) -> Check:
        """Half of them are left after a few pieces; the slot must come back all the same."""
        document = self.ask.document()
        option = self.random.choice([self.ask.decoding, self.ask.drawing, self.ask.beaming])()
        if option.num_results > 1:
            option = Decoding(option.max_new_tokens, num_beams=option.num_beams)
        left_after = self.random.randint(0, 3) if self.random.random() < 0.5 else None
        pieces: list[str] = []
        with self.engine.prefill(document) as prefix:
            stream = prefix.stream(decoding=option)
            for piece in stream:
                pieces.append(piece)
                if left_after is not None and len(pieces) > left_after:
                    break
            if self.random.random() < 0.5:
                stream.close()  # type: ignore[attr-defined]
            del stream

        def check() -> list[str]:
            if option.num_beams > 1:
                texts = [self.plainly.text(path.tokens, option) for path in self.plain.beams(document, option)[:1]]
            else:
                texts = [self.plain.continuation(document, option)[1]]
            whole = "".join(pieces)
            right = texts[0].startswith(whole) if left_after is not None else texts[0] == whole
            return [] if right else [f"stream {whole!r} of {document} with {option} is not {texts[0]!r}"]

        return check

    def fork(self) -> Check:
        """A copy goes on after the original is gone."""
        document, option = self.ask.document(), self.random.choice([self.ask.decoding, self.ask.beaming])()
        prefix = self.engine.prefill(document)
        copy = prefix.fork()
        if self.random.random() < 0.5:
            prefix.free()
        made = self.engine.decode([copy], [option])[0]
        prefix.free()
        del copy  # not freed: dropping it must do
        return self.plainly.check([document], [option], [made])

    def reread(self) -> Check:
        """As a conversation: the next prompt has most of the last one in front, or nothing."""
        first = self.ask.document()
        option = self.random.choice([self.ask.decoding, self.ask.drawing, self.ask.beaming])()
        second = (
            self.ask.document()
            if self.random.random() < 0.2
            else self.ask.fitting(lambda: first + self.ask.document(1))
        )
        if self.random.random() < 0.2:
            first, second = second, first
        take = self.random.random() < 0.5
        old = self.engine.prefill(first)
        new = old.reread(second, take)
        documents, prefixes = ([second], [new]) if take else ([first, second], [old, new])
        made = self.engine.decode(prefixes, [option] * len(prefixes))
        for prefix in (old, new):
            prefix.free()
        return self.plainly.check(documents, [option] * len(documents), made)

    def hold(self) -> Check:
        """Keep a prefix over the next requests, or look whether one kept before is as it was."""
        if len(self.held) < MAX_HELD and self.random.random() < 0.6:
            document = self.ask.document()
            prefix = self.engine.prefill(document)
            option = Decoding(8)
            made = prefix.greedy(8)
            self.held.append((prefix, made))
            return self.plainly.check([document], [option], [made])
        if not self.held:
            return list
        prefix, before = self.held.pop(self.random.randrange(len(self.held)))
        again = prefix.greedy(8)
        prefix.free()
        # Another place in the pool, another batch: the same tokens, and the same log-probabilities but for rounding.
        same = again.token_ids == before.token_ids and abs(again.score - before.score) <= TOLERANCE
        wrong = [] if same else [f"a prefix held of {prefix.document} went on {again}, before {before}"]
        return lambda: wrong

    def at_the_limit(self) -> Check:
        """Prompts that leave room for one token or a few."""
        room = self.random.choice([1, 1, 2, 5])
        document = self.ask.long_document(self.engine.max_length - room)
        option = self.random.choice([self.ask.decoding, self.ask.drawing, self.ask.beaming])()
        made = self.engine.generate([document], options=option)
        longest = max(len(generation.token_ids) for generation in made[0].all)
        assert longest <= room, f"{longest} tokens where {room} fit"
        return self.plainly.check([document], [option], made)

    def broken(self) -> Check:
        """Requests that must raise one line and leave nothing behind."""
        engine, good = self.engine, self.ask.document()
        long = self.ask.long_document(engine.max_length)
        requests: list[Callable[[], object]] = [
            lambda: engine.generate([good, long]),
            lambda: engine.prefill(long),
            lambda: engine.generate([good, Document(Image(b"no picture"), "of")]),
            lambda: engine.generate([good], options=Decoding(4, num_beams=2, temperature=1.0)),
            lambda: engine.generate([good], options=[Decoding(4), Decoding(4)]),
            lambda: engine.generate([good], options=Decoding(num_beams=2), names=[]),
            lambda: engine.generate([good], options=Decoding(num_beams=2), names=[" red", ""]),
            lambda: engine.generate([good], options=Decoding(num_beams=2), names=[" " + "house " * 200]),
            lambda: engine.score([good], [[" red", " " + "house " * 200]]),
            lambda: engine.score([good], " red"),
            lambda: engine.prefill([good] * (SLOTS + 1)),
            lambda: engine.generate([good], batch_size=0),
            self._broken_after_prefill,
        ]
        asked = self.random.randrange(len(requests))
        try:
            requests[asked]()
        except KosmosError as error:
            assert str(error) and "\n" not in str(error)
            return list
        raise AssertionError(f"broken request {asked} did not raise")

    def _broken_after_prefill(self) -> None:
        with self.engine.prefill(self.ask.document()) as prefix:
            match self.random.randrange(4):
                case 0:
                    self.engine.decode([prefix, prefix], [Decoding(3)] * 2)
                case 1:
                    prefix.reread(self.ask.long_document(self.engine.max_length), take=True)
                case 2:
                    prefix.score([" " + "house " * 200])
                case _:
                    prefix.free()
                    prefix.greedy(3)

    def failing(self) -> Check:
        """A step fails inside: out of memory must halve the batch and go on, anything else must come out."""
        documents = self.ask.documents()
        option = self.random.choice([self.ask.decoding, self.ask.drawing, self.ask.beaming])()
        error = self.random.choice([
            torch.OutOfMemoryError("made up"), RuntimeError("made up: a kernel"), KeyboardInterrupt("made up"),
        ])  # fmt: skip
        with self._failing(self.random.randint(0, 12), error) as failed:
            try:
                made = self.engine.generate(documents, options=option)
            except BaseException as caught:
                if "made up" in str(caught) or (isinstance(caught, KosmosError) and "out of memory" in str(caught)):
                    return list
                raise
        assert not failed or isinstance(error, torch.OutOfMemoryError), f"{error!r} was swallowed"
        return self.plainly.check(documents, [option] * len(documents), made)

    @contextmanager
    def _failing(self, after: int, error: BaseException) -> Iterator[list[bool]]:
        """The pass after so many raises; whether it came to that is in the list."""
        self._failed: list[bool] = []
        self._fail_at = (after, error)
        try:
            yield self._failed
        finally:
            self._fail_at = None

    def _step_that_may_fail(self, handles: Sequence[int], num_tokens: int, starts: Tensor, uniform: int | None) -> Step:
        if self._fail_at is not None:
            left, error = self._fail_at
            self._fail_at = (left - 1, error) if left else None
            if not left:
                self._failed.append(True)
                raise error
        return self._step(handles, num_tokens, starts, uniform)

    # -- memory ----------------------------------------------------------------------------------------------------

    def memory(self) -> dict[str, int]:
        """Resident bytes, what the engine holds, and living objects of Python."""
        gc.collect()
        engine = self.engine
        return {
            "resident": _resident_bytes(),
            "pool": engine.pool.num_bytes,
            "embeddings": engine.embeddings._num_bytes,
            "features": engine.features._num_bytes,
            "tries": len(engine.tries),
            "objects": len(gc.get_objects()),
        }


# Kind of request -> how often, of the sum.
_WEIGHTS = {
    Soak.greedy: 18, Soak.draws: 12, Soak.beams: 12, Soak.mixed: 6, Soak.names: 8, Soak.candidates: 14, Soak.stream: 8,
    Soak.fork: 6, Soak.reread: 8, Soak.hold: 8, Soak.at_the_limit: 4, Soak.broken: 8, Soak.failing: 6,
}  # fmt: skip


def _resident_bytes() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) << 10
    raise OSError("/proc/self/status has no VmRSS")


def run(soak: Soak, requests: int, every: int) -> dict[str, Any]:
    """All requests; what was wrong, and memory at some places."""
    wrong: list[str] = []
    compared: Counter[str] = Counter()
    measured: list[dict[str, int]] = []
    every_measured = max(1, requests // (20 if requests >= 1000 else 4))
    kinds, weights = list(_WEIGHTS), list(_WEIGHTS.values())
    for number in range(1, requests + 1):
        [kind] = soak.random.choices(kinds, weights)
        name = kind.__name__
        soak.counts[name] += 1
        check = kind(soak)
        free = soak.engine.pool.num_free + len(soak.held)
        if free != SLOTS:
            raise AssertionError(f"request {number} ({name}) left {SLOTS - free} slots taken")
        if number % every == 0:
            compared[name] += 1
            found = [f"request {number} ({name}): {text}" for text in check()]
            wrong += found
            for text in found:
                print(text, file=sys.stderr, flush=True)
        del check
        if number % every_measured == 0:
            measured.append({"requests": number, **soak.memory()})
            print(f"{number} requests, {len(wrong)} wrong, {measured[-1]}", file=sys.stderr, flush=True)
    for prefix, _ in soak.held:
        prefix.free()
    soak.held.clear()
    return {"counts": dict(soak.counts), "compared": dict(compared), "wrong": wrong, "ties": soak.plainly.ties,
            "memory": measured, "free_slots": soak.engine.pool.num_free}  # fmt: skip


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--requests", type=int, default=10_000)
    options.add_argument("--every", type=int, default=50, help="compare one request in so many with the plain path")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--threads", type=int, default=1)
    options.add_argument("--positions", choices=("xpos", "sinusoidal"), default="xpos")
    options.add_argument("--small", action="store_true", help="80 requests, half of them compared")
    args = options.parse_args(arguments)
    if args.small:
        args.requests, args.every = 80, 2
    torch.set_num_threads(args.threads)
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        soak = Soak(Path(folder), args.seed, args.positions)
        result = run(soak, args.requests, args.every)
    after_warm_up = result["memory"][len(result["memory"]) // 4]
    last = result["memory"][-1]
    result |= {
        "growth": last["resident"] - after_warm_up["resident"],
        "objects_growth": last["objects"] - after_warm_up["objects"],
        "flat": last["resident"] - after_warm_up["resident"] <= FLAT_BYTES,
        "seconds": round(time.perf_counter() - begin, 1),
        "halvings": soak.engine.num_halvings,
    }
    rows = [{"request": name, "count": count, "compared": result["compared"].get(name, 0)}
            for name, count in result["counts"].items()]  # fmt: skip
    print(table(rows, ["request", "count", "compared"]))
    quarter, end = (f"{row['resident'] >> 10} kB" for row in (after_warm_up, last))
    print(
        f"wrong {len(result['wrong'])}, ties {result['ties']}, free slots {result['free_slots']} of {SLOTS}, ", end=""
    )
    print(f"resident {quarter} after a quarter, {end} at the end")
    for text in result["wrong"][:20]:
        print(text)
    finish("inference.soak", {"requests": args.requests, "seed": args.seed, "positions": args.positions, **result})
    return result


if __name__ == "__main__":
    outcome = main()
    if outcome["wrong"] or not outcome["flat"] or outcome["free_slots"] != SLOTS:
        sys.exit("the soak failed: see above")
