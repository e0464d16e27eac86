"""The prompts of the language tasks against literals, and planted errors that these must notice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from kosmos.document import Document, Text
from kosmos.errors import UsageError
from kosmos.evaluation.benchmark import Benchmark, Prompt
from kosmos.evaluation.fixtures import write_fixture
from kosmos.evaluation.tasks.table1 import BENCHMARKS, TABLE1, get_benchmark, prompts_named
from kosmos.example import Example
from tests.evaluation.tasks.golden_language import GOLDEN, PROTOCOL, assert_golden


@pytest.fixture(scope="module")
def first_examples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Example]:
    root = tmp_path_factory.mktemp("fixtures")
    return {name: read_first(name, root) for name in PROTOCOL}


def read_first(name: str, root: Path) -> Example:
    benchmark = get_benchmark(name)
    return benchmark.read(write_fixture(name, root), benchmark.split)[0]


@pytest.mark.parametrize(("name", "prompt"), GOLDEN)
def test_rendered_segments_are_those_typed_by_hand(name: str, prompt: str, first_examples: dict[str, Example]) -> None:
    benchmark = get_benchmark(name)
    assert_golden(benchmark, benchmark.prompt(prompt), first_examples[name])


def test_every_prompt_has_its_literal() -> None:
    declared = {(name, prompt.name) for name in PROTOCOL for prompt in get_benchmark(name).prompts}
    assert declared == set(GOLDEN)


@pytest.mark.parametrize("name", PROTOCOL)
def test_protocol_is_the_papers(name: str) -> None:
    benchmark, protocol = get_benchmark(name), PROTOCOL[name]
    assert (benchmark.mode, benchmark.split, benchmark.shots) == (protocol.mode, protocol.split, protocol.shots)
    assert benchmark.demonstration_split == protocol.demonstrations
    assert benchmark.num_examples[benchmark.split] == protocol.num_examples
    assert benchmark.metrics == protocol.metrics
    assert benchmark.paper == {"accuracy": dict(zip(protocol.shots, protocol.figures))}
    assert benchmark.table == protocol.table
    with pytest.raises(UsageError, match="demonstrations, not 3"):
        benchmark.check_shots(3)


def test_default_prompt_is_the_paper_authors_or_the_papers_own() -> None:
    defaults = {name: get_benchmark(name).prompt().name for name in PROTOCOL}
    transfer = ("relative_size", "memory_color", "color_terms")
    assert defaults == {name: "paper" if name in transfer else "lmops" for name in PROTOCOL}


def without_a_space(text: str) -> str:
    return text.replace(" ", "", 1)


def mutated_texts(change: Callable[[str], str], prompt: Prompt) -> Prompt:
    """The same prompt with every context changed."""

    def changed(document: Document) -> Document:
        return Document(Text(change(document.text), supervised=False))

    contexts = prompt.contexts
    return replace(
        prompt,
        context=lambda example: changed(prompt.context(example)),
        contexts=None if contexts is None else lambda example: [changed(document) for document in contexts(example)],
    )


def mutated_candidates(change: Callable[[Sequence[str]], list[str]], prompt: Prompt) -> Prompt:
    """The same prompt with its candidates changed, and with them its answers."""
    candidates = prompt.candidates
    if candidates is None:
        return replace(prompt, answer=lambda example: change([prompt.answer(example)])[0])
    return replace(
        prompt,
        candidates=lambda example: change(candidates(example)),
        answer=lambda example: change(candidates(example))[example.fields["label"]],
    )


def swapped(prompt: Prompt) -> Prompt:
    """The same prompt with its options in another order."""
    contexts, candidates = prompt.contexts, prompt.candidates
    if contexts is not None:
        return replace(prompt, contexts=lambda example: list(contexts(example))[::-1])
    assert candidates is not None
    return mutated_candidates(lambda found: [*found[1:], found[0]], prompt)


MUTATIONS: dict[str, Callable[[Prompt], Prompt]] = {
    "dropped space in the prompt": lambda prompt: mutated_texts(without_a_space, prompt),
    "space at the prompt's end": lambda prompt: mutated_texts(lambda text: text + " ", prompt),
    "last character of the prompt dropped": lambda prompt: mutated_texts(lambda text: text[:-1], prompt),
    "other case": lambda prompt: mutated_texts(str.swapcase, prompt),
    "dropped space before the answer": lambda prompt: mutated_candidates(
        lambda found: [text[1:] for text in found], prompt
    ),
    "answer without its last character": lambda prompt: mutated_candidates(
        lambda found: [text[:-1] for text in found], prompt
    ),
    "swapped labels": swapped,
    "wrong answer in demonstrations": lambda prompt: replace(prompt, answer=lambda example: " wrong"),
    "dropped </s>": lambda prompt: replace(prompt, separator=""),
    "</s> and a space": lambda prompt: replace(prompt, separator=prompt.separator + " "),
    "other normalization": lambda prompt: replace(prompt, normalization="per_byte"),
    "supervised prompt": lambda prompt: replace(
        prompt,
        context=lambda example: Document(prompt.context(example).text),
        contexts=None
        if prompt.contexts is None
        else lambda example: [Document(document.text) for document in prompt.contexts(example)],  # type: ignore[misc]
    ),
    "stop string": lambda prompt: replace(prompt, stop=("\n",)),
}


@pytest.mark.parametrize("mutation", MUTATIONS)
@pytest.mark.parametrize("name", PROTOCOL)
def test_planted_errors_are_noticed(name: str, mutation: str, first_examples: dict[str, Example]) -> None:
    benchmark = get_benchmark(name)
    for prompt in benchmark.prompts:
        with pytest.raises(AssertionError):
            assert_golden(benchmark, MUTATIONS[mutation](prompt), first_examples[name])


@pytest.mark.parametrize("name", PROTOCOL)
def test_a_shifted_label_is_noticed(name: str, first_examples: dict[str, Example]) -> None:
    benchmark, example = get_benchmark(name), first_examples[name]
    shifted = replace(example, fields={**example.fields, "label": example.fields["label"] - 1})
    for prompt in benchmark.prompts:
        if benchmark.mode == "partial":  # the answer is the same behind each option: the demonstration tells
            assert prompt.context(shifted) != prompt.context(example)
        else:
            with pytest.raises(AssertionError):
                assert_golden(benchmark, prompt, shifted)


def test_relative_size_asks_every_pair_both_ways(tmp_path: Path) -> None:
    benchmark = get_benchmark("relative_size")
    pairs = benchmark.read(write_fixture("relative_size", tmp_path), "test")
    always_yes = {"paper": 0, "reversed": 0}
    for name in always_yes:
        prompt = benchmark.prompt(name)
        always_yes[name] = sum(prompt.answer(pair) == " Yes" for pair in pairs)
    assert always_yes == {"paper": 6, "reversed": 0}
    # Swapping the pair is asking the reversed question.
    turned = [
        replace(pair, fields={**pair.fields, "larger": pair.fields["smaller"], "smaller": pair.fields["larger"]})
        for pair in pairs
    ]
    paper, reversed_prompt = benchmark.prompt("paper"), benchmark.prompt("reversed")
    assert [paper.context(pair) for pair in turned] == [reversed_prompt.context(pair) for pair in pairs]


def test_a_family_of_prompts_goes_by_one_name() -> None:
    sizes, colors = get_benchmark("relative_size"), get_benchmark("memory_color")
    assert [prompt.name for prompt in prompts_named(sizes, "valm")] == [f"valm.{number}" for number in range(1, 7)]
    assert [prompt.name for prompt in prompts_named(colors, "valm")] == [f"valm.{number}" for number in range(1, 10)]
    assert [prompt.name for prompt in prompts_named(colors, "")] == ["paper"]
    assert [prompt.name for prompt in prompts_named(colors, "valm.3")] == ["valm.3"]
    with pytest.raises(UsageError, match="no prompt 'vaml'"):
        prompts_named(colors, "vaml")


def test_table1_keeps_the_papers_order() -> None:
    order = [benchmark.name for benchmark in TABLE1]
    assert [name for name in order if name in PROTOCOL] == list(PROTOCOL)
    assert len(set(order)) == len(order)
    assert set(BENCHMARKS) >= {*order, "winograd_273"}


def test_unknown_names_get_the_nearest() -> None:
    assert get_benchmark("cb").title == "CB"
    with pytest.raises(UsageError, match=r"no benchmark 'helaswag' \(did you mean 'hellaswag'\?\); there are: story"):
        get_benchmark("helaswag")


def test_the_collection_of_273_is_a_benchmark_of_its_own(tmp_path: Path) -> None:
    first = get_benchmark("winograd_273")
    assert (first.split, first.demonstration_split, first.num_examples) == ("wsc273", "wsc273", {"wsc273": 273})
    assert first.paper == {}
    folder = write_fixture("winograd", tmp_path)
    assert first.read(folder, "wsc273") == get_benchmark("winograd").read(folder, "test")


@pytest.mark.parametrize("benchmark", [get_benchmark(name) for name in PROTOCOL], ids=lambda found: found.name)
def test_sources_say_how_to_obtain_the_files(benchmark: Benchmark) -> None:
    source = benchmark.source
    assert source.url.startswith("https://") and source.licence and source.files
    assert all(part in source.how for part in [source.files[0].split("*")[0]])
    assert bool(source.hub) == bool(source.hub_files)
    assert source.gated == (benchmark.name == "story_cloze")
