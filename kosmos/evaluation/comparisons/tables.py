"""The paper's comparisons: a KOSMOS model beside its language-only twin and beside itself after instruction tuning.

Each table is read from two or three output folders of `kosmos eval`. A place without a result says so, and how to run
it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from kosmos.errors import DataError
from kosmos.evaluation.comparisons.compare import shared_items
from kosmos.evaluation.comparisons.paired import PairedTest, Sample, paired_test
from kosmos.evaluation.paper import AVERAGE, Model, reported
from kosmos.evaluation.reporting.results import SUBSET, Results, base_metric
from kosmos.evaluation.reporting.table1_rows import Score, scores_of
from kosmos.evaluation.statistics.intervals import mean

LANGUAGE = ("story_cloze", "hellaswag", "winograd", "winogrande", "piqa", "boolq", "cb", "copa")
SHOTS = (0, 1, 4)
TRANSFER = ("relative_size", "memory_color", "color_terms")
OF_THE_TUNED = "The paper's figures of KOSMOS-1 are of the model after instruction tuning."
COLUMN_TITLES: dict[str, str] = {"llm": "LLM", "base": "KOSMOS", "tuned": "KOSMOS, tuned"}


@dataclass(frozen=True)
class Place:
    """Where a number is looked for: the model, and the cell by benchmark, prompt, shots and names; its metric."""

    model: str
    benchmark: str
    metric: str
    shots: int = 0
    prompt: str | None = None
    held_to_names: bool = False

    @property
    def paper(self) -> float | None:
        """The paper's figure for it. Its headline figures on pictures are of the tuned model."""
        models: dict[str, Model] = {"llm": "llm", "base": "base", "tuned": "kosmos"}
        found = self._reported(models[self.model])
        if found is None and self.model == "base":
            found = self._reported("kosmos")
        return found

    def _reported(self, model: Model) -> float | None:
        found = reported(
            self.benchmark,
            self.metric,
            shots=self.shots,
            prompt=self.prompt,
            held_to_names=self.held_to_names,
            model=model,
        )
        return found.value if found else None


@dataclass(frozen=True)
class Number:
    """What a place holds. `cell` names the samples; `command` runs what is missing."""

    place: Place
    title: str
    value: float | None = None
    interval: tuple[float, float] | None = None
    n: int = 0
    metric: str = ""
    cells: tuple[str, ...] = ()
    not_run: str = ""
    command: str = ""


@dataclass(frozen=True)
class Line:
    """A row of a table: its words, a number per column (None: the table has none there), and the paired test.

    The test is of the last two columns with a number, last - first.
    """

    label: str
    numbers: tuple[Number | None, ...]
    test: PairedTest | None = None
    note: str = ""


@dataclass(frozen=True)
class PaperComparison:
    """One of the paper's tables with the numbers of these models."""

    number: int
    title: str
    columns: tuple[str, ...]
    lines: tuple[Line, ...]
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "table": self.number,
            "title": self.title,
            "columns": list(self.columns),
            "note": self.note,
            "rows": [
                {
                    "label": line.label,
                    "numbers": [_number_json(number) for number in line.numbers],
                    "test": None if line.test is None else {**asdict(line.test), "difference": line.test.difference},
                    "note": line.note,
                }
                for line in self.lines
            ],
        }


class Comparisons:
    """Makes the tables. `models`: results by "base" (KOSMOS), "llm" and, where there is one, "tuned"."""

    def __init__(self, models: Mapping[str, Results]) -> None:
        self._models = models
        self._scores = {name: scores_of(results) for name, results in models.items()}

    def all(self) -> list[PaperComparison]:
        """In the order of the paper's tables."""
        return [
            self.websrc(),
            self.within(9, "Chain of thought on Rendered SST-2", "rendered_sst2", "accuracy",
                        {"direct": {}, "chain of thought": {"prompt": "chain_of_thought"}}),
            self.within(10, "ImageNet, free and held to the names", "imagenet", "exact_name",
                        {"free": {}, "held to the names": {"held_to_names": True}}),
            self.within(12, "Birds, without and with descriptions", "cub", "category_name",
                        {"without descriptions": {"prompt": "without_descriptions"}, "with descriptions": {}}),
            self.language(),
            self.tuning(),
            self.transfer(),
        ]  # fmt: skip

    def language(self) -> PaperComparison:
        """Table 13: the language model beside KOSMOS, with 0, 1 and 4 demonstrations, and their means."""
        lines = [
            self._line(
                f"{self._title(name)}, k = {shots}", [Place(m, name, "accuracy", shots) for m in ("llm", "base")]
            )
            for name in LANGUAGE
            for shots in SHOTS
        ]
        averages = [self._average(lines[place::3], shots) for place, shots in enumerate(SHOTS)]
        return PaperComparison(13, "Language tasks", ("LLM", "KOSMOS"), (*lines, *averages))

    def transfer(self) -> PaperComparison:
        """Table 16."""
        lines = [
            self._line(self._title(name), [Place(m, name, "accuracy") for m in ("llm", "base")]) for name in TRANSFER
        ]
        return PaperComparison(16, "Sizes and colours by text alone", ("LLM", "KOSMOS"), tuple(lines))

    def websrc(self) -> PaperComparison:
        """Table 8: the language model with the page's text; KOSMOS with picture and text, and with the picture."""
        kosmos = "tuned" if "tuned" in self._models else "base"
        lines = []
        for metric in ("web_em", "web_f1"):
            places = [
                Place("llm", "websrc", metric, prompt="text_only"),
                Place(kosmos, "websrc", metric),
                Place(kosmos, "websrc", metric, prompt="image_only"),
            ]
            lines.append(self._line("EM" if metric == "web_em" else "F1", places, tested=(0, 1)))
        columns = ("LLM, text", f"{COLUMN_TITLES[kosmos]}, picture and text", f"{COLUMN_TITLES[kosmos]}, picture")
        return PaperComparison(8, "Questions on web pages (WebSRC)", columns, tuple(lines), OF_THE_TUNED)

    def within(
        self, number: int, title: str, benchmark: str, metric: str, ways: Mapping[str, Mapping[str, Any]]
    ) -> PaperComparison:
        """One model asked in two ways, a row a model."""
        lines = [
            self._line(COLUMN_TITLES[model], [Place(model, benchmark, metric, **options) for options in ways.values()])
            for model in ("base", "tuned")
            if model in self._models
        ]
        return PaperComparison(number, title, tuple(ways), tuple(lines), OF_THE_TUNED)

    def tuning(self) -> PaperComparison:
        """Table 14: without and with instruction tuning."""
        lines = []
        for name in ("coco_caption", "flickr30k", "vqav2", "vizwiz"):
            metric = "cider" if name in ("coco_caption", "flickr30k") else "vqa_accuracy"
            lines.append(self._line(self._title(name), [Place(m, name, metric) for m in ("base", "tuned")]))
        return PaperComparison(14, "Instruction tuning", ("without", "with"), tuple(lines))

    def find(self, place: Place) -> Number:
        """The number at a place, or why there is none."""
        title = self._title(place.benchmark)
        if place.model not in self._models:
            return Number(place, title, not_run="no folder of the tuned model was given (--tuned DIR)")
        for score in self._scores[place.model]:
            if _is_at(score, place):
                if score.value is None:
                    return Number(place, title, not_run=score.not_run)
                return Number(place, title, score.value, score.interval, score.entry["n"], score.metric, score.cells)
        return Number(place, title, not_run="not run", command=self._command(place))

    def _line(self, label: str, places: Sequence[Place], tested: tuple[int, int] | None = None) -> Line:
        numbers = tuple(self.find(place) for place in places)
        first, last = tested or (len(numbers) - 2, len(numbers) - 1)
        line = Line(label, numbers)
        return self._tested(line, numbers[first], numbers[last])

    def _tested(self, line: Line, before: Number, after: Number) -> Line:
        """The line with the paired test of two of its numbers; over several seeds by the items' means."""
        if before.value is None or after.value is None:
            return line
        if len(before.cells) != len(after.cells):
            return replace(line, note=f"no test: {len(before.cells)} and {len(after.cells)} seeds")
        results = self._models[before.place.model], self._models[after.place.model]
        try:
            pairs = [shared_items(results[0], a, results[1], b) for a, b in zip(before.cells, after.cells)]
        except DataError as error:
            return replace(line, note=f"no test: {error}")
        normalization = results[0].cells[before.cells[0]]["normalization"]
        first, second = (_item_means([pair[side] for pair in pairs], before.place.metric) for side in (0, 1))
        return replace(line, test=paired_test(first, second, before.place.metric, normalization))

    def _average(self, lines: Sequence[Line], shots: int) -> Line:
        """The mean over the tasks that both models have; its interval from the widths of the tasks' own ones."""
        both = [line for line in lines if all(n is not None and n.value is not None for n in line.numbers)]
        whole = len(both) == len(lines)
        label = f"Mean, k = {shots}" if whole else f"Mean of {len(both)} tasks, k = {shots}"
        columns = [[n for line in both if (n := line.numbers[place]) is not None] for place in (0, 1)]
        made = []
        for model, numbers in zip(("llm", "base"), columns):
            place = Place(model, AVERAGE if whole else "", "accuracy", shots)
            if not numbers:
                made.append(Number(place, "Mean", not_run="no task was run with both"))
                continue
            middle = mean([n.value for n in numbers if n.value is not None])
            widths = [(n.interval[1] - n.interval[0]) / 2 for n in numbers if n.interval is not None]
            half = math.sqrt(math.fsum(width * width for width in widths)) / len(numbers)
            bound = (middle - half, middle + half) if len(widths) == len(numbers) else None
            made.append(Number(place, "Mean", middle, bound, sum(n.n for n in numbers), "accuracy"))
        return Line(label, tuple(made))

    def _title(self, benchmark: str) -> str:
        from kosmos.evaluation.tasks.table1 import get_benchmark

        return get_benchmark(benchmark).title

    def _command(self, place: Place) -> str:
        """What runs a missing number into the folder that was given."""
        results = self._models[place.model]
        parts = ["kosmos eval", results.model or "RUN", f"--tasks {place.benchmark}"]
        if place.benchmark in LANGUAGE:  # what is there is not asked again, so one command does for all its lines
            parts.append(f"--shots {','.join(map(str, SHOTS))}")
        elif place.shots:
            parts.append(f"--shots {place.shots}")
        if place.prompt:
            parts.append(f"--prompt {place.prompt}")
        facts = results.plan.get("facts", {})
        if facts.get("data", "eval-data") != "eval-data":
            parts.append(f"--data {facts['data']}")
        if facts.get("precision", "fp32") != "fp32":
            parts.append(f"--precision {facts['precision']}")
        if facts.get("device", "cpu") != "cpu":
            parts.append(f"--device {facts['device']}")
        return " ".join([*parts, f"--out {results.folder}"])


def _item_means(lists: Sequence[Sequence[Sample]], metric: str) -> Sequence[Sample]:
    """Samples with the mean of the items' values over several cells; those of one cell as they are."""
    if len(lists) == 1:
        return lists[0]
    by_id = [{str(sample["id"]): sample for sample in samples} for samples in lists]
    names = (metric, f"{metric}{SUBSET}")
    made = []
    for key, sample in by_id[0].items():
        found = [samples[key].get("values", {}) for samples in by_id if key in samples]
        values = [one[name] for one in found for name in names if name in one]
        if len(values) == len(by_id):
            made.append({"id": key, "cluster": sample["cluster"], "values": {metric: mean(values)}})
    return made


def _is_at(score: Score, place: Place) -> bool:
    entry = score.entry
    if (entry["benchmark"], entry["shots"], entry["held_to_names"]) != (
        place.benchmark,
        place.shots,
        place.held_to_names,
    ):
        return False
    named = entry["default_prompt"] if place.prompt is None else score.family == place.prompt
    return bool(named) and base_metric(score.metric) == place.metric


def _number_json(number: Number | None) -> dict[str, Any] | None:
    if number is None:
        return None
    place = {name: value for name, value in asdict(number.place).items() if value not in (None, False)}
    return {**place, "title": number.title, "value": number.value, "interval": number.interval, "n": number.n,
            "metric": number.metric or number.place.metric, "paper": number.place.paper, "not_run": number.not_run,
            "command": number.command}  # fmt: skip
