"""The paper's figures against what is declared, and against each other."""

from __future__ import annotations

import pytest

from kosmos.errors import UsageError
from kosmos.evaluation.paper import BASE, KNOWN, KOSMOS, LLM, TABLES, reported
from kosmos.evaluation.tasks.table1 import BENCHMARKS, TABLE1

LANGUAGE = ("StoryCloze", "HellaSwag", "Winograd", "Winogrande", "PIQA", "BoolQ", "CB", "COPA")


def test_every_row_has_a_figure_for_every_column() -> None:
    assert sorted(TABLES) == [2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 13, 14, 16]
    for table in TABLES.values():
        assert all(len(row) == len(table.columns) for row in table.rows.values()), table.number


def test_declarations_and_tables_agree() -> None:
    assert {benchmark.name for benchmark in TABLE1} == KNOWN
    for benchmark in BENCHMARKS.values():
        for metric, figures in benchmark.paper.items():
            for shots, figure in figures.items():
                found = reported(benchmark.name, metric, shots=shots)
                assert found is not None and found.value == figure, (benchmark.name, metric, shots)
    for benchmark in TABLE1:  # and every allowed number of demonstrations has its figure
        for shots in benchmark.shots:
            assert reported(benchmark.name, benchmark.metrics[0], shots=shots) is not None, (benchmark.name, shots)


def test_averages() -> None:
    """The paper prints averages of printed figures' unrounded forms: they agree to half a digit and rounding."""
    table = TABLES[13]
    for place, column in enumerate(table.columns):
        values = [table.rows[name][place] for name in LANGUAGE]
        assert None not in values
        average = table.figure("Average", column)
        assert average == pytest.approx(sum(v for v in values if v is not None) / 8, abs=0.11), column


def test_figures_are_counts_of_their_sets() -> None:
    """Winograd is of 285 items, CB of 56, COPA of 100, the IQ test of 50, the birds of 120 (evaluation.md)."""
    for name, size in (("Winograd", 285), ("CB", 56), ("COPA", 100)):
        for figure in TABLES[13].rows[name]:
            assert figure is not None and abs(round(figure * size / 100) * 100 / size - figure) < 0.051
    assert TABLES[6].rows[BASE] == (100 * 13 / 50,) and TABLES[6].rows[KOSMOS] == (100 * 11 / 50,)
    for figure, right in zip(TABLES[12].rows[KOSMOS], (74, 108)):
        assert figure == round(100 * right / 120, 1)


@pytest.mark.parametrize(
    ("arguments", "value"),
    [
        ({"benchmark": "boolq", "metric": "accuracy", "shots": 4, "model": "llm"}, 58.7),
        ({"benchmark": "language", "metric": "accuracy", "shots": 4}, 62.2),
        ({"benchmark": "coco_caption", "metric": "cider", "model": "base"}, 87.6),
        ({"benchmark": "coco_caption", "metric": "spice"}, 16.8),
        ({"benchmark": "iq50", "metric": "accuracy", "model": "base"}, 26.0),
        ({"benchmark": "imagenet", "metric": "exact_name", "held_to_names": True}, 38.1),
        ({"benchmark": "rendered_sst2", "metric": "accuracy", "prompt": "chain_of_thought"}, 72.9),
        ({"benchmark": "cub", "metric": "category_name", "prompt": "without_descriptions"}, 61.7),
        ({"benchmark": "websrc", "metric": "web_f1", "prompt": "image_only"}, 10.6),
        ({"benchmark": "websrc", "metric": "web_em", "prompt": "text_only", "model": "llm"}, 7.6),
        ({"benchmark": "memory_color", "metric": "accuracy", "model": "llm"}, 61.4),
    ],
)
def test_figures_by_score(arguments: dict[str, object], value: float) -> None:
    found = reported(**arguments)  # type: ignore[arg-type]
    assert found is not None and found.value == value


@pytest.mark.parametrize(
    "arguments",
    [
        {"benchmark": "coco_caption", "metric": "cider_subset"},
        {"benchmark": "coco_caption", "metric": "cider", "shots": 2, "model": "base"},
        {"benchmark": "boolq", "metric": "accuracy", "prompt": "lm_eval"},
        {"benchmark": "websrc", "metric": "web_em", "prompt": "text_only"},
        {"benchmark": "hateful_memes", "metric": "accuracy"},
        {"benchmark": "toy", "metric": "accuracy"},
    ],
)
def test_scores_without_a_figure(arguments: dict[str, object]) -> None:
    assert reported(**arguments) is None  # type: ignore[arg-type]


def test_prompts_with_figures_are_declared() -> None:
    from kosmos.evaluation import paper

    for name, prompt in (paper.CHAIN_OF_THOUGHT, paper.WITHOUT_TEXT, paper.TEXT_ONLY, paper.WITHOUT_DESCRIPTIONS):
        assert BENCHMARKS[name].prompt(prompt).name == prompt


def test_a_place_that_is_not_there() -> None:
    with pytest.raises(UsageError, match="Table 13 has no figure at row 'SQuAD'"):
        TABLES[13].figure("SQuAD", f"{LLM}, k=0")
