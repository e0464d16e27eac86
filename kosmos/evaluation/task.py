"""Task: one ability or dataset, declared in one frozen dataclass.

A template is a plain function Example -> Document whose supervised text at the end is the answer; everything before
it is the prompt. The runner, the baselines and the report need nothing else to know a task.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from kosmos.document import Document, End, Segment, Text
from kosmos.errors import DataError, UsageError
from kosmos.example import Example, split_answer

Mode = Literal["generate", "choice", "yes"]
# How a candidate's log-probability is made comparable with another's. `yes_no` (mode yes): log of
# P(affirmative) / (P(affirmative) + P(negative)).
Normalization = Literal["sum", "per_token", "per_character", "yes_no"]


@dataclass(frozen=True)
class Task:
    """What to ask, how to answer, and what to compare the score with.

    name            file-name safe, unique in a suite
    examples        the fixed test set, in a stable order
    template        Example -> Document: the prompt, then the gold answer as supervised text
    mode            `generate`: greedy text; `choice`: best log-likelihood among the candidates of
                    `fields["candidates"]` (strings as they follow the prompt, mostly with a leading space);
                    `yes`: P("Yes") across `contexts`, argmax; `fields["gold"]` is the index of the right one
    metric          a name of `kosmos.evaluation.metrics`; its values lie in [0, 1]
    max_new_tokens  limit of a generated answer
    chance          expected score of a blind guess: a number, or a function of the test examples
    train_examples  n -> up to n training examples for the cheap baselines (none: baselines are not fitted)
    num_train_examples  the n asked for
    contexts        mode `yes`: one Document per candidate, ending before the word "Yes"; the candidate is its last
                    image
    baselines       names of `kosmos.evaluation.picturebook.baselines`
    normalization   how candidates' log-probabilities are compared
    expects_chance  a control that must stay at chance (no demonstrations, shuffled labels)
    title, note     for the report: what the row is called, what a reader should know
    reference       where the prompt or protocol comes from

    `fields["answers"]`, when present, lists every accepted answer; otherwise the template's own is the only one.
    `fields["question"]`, when present, is the question text that question-only baselines go by; otherwise the prompt.
    """

    name: str
    examples: Callable[[], list[Example]]
    template: Callable[[Example], Document]
    mode: Mode = "generate"
    metric: str = "exact_match"
    max_new_tokens: int = 16
    chance: float | Callable[[list[Example]], float] = 0.0
    train_examples: Callable[[int], list[Example]] | None = None
    num_train_examples: int = 2000
    contexts: Callable[[Example], list[Document]] | None = None
    baselines: tuple[str, ...] = ()
    normalization: Normalization = "sum"
    affirmative: str = " Yes"
    negative: str = " No"
    expects_chance: bool = False
    title: str = ""
    note: str = ""
    reference: str = ""

    def __post_init__(self) -> None:
        if not self.name or not all(c.isalnum() or c in "_-." for c in self.name):
            raise UsageError(f"task name '{self.name}' must be letters, digits, '_', '-' or '.'")
        if self.mode not in ("generate", "choice", "yes"):
            raise UsageError(f"task {self.name}: unknown mode '{self.mode}' (generate, choice, yes)")
        if self.mode == "yes" and self.contexts is None:
            raise UsageError(f"task {self.name}: mode 'yes' needs `contexts`, one Document per candidate")
        if self.normalization == "yes_no" and self.mode != "yes":
            raise UsageError(f"task {self.name}: normalization 'yes_no' belongs to mode 'yes'")

    @property
    def label(self) -> str:
        """The row's name in a report."""
        return self.title or self.name.replace("_", " ")

    def prompt(self, example: Example) -> Document:
        """What the model is shown: the template's Document without its answer, nothing supervised."""
        return split_answer(self.template(example))[0].unsupervised()

    def golds(self, example: Example) -> list[str]:
        """The accepted answers. Raises DataError when there is none."""
        if self.mode == "yes":
            return [str(self.gold_index(example))]
        answers = example.fields.get("answers")
        golds = [str(answer) for answer in answers] if answers else [split_answer(self.template(example))[1]]
        if not any(gold.strip() for gold in golds):
            raise DataError(f"task {self.name}, example {example.id}: no gold answer")
        return golds

    def gold_index(self, example: Example) -> int:
        """Mode `yes`: the index of the right candidate."""
        gold = example.fields.get("gold")
        if not isinstance(gold, int):
            raise DataError(f"task {self.name}, example {example.id}: fields['gold'] must be the right one's index")
        return gold

    def candidates(self, example: Example) -> list[str]:
        """Mode `choice`: the candidates, as they follow the prompt."""
        candidates = example.fields.get("candidates")
        if not candidates or isinstance(candidates, str):
            raise DataError(f"task {self.name}, example {example.id}: fields['candidates'] must list the candidates")
        return [str(candidate) for candidate in candidates]

    def question(self, example: Example) -> str:
        """The text that a question-only baseline may look at."""
        question = example.fields.get("question")
        return str(question) if question is not None else render(self.prompt(example))

    def chance_score(self, examples: Sequence[Example]) -> float:
        """Expected score of a blind guess over `examples`."""
        return float(self.chance(list(examples))) if callable(self.chance) else float(self.chance)


def render(document: Document) -> str:
    """The Document as one string, with `<image>` (or the modality's name) where a segment is not text."""
    return "".join(_mark(segment) for segment in document)


def _mark(segment: Segment) -> str:
    if isinstance(segment, Text):
        return segment.text
    return "</s>" if isinstance(segment, End) else f"<{segment.modality}>"
