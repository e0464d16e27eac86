"""What the language tasks must say with two demonstrations, typed by hand: what stands before the question.

Written as the segments of golden_pictures are: `</s>` is the end token, text as it is. The question that follows is
that of golden_language. The demonstrations are those that seed 0 draws for the first made-up test example.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from kosmos.evaluation.benchmark import Benchmark, Prompt
from kosmos.evaluation.running.cells import Cell, Item, Preparer
from tests.evaluation.tasks.golden_language import GOLDEN
from tests.evaluation.tasks.golden_pictures import Segments, rendered

# (benchmark, prompt) -> the two demonstrations with their answers.
SHOWN: dict[tuple[str, str], tuple[str, str]] = {
    ("story_cloze", "lmops"): (
        "Mina lost her red mitten. She looked in the hall. She looked under the bed. The dog had something red. "
        "She got her mitten back.",
        "It rained all week. The river rose. Pia carried sand to the door. The water came to the step. "
        "Her floor stayed dry.",
    ),
    ("story_cloze", "lm_eval"): (
        "Mina lost her red mitten. She looked in the hall. She looked under the bed. The dog had something red. "
        "She got her mitten back.",
        "It rained all week. The river rose. Pia carried sand to the door. The water came to the step. "
        "Her floor stayed dry.",
    ),
    ("hellaswag", "lmops"): (
        "Take a rope. [title] Make a loop. [step] Keep it loose. Pull one end through.",
        "A car is dusty. a woman fetches a hose.",
    ),
    ("hellaswag", "lm_eval"): (
        "How to tie a knot: Take a rope.. Make a loop. Keep it loose. Pull one end through.",
        "Washing a car: A car is dusty. A woman fetches a hose.",
    ),
    ("winograd", "lmops"): (
        "The aunt asked the girl for The girl homework.",
        "The cup did not fit into the box because the box was too narrow.",
    ),
    ("winograd", "lm_eval"): (
        "The aunt asked the girl for the girl's  homework.",
        "The cup did not fit into the box because the box  was too narrow.",
    ),
    ("winogrande", "lmops"): (
        "The soup was in the pot, not the bowl, so the bowl was empty.",
        "The soup was in the pot, not the bowl, so the pot was hot.",
    ),
    ("winogrande", "lm_eval"): (
        "The soup was in the pot, not the bowl, so the bowl was empty.",
        "The soup was in the pot, not the bowl, so the pot was hot.",
    ),
    ("piqa", "lmops"): ("sharpen a pencil Use a sharpener.", "How do you open a jar? Turn the lid."),
    ("piqa", "lm_eval"): (
        "Question: sharpen a pencil\nAnswer: Use a sharpener.",
        "Question: How do you open a jar?\nAnswer: Turn the lid.",
    ),
    ("boolq", "lmops"): (
        "Passage: Ferry -- A ferry carries people over water. Question: can a ferry carry people? Answer: Yes",
        "Passage: Bell tower -- A bell tower holds one or more bells. "
        "Question: can a bell tower have two bells? Answer: Yes",
    ),
    ("boolq", "lm_eval"): (
        "Ferry -- A ferry carries people over water.\nQuestion: can a ferry carry people?\nAnswer: yes",
        "Bell tower -- A bell tower holds one or more bells.\nQuestion: can a bell tower have two bells?\nAnswer: yes",
    ),
    ("cb", "lmops"): (
        "Jon was wrong to think that the shop was closed. "
        "Question: the shop was closed. True, False, or Neither? Answer: False",
        "Jon knew that the shop was closed. Question: the shop was closed. True, False, or Neither? Answer: True",
    ),
    ("cb", "lm_eval"): (
        "Jon was wrong to think that the shop was closed.\n"
        "Question: the shop was closed. True, False, or Neither?\nAnswer: False",
        "Jon knew that the shop was closed.\nQuestion: the shop was closed. True, False, or Neither?\nAnswer: True",
    ),
    ("copa", "lmops"): ("The glass broke because it fell on the stones.", "The boy was thirsty so he drank water."),
    ("copa", "lm_eval"): (
        "The glass broke because  it fell on the stones.",
        "The boy was thirsty therefore  he drank water.",
    ),
}


def with_two(name: str, prompt: str) -> tuple[Segments, ...]:
    """The segments of each request: both demonstrations and the question, parted as the protocol says."""
    golden, (first, second) = GOLDEN[name, prompt], SHOWN[name, prompt]
    questions = golden.contexts or (golden.context,)
    if prompt == "lmops":
        return tuple((first, "</s>", second, "</s>", question) for question in questions)
    return tuple((f"{first}\n\n{second}\n\n{question}",) for question in questions)


def ask_with(shots: int, benchmark: Benchmark, prompt: Prompt, folder: Path) -> Item:
    """The runner's item of the first test example. Two are no number of the protocol: allowed for this test."""
    allowed = replace(benchmark, shots=(*benchmark.shots, 2))
    preparer = Preparer(Cell(allowed, prompt, shots=shots), folder, lambda document, answers: True, latents=4)
    return preparer.item(preparer.examples[0])


def assert_few_shot(benchmark: Benchmark, prompt: Prompt, folder: Path) -> None:
    """With two demonstrations the runner would ask what is typed above; nothing of it is supervised."""
    golden = GOLDEN[benchmark.name, prompt.name]
    item = ask_with(2, benchmark, prompt, folder)
    assert tuple(rendered(request.document) for request in item.requests) == with_two(benchmark.name, prompt.name)
    for request in item.requests:
        assert request.candidates == (golden.candidates or (golden.right,))
        assert not any(segment.supervised for segment in request.document)
    assert (len(item.demonstrations), item.dropped, item.cut) == (2, 0, False)
