"""Web pages to interleaved documents: the whole pipeline.

extract     read -> language -> main text and pictures -> text rules -> signatures
pairs       near-duplicates, one task for each band of the signatures
groups      which documents have an earlier near-duplicate
assemble    drop those and what overlaps evaluation data -> bring pictures -> picture rules -> tars
report

Pictures come last, so that only those of documents that would stay are fetched.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from kosmos.data.web import plan
from kosmos.data.web.duplicate_steps import DropNearDuplicates, FindGroups, FindPairs, TakeSignatures
from kosmos.data.web.executors import ExecutorSettings, Stage, run_stages
from kosmos.data.web.html_folder import list_pages
from kosmos.data.web.overlap import OverlapIndex, evaluation_texts, readable
from kosmos.data.web.overlap_steps import DropOverlaps
from kosmos.data.web.page_sources import ReadFolder, ReadPages, ReadWarc, WritePages
from kosmos.data.web.page_steps import page_steps
from kosmos.data.web.picture_steps import BringPictures, KeepPictures, OpenFetcher
from kosmos.data.web.report import PipelineReport, load_report
from kosmos.data.web.report_step import report_stage
from kosmos.data.web.settings import DuplicateRules, OverlapRules, PagesSettings
from kosmos.data.web.tar_step import WriteTars
from kosmos.errors import DataError

WARC_SUFFIXES = (".warc", ".warc.gz", ".warc.zst")
EVALUATION_INDEX = "evaluation-index.npz"
_PAGES_PER_TASK = 1_000

Progress = Callable[[Stage], None]


def pages(
    path: str,
    out: str | Path,
    settings: PagesSettings | None = None,
    executor: ExecutorSettings | None = None,
    progress: Progress | None = None,
    open_fetcher: OpenFetcher | None = None,
) -> PipelineReport | None:
    """Make interleaved tars in `out` from WARC files (a file, a folder, a pattern, an address) or a folder of HTML.

    Starting again goes on where the last run stopped. Returns the report, or None when Slurm goes on by itself.
    Raises DataError for inputs that are missing, UsageError for a folder begun otherwise.
    """
    settings, executor, out = settings or PagesSettings(), executor or ExecutorSettings(), Path(out)

    def inputs() -> dict[str, Any]:
        found = list_inputs(path)
        readable(settings.against)
        return found

    listed = plan.begin(out, {"input": path, **asdict(settings)}, inputs)
    if (report := load_report(out)) is not None:
        return report
    work = out / plan.WORK
    if settings.against:
        index_evaluation(settings.against, settings.overlap, work)
    # Every worker asks hosts on its own; together they ask no oftener than one may.
    rate = settings.fetch.per_host_rate / min(executor.workers, listed["tasks"])
    polite = replace(settings, fetch=replace(settings.fetch, per_host_rate=rate))
    stages = page_stages(listed, out, polite, open_fetcher)
    finished = run_stages(stages, work, executor, progress)
    return load_report(out) if finished else None


def list_inputs(path: str) -> dict[str, Any]:
    """The WARC files, or the pages of a folder with why they are refused, and into how many tasks they are cut.

    Raises DataError when there are none.
    """
    from kosmos.data.readers.files import find_shards

    place = Path(path)
    if place.is_dir() and not any(file.name.endswith(WARC_SUFFIXES) for file in place.iterdir()):
        found = list(list_pages(place))
        if not found:
            raise DataError(f"{path}: the folder holds neither HTML files (*.html, *.htm) nor WARC files (*.warc.gz)")
        return {"root": str(place), "pages": found, "tasks": -(-len(found) // _PAGES_PER_TASK)}
    files = find_shards(path, WARC_SUFFIXES)
    if wrong := [file for file in files if not file.endswith(WARC_SUFFIXES)]:
        raise DataError(f"{wrong[0]}: not a WARC file (*.warc, *.warc.gz, *.warc.zst)")
    return {"root": "", "files": files, "tasks": len(files)}


def page_stages(
    inputs: dict[str, Any], out: Path, settings: PagesSettings, open_fetcher: OpenFetcher | None = None
) -> list[Stage]:
    """The stages over inputs as `list_inputs` gives them."""
    work, tasks, root = out / plan.WORK, inputs["tasks"], inputs["root"]
    kept_pages = str(work / "pages")
    read = ReadFolder(root, inputs["pages"], settings.limits) if root else ReadWarc(inputs["files"], settings.limits)
    first = [
        read,
        *page_steps(settings),
        TakeSignatures(str(work / "signatures"), settings.duplicates),
        WritePages(kept_pages),
    ]
    fetch = settings.fetch if settings.web_pictures or not root else None
    last = [
        ReadPages(kept_pages),
        DropNearDuplicates(str(work / "marked")),
        *([DropOverlaps(str(work / EVALUATION_INDEX))] if settings.against else []),
        BringPictures(root, settings.pictures, fetch, open_fetcher),
        KeepPictures(settings.pictures, settings.seed),
        WriteTars(str(out), settings.shard_records, settings.shard_bytes),
    ]
    stages = [
        Stage("extract", first, tasks),
        *duplicate_stages(work, tasks, settings.duplicates),
        Stage("assemble", last, tasks),
    ]
    return [*stages, report_stage("pages", out, work, stages, ("pages", "signatures", "pair-lists", "marked"))]


def duplicate_stages(work: Path, tasks: int, rules: DuplicateRules) -> list[Stage]:
    """The stages between TakeSignatures and DropNearDuplicates."""
    signatures, pairs, marked = (str(work / name) for name in ("signatures", "pair-lists", "marked"))
    return [
        Stage("pairs", [FindPairs(signatures, pairs, tasks, rules)], rules.bands),
        Stage("groups", [FindGroups(signatures, pairs, marked, tasks, rules)], 1),
    ]


def index_evaluation(against: tuple[str, ...], rules: OverlapRules, work: Path) -> OverlapIndex:
    """Make the index of the evaluation data, unless it is there. Raises DataError when nothing in it can be matched."""
    path = work / EVALUATION_INDEX
    if path.exists():
        return OverlapIndex.load(path)
    index = OverlapIndex.build(evaluation_texts(against), rules)
    if not index.runs:
        raise DataError(f"{against[0]}: no item of the evaluation data has {rules.min_words} words or more")
    index.save(path)
    return index
