"""What a reader of the report must know: warnings, and where the evaluation departs from the paper's."""

from __future__ import annotations

from collections.abc import Sequence

from kosmos.evaluation.paper import KNOWN
from kosmos.evaluation.reporting.results import SUBSET, Results, metric_name, number
from kosmos.evaluation.reporting.table1_rows import Score, family_of

# Cells that a warning names before it only counts them.
_LISTED = 4


def warnings_of(results: Results, scores: Sequence[Score]) -> list[str]:
    """In the order of the cells, each once with the cells that it concerns; then what concerns several."""
    found: list[tuple[str, str]] = []
    for name, entry in results.cells.items():
        found += [(name, text) for text in (*entry["warnings"], *_conflicts(results, name), *_twins(results, name))]
        if any(metric.endswith(SUBSET) for metric in entry["metrics"]):
            found.append(
                (
                    name,
                    f"the captions' score of {entry['n']} pictures is no CIDEr: it moves by many points from part to "
                    "part, and is not set beside the paper's",
                )
            )
        elif "cider" in entry["metrics"] and entry["n"] != entry["n_expected"]:
            found.append(
                (
                    name,
                    f"CIDEr counts words over the {entry['n']} pictures that are there, not over the "
                    f"{entry['n_expected']} of the official split: it is not quite the paper's quantity",
                )
            )
    for score in scores:
        if score.not_run:
            found += [(name, not_run_line(score.metric, score.not_run)) for name in score.cells]
    return [*gathered(found), *_both_orders(scores), *_not_above_chance(scores)]


def deviations_of(results: Results) -> list[str]:
    """Every option of this evaluation that is not the default, each once with the cells that it concerns."""
    found: list[tuple[str, str]] = []
    facts = results.plan.get("facts", {})
    for name, entry in results.cells.items():
        if not entry["default_prompt"]:
            found.append((name, f"the prompt is {family_of(entry['prompt'])}, not the default one"))
        if entry["seed"]:
            found.append((name, f"demonstrations are drawn with seed {entry['seed']}, not 0"))
        if entry["limit"] is not None and entry["limit"] < entry["n_expected"]:
            found.append((name, f"only the first {entry['limit']} examples (--limit)"))
        if entry["n_broken"]:
            found.append((name, f"{entry['n_broken']} examples that cannot be read are left out (--skip-broken)"))
        if entry["shots"] and entry["demonstration_split"] == entry["split"]:
            found.append(
                (name, "demonstrations are other examples of the split that is tested: there is no training split")
            )
        if entry["benchmark"] not in KNOWN:
            found.append((name, "no row of the paper's tables"))
    if facts.get("precision", "fp32") != "fp32":
        return [f"the model ran in {facts['precision']}, not in fp32", *gathered(found)]
    return gathered(found)


def not_run_line(metric: str, why: str) -> str:
    """`METEOR was not run: why`; the metrics that say so themselves say it once."""
    return f"{metric_name(metric)} was not run: {why.removeprefix(f'{metric} was not run: ')}"


def gathered(found: Sequence[tuple[str, str]]) -> list[str]:
    """`a, b: text`, in the order in which the texts first stand."""
    cells: dict[str, list[str]] = {}
    for name, text in found:
        cells.setdefault(text, []).append(name)
    return [f"{_listed(names)}: {text}" for text, names in cells.items()]


def _listed(names: Sequence[str]) -> str:
    """The names, or the first ones and how many more."""
    if len(names) <= _LISTED + 1:
        return ", ".join(names)
    return f"{', '.join(names[:_LISTED])} and {len(names) - _LISTED} others"


def notes_of(results: Results) -> list[str]:
    """The notes of datasets and prompts, each once."""
    return list(
        dict.fromkeys(f"{entry['title']}: {note}" for entry in results.cells.values() for note in entry["notes"])
    )


def _conflicts(results: Results, name: str) -> list[str]:
    """Examples that are put to the model in the same words and have other golds: one of them cannot be right."""
    golds: dict[str, set[int]] = {}
    if any("rationale" in sample for sample in results.samples(name)):
        return []  # what the model wrote may be the same twice; that says nothing of the labels
    for sample in results.samples(name):
        if "choice" in sample and sample["label"] is not None:
            golds.setdefault(sample["key"], set()).add(sample["label"])
    count = sum(len(different) > 1 for different in golds.values())
    return [f"label conflicts: {count} prompts stand there twice with different right answers"] if count else []


def _twins(results: Results, name: str) -> list[str]:
    entry = results.cells[name]
    twins = entry["metrics"].get("exact_name", {}).get("details", {}).get("twins", 0)
    if not twins:
        return []
    return [
        f"{twins:.0f} pictures are of classes that share their name with another one (missile, sunglasses): no text "
        "can tell these apart, so either class's picture is right with it"
    ]


def _both_orders(scores: Sequence[Score]) -> list[str]:
    sizes = {score.family: score for score in scores if score.key[0] == "relative_size" and score.value is not None}
    first, second = sizes.get("paper"), sizes.get("reversed")
    if first is None:
        return []
    if second is None:
        return [
            "RelativeSize: asked in the one order in which Yes is always right, so always saying Yes has 100; "
            "`--tasks relative_size --prompt reversed` asks the other one"
        ]
    assert first.value is not None and second.value is not None
    middle = (first.value + second.value) / 2
    return [
        f"RelativeSize: {number(first.value, 'accuracy')} with the larger object first, "
        f"{number(second.value, 'accuracy')} with the smaller one first; their mean is "
        f"{number(middle, 'accuracy')}, where a constant answer has 50.0"
    ]


def _not_above_chance(scores: Sequence[Score]) -> list[str]:
    names = []
    for score in scores:
        chance, bound = score.entry["chance"], score.interval
        if score.is_first and chance and bound is not None and bound[0] <= chance <= bound[1]:
            shots = f", k = {score.entry['shots']}" if score.entry["shots"] else ""
            names.append(f"{score.label}{shots} ({number(chance, score.metric)}, n = {score.entry['n']})")
    return [f"The interval holds chance, so these scores may be luck: {'; '.join(names)}"] if names else []
