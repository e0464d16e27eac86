"""docs/faithfulness.md: its table has a state in every row, and every file and name it points to exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
DOCUMENT = REPOSITORY / "docs" / "faithfulness.md"
STATES = {"done", "deviates", "unknown"}
# A definition of the name in Python, or a key in YAML.
DEFINITION = r"^\s*(?:def|class)\s+{0}\b|^\s*{0}\s*(?::[^=\n]+)?=|^\s*{0}\s*:|[{{,]\s*{0}\s*:"


def rows() -> list[list[str]]:
    lines = [line for line in DOCUMENT.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in cells if row[0] != "clause" and not set(row[0]) <= {"-"}]


def pointers() -> list[str]:
    return sorted({pointer for row in rows() for pointer in re.findall(r"`(.+?)`", row[-1])})


def test_every_clause_has_a_state_and_a_place() -> None:
    assert len(rows()) > 80
    for row in rows():
        assert len(row) == 4, row
        clause, state, what, where = row
        assert state in STATES, clause
        assert re.fullmatch(r"`[^`]+`(, `[^`]+`)*", where), clause
        assert what or state == "done", clause


@pytest.mark.parametrize("pointer", pointers())
def test_what_it_points_to_exists(pointer: str) -> None:
    path, _, name = pointer.partition(":")
    assert (REPOSITORY / path).is_file(), path
    if name:
        text = (REPOSITORY / path).read_text(encoding="utf-8")
        assert re.search(DEFINITION.format(re.escape(name)), text, flags=re.MULTILINE), pointer


def test_a_name_that_is_only_used_is_not_a_definition() -> None:
    used = "from x import interval\nprint(interval(3))\nif interval == 3: pass\n"
    assert not re.search(DEFINITION.format("interval"), used, flags=re.MULTILINE)
    for defined in ("def interval(x)", "class interval:", "interval: int = 3", "interval = 3", "  {a: 1, interval: 2}"):
        assert re.search(DEFINITION.format("interval"), defined, flags=re.MULTILINE), defined


def test_every_dataset_of_the_table_is_in_it() -> None:
    from kosmos.evaluation.tasks.table1 import TABLE1

    text = DOCUMENT.read_text(encoding="utf-8").lower()
    words = {"COCO Caption": "coco", "Birds by description": "birds"}
    for benchmark in TABLE1:
        assert words.get(benchmark.title, benchmark.title).lower() in text, benchmark.title


def test_prompts_are_the_ones_that_are_asked() -> None:
    """Every prompt that the document quotes stands in a declaration."""
    tasks = "\n".join(
        path.read_text(encoding="utf-8") for path in (REPOSITORY / "kosmos/evaluation/tasks").glob("*.py")
    )
    text = DOCUMENT.read_text(encoding="utf-8")
    for quoted, declared in {
        "An image of": "An image of",
        "The photo of the": "The photo of the",
        "Introduce this picture in detail:": "Introduce this picture in detail:",
        "what is the sentiment of the opinion? Answer:": "what is the sentiment of the opinion? Answer:",
        "does this picture contain real hate speech? Answer:": "does this picture contain real hate speech? Answer:",
        "Is it correct?": "Is it correct?",
        "The following image is:": "The following image is:",
        "Qusestion": "Qusestion",
        "Question:what is the name of": "Question:what is the name of",
    }.items():
        assert quoted in text and declared in tasks, quoted
