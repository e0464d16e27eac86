"""What the soak's answers are compared with: the plain path, whole rows without a cache."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from benchmarks.inference.plain import Plain
from kosmos.document import Document
from kosmos.inference.generation import Decoding, Generation
from kosmos.processor import Processor

TOLERANCE = 1e-4  # of sums of log-probabilities, fp32

# A comparison with the plain path: what is wrong, an empty list if nothing.
Check = Callable[[], list[str]]


class PlainComparison:
    """Compares generations with the plain path; `ties` counts choices within TOLERANCE of each other."""

    def __init__(self, processor: Processor, plain: Plain) -> None:
        self._processor = processor
        self.plain = plain
        self.ties = 0

    def check(self, documents: Sequence[Document], options: Sequence[Decoding], made: Sequence[Generation]) -> Check:
        def compare() -> list[str]:
            wrong: list[str] = []
            for document, option, generation in zip(documents, options, made, strict=True):
                of = self.beams if option.num_beams > 1 else self.paths
                wrong += of(document, option, generation)
            return wrong

        return compare

    def paths(self, document: Document, option: Decoding, made: Generation) -> list[str]:
        wrong = []
        assert len(made.all) == option.num_results
        for draw, generation in enumerate(made.all):
            tokens, text = self.plain.continuation(document, option, draw)
            ours = list(generation.token_ids)
            if ours != tokens:
                if option.temperature == 0 and self._is_tie(document, ours, tokens):
                    self.ties += 1
                    continue
                wrong.append(f"{document} with {option}, draw {draw}: {ours}, not {tokens}")
            elif generation.text != text:
                wrong.append(f"{document} with {option}, draw {draw}: {generation.text!r}, not {text!r}")
            wrong += self._compare_sum(document, generation)
        return wrong

    def _is_tie(self, document: Document, ours: list[int], plain: list[int]) -> bool:
        place = next((i for i, (a, b) in enumerate(zip(ours, plain)) if a != b), None)
        if place is None:
            return False
        logits = self.plain.logits(document, plain[:place])
        return abs(float(logits[ours[place]] - logits[plain[place]])) < TOLERANCE

    def _compare_sum(self, document: Document, made: Generation) -> list[str]:
        expected = self.plain.sum_of(document, made.token_ids)
        if abs(expected - sum(made.log_probs)) <= TOLERANCE:
            return []
        return [f"log-probs of {made.token_ids} behind {document} sum to {sum(made.log_probs)}, not {expected}"]

    def beams(
        self, document: Document, option: Decoding, made: Generation, names: Sequence[str] | None = None
    ) -> list[str]:
        paths = self.plain.beams(document, option, names)
        if len(paths) != len(made.all):
            return [f"{document} with {option}: {len(made.all)} results, not {len(paths)}"]
        wrong: list[str] = []
        for path, generation in zip(paths, made.all):
            close = abs(path.score - generation.score) <= TOLERANCE
            if path.tokens != generation.token_ids:
                if close:
                    self.ties += 1
                    continue
                wrong.append(f"{document} with {option}: {generation.token_ids}, not {path.tokens}")
            elif not close:
                wrong.append(f"{document} with {option}: score {generation.score}, not {path.score}")
            elif names is None and generation.text != self.text(path.tokens, option):
                wrong.append(f"{document} with {option}: {generation.text!r}, not {self.text(path.tokens, option)!r}")
            elif names is not None and generation.text not in {name.strip() for name in names}:
                wrong.append(f"{document}: {generation.text!r} is none of the names")
            wrong += self._compare_sum(document, generation)
        return wrong

    def text(self, tokens: Sequence[int], option: Decoding) -> str:
        stopped = self.plain.stop(option, tokens)
        return self._processor.decode(tokens) if stopped is None else stopped
