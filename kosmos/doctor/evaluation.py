"""The datasets of `kosmos eval`: there, whole, readable, one prompt of each; and Java for two of the metrics."""

from __future__ import annotations

from collections.abc import Iterator

from kosmos.doctor.registry import Finding, Subject, bytes_in_words, check, ok, problem, warning
from kosmos.evaluation.benchmark import Benchmark
from kosmos.evaluation.metrics.java_reference import java_command, missing_for
from kosmos.evaluation.obtaining.inventory import folder_bytes, is_there, take_inventory
from kosmos.evaluation.tasks.table1 import TABLE1, select_benchmarks

_DATA = 3


@check("evaluation", "datasets", needs="evaluation")
def datasets(subject: Subject) -> Iterator[Finding]:
    data = subject.evaluation_data
    assert data is not None
    if not data.is_dir():
        yield problem(f"{data}: no such folder", "kosmos eval prepare says how to fill it", _DATA)
        return
    for benchmark in chosen(subject):
        yield from _dataset(benchmark, subject)
    if not subject.evaluation_tasks:
        absent = [benchmark for benchmark in TABLE1 if not is_there(data / (benchmark.folder or benchmark.name))]
        free = [benchmark.name for benchmark in absent if not benchmark.source.gated]
        gated = [benchmark.name for benchmark in absent if benchmark.source.gated]
        if free:
            yield warning(f"not there: {', '.join(free)}", f"kosmos eval prepare {','.join(free)} --data {data}")
        if gated:
            do = f"kosmos eval prepare {','.join(gated)} --data {data} says where to ask"
            yield warning(f"not there, and behind a form or licence: {', '.join(gated)}", do)


@check("evaluation", "java", needs="evaluation")
def java(subject: Subject) -> Iterator[Finding]:
    """Only METEOR and SPICE run on Java."""
    metrics = {metric for benchmark in chosen(subject) for metric in benchmark.metrics}
    wanted = [name for name in ("meteor", "spice") if name in metrics]
    command = java_command()
    if wanted and command is not None:
        yield ok(f"Java: {command}")
    for name in wanted:
        lacking = missing_for(name)
        if lacking:
            what, _, do = lacking.replace("was not run", "will not be run").partition(": ")
            yield warning(what, do)
        else:
            yield ok(f"{name} can run")


def chosen(subject: Subject) -> list[Benchmark]:
    """The datasets that were named, or those of Table 1 that have files."""
    if subject.evaluation_tasks:
        return select_benchmarks(subject.evaluation_tasks)
    data = subject.evaluation_data
    assert data is not None
    return [benchmark for benchmark in TABLE1 if is_there(data / (benchmark.folder or benchmark.name))]


def _dataset(benchmark: Benchmark, subject: Subject) -> Iterator[Finding]:
    assert subject.evaluation_data is not None
    folder = subject.evaluation_data / (benchmark.folder or benchmark.name)
    fine = []
    for found in take_inventory(benchmark, folder):
        what = f"{benchmark.name}: {found.what}"
        if found.level == "problem":
            gated = "behind a form or licence; " if benchmark.source.gated else ""
            yield problem(what, gated + (found.do or f"kosmos eval prepare {benchmark.name}"), _DATA)
        elif found.level == "warning":
            yield warning(what, found.do)
        else:
            fine.append(found.what)
    if fine:
        count, size = folder_bytes(folder)
        yield ok(f"{benchmark.name}: {'; '.join(fine)}; {count:,} files, {bytes_in_words(size)}")
