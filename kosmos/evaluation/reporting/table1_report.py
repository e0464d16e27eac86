"""report.md and report.html of an evaluation: Table 1 with its intervals, what to be careful about, samples.

Both hold the same; the HTML file also has the pictures of the samples. Nothing in them differs between equal runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kosmos.evaluation.files import write_text
from kosmos.evaluation.reporting.page import Band, Block, Bullets, Cell, Gallery, Grid, Heading, Link, Page, Paragraph
from kosmos.evaluation.reporting.page_html import to_html
from kosmos.evaluation.reporting.page_markdown import to_markdown
from kosmos.evaluation.reporting.report_samples import Examples, shown, worst_and_best
from kosmos.evaluation.reporting.report_warnings import deviations_of, notes_of, warnings_of
from kosmos.evaluation.reporting.results import Results, contains, metric_name, number, span
from kosmos.evaluation.reporting.table1_rows import Score, scores_of
from kosmos.example import Example

REPORT_MD, REPORT_HTML = "report.md", "report.html"
TITLE = "Evaluation on the paper's datasets"
GROUPS = {
    "language": "Language",
    "ocr_free": "Reading without OCR",
    "transfer": "What text learns from pictures",
    "reasoning": "Nonverbal reasoning",
    "captioning": "Captions",
    "vqa": "Questions on pictures",
    "web": "Questions on web pages",
    "classification": "Classification",
}
_LEGEND = (
    "Scores are per cent (CIDEr as papers print it), with their 95 % interval in brackets. Beside each stands the "
    "figure that the paper reports for KOSMOS-1, and whether the interval holds it: `in` or `out`. The paper's model "
    "has 1.6 billion parameters; its figures on pictures are of the model after instruction tuning, those on language "
    "of the model before."
)


def write_table1_report(results: Results, examples: Examples | None = None) -> Path:
    """Write both files into the results' folder and return the HTML one.

    `examples` gives a cell's examples by id, for pictures and words; without it samples show what samples/ holds.
    """
    page = table1_page(results, examples or (lambda cell: {}))
    write_text(results.folder / REPORT_MD, to_markdown(page))
    write_text(results.folder / REPORT_HTML, to_html(page))
    return results.folder / REPORT_HTML


def table1_page(results: Results, examples: Examples) -> Page:
    scores = scores_of(results)
    blocks: list[Block] = [*_facts(results), _table1(scores), Paragraph(_LEGEND)]
    missing = _not_run(results)
    if missing:
        blocks.append(Paragraph(f"Not run: {', '.join(missing)}."))
    unscored = [name for name, entry in results.cells.items() if not entry["metrics"]]
    if unscored:
        blocks.append(Paragraph(f"Answered, but with no right answers here: {', '.join(unscored)}. `kosmos eval "
                                "submission` writes the file for their server."))  # fmt: skip
    warnings = warnings_of(results, scores)
    if warnings:
        blocks += [Heading("Warnings"), Bullets(tuple(warnings), warning=True)]
    blocks += [Heading("Every number"), _numbers(scores)]
    if by_normalization := _by_normalization(results):
        blocks += [
            Heading("Accuracy by how candidates are compared", 3),
            Paragraph(
                "By the mean log-probability of a token, the sum, or that by character or byte; * decides above."
            ),
            by_normalization,
        ]
    blocks.append(Heading("Where this departs from the paper, or from the defaults"))
    blocks.append(Bullets(tuple(deviations_of(results) or ["nothing: every option is the default"])))
    if notes := notes_of(results):
        blocks += [Heading("Notes on the datasets", 3), Bullets(tuple(notes))]
    blocks += _samples(results, scores, examples)
    return Page(TITLE, blocks)


def _facts(results: Results) -> list[Block]:
    facts = results.plan.get("facts", {})
    lines = [f"{name}: {facts[name]}" for name in ("model", "data", "precision", "device") if name in facts]
    lines.append(f"weights and numerics: {results.metrics['model_key'][:16]}")
    return [Bullets(tuple(lines))]


def _table1(scores: Sequence[Score]) -> Grid:
    """A row per dataset and metric that the paper prints, a pair of columns per number of demonstrations."""
    every = sorted({score.entry["shots"] for score in scores} | {0})
    rows: dict[tuple[Any, ...], dict[int, Score]] = {}
    for score in scores:
        if score.is_first or score.paper is not None:
            rows.setdefault((*score.key, score.metric), {})[score.entry["shots"]] = score
    made: list[Band | tuple[Cell, ...]] = []
    for group, title in GROUPS.items():
        mine = [by_shots for by_shots in rows.values() if next(iter(by_shots.values())).entry["group"] == group]
        if mine:
            made.append(Band(title))
        for by_shots in mine:
            one = next(iter(by_shots.values()))
            cells: list[Cell] = [one.label, metric_name(one.metric)]
            for shots in every:
                here = by_shots.get(shots)
                cells += [_value(here), _beside(here)] if here else ["", ""]
            made.append(tuple(cells))
    headings = [f"{'zero-shot' if k == 0 else f'k = {k}'}{part}" for k in every for part in ("", " (paper)")]
    return Grid(("Dataset", "Metric", *headings), tuple(made), frozenset(range(2, 2 + len(headings))))


def _value(score: Score) -> str:
    if score.value is None:
        return "not run"
    text = number(score.value, score.metric)
    if score.deviation is not None:
        text += f" ± {number(score.deviation, score.metric)}"
    return f"{text} [{span(score.interval, score.metric)}]"


def _beside(score: Score) -> str:
    if score.paper is None:
        return ""
    inside = contains(score.interval, score.metric, score.paper)
    return f"{score.paper:.1f}" + ("" if inside is None else " in" if inside else " out")


def _numbers(scores: Sequence[Score]) -> Grid:
    headings = (
        "Dataset", "k", "Metric", "Score", "sd", "95 % interval", "n", "of", "Chance", "Majority", "Paper", "Holds it",
        "Prompt", "Interval by", "Samples",
    )  # fmt: skip
    rows: list[Band | tuple[Cell, ...]] = []
    for score in scores:
        entry, metric = score.entry, score.metric
        inside = contains(score.interval, metric, score.paper)
        prompt = entry["prompt"] if len(score.cells) == 1 else score.family
        rows.append(
            (
                score.label,
                str(entry["shots"]),
                metric_name(metric),
                "not run" if score.value is None else number(score.value, metric),
                "" if score.deviation is None else f"{number(score.deviation, metric)} of {len(score.cells)}",
                span(score.interval, metric),
                str(entry["n"]),
                str(entry["n_expected"]),
                number(entry["chance"], metric) if score.is_first and entry["chance"] else "",
                _majority(score),
                "" if score.paper is None else f"{score.paper:.1f}",
                "" if inside is None else "yes" if inside else "no",
                prompt,
                score.method,
                Link(score.cells[0], f"samples/{score.cells[0]}.jsonl"),
            )
        )
    return Grid(headings, tuple(rows), frozenset({1, 3, 4, 5, 6, 7, 8, 9, 10}))


def _majority(score: Score) -> str:
    """What always saying the same would score: told for accuracy, and for the first metric of a free answer."""
    share, generated = score.entry.get("majority"), score.entry["normalization"] is None
    told = score.is_first if generated else score.metric == "accuracy"
    return number(share, score.metric) if told and share is not None else ""


def _by_normalization(results: Results) -> Grid | None:
    found = {name: entry for name, entry in results.cells.items() if entry.get("by_normalization")}
    if not found:
        return None
    ways = tuple(next(iter(found.values()))["by_normalization"])
    rows = tuple(
        (name, *(number(entry["by_normalization"][way], "accuracy") + " *" * (way == entry["normalization"])
                 for way in ways))
        for name, entry in found.items()
    )  # fmt: skip
    return Grid(("Cell", *(way.replace("_", " ") for way in ways)), rows, frozenset(range(1, len(ways) + 1)))


def _not_run(results: Results) -> list[str]:
    """Datasets of Table 1 without a number here."""
    from kosmos.evaluation.tasks.table1 import TABLE1

    there = {entry["benchmark"] for entry in results.cells.values()}
    return [benchmark.title for benchmark in TABLE1 if benchmark.name not in there]


def _samples(results: Results, scores: Sequence[Score], examples: Examples) -> list[Block]:
    """Of each dataset and prompt the fewest demonstrations, by its first metric."""
    chosen: dict[tuple[Any, ...], Score] = {}
    for score in scores:
        if score.is_first and score.value is not None:
            chosen.setdefault(score.key, score)
    blocks: list[Block] = []
    for score in chosen.values():
        name = score.cells[0]
        normalization = results.cells[name]["normalization"]
        lists = worst_and_best(results.samples(name), score.metric, normalization)
        if not lists[0]:
            continue
        known: Mapping[str, Example] = examples(name)
        whole = results.whole_samples(name, {str(sample["id"]) for sample in [*lists[0], *lists[1]]})
        blocks.append(Heading(f"{score.label}: {name}", 3))
        for words, samples in zip(("Worst", "Best"), lists):
            blocks.append(Paragraph(words))
            items = tuple(shown(whole[s["id"]], score.metric, normalization, known.get(s["id"])) for s in samples)
            blocks.append(Gallery(items))
    if not blocks:
        return []
    return [
        Heading("Samples"),
        Paragraph(
            "By the dataset's first metric, then by how sure the model was: the worst are wrong and sure, the best "
            f"right and sure. {REPORT_HTML} shows their pictures."
        ),
        *blocks,
    ]
