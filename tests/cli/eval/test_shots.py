"""Numbers of demonstrations that the paper's protocol does not have are refused before anything is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from kosmos.cli.eval.datasets import check_shots, chosen_cells
from kosmos.cli.main import main
from kosmos.evaluation.tasks.table1 import select_benchmarks


@pytest.mark.parametrize(
    ("tasks", "shots", "message"),
    [
        ("boolq", "0,2", "benchmark boolq is defined for 0, 1, 4 demonstrations, not 2"),
        ("vqav2", "1", "benchmark vqav2 is defined for 0, 2, 4, 8 demonstrations, not 1"),
        ("imagenet", "0,4", "benchmark imagenet is defined for 0 demonstrations, not 4"),
        ("language", "0,1,2", "none of these datasets is defined for 2 demonstrations, but for 0, 1, 4"),
        ("table1", "0,3", "none of these datasets is defined for 3 demonstrations, but for 0, 1, 2, 4, 8"),
    ],
)
def test_other_shots_are_refused(
    tasks: str, shots: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["eval", str(tmp_path), "--tasks", tasks, "--shots", shots]) == 2
    assert message in capsys.readouterr().err


def test_of_the_table_each_dataset_takes_its_own() -> None:
    chosen = select_benchmarks("table1")
    check_shots(chosen, [0, 4])
    cells = chosen_cells(chosen, [0, 4], [0], "")
    assert {cell.benchmark.name for cell in cells} == {benchmark.name for benchmark in chosen}
    assert sum(cell.shots == 4 for cell in cells) == 8 + 4
