"""What each rule of a pipeline removed, as report.json and report.md."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from kosmos.data.web.counts import StepCounts
from kosmos.data.web.step import CPU, KEPT, PICTURE_REMOVED, PICTURES, READ, REMOVED
from kosmos.data.web.tar_step import KEPT_PICTURES
from kosmos.errors import StorageError
from kosmos.storage import write_atomic

REPORT_JSON, REPORT_MARKDOWN = "report.json", "report.md"


@dataclass(frozen=True)
class Removal:
    """One rule of one step and how many it removed."""

    step: str
    rule: str
    count: int


@dataclass(frozen=True)
class StepCost:
    """What a step cost: items that entered it, and CPU seconds."""

    step: str
    entered: int
    cpu_seconds: float

    @property
    def per_cpu_second(self) -> float:
        return self.entered / self.cpu_seconds if self.cpu_seconds else 0.0


@dataclass
class PipelineReport:
    """Items are pages or lines of text. `read` = `kept` + all removals, and the same for pictures."""

    kind: str
    read: int = 0
    kept: int = 0
    removed: list[Removal] = field(default_factory=list)
    pictures: int = 0
    kept_pictures: int = 0
    removed_pictures: list[Removal] = field(default_factory=list)
    other: dict[str, int] = field(default_factory=dict)
    costs: list[StepCost] = field(default_factory=list)

    def check(self) -> None:
        """Raise StorageError when the numbers do not add up: a file of counts was lost or changed."""
        for what, whole, kept, removals in (
            (self.kind, self.read, self.kept, self.removed),
            ("pictures", self.pictures, self.kept_pictures, self.removed_pictures),
        ):
            gone = sum(removal.count for removal in removals)
            if whole != kept + gone:
                raise StorageError(f"the counts do not add up: {whole} {what} read, {kept} kept, {gone} removed")

    def removed_by(self, rule: str) -> int:
        """Pages or lines that a rule removed, over all steps."""
        return sum(removal.count for removal in self.removed if removal.rule == rule)

    def pictures_removed_by(self, rule: str) -> int:
        """Pictures that a rule removed, over all steps."""
        return sum(removal.count for removal in self.removed_pictures if removal.rule == rule)


def make_report(kind: str, steps: list[StepCounts]) -> PipelineReport:
    """The report of a pipeline's counts; `kind` names its items ("pages"). Raises StorageError."""
    report = PipelineReport(kind)
    entered = 0
    for step in steps:
        counts = step.counts
        report.read += counts[READ]
        report.kept += counts[KEPT]
        report.pictures += counts[PICTURES]
        report.kept_pictures += counts[KEPT_PICTURES]
        entered += counts[READ]
        if CPU in counts:
            report.costs.append(StepCost(step.step, entered, counts[CPU] / 1e6))
        for label, count in counts.items():
            if label.startswith(REMOVED):
                report.removed.append(Removal(step.step, label.removeprefix(REMOVED), count))
                entered -= count
            elif label.startswith(PICTURE_REMOVED):
                report.removed_pictures.append(Removal(step.step, label.removeprefix(PICTURE_REMOVED), count))
            elif label not in (READ, KEPT, PICTURES, KEPT_PICTURES, CPU):
                report.other[label] = report.other.get(label, 0) + count
    report.check()
    return report


def write_report(report: PipelineReport, folder: Path) -> None:
    """Write both forms. Raises StorageError."""
    write_atomic(folder / REPORT_MARKDOWN, markdown(report).encode())
    write_atomic(folder / REPORT_JSON, json.dumps(asdict(report), indent=1).encode() + b"\n")


def load_report(folder: Path) -> PipelineReport | None:
    """The report of a finished run, or None. Raises StorageError for a damaged one."""
    path = folder / REPORT_JSON
    try:
        fields = json.loads(path.read_bytes())
        for name, kind in (("removed", Removal), ("removed_pictures", Removal), ("costs", StepCost)):
            fields[name] = [kind(**entry) for entry in fields[name]]
        return PipelineReport(**fields)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StorageError(f"{path}: cannot be read; remove it to have it made again") from error


def markdown(report: PipelineReport) -> str:
    """The report for people."""
    lines = [f"# {report.kind}: {report.read:,} read, {report.kept:,} kept", ""]
    lines += _table(report.kind, report.read, report.removed, report.kept)
    if report.pictures:
        lines += ["", f"## pictures: {report.pictures:,} found, {report.kept_pictures:,} kept", ""]
        lines += _table("pictures", report.pictures, report.removed_pictures, report.kept_pictures)
    lines += [f"\n{label}: {count:,}" for label, count in report.other.items()]
    lines += ["", f"| step | {report.kind} entered | CPU seconds | per CPU second |", "|---|---:|---:|---:|"]
    lines += [
        f"| {cost.step} | {cost.entered:,} | {cost.cpu_seconds:.2f} | {cost.per_cpu_second:,.0f} |"
        for cost in report.costs
    ]
    return "\n".join(lines) + "\n"


def _table(kind: str, whole: int, removals: list[Removal], kept: int) -> list[str]:
    rows = [f"| {removal.step} | {removal.rule} | {removal.count:,} |" for removal in removals]
    return ["| step | rule | removed |", "|---|---|---:|", *rows, f"| | **kept of {whole:,} {kind}** | **{kept:,}** |"]
