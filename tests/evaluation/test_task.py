from __future__ import annotations

import pytest

from kosmos.document import Document, End, Image, Text
from kosmos.errors import DataError, UsageError
from kosmos.evaluation.task import Task, render
from kosmos.example import Example
from tests.evaluation.scripted import flat, puzzle_task, shade_examples, shade_task


def test_the_prompt_is_the_template_without_its_answer() -> None:
    task, example = shade_task(), shade_examples(1)[0]
    assert task.prompt(example) == Document(flat(10), Text("The shade is", supervised=False))
    assert task.golds(example) == [" black"]
    assert render(task.prompt(example)) == "<image>The shade is"


def test_answers_in_the_fields_replace_the_templates_own() -> None:
    example = Example("1", {"answer": "grey", "answers": ["grey", "gray"]}, (flat(1),))
    assert shade_task().golds(example) == ["grey", "gray"]


def test_a_multi_turn_prompt_keeps_its_earlier_answers() -> None:
    def template(example: Example) -> Document:
        return Document(Text("a", supervised=False), "b", Text("c", supervised=False), "d", End())

    task = Task("turns", lambda: [], template)
    assert render(task.prompt(Example("1", {}))) == "abc"
    assert task.golds(Example("1", {})) == ["d"]
    assert not any(segment.supervised for segment in task.prompt(Example("1", {})))


def test_an_example_without_an_answer_is_an_error() -> None:
    task = shade_task(template=lambda example: Document(Text("What?", supervised=False)))
    with pytest.raises(DataError, match="shade-0: no gold answer"):
        task.golds(shade_examples(1)[0])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mode": "yes", "contexts": None}, "needs `contexts`"),
        ({"mode": "guess"}, "unknown mode 'guess'"),
        ({"name": "a/b"}, "must be letters"),
        ({"normalization": "yes_no"}, "belongs to mode 'yes'"),
    ],
)
def test_impossible_tasks_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        shade_task(**changes)


def test_gold_index_and_candidates_must_be_there() -> None:
    with pytest.raises(DataError, match="fields\\['gold'\\]"):
        puzzle_task().golds(Example("1", {"gold": "0"}))
    with pytest.raises(DataError, match="fields\\['candidates'\\]"):
        shade_task(mode="choice").candidates(Example("1", {"candidates": "black"}))


def test_chance_may_be_a_function_of_the_examples() -> None:
    task = shade_task(chance=lambda examples: 1 / len(examples))
    assert task.chance_score(shade_examples(5)) == 0.2


def test_the_question_is_the_field_or_the_prompt() -> None:
    task = shade_task()
    assert task.question(shade_examples(1)[0]) == "<image>The shade is"
    assert task.question(Example("1", {"question": "How dark?", "answer": "x"}, (Image(b""),))) == "How dark?"
