from __future__ import annotations

from typing import Any

from kosmos.evaluation.picturebook.report_markdown import _table1
from kosmos.evaluation.picturebook.stand_ins import STAND_INS, stand_in_rows
from kosmos.evaluation.picturebook.tasks import picturebook_tasks
from kosmos.evaluation.tasks.table1 import TABLE1


def row(name: str, score: float) -> dict[str, Any]:
    return {"name": name, "title": name.upper(), "n": 20, "score": score, "interval": [score - 0.1, score + 0.1]}


def test_every_stand_in_is_a_task_and_stands_for_a_dataset() -> None:
    tasks = {task.name for task in picturebook_tasks(48)}
    assert {name for names in STAND_INS.values() for name in names} <= tasks
    assert set(STAND_INS) <= {benchmark.name for benchmark in TABLE1}


def test_rows_follow_table_1() -> None:
    found, without = stand_in_rows([row("naming", 0.5), row("captioning", 0.25), row("else", 0.9)])
    assert [(title, entry["name"]) for title, entry in found] == [
        ("COCO Caption", "captioning"),
        ("Flickr30k", "captioning"),
        ("ImageNet", "naming"),
    ]
    assert len(without) == 18 and "BoolQ" in without and "VQAv2" in without


def test_the_report_shows_them() -> None:
    parts = _table1([row("naming", 0.5)])
    assert parts[0] == "## Table 1 of the paper, on stand-ins"
    assert "| ImageNet             | NAMING   |  20 |  50.0 | 40.0 – 60.0   |" in parts[2]
    assert parts[3].startswith("No stand-in: StoryCloze, HellaSwag")
    assert _table1([row("else", 0.9)]) == []
