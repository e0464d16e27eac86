"""What the picture tasks must say, typed by hand: examples of the made-up datasets, with 0 and 2 demonstrations.

A request is a list of its segments: a picture by its file in brackets, the end token as `</s>`, text as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kosmos.document import Document, End, Image, Segment, Text
from kosmos.evaluation.benchmark import Benchmark, Prompt
from kosmos.evaluation.running.cells import Cell, Preparer
from kosmos.example import Example

Segments = tuple[str, ...]


@dataclass(frozen=True)
class Golden:
    """One prompt of one benchmark. `with_two`: the same with two demonstrations, where they are allowed."""

    example: str
    requests: tuple[Segments, ...]
    candidates: tuple[str, ...] = ()
    answer: str = ""
    with_two: Segments = ()
    rationale: Segments = ()
    stop: tuple[str, ...] = ()
    cut: str = "start"
    normalization: str = "per_token"


SENTIMENT = "Question: what is the sentiment of the opinion? Answer:"
SAID = "A patch of grey."
WEB = (
    "Given the context below from web page, extract the answer from the given text like this: Qusestion: Who is the "
    "publisher of this book? Answer: Penguin Books Ltd."
)
BIRDS = (
    "Description of three toed woodpecker: It has black and white stripes throughout the body and a yellow crown.\n"
    "Description of downy woodpecker: It has white spots on its black wings and some red on its crown."
)
VQA_TWO = (
    "[COCO_train2014_000000000001.jpg]",
    "Question: What colour is the door? Answer: green",
    "[COCO_train2014_000000000002.jpg]",
    "Question: How many cups are there? Answer: 2",
    "[COCO_val2014_000000000005.jpg]",
    "Question: What animal is this? Answer:",
)
VIZWIZ_TWO = (
    "[VizWiz_train_00000007.jpg]",
    "Question: What is this made of? Answer: wood",
    "[VizWiz_train_00000001.jpg]",
    "Question: Is it raining? Answer: no",
    "[VizWiz_val_00000002.jpg]",
    "Question: How many wheels does it have? Answer:",
)


def _iq(given: int, word: str, candidate: int) -> Segments:
    panels = [f"[given-{number}.png]" for number in range(1, given + 1)]
    return (f"Here are {word} images:", *panels, "The following image is:", f"[candidate-{candidate}.png]",
            "Is it correct?")  # fmt: skip


GOLDEN: dict[tuple[str, str, str], Golden] = {
    ("rendered_sst2", "paper", "positive/1"): Golden(
        "positive/1", (("[1.png]", SENTIMENT),), (" negative", " positive"), " positive"
    ),
    ("rendered_sst2", "chain_of_thought", "positive/1"): Golden(
        "positive/1",
        (("[1.png]", f"{SAID} {SENTIMENT}"),),
        (" negative", " positive"),
        " positive",
        rationale=("[1.png]", "Introduce this picture in detail:"),
    ),
    ("rendered_sst2", "chain_of_thought_without_picture", "positive/1"): Golden(
        "positive/1",
        ((f"{SAID} {SENTIMENT}",),),
        (" negative", " positive"),
        " positive",
        rationale=("[1.png]", "Introduce this picture in detail:"),
    ),
    ("hateful_memes", "paper", "10001"): Golden(
        "10001",
        (("[10001.png]", "Question: does this picture contain real hate speech? Answer:"),),
        (" no", " yes"),
        " yes",
        normalization="sum",
    ),
    **{
        ("iq50", prompt, example): Golden(
            example, tuple(_iq(given, word, candidate) for candidate in range(1, 7)), (affirmative,), affirmative
        )
        for prompt, affirmative in (("paper", " Yes"), ("lower_case", " yes"))
        for example, given, word in (("001", 3, "three"), ("002", 4, "four"), ("003", 8, "eight"))
    },
    ("coco_caption", "paper", "11"): Golden(
        "11",
        (("[COCO_val2014_000000000011.jpg]", "An image of"),),
        answer=" A man plants a tree.",
        with_two=(
            "[COCO_train2014_000000000009.jpg]",
            "An image of A lamp beside a bed.",
            "[COCO_train2014_000000000007.jpg]",
            "An image of A wooden bridge.",
            "[COCO_val2014_000000000011.jpg]",
            "An image of",
        ),
    ),
    ("flickr30k", "paper", "1010.jpg"): Golden(
        "1010.jpg",
        (("[1010.jpg]", "An image of"),),
        answer=" A man plants a tree.",
        with_two=(
            "[1002.jpg]",
            "An image of A bowl of soup on a table.",
            "[1007.jpg]",
            "An image of A bicycle leans on a wall.",
            "[1010.jpg]",
            "An image of",
        ),
    ),
    ("vqav2", "paper", "5000"): Golden(
        "5000",
        (("[COCO_val2014_000000000005.jpg]", "Question: What animal is this? Answer:"),),
        answer=" dog",
        with_two=VQA_TWO,
    ),
    ("vqav2", "stop_at_question", "5000"): Golden(
        "5000",
        (("[COCO_val2014_000000000005.jpg]", "Question: What animal is this? Answer:"),),
        answer=" dog",
        with_two=VQA_TWO,
        stop=("Question:",),
    ),
    ("vizwiz", "paper", "VizWiz_val_00000002.jpg"): Golden(
        "VizWiz_val_00000002.jpg",
        (("[VizWiz_val_00000002.jpg]", "Question: How many wheels does it have? Answer:"),),
        answer=" 4",
        with_two=VIZWIZ_TWO,
    ),
    ("vizwiz", "stop_at_question", "VizWiz_val_00000002.jpg"): Golden(
        "VizWiz_val_00000002.jpg",
        (("[VizWiz_val_00000002.jpg]", "Question: How many wheels does it have? Answer:"),),
        answer=" 4",
        with_two=VIZWIZ_TWO,
        stop=("Question:",),
    ),
    ("websrc", "paper", "au080000100001"): Golden(
        "au080000100001",
        (("[0800001.png]", f"{WEB} Context: Wagon & Co Model K2, price 3,100 Q: What does it cost? A:"),),
        answer=" 3,100",
        cut="end",
    ),
    ("websrc", "image_only", "au080000100001"): Golden(
        "au080000100001", (("[0800001.png]", f"{WEB} Q: What does it cost? A:"),), answer=" 3,100"
    ),
    ("websrc", "text_only", "au080000100001"): Golden(
        "au080000100001",
        ((f"{WEB} Context: Wagon & Co Model K2, price 3,100 Q: What does it cost? A:",),),
        answer=" 3,100",
        cut="end",
    ),
    ("imagenet", "paper", "ILSVRC2012_val_00000001"): Golden(
        "ILSVRC2012_val_00000001", (("[ILSVRC2012_val_00000001.JPEG]", "The photo of the"),), answer=" red patch"
    ),
    ("cub", "paper", "pictures/1.png"): Golden(
        "pictures/1.png",
        ((BIRDS, "[1.png]", "Question:what is the name of the woodpecker in the picture? Answer:"),),
        answer=" downy woodpecker",
    ),
    ("cub", "figure_1", "pictures/1.png"): Golden(
        "pictures/1.png",
        ((BIRDS, "[1.png]", "Question: what is the name of the woodpecker in the picture? Answer:"),),
        answer=" downy woodpecker",
    ),
    ("cub", "without_descriptions", "pictures/3.png"): Golden(
        "pictures/3.png",
        (
            (
                "There are two kinds of penguin: Gentoo penguin and royal penguin.",
                "[3.png]",
                "Question:what is the name of the penguin in the picture? Answer:",
            ),
        ),
        answer=" royal penguin",
    ),
}


@dataclass(frozen=True)
class Protocol:
    """What Table 1 and section 4 fix for a dataset. `decoding`: beams; the limits are ours."""

    mode: str
    split: str
    num_examples: int
    metrics: tuple[str, ...]
    paper: Mapping[str, Mapping[int, float]]
    table: str
    beams: int | None = None
    shots: tuple[int, ...] = (0,)
    demonstrations: str | None = None
    others: Mapping[str, int] = field(default_factory=dict)


_CAPTIONS = ("cider", "bleu1", "bleu2", "bleu3", "bleu4", "rouge_l", "meteor", "spice")
PROTOCOL: dict[str, Protocol] = {
    "rendered_sst2": Protocol("choice", "test", 1821, ("accuracy",), {"accuracy": {0: 67.1}}, "Table 7"),
    "hateful_memes": Protocol(
        "choice", "validation", 500, ("roc_auc", "accuracy"), {"roc_auc": {0: 63.9}}, "Table 7"
    ),
    "iq50": Protocol("yes", "test", 50, ("accuracy",), {"accuracy": {0: 22.0}}, "Table 6"),
    "coco_caption": Protocol(
        "generate", "test", 5000, _CAPTIONS,
        {"cider": {0: 84.7, 2: 99.6, 4: 101.7, 8: 96.7}, "spice": {0: 16.8}}, "Tables 2 and 3",
        beams=5, shots=(0, 2, 4, 8), demonstrations="train", others={"train": 113_287},
    ),
    "flickr30k": Protocol(
        "generate", "test", 1000, _CAPTIONS,
        {"cider": {0: 67.1, 2: 70.0, 4: 75.3, 8: 68.0}, "spice": {0: 14.5}}, "Tables 2 and 3",
        beams=5, shots=(0, 2, 4, 8), demonstrations="train", others={"train": 29_000},
    ),
    "vqav2": Protocol(
        "generate", "validation", 214_354, ("vqa_accuracy",),
        {"vqa_accuracy": {0: 51.0, 2: 51.4, 4: 51.8, 8: 51.4}}, "Tables 4 and 5",
        beams=1, shots=(0, 2, 4, 8), demonstrations="train",
        others={"train": 443_757, "test_dev": 107_394, "test": 447_793},
    ),
    "vizwiz": Protocol(
        "generate", "validation", 4319, ("vqa_accuracy",),
        {"vqa_accuracy": {0: 29.2, 2: 31.4, 4: 35.3, 8: 39.0}}, "Tables 4 and 5",
        beams=1, shots=(0, 2, 4, 8), demonstrations="train", others={"train": 20_523, "test": 8000},
    ),
    "websrc": Protocol(
        "generate", "validation", 52_826, ("web_em", "web_f1"),
        {"web_em": {0: 15.8}, "web_f1": {0: 31.3}}, "Table 8", beams=1,
    ),
    "imagenet": Protocol(
        "names", "validation", 50_000, ("exact_name",), {"exact_name": {0: 4.0}}, "Table 10", beams=2
    ),
    "cub": Protocol("generate", "test", 120, ("category_name",), {"category_name": {0: 90.0}}, "Table 12", beams=1),
}  # fmt: skip


def rendered(document: Document) -> Segments:
    """A document as it is written above; adjoining texts are one, as the processor reads them."""
    found: list[str] = []
    after_text = False
    for segment in document:
        if isinstance(segment, Text) and after_text:
            found[-1] += segment.text
        else:
            found.append(_written(segment))
        after_text = isinstance(segment, Text)
    return tuple(found)


def _written(segment: Segment) -> str:
    if isinstance(segment, Image):
        return f"[{Path(segment.source).name}]"
    if isinstance(segment, End):
        return "</s>"
    assert isinstance(segment, Text)
    return segment.text


def assert_golden(key: tuple[str, str, str], benchmark: Benchmark, prompt: Prompt, folder: Path) -> None:
    """What the runner would ask with this prompt is what is typed above; nothing of it is supervised."""
    golden = GOLDEN[key]
    cell = Cell(benchmark, prompt)
    preparer = Preparer(cell, folder, lambda document, answers: True, latents=4)
    (example,) = [one for one in preparer.examples if one.id == golden.example]
    item = preparer.item(example, SAID if golden.rationale else None)
    assert tuple(rendered(request.document) for request in item.requests) == golden.requests
    assert all(request.candidates == golden.candidates for request in item.requests)
    assert not any(segment.supervised for request in item.requests for segment in request.document)
    if prompt.rationale is not None or golden.rationale:
        assert rendered(preparer.rationale_request(example).document) == golden.rationale
    shown = replace_rationale(example) if golden.rationale else example
    assert prompt.answer(shown) == golden.answer
    assert (prompt.stop, prompt.separator, prompt.normalization, prompt.cut) == (
        golden.stop,
        "",
        golden.normalization,
        golden.cut,
    )
    assert_label(example, golden.answer, prompt, shown)
    if golden.with_two:
        few = Preparer(Cell(benchmark, prompt, shots=2), folder, lambda document, answers: True, latents=4)
        (request,) = few.item(example).requests
        assert rendered(request.document) == golden.with_two


def replace_rationale(example: Example) -> Example:
    return Example(example.id, {**example.fields, "rationale": SAID}, example.images)


def assert_label(example: Example, answer: str, prompt: Prompt, shown: Example) -> None:
    """The gold belongs to the answer that is shown."""
    if prompt.candidates is not None:
        assert list(prompt.candidates(shown))[example.fields["label"]] == answer
    elif prompt.contexts is not None:
        assert prompt.context(shown) == prompt.contexts(shown)[example.fields["label"]]
    else:
        assert answer.strip() in example.fields["answers"]


def protocol_of(benchmark: Benchmark) -> Protocol:
    """What a declaration says, as it is typed above."""
    decoding = dict(benchmark.decoding)
    others: Sequence[str] = list(PROTOCOL[benchmark.name].others)
    return Protocol(
        benchmark.mode,
        benchmark.split,
        benchmark.num_examples[benchmark.split],
        benchmark.metrics,
        benchmark.paper,
        benchmark.table,
        decoding.get("num_beams"),  # type: ignore[arg-type]
        benchmark.shots,
        benchmark.demonstration_split,
        {name: benchmark.num_examples[name] for name in others},
    )
