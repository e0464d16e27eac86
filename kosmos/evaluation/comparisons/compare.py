"""Compare two evaluations on the items that both have: cell by cell, paired, corrected for several tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from kosmos.errors import DataError, UsageError
from kosmos.evaluation.comparisons.paired import PairedTest, Sample, holm, paired_test
from kosmos.evaluation.reporting.results import Results, base_metric


@dataclass(frozen=True)
class Compared:
    """One metric of one cell. `notes`: what differs beside the weights, and items left out."""

    cell: str
    title: str
    metric: str
    result: PairedTest
    corrected_p: float
    notes: tuple[str, ...]

    def row(self) -> dict[str, Any]:
        """For --json."""
        values = {**asdict(self.result), "difference": self.result.difference, "interval": list(self.result.interval)}
        return {"cell": self.cell, "title": self.title, "metric": self.metric, **values,
                "corrected_p": self.corrected_p, "notes": list(self.notes)}  # fmt: skip


def compare(before: Results, after: Results, all_metrics: bool = False) -> list[Compared]:
    """Each cell that both have, in the order of `before`, by its first metric or by all; Holm over all tests made.

    Raises UsageError when no cell is in both, DataError when a cell's data (ids, golds, pictures) differ.
    """
    shared = [name for name in before.cells if name in after.cells]
    if not shared:
        raise UsageError(
            f"{before.folder} and {after.folder} have no cell in common: {', '.join(before.cells)} against "
            f"{', '.join(after.cells)}"
        )
    made: list[tuple[str, str, PairedTest, tuple[str, ...]]] = []
    for name in shared:
        one, other = before.cells[name], after.cells[name]
        pair = shared_items(before, name, after, name)
        notes = (*_settings_that_differ(one, other), *_left_out(pair, one, other))
        for metric in _metrics(one, other, all_metrics):
            made.append((name, metric, paired_test(*pair, metric, one["normalization"]), notes))
    corrected = holm([test.p for _, _, test, _ in made])
    return [
        Compared(name, str(before.cells[name]["title"]), metric, test, p, notes)
        for (name, metric, test, notes), p in zip(made, corrected)
    ]


def shared_items(before: Results, name: str, after: Results, other: str) -> tuple[list[Sample], list[Sample]]:
    """The samples of two cells for the items that both have, in one order. Raises DataError for different data."""
    lists = before.samples(name), after.samples(other)
    where = f"{name} of {before.folder} and {other} of {after.folder}"
    by_id = [{str(sample["id"]): sample for sample in samples} for samples in lists]
    common = [key for key in by_id[0] if key in by_id[1]]
    alone = [key for key in by_id[0] if key not in by_id[1]], [key for key in by_id[1] if key not in by_id[0]]
    if not common:
        raise DataError(f"{where}: no example is in both, so the data are not the same")
    if alone[0] and alone[1]:
        raise DataError(
            f"{where}: not the same data: example '{alone[0][0]}' is in the first only, '{alone[1][0]}' in the second "
            f"only ({len(common)} are in both)"
        )
    if any(alone) and not _is_limited(before, name) and not _is_limited(after, other):
        raise DataError(
            f"{where}: not the same data: example '{(alone[0] or alone[1])[0]}' is in one of them only, and neither "
            "was cut by --limit"
        )
    for key in common:
        _check_gold(where, key, by_id[0][key], by_id[1][key])
    prints = before.cells[name].get("data_sha256"), after.cells[other].get("data_sha256")
    if before.cells[name]["split"] != after.cells[other]["split"] or (None not in prints and prints[0] != prints[1]):
        raise DataError(f"{where}: not the same data: the splits that they come from differ")
    whole = [key for key in common if not any("broken" in samples[key] for samples in by_id)]
    if not whole:
        raise DataError(f"{where}: every example that both have was broken in one of them")
    return [by_id[0][key] for key in whole], [by_id[1][key] for key in whole]


def _check_gold(where: str, key: str, one: Sample, other: Sample) -> None:
    for field in ("label", "answers", "image_sha256"):
        if field == "image_sha256" and ("broken" in one or "broken" in other):
            continue
        if one[field] != other[field]:
            what = "picture" if field == "image_sha256" else "gold"
            shown = "" if what == "picture" else f": {str(one[field])[:80]} and {str(other[field])[:80]}"
            raise DataError(f"{where}: not the same data: example '{key}' has another {what}{shown}")


def _is_limited(results: Results, name: str) -> bool:
    return results.cells[name]["limit"] is not None


def _metrics(one: Mapping[str, Any], other: Mapping[str, Any], all_metrics: bool) -> list[str]:
    """Metrics that both sides have a value of; the first one alone unless all are asked for."""
    names: list[Mapping[str, Any]] = [
        {base_metric(name): entry for name, entry in cell["metrics"].items() if entry["value"] is not None}
        for cell in (one, other)
    ]
    both = [name for name in names[0] if name in names[1]]
    return both if all_metrics else both[:1]


def _settings_that_differ(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    fields = ("mode", "decoding", "separator", "normalization")
    return [f"{field} differs: {one[field]} and {other[field]}" for field in fields if one[field] != other[field]]


def _left_out(
    pair: tuple[Sequence[Sample], Sequence[Sample]], one: Mapping[str, Any], other: Mapping[str, Any]
) -> list[str]:
    sizes = [cell["n"] + cell["n_broken"] for cell in (one, other)]
    if sizes[0] == sizes[1] == len(pair[0]):
        return []
    return [f"{len(pair[0])} items are in both ({sizes[0]} and {sizes[1]} were asked)"]
