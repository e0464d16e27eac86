"""report.md: pleasant to read in a terminal, and on a web page that shows Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kosmos.evaluation.picturebook.stand_ins import stand_in_rows
from kosmos.evaluation.picturebook.verdict import (
    METRIC_NAMES,
    NOVELTIES,
    baseline_cell,
    interval_cell,
    percent,
    verdict,
)
from kosmos.evaluation.reporting.markdown import inline_code, table

HEADINGS = ("Ability", "n", "Score", "95 % interval", "Chance", "Blank image", "Best cheap baseline", "Verdict")
SPLIT_HEADINGS = (
    "Ability",
    "New in the unseen",
    "n seen",
    "Seen",
    "95 % interval",
    "n unseen",
    "Unseen",
    "95 % interval",
)
NUMERIC = (1, 2, 4, 5)
_SPLIT_NUMERIC = (2, 3, 5, 6)
# Of a long prompt or answer only so many characters are shown.
_SHOWN = 220


def markdown(
    report: Mapping[str, Any],
    presentation: Mapping[str, Any],
    pictures: Mapping[str, str],
    samples: Sequence[Mapping[str, Any]],
) -> str:
    """The whole page. `pictures` names the files beside it; `samples` are the first test item of each ability."""
    parts = [f"# {presentation['title']}"]
    if presentation["introduction"]:
        parts.append(presentation["introduction"])
    parts.append(table([cells(row) for row in report["abilities"]], HEADINGS, NUMERIC))
    parts.append(_legend(report["abilities"]))
    if rows := [split_cells(row) for row in report["abilities"] if row["splits"]]:
        parts += [
            "## What was seen in training and what was not",
            "The items of the same abilities, by whether training has shown their word, pair or count (in other "
            "pictures). Items without such a mark are in neither column.",
            table(rows, SPLIT_HEADINGS, _SPLIT_NUMERIC),
        ]
    parts += _table1(report["abilities"])
    if pictures["sheet"]:
        parts += [f"![{presentation['sheet_title']}]({pictures['sheet']})", f"*{presentation['credit']}*"]
    if pictures["loss"]:
        parts += ["## Training", f"![Training loss by source]({pictures['loss']})"]
    parts.append(_facts(report["run"]))
    parts += ["## One item of each ability", _samples(samples)]
    notes = [*presentation["notes"], *(f"{row['title']}: {row['note']}" for row in report["abilities"] if row["note"])]
    if notes or report["warnings"]:
        parts += ["## To be honest", _list([*notes, *report["warnings"]])]
    if presentation["credits"]:
        credits = [f"{what}: {who}, {licence}" for what, who, licence in presentation["credits"]]
        parts += ["## Credits", _list(credits)]
    if presentation["next_steps"]:
        width = max(len(command) for command, _ in presentation["next_steps"])
        steps = "\n".join(f"{command.ljust(width)}  # {words}" for command, words in presentation["next_steps"])
        parts += ["## Try next", "RUN is the folder this report lies in.", f"```\n{steps}\n```"]
    return "\n\n".join(parts) + "\n"


def cells(row: Mapping[str, Any]) -> list[str]:
    """The cells of one ability, in the order of HEADINGS."""
    blank = "–" if row["blank_image"] is None else percent(row["blank_image"]["score"])
    mark = "" if row["metric"] == "exact_match" else f" ({METRIC_NAMES.get(row['metric'], row['metric'])})"
    return [
        _title(row) + mark,
        str(row["n"]),
        percent(row["score"]),
        interval_cell(row["interval"]),
        percent(row["chance"]),
        blank,
        baseline_cell(row),
        verdict(row).text,
    ]


def split_cells(row: Mapping[str, Any]) -> list[str]:
    """The cells of one ability with `splits`, in the order of SPLIT_HEADINGS."""
    figures = [
        cell
        for part in (row["splits"]["seen"], row["splits"]["unseen"])
        for cell in (str(part["n"]), percent(part["score"]), interval_cell(part["interval"]))
    ]
    return [_title(row), NOVELTIES.get(row["splits_by"], row["splits_by"]), *figures]


def _title(row: Mapping[str, Any]) -> str:
    return str(row["title"]).replace("|", "\\|")


def _legend(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = [
        "Scores are per cent of held-out items answered exactly right, unless a metric is named.",
        "*Blank image* is the same model with every picture made white: what it scores without looking.",
        "*Learned* means that the whole interval lies above chance and above the blank image's interval;",
        "the verdict also says when the strongest cheap baseline is not beaten with disjoint intervals.",
    ]
    return "\n".join(lines)


def _table1(abilities: Sequence[Mapping[str, Any]]) -> list[str]:
    """The paper's datasets with what stands in for them here."""
    found, without = stand_in_rows(abilities)
    if not found:
        return []
    headings = ("Dataset of the paper", "Stand-in", "n", "Score", "95 % interval")
    rows = [
        (title, row["title"], str(row["n"]), percent(row["score"]), interval_cell(row["interval"]))
        for title, row in found
    ]
    return [
        "## Table 1 of the paper, on stand-ins",
        "The same kind of question, of drawings and words that a small model can know: these scores say nothing of the "
        "datasets'. `kosmos eval` takes the datasets themselves.",
        table(rows, headings, (2, 3)),
        f"No stand-in: {', '.join(without)}.",
    ]


def _facts(run: Mapping[str, Any]) -> str:
    counts = ", ".join(f"{name} {count:,}" for name, count in run["parameters"].items())
    facts = [
        ("steps", f"{run['steps']:,}"),
        ("seed", str(run["seed"])),
        ("precision", run["precision"]),
        ("parameters", counts),
        *((name.replace("_", " "), str(value)) for name, value in run["extra"].items()),
        ("training data", f"`{run['data_fingerprint'][:16]}`"),
        ("test items", f"`{run['test_fingerprint'][:16]}`"),
    ]
    return _list([f"{name}: {value}" for name, value in facts])


def _samples(samples: Sequence[Mapping[str, Any]]) -> str:
    lines = ["The first of each test set, right or wrong."]
    for sample in samples:
        verdict_word = {1.0: "right", 0.0: "wrong"}.get(sample["value"], percent(sample["value"]))
        lines.append(
            f"- **{sample['title']}** ({verdict_word})  \n  prompt: {_code(sample['prompt'])}  \n"
            f"  answer: {_code(sample['prediction'])}, expected: {_code(sample['gold'])}"
        )
    return "\n\n".join([lines[0], "\n".join(lines[1:])])


def _code(text: str) -> str:
    """Inline code that any text survives in."""
    shown = text.replace("\n", " ⏎ ").strip()
    if len(shown) > _SHOWN:
        shown = f"{shown[: _SHOWN // 2]} ... {shown[-_SHOWN // 2 :]}"
    return inline_code(shown)


def _list(items: Sequence[str]) -> str:
    return "\n".join(f"- {item}" for item in items)
