"""The picture book's abilities as Tasks: the fixed held-out sets, their prompts, chance and cheap baselines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

from kosmos.data.picturebook.canvas import SIZE
from kosmos.data.picturebook.heldout import load_heldout
from kosmos.data.picturebook.packages import PACKAGES
from kosmos.data.picturebook.reader import plain_training_examples
from kosmos.data.picturebook.templates import RAVEN_CANDIDATES, raven_contexts, template
from kosmos.data.picturebook.vocabulary import MADE_UP_WORDS
from kosmos.evaluation.task import Task
from kosmos.example import Example

TWEMOJI = "pictures by an artist whose drawings training never sees"
FONTS = "a font family that training never sees"
PAPER = "KOSMOS-1 section 4 and appendix, prompt of the same kind"
QUESTIONS = ("majority", "question_majority", "pixel_nearest_neighbour", "pixel_nearest_neighbour_same_question")
# Or all there are: 2,715 drawings, 1,297 digits.
NUM_TRAIN_EXAMPLES = 10_000
PICTURES = ("majority", "pixel_nearest_neighbour")


def _held_out(name: str, size: int) -> list[Example]:
    return list(load_heldout(name, size))


def _training(world: str, size: int, count: int) -> list[Example]:
    return list(plain_training_examples(world, count, size))


def blind_guess(examples: Sequence[Example]) -> float:
    """Share of the test's own commonest answer: what the best constant answer scores."""
    return max(Counter(example.fields["answer"] for example in examples).values()) / len(examples)


def picturebook_tasks(size: int = SIZE) -> list[Task]:
    """All tasks, in the order of the report. Loading a task's examples builds its set in the cache at first."""

    def make(
        name: str,
        world: str,
        *,
        title: str,
        note: str,
        baselines: tuple[str, ...],
        chance: float | Callable[[list[Example]], float] = blind_guess,
        max_new_tokens: int = 8,
        num_train_examples: int = NUM_TRAIN_EXAMPLES,
    ) -> Task:
        return Task(
            name,
            partial(_held_out, name, size),
            template,
            max_new_tokens=max_new_tokens,
            chance=chance,
            train_examples=partial(_training, world, size),
            num_train_examples=num_train_examples,
            baselines=baselines,
            title=title,
            note=note,
            reference=PAPER,
        )

    naming = Task(
        "naming",
        partial(_held_out, "naming", size),
        template,
        max_new_tokens=16,
        chance=1 / 853,
        train_examples=partial(_training, "pictures", size),
        num_train_examples=NUM_TRAIN_EXAMPLES,
        baselines=PICTURES,
        title="naming (853 concepts, open-ended)",
        note=f"{TWEMOJI}; exact match of the whole name",
        reference=PAPER,
    )
    tasks = [
        naming,
        make(
            "captioning",
            "captions",
            title="captioning of scenes",
            note=f"{TWEMOJI}; exact match of the whole caption, counts and relation included",
            baselines=PICTURES,
            max_new_tokens=24,
        ),
        make(
            "vqa",
            "vqa",
            title="visual questions",
            note=f"half colours, half what is there and where; {TWEMOJI}",
            baselines=QUESTIONS,
        ),
        make(
            "vqa_color",
            "colors",
            title="colour questions",
            note="half of the things asked for have a colour that training never gave them",
            baselines=QUESTIONS,
            chance=0.1,
        ),
        make(
            "counting",
            "counting",
            title="counting (1 to 5)",
            note=f"{TWEMOJI}; half of the counts above one are (count, thing) pairs unseen in training",
            baselines=QUESTIONS,
            chance=0.2,
        ),
        make(
            "explanation",
            "explanation",
            title="odd one out, with the reason",
            note=f"{TWEMOJI}; exact match of thing and reason",
            baselines=PICTURES,
            max_new_tokens=24,
        ),
        make(
            "dialogue",
            "dialogue",
            title="dialogue, second turn",
            note=f"the question says 'it', so the first turn is needed; {TWEMOJI}",
            baselines=QUESTIONS,
        ),
        make("webpage_qa", "webpages", title="web page questions", note=FONTS, baselines=QUESTIONS),
        make(
            "equation",
            "equations",
            title="rendered equations",
            note=f"half of the operand pairs are unseen in training; {FONTS}",
            baselines=PICTURES,
        ),
        make(
            "number",
            "digits",
            title="handwritten digits",
            note="the last 500 of scikit-learn's 1,797 real digits",
            baselines=PICTURES,
            chance=0.1,
        ),
        make(
            "ocr",
            "ocr",
            title="rendered words",
            note=f"words that training drew; {FONTS}",
            baselines=PICTURES,
        ),
        make(
            "ocr_unseen",
            "ocr",
            title="rendered words, never drawn in training",
            note=f"to be read letter by letter; {FONTS}",
            baselines=PICTURES,
        ),
        make(
            "sentiment",
            "sentiment",
            title="sentiment of rendered opinions",
            note=FONTS,
            baselines=PICTURES,
            chance=0.5,
        ),
    ]
    tasks += [_raven(given, size) for given in (3, 4, 8)]
    tasks += [_in_context(f"in_context_{shots}", shots, size) for shots in (0, 2, 4, 8)]
    tasks.append(_in_context("in_context_shuffled", 8, size, shuffled=True))
    return tasks


def _raven(given: int, size: int) -> Task:
    name = f"raven_{given}"
    return Task(
        name,
        partial(_held_out, name, size),
        template,
        mode="yes",
        chance=1 / RAVEN_CANDIDATES,
        contexts=raven_contexts,
        baselines=("central_candidate", "candidate_nearest_context", "unseen_candidate"),
        normalization="yes_no",
        title=f"Raven, {given} given",
        note="six candidates, 2 x 3 values of two attributes, so they alone say nothing; the right one is always new",
        reference="KOSMOS-1 section 4.2.2 (Raven IQ test), prompt of figure 4",
    )


def _in_context(name: str, shots: int, size: int, shuffled: bool = False) -> Task:
    # Two words are in use: with demonstrations a guess is right half of the time, without any once in 40.
    chance = 0.5 if shots else 1 / len(MADE_UP_WORDS)
    blind = shuffled or not shots
    baselines = ("random_demonstration",) if blind else ("random_demonstration", "nearest_demonstration")
    note = "made-up words told by the demonstrations alone; the query is a drawing by an unseen artist, moved and relit"
    return Task(
        name,
        partial(_held_out, name, size),
        template,
        chance=chance,
        baselines=baselines,
        expects_chance=blind,
        title=f"in-context binding, {shots} shots" + (", labels shuffled" if shuffled else ""),
        note=note,
        reference="KOSMOS-1 section 2.1 (few-shot learning in context)",
    )


def picturebook_credits() -> list[tuple[str, str, str]]:
    """(package, its artists or authors, licence) of everything that the picture book is made of."""
    packages = [(package.spec, package.credit, package.licence) for package in PACKAGES]
    return [
        *packages,
        ("scikit-learn's digits", "E. Alpaydin and C. Kaynak, UCI Machine Learning Repository", "CC-BY-4.0"),
    ]
