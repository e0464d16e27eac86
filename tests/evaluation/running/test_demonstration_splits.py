"""Where demonstrations come from: 1,000 random examples of each few-shot task, asked as the runner asks them."""

from __future__ import annotations

import random
import re
from dataclasses import replace
from pathlib import Path

import pytest

from kosmos.document import Document, Image
from kosmos.evaluation.benchmark import Benchmark
from kosmos.evaluation.running.cells import Cell, Preparer
from kosmos.evaluation.tasks.table1 import TABLE1, get_benchmark
from kosmos.example import Example
from tests.evaluation.tasks.golden_language import PROTOCOL as LANGUAGE
from tests.evaluation.tasks.golden_pictures import PROTOCOL as PICTURES

COUNT = 1000
# As many as the smallest real pool has (Winogrande's). Its ids are those of test examples, too.
POOL = 160
SPLITS = {name: protocol.demonstrations for name, protocol in LANGUAGE.items() if len(protocol.shots) > 1}
SPLITS |= {name: protocol.demonstrations for name, protocol in PICTURES.items() if len(protocol.shots) > 1}


def made_up(benchmark: Benchmark, split: str) -> list[Example]:
    """Examples that name their split; every other picture of the pool is one of the test's."""
    tested = split == benchmark.split
    examples = []
    for number in range(COUNT if tested else POOL):
        picture = number if tested or number % 2 == 0 else COUNT + number
        images = (Image(b"%d" % picture),) if benchmark.group in ("captioning", "vqa") else ()
        examples.append(Example(str(number), {"split": split, "picture": picture, "label": 0}, images))
    return examples


def marked(example: Example) -> Document:
    return Document("<{split} {} {picture}>".format(example.id, **example.fields))


def preparer_of(benchmark: Benchmark, shots: int) -> Preparer:
    prompt = benchmark.prompt()
    prompt = replace(
        prompt,
        context=marked,
        answer=lambda example: " answer",
        candidates=None if prompt.candidates is None else lambda example: (" answer", " other"),
        contexts=None if prompt.contexts is None else lambda example: [marked(example), marked(example)],
    )
    made = replace(benchmark, prompts=(prompt,), read=lambda folder, split: made_up(benchmark, split))
    return Preparer(Cell(made, prompt, shots=shots), Path(), lambda document, answers: True, latents=1)


def wrong_demonstrations(benchmark: Benchmark, allowed: str | None) -> list[str]:
    """What is wrong with the demonstrations of 1,000 examples at the most that the task takes."""
    shots = max(benchmark.shots)
    preparer = preparer_of(benchmark, shots)
    found = []
    for example in random.Random(0).sample(preparer.examples, COUNT):
        text = preparer.item(example).requests[0].document.text
        *shown, asked = re.findall(r"<(\S+) (\S+) (\S+)>", text)
        assert asked[:2] == (benchmark.split, example.id)
        found += [f"{example.id}: {one} is not of {allowed}" for one in shown if one[0] != allowed]
        found += [f"{example.id}: itself" for one in shown if one == asked]
        if example.images:
            found += [f"{example.id}: its picture in {one}" for one in shown if one[2] == asked[2]]
        if len(set(shown)) != shots:
            found.append(f"{example.id}: {len(set(shown))} different ones, not {shots}")
    return found


@pytest.mark.parametrize("name", SPLITS)
def test_1000_examples_have_demonstrations_of_the_allowed_split_alone(name: str) -> None:
    assert wrong_demonstrations(get_benchmark(name), SPLITS[name]) == []


def test_these_are_all_few_shot_tasks() -> None:
    assert set(SPLITS) == {benchmark.name for benchmark in TABLE1 if max(benchmark.shots) > 0}
    others = {name: split for name, split in SPLITS.items() if split != "train"}
    assert others == {"story_cloze": "validation", "winograd": "test"}


@pytest.mark.parametrize("name", ["boolq", "vizwiz"])
def test_a_leak_is_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    benchmark = get_benchmark(name)
    leaking = wrong_demonstrations(replace(benchmark, demonstration_split=benchmark.split), SPLITS[name])
    assert any("is not of train" in line for line in leaking)
    if benchmark.group == "vqa":
        monkeypatch.setattr(Image, "sha256", property(lambda self: str(id(self))))
        assert any("its picture" in line for line in wrong_demonstrations(benchmark, SPLITS[name]))
