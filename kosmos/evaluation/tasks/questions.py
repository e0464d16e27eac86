"""Questions about pictures: what VQAv2 and VizWiz share."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from kosmos.errors import DataError
from kosmos.evaluation.benchmark import Prompt
from kosmos.evaluation.readers.dataset_files import Row, read_text
from kosmos.evaluation.tasks.picture_prompts import free_prompt, one_line
from kosmos.example import Example

VQA_SHOTS = (0, 2, 4, 8)
# Greedy, as the paper; the limit is ours.
VQA_DECODING: Mapping[str, object] = {"num_beams": 1, "max_new_tokens": 32}
UNLABELLED = "The answers of this split are not public: its answers go into a file for the server (`submission`)."


def question_words(example: Example) -> str:
    return f"Question: {one_line(example.fields['question'])} Answer:"


def question_prompts() -> tuple[Prompt, ...]:
    """The paper's prompt, ending at `</s>`; and the same that also ends where another question would begin."""
    return (
        free_prompt("paper", question_words, shown_answer),
        free_prompt(
            "stop_at_question",
            question_words,
            shown_answer,
            stop=("Question:",),
            note="the answer ends at the next `Question:`, too: demonstrations without `</s>` teach nobody to stop",
        ),
    )


def shown_answer(example: Example) -> str:
    """What a demonstration answers. Raises DataError for a question without answers."""
    if not example.fields.get("shown_answer"):
        raise DataError(f"question {example.id} has no answer to show as a demonstration")
    return one_line(example.fields["shown_answer"])


def commonest(answers: Sequence[str]) -> str:
    """The answer that most people gave, the first of several; "" without any."""
    return Counter(answers).most_common(1)[0][0] if answers else ""


def given_answers(row: Row) -> list[str]:
    """The answers of people, each a text or an object with the key `answer`; none where the split has none."""
    if "answers" not in row:
        return []
    found = row.value("answers")
    if not isinstance(found, Sequence) or isinstance(found, str):
        raise DataError(f"{row.where}: 'answers' must be a list, not {found!r}")
    answers: list[str] = []
    for entry in found:
        answer = entry.get("answer") if isinstance(entry, dict) else entry
        if not isinstance(answer, str):
            raise DataError(f"{row.where}: every entry of 'answers' must be a text or have a text 'answer'")
        answers.append(answer)
    return answers


def json_rows(path: Path, key: str = "") -> list[Row]:
    """The objects of a JSON list, or of the list under a key."""
    try:
        table = json.loads(read_text(path))
    except ValueError as error:
        raise DataError(f"{path}: not JSON: {error}") from error
    found = table.get(key) if key and isinstance(table, dict) else table
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise DataError(f"{path}: must hold a list of objects" + (f" under '{key}'" if key else ""))
    return [Row(f"{path}, {key or 'entry'}[{index}]", index, entry) for index, entry in enumerate(found)]


def questions_with_annotations(questions: Path, annotations: Path | None) -> list[tuple[Row, Row | None]]:
    """The questions of VQA's files, each with its annotation. Raises DataError where one has none."""
    asked = json_rows(questions, "questions")
    if annotations is None:
        return [(row, None) for row in asked]
    known = {row.value("question_id"): row for row in json_rows(annotations, "annotations")}
    for row in asked:
        if row.value("question_id") not in known:
            raise DataError(f"{row.where}: question {row.value('question_id')} has no annotation in {annotations}")
    return [(row, known[row.value("question_id")]) for row in asked]


def beside(questions: Path, name: str) -> Path:
    """The annotations that belong to a file of questions. Raises DataError when they are not there."""
    for folder in (questions.parent, questions.parent.parent):
        found = sorted(path for path in (*folder.glob(name), *folder.glob(f"*/{name}")) if path.is_file())
        if found:
            return found[0]
    raise DataError(f"{questions}: its annotations {name} are not beside it")
