"""Near-duplicate removal and removal of evaluation data for plain-text corpora: JSON lines in, JSON lines out.

Lines that stay keep every byte. One task reads one file, and writes one of the same name without compression.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from kosmos.data.web import plan
from kosmos.data.web.duplicate_steps import DropNearDuplicates, TakeSignatures
from kosmos.data.web.executors import ExecutorSettings, Stage, run_stages
from kosmos.data.web.line_steps import LINES, ReadLines, WriteLines, output_names
from kosmos.data.web.overlap import readable
from kosmos.data.web.overlap_steps import DropOverlaps
from kosmos.data.web.pipeline import EVALUATION_INDEX, Progress, duplicate_stages, index_evaluation
from kosmos.data.web.report import PipelineReport, load_report
from kosmos.data.web.report_step import report_stage
from kosmos.data.web.settings import DuplicateRules, OverlapRules
from kosmos.errors import DataError

SUFFIXES = tuple(".jsonl" + ending for ending in ("", ".gz", ".zst", ".bz2", ".xz", ".zip"))


def dedup(
    path: str,
    out: str | Path,
    rules: DuplicateRules | None = None,
    field: str = "text",
    executor: ExecutorSettings | None = None,
    progress: Progress | None = None,
) -> PipelineReport | None:
    """Keep the first document of each group of near-duplicates. `path`: a file, a folder, a pattern, an address.

    Starting again goes on where the last run stopped. Returns the report, or None when Slurm goes on by itself.
    Raises DataError for missing files, UsageError for a folder begun otherwise.
    """
    rules, out = rules or DuplicateRules(), Path(out)
    files = plan.begin(out, {"input": path, "field": field, "dedup": asdict(rules)}, lambda: _list_files(path))
    work, tasks = out / plan.WORK, len(files)
    stages = [
        Stage("sign", [ReadLines(files, field), TakeSignatures(str(work / "signatures"), rules)], tasks),
        *duplicate_stages(work, tasks, rules),
        Stage(
            "write",
            [
                ReadLines(files, field, again=True),
                DropNearDuplicates(str(work / "marked")),
                WriteLines(str(out), output_names(files)),
            ],
            tasks,
        ),
    ]
    return _finish(out, stages, ("signatures", "pair-lists", "marked"), executor, progress)


def decontaminate(
    path: str,
    out: str | Path,
    against: tuple[str, ...],
    rules: OverlapRules | None = None,
    field: str = "text",
    executor: ExecutorSettings | None = None,
    progress: Progress | None = None,
) -> PipelineReport | None:
    """Drop documents that overlap the evaluation data in the files `against`; otherwise as `dedup`."""
    rules, out = rules or OverlapRules(), Path(out)
    settings = {"input": path, "field": field, "against": against, "overlap": asdict(rules)}

    def inputs() -> list[str]:
        found = _list_files(path)
        readable(against)
        return found

    files = plan.begin(out, settings, inputs)
    index_evaluation(against, rules, out / plan.WORK)
    steps = [
        ReadLines(files, field),
        DropOverlaps(str(out / plan.WORK / EVALUATION_INDEX)),
        WriteLines(str(out), output_names(files)),
    ]
    return _finish(out, [Stage("write", steps, len(files))], (), executor, progress)


def _finish(
    out: Path,
    stages: list[Stage],
    remove: tuple[str, ...],
    executor: ExecutorSettings | None,
    progress: Progress | None,
) -> PipelineReport | None:
    if (report := load_report(out)) is not None:
        return report
    work = out / plan.WORK
    stages = [*stages, report_stage(LINES, out, work, stages, remove)]
    finished = run_stages(stages, work, executor or ExecutorSettings(), progress)
    return load_report(out) if finished else None


def _list_files(path: str) -> Any:
    from kosmos.data.readers.files import find_shards

    files = find_shards(path, SUFFIXES)
    for file in files:
        if not file.endswith(SUFFIXES):
            # Read as JSON lines, all of it would be dropped as bad.
            raise DataError(f"{file}: not JSON lines; run `kosmos data prepare {path} OUT` first, then this on OUT")
    return files
