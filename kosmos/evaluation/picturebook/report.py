"""The report of a run: report.json for programs, report.md for people, a contact sheet and the loss curve.

report.json and report.md hold nothing that differs between two equal runs: no times, no paths, no dates. Those are
in timing.json.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from kosmos.errors import DataError
from kosmos.evaluation.files import read_json, write_json, write_text
from kosmos.evaluation.picturebook.ability import Ability
from kosmos.evaluation.picturebook.contact_sheet import choose_tiles, write_contact_sheet
from kosmos.evaluation.picturebook.loss_curve import write_loss_curve
from kosmos.evaluation.picturebook.report_markdown import markdown
from kosmos.evaluation.task import render

SCHEMA_VERSION = 1
REPORT_JSON, REPORT_MD, TIMING_JSON = "report.json", "report.md", "timing.json"
CONTACT_SHEET, LOSS_CURVE = "contact_sheet.png", "loss_curve.png"


@dataclass(frozen=True)
class RunFacts:
    """What was run. `parameters` are counts by part of the model; `data_fingerprint` a hash of the training data;
    `extra` holds further facts, which must be the same in an equal run."""

    steps: int
    seed: int
    precision: str
    parameters: Mapping[str, int]
    data_fingerprint: str
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Presentation:
    """The words around the figures.

    sheet_task  the task whose pictures and answers fill the contact sheet (none: no sheet)
    credit      the artists of those pictures, and their licence
    credits     (what, artists or authors, licence) of everything that the data is made of
    notes       honest remarks, printed as a list
    next_steps  commands to try, each with a few words; RUN stands for the run directory
    """

    title: str = "What this model can do"
    introduction: str = ""
    sheet_task: str = ""
    sheet_title: str = "What the model says it sees"
    sheet_subtitle: str = ""
    credit: str = ""
    credits: Sequence[tuple[str, str, str]] = ()
    notes: Sequence[str] = ()
    next_steps: Sequence[tuple[str, str]] = ()


def write_report(
    run: Path,
    abilities: Sequence[Ability],
    facts: RunFacts,
    presentation: Presentation,
    timing: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write report.json, report.md, contact_sheet.png, loss_curve.png (from RUN/metrics.jsonl) and timing.json.

    report.json comes last and marks the report as finished. Returns its content.
    """
    report = {
        "schema_version": SCHEMA_VERSION,
        "kind": "kosmos-report",
        "run": {**asdict(facts), "test_fingerprint": _test_fingerprint(abilities)},
        "abilities": [ability.row() for ability in abilities],
        "warnings": _warnings(abilities),
        "next_steps": [list(step) for step in presentation.next_steps],
    }
    sheet = _draw_sheet(run / CONTACT_SHEET, abilities, presentation)
    has_metrics = (run / "metrics.jsonl").exists()
    if has_metrics:
        write_loss_curve(run / LOSS_CURVE, run / "metrics.jsonl")
    pictures = {"sheet": CONTACT_SHEET if sheet else "", "loss": LOSS_CURVE if has_metrics else ""}
    write_text(run / REPORT_MD, markdown(report, asdict(presentation), pictures, [_sample(a) for a in abilities]))
    if timing is not None:
        write_json(run / TIMING_JSON, dict(timing))
    write_json(run / REPORT_JSON, report)
    return report


def load_report(run: Path) -> dict[str, Any]:
    """Read RUN/report.json. Raises DataError when there is none, or one of another version."""
    path = run / REPORT_JSON
    if not path.exists():
        raise DataError(f"{run}: no {REPORT_JSON} here: the run has not been evaluated yet")
    report: dict[str, Any] = read_json(path)
    if report.get("kind") != "kosmos-report" or report.get("schema_version") != SCHEMA_VERSION:
        raise DataError(f"{path}: not a report of version {SCHEMA_VERSION}; evaluate the run again")
    return report


def _draw_sheet(path: Path, abilities: Sequence[Ability], presentation: Presentation) -> bool:
    for ability in abilities:
        if ability.task.name == presentation.sheet_task:
            tiles = choose_tiles(ability.task, ability.result)
            subtitle = presentation.sheet_subtitle or (
                f"{len(tiles)} of {ability.result.n} held-out pictures, drawn by a fixed seed that knows no answer. "
                f"All {ability.result.n}: {ability.result.score * 100:.1f} % right."
            )
            write_contact_sheet(path, tiles, presentation.sheet_title, subtitle, presentation.credit)
            return True
    if presentation.sheet_task:
        raise DataError(f"the contact sheet's task '{presentation.sheet_task}' was not evaluated")
    return False


def _sample(ability: Ability) -> dict[str, Any]:
    """The first test item: shown whether right or wrong, so nothing is picked."""
    task, example = ability.task, ability.task.examples()[0]
    prompt = task.contexts(example)[0] if task.mode == "yes" and task.contexts else task.prompt(example)
    return {
        "title": task.label,
        "prompt": render(prompt),
        "prediction": ability.result.predictions[0].strip(),
        "gold": task.golds(example)[0].strip(),
        "value": ability.result.values[0],
    }


def _warnings(abilities: Sequence[Ability]) -> list[str]:
    warnings = []
    for ability in abilities:
        result, label = ability.result, ability.task.label
        if result.constant_answer:
            warnings.append(f"{label}: nearly all answers are the same.")
        if result.num_ties:
            warnings.append(f"{label}: {result.num_ties} of {result.n} items tied and count as a fair draw.")
        if ability.task.expects_chance and ability.beats_chance:
            warnings.append(f"{label}: a control that should be at chance is above it.")
    return warnings


def _test_fingerprint(abilities: Sequence[Ability]) -> str:
    parts = "".join(f"{ability.task.name} {ability.result.data_fingerprint}\n" for ability in abilities)
    return hashlib.sha256(parts.encode()).hexdigest()
