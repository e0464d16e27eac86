"""The language tasks with two demonstrations against literals, and planted errors that these must notice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from kosmos.document import Document
from kosmos.evaluation.benchmark import Benchmark, Prompt
from kosmos.evaluation.fixtures import write_fixture
from kosmos.evaluation.tasks.table1 import get_benchmark
from tests.evaluation.tasks.golden_language import PROTOCOL
from tests.evaluation.tasks.golden_language_few import SHOWN, ask_with, assert_few_shot
from tests.evaluation.tasks.golden_pictures import rendered

FEW_SHOT = [name for name, protocol in PROTOCOL.items() if protocol.shots == (0, 1, 4)]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("fixtures")
    return {name: write_fixture(name, root) for name in FEW_SHOT}


@pytest.mark.parametrize(("name", "prompt"), SHOWN)
def test_two_demonstrations_are_those_typed_by_hand(name: str, prompt: str, folders: dict[str, Path]) -> None:
    benchmark = get_benchmark(name)
    assert_few_shot(benchmark, benchmark.prompt(prompt), folders[name])


def test_every_few_shot_prompt_has_its_literal() -> None:
    assert {(name, prompt.name) for name in FEW_SHOT for prompt in get_benchmark(name).prompts} == set(SHOWN)
    assert len(FEW_SHOT) == 8


@pytest.mark.parametrize("name", FEW_SHOT)
def test_one_and_four_demonstrations_nest_around_two(name: str, folders: dict[str, Path]) -> None:
    benchmark = get_benchmark(name)
    prompt = benchmark.prompt()
    one, two, four = (ask_with(shots, benchmark, prompt, folders[name]) for shots in (1, 2, 4))
    assert one.demonstrations == two.demonstrations[:1]
    assert two.demonstrations == four.demonstrations[:2]
    assert len(set(four.demonstrations)) == 4
    first, second = SHOWN[name, "lmops"]
    segments = rendered(four.requests[0].document)
    assert segments[:4] == (first, "</s>", second, "</s>")
    assert segments[5::2] == ("</s>", "</s>") and len(segments) == 9
    assert rendered(one.requests[0].document) == (first, "</s>", segments[-1])


def with_other_demonstrations(prompt: Prompt) -> Prompt:
    """The end of each demonstration's context lost; a partial prompt's question is not in `context`."""
    return replace(prompt, context=lambda example: Document(prompt.context(example).text[:-1]))


PROMPT_MUTATIONS: dict[str, Callable[[Prompt], Prompt]] = {
    "dropped </s>": lambda prompt: replace(prompt, separator=""),
    "a line break": lambda prompt: replace(prompt, separator="\n"),
    "a space behind": lambda prompt: replace(prompt, separator=prompt.separator + " "),
    "no space before the answer": lambda prompt: replace(prompt, answer=lambda e: prompt.answer(e).lstrip()),
    "no answer": lambda prompt: replace(prompt, answer=lambda example: ""),
    "the other label": lambda prompt: replace(
        prompt,
        context=lambda e: prompt.context(replace(e, fields={**e.fields, "label": 1 - e.fields["label"]})),
        answer=lambda e: prompt.answer(replace(e, fields={**e.fields, "label": 1 - e.fields["label"]})),
    ),
    "cut demonstrations": with_other_demonstrations,
}


@pytest.mark.parametrize("mutation", PROMPT_MUTATIONS)
@pytest.mark.parametrize(("name", "prompt"), SHOWN)
def test_planted_errors_are_noticed(name: str, prompt: str, mutation: str, folders: dict[str, Path]) -> None:
    benchmark = get_benchmark(name)
    with pytest.raises(AssertionError):
        assert_few_shot(benchmark, PROMPT_MUTATIONS[mutation](benchmark.prompt(prompt)), folders[name])


@pytest.mark.parametrize("name", [name for name in FEW_SHOT if name != "winograd"])
def test_demonstrations_of_the_test_split_are_noticed(name: str, folders: dict[str, Path]) -> None:
    benchmark: Benchmark = get_benchmark(name)
    leaking = replace(benchmark, demonstration_split=benchmark.split)
    with pytest.raises(AssertionError):
        assert_few_shot(leaking, leaking.prompt(), folders[name])
