"""The prompts and the protocol of the picture tasks against literals, and planted errors that these must notice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from kosmos.document import Document, Segment, Text
from kosmos.errors import DataError, UsageError
from kosmos.evaluation.benchmark import Benchmark, Prompt
from kosmos.evaluation.fixtures import write_fixture
from kosmos.evaluation.running.cells import Cell, Preparer
from kosmos.evaluation.running.samples import answered, sample_of
from kosmos.evaluation.tasks.table1 import BENCHMARKS, TABLE1, get_benchmark
from kosmos.example import Example
from kosmos.inference.generation import Decoding
from tests.evaluation.tasks.golden_pictures import GOLDEN, PROTOCOL, assert_golden, protocol_of, rendered

VARIANTS = {"vqav2_test": "vqav2", "vizwiz_test": "vizwiz", "websrc_test": "websrc"}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("fixtures")
    return {name: write_fixture(name, root) for name in PROTOCOL}


@pytest.mark.parametrize("key", GOLDEN, ids="-".join)
def test_rendered_segments_are_those_typed_by_hand(key: tuple[str, str, str], folders: dict[str, Path]) -> None:
    benchmark = get_benchmark(key[0])
    assert_golden(key, benchmark, benchmark.prompt(key[1]), folders[key[0]])


def test_every_prompt_has_its_literal() -> None:
    declared = {(name, prompt.name) for name in PROTOCOL for prompt in get_benchmark(name).prompts}
    assert declared == {key[:2] for key in GOLDEN}
    few = {key[0] for key, golden in GOLDEN.items() if golden.with_two}
    assert few == {name for name, protocol in PROTOCOL.items() if 2 in protocol.shots}


@pytest.mark.parametrize("name", PROTOCOL)
def test_protocol_is_the_papers(name: str) -> None:
    benchmark = get_benchmark(name)
    assert protocol_of(benchmark) == PROTOCOL[name]
    assert benchmark.prompt().name == "paper"
    with pytest.raises(UsageError, match="demonstrations, not 1"):
        benchmark.check_shots(1)
    if benchmark.mode in ("generate", "names"):
        decoding = Decoding.from_fields(benchmark.decoding)
        assert (decoding.temperature, decoding.length_penalty, decoding.stop) == (0.0, 1.0, ())
        assert decoding.max_new_tokens <= 64  # the runner leaves room for so many
    else:
        assert benchmark.decoding == {}


PROTOCOL_MUTATIONS: dict[str, Callable[[Benchmark], Benchmark]] = {
    "other split": lambda found: replace(
        found, split="train", num_examples={**found.num_examples, "train": found.num_examples[found.split]}
    ),
    "other beams": lambda found: replace(found, decoding={"num_beams": 4}),
    "other shots": lambda found: replace(found, shots=(0, 1), demonstration_split="train"),
    "demonstrations from the test": lambda found: replace(found, demonstration_split=found.split),
    "other metric": lambda found: replace(found, metrics=("accuracy", *found.metrics)),
    "other figures": lambda found: replace(found, paper={}),
    "other number of examples": lambda found: replace(
        found, num_examples={**found.num_examples, found.split: found.num_examples[found.split] - 1}
    ),
}


@pytest.mark.parametrize("mutation", PROTOCOL_MUTATIONS)
@pytest.mark.parametrize("name", PROTOCOL)
def test_a_changed_protocol_is_noticed(name: str, mutation: str) -> None:
    assert protocol_of(PROTOCOL_MUTATIONS[mutation](get_benchmark(name))) != PROTOCOL[name]


def mutated(change: Callable[[list[Segment]], list[Segment]], prompt: Prompt) -> Prompt:
    """The same prompt with the segments of every context changed."""

    def changed(document: Document) -> Document:
        return Document(*change(list(document)))

    contexts, rationale = prompt.contexts, prompt.rationale
    return replace(
        prompt,
        context=lambda example: changed(prompt.context(example)),
        contexts=None if contexts is None else lambda example: [changed(document) for document in contexts(example)],
        rationale=None if rationale is None else lambda example: changed(rationale(example)),
    )


def of_last_text(change: Callable[[str], str]) -> Callable[[list[Segment]], list[Segment]]:
    def changed(segments: list[Segment]) -> list[Segment]:
        *front, last = segments
        assert isinstance(last, Text)
        return [*front, Text(change(last.text), supervised=False)]

    return changed


def answering(change: Callable[[str], str], prompt: Prompt) -> Prompt:
    candidates = prompt.candidates
    return replace(
        prompt,
        answer=lambda example: change(prompt.answer(example)),
        candidates=None
        if candidates is None
        else lambda example: tuple(change(candidate) for candidate in candidates(example)),
    )


def swapped(prompt: Prompt) -> Prompt:
    """Options in another order; without options, another answer in demonstrations."""
    contexts, candidates = prompt.contexts, prompt.candidates
    if contexts is not None:
        return replace(prompt, contexts=lambda example: list(contexts(example))[::-1])
    if candidates is not None:
        return replace(prompt, candidates=lambda example: list(candidates(example))[::-1])
    return replace(prompt, answer=lambda example: " wrong")


def without_pictures(segments: list[Segment]) -> list[Segment]:
    """Leaves out the pictures; a text alone is doubled instead."""
    kept: list[Segment] = [segment for segment in segments if isinstance(segment, Text)]
    return kept if len(kept) < len(segments) else kept * 2


MUTATIONS: dict[str, Callable[[Prompt], Prompt]] = {
    "pictures left out": lambda prompt: mutated(without_pictures, prompt),
    "picture behind the words": lambda prompt: mutated(lambda segments: [segments[-1], *segments[:-1], *segments],
                                                       prompt),
    "dropped space": lambda prompt: mutated(of_last_text(lambda text: text.replace(" ", "", 1)), prompt),
    "space at the end": lambda prompt: mutated(of_last_text(lambda text: text + " "), prompt),
    "last character dropped": lambda prompt: mutated(of_last_text(lambda text: text[:-1]), prompt),
    "other case": lambda prompt: mutated(of_last_text(str.swapcase), prompt),
    "dropped space before the answer": lambda prompt: answering(str.lstrip, prompt),
    "answer without its last character": lambda prompt: answering(lambda text: text[:-1], prompt),
    "swapped options": swapped,
    "</s> between demonstrations": lambda prompt: replace(prompt, separator="</s>"),
    "other normalization": lambda prompt: replace(
        prompt, normalization="per_token" if prompt.normalization == "sum" else "sum"
    ),
    "another stop": lambda prompt: replace(prompt, stop=(*prompt.stop, "\n")),
    "cut at the other end": lambda prompt: replace(prompt, cut="start" if prompt.cut == "end" else "end"),
    "one stage of two, or two of one": lambda prompt: replace(
        prompt, rationale=prompt.context if prompt.rationale is None else None
    ),
}  # fmt: skip


@pytest.mark.parametrize("mutation", MUTATIONS)
@pytest.mark.parametrize("name", PROTOCOL)
def test_planted_errors_are_noticed(name: str, mutation: str, folders: dict[str, Path]) -> None:
    benchmark = get_benchmark(name)
    for key in GOLDEN:
        if key[0] == name:
            with pytest.raises(AssertionError):
                assert_golden(key, benchmark, MUTATIONS[mutation](benchmark.prompt(key[1])), folders[name])


def test_the_typo_of_the_paper_stays() -> None:
    assert "Qusestion: Who is the publisher" in GOLDEN["websrc", "paper", "au080000100001"].requests[0][1]


def test_long_pages_lose_words_at_their_end_and_keep_the_question(folders: dict[str, Path]) -> None:
    benchmark = get_benchmark("websrc")
    limit = 500

    def fits(document: Document, answers: object) -> bool:
        return len(document.text) <= limit

    for name, counted in (("paper", True), ("text_only", True), ("image_only", False)):
        preparer = Preparer(Cell(benchmark, benchmark.prompt(name)), folders["websrc"], fits, latents=4)
        example = preparer.examples[1]
        page = " ".join(f"word{number}" for number in range(200))
        item = preparer.item(replace(example, fields={**example.fields, "text": page}))
        words = rendered(item.requests[0].document)[-1]
        assert item.cut is counted
        assert words.startswith("Given the context below") and words.endswith(" Q: What does it cost? A:")
        assert len(words) <= limit
        if counted:
            assert "Context: word0 word1 word2 " in words and " word44 Q: What" in words


def test_the_hub_form_of_websrc_serves_the_screenshot_alone(tmp_path: Path) -> None:
    benchmark = get_benchmark("websrc")
    (first, *_) = benchmark.read(write_fixture("websrc", tmp_path, "hub"), "validation")
    assert len(benchmark.prompt("image_only").context(first).images) == 1
    with pytest.raises(DataError, match=r"question 0: the hub's tables of WebSRC have no text.*prompt image_only"):
        benchmark.prompt("paper").context(first)


def test_an_empty_rationale_leaves_the_question_alone() -> None:
    prompt = get_benchmark("rendered_sst2").prompt("chain_of_thought_without_picture")
    asked = {
        rationale: prompt.context(Example("0", {"label": 0, "rationale": rationale})).text
        for rationale in ("", " A\nsad  film. ")
    }
    question = "Question: what is the sentiment of the opinion? Answer:"
    assert asked == {"": question, " A\nsad  film. ": f"A sad film. {question}"}


def test_hateful_is_the_second_answer(folders: dict[str, Path]) -> None:
    """ROC AUC takes the log-odds of the second candidate, so it must be the one of label 1."""
    benchmark = get_benchmark("hateful_memes")
    prompt = benchmark.prompt()
    hateful = [meme for meme in benchmark.read(folders["hateful_memes"], "validation") if meme.fields["label"] == 1]
    assert len(hateful) == 2 and prompt.candidates is not None
    assert [list(prompt.candidates(meme)).index(" yes") for meme in hateful] == [1, 1]


def test_hatefulness_is_the_probability_of_the_whole_answer(folders: dict[str, Path]) -> None:
    """Where yes takes three tokens and no takes one, P(yes) > P(no) still is by the sums, not by the means."""
    benchmark = get_benchmark("hateful_memes")
    cell = Cell(benchmark, benchmark.prompt())
    meme = Preparer(cell, folders["hateful_memes"], lambda document, answers: True, latents=4).examples[0]
    response = {"id": meme.id, "key": "", "prompts": [""], "demonstrations": [], "dropped": 0, "cut": False,
                "texts": [" no", " yes"], "answers": [[[-1.0, 1], [-1.5, 3]]]}  # fmt: skip
    sample = sample_of(cell, meme, response)
    assert answered(sample, cell.prompt.normalization, {}).scores == (-1.0, -1.5)
    assert sample["prediction"] == " no"


def test_table1_has_all_21_in_the_papers_order() -> None:
    assert [benchmark.name for benchmark in TABLE1] == [
        "story_cloze", "hellaswag", "winograd", "winogrande", "piqa", "boolq", "cb", "copa",
        "rendered_sst2", "hateful_memes",
        "relative_size", "memory_color", "color_terms",
        "iq50",
        "coco_caption", "flickr30k", "vqav2", "vizwiz", "websrc",
        "imagenet", "cub",
    ]  # fmt: skip


@pytest.mark.parametrize("name", VARIANTS)
def test_splits_for_the_servers_have_no_metric(name: str) -> None:
    benchmark, scored = BENCHMARKS[name], get_benchmark(VARIANTS[name])
    assert (benchmark.split, benchmark.metrics, benchmark.paper) == ("test", (), {})
    assert benchmark.folder == scored.name
    assert (benchmark.prompts, benchmark.decoding, benchmark.shots) == (scored.prompts, scored.decoding, scored.shots)


@pytest.mark.parametrize("name", PROTOCOL)
def test_sources_say_how_to_obtain_the_files(name: str) -> None:
    source = get_benchmark(name).source
    assert source.url.startswith("https://") and source.licence and source.files
    assert source.files[0].split("*")[0] in source.how
    assert bool(source.hub) == bool(source.hub_files)
    assert source.gated == (name in ("hateful_memes", "flickr30k", "imagenet", "cub"))
