"""The language tasks on the real files: denominators, first and last prompt, constant answers, lm-eval's requests."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from kosmos.evaluation.benchmark import Benchmark
from kosmos.evaluation.metrics.answered import Answered, set_metric
from kosmos.evaluation.tasks.table1 import get_benchmark
from kosmos.example import Example
from tests.evaluation.tasks.real_files import real_folder


def read_real(name: str, shared_dir: Path, tmp_path: Path) -> tuple[Benchmark, list[Example]]:
    benchmark = get_benchmark(name)
    return benchmark, benchmark.read(real_folder(name, shared_dir, tmp_path), benchmark.split)


def requests(benchmark: Benchmark, prompt_name: str, example: Example) -> list[list[str]]:
    """[context, continuation] per option, in the order of the labels."""
    prompt = benchmark.prompt(prompt_name)
    if prompt.contexts is not None:
        return [[document.text, prompt.answer(example)] for document in prompt.contexts(example)]
    assert prompt.candidates is not None
    return [[prompt.context(example).text, candidate] for candidate in prompt.candidates(example)]


def digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, ensure_ascii=False).encode()).hexdigest()


# Prompts are pinned by their hash: the datasets' sentences stay out of the repository.
@pytest.mark.parametrize(
    ("name", "num_examples", "first", "last"),
    [
        ("winograd_273", 273, ("0", "105315b849913419", 0), ("272", "444881363434f23b", 1)),
        ("winogrande", 1267, ("0", "0c2591afcd5ec73c", 1), ("1266", "4d71eac1240abe9f", 1)),
        ("piqa", 1838, ("0", "305116dc493465cd", 0), ("1837", "e94360f5d42f8508", 0)),
        ("boolq", 3270, ("0", "937ed4cb0ca06840", 0), ("3269", "9743894dc7f39928", 0)),
        ("cb", 56, ("0", "d50bea7c294dc3e0", 1), ("55", "5c019381dadbca65", 0)),
        ("copa", 100, ("0", "f133bbef027f016b", 1), ("99", "5ed60f67b851fdcf", 1)),
        ("relative_size", 486, ("aeroplane-apple", "f0c9f0494ba8be08", 0), ("elephant-swan", "044e56c8d6fcc35d", 0)),
        ("memory_color", 109, ("sunflower", "3b0504dad69f13df", 10), ("parsley", "25f873323f1e0a5f", 3)),
        ("color_terms", 52, ("ash", "14f8dceab1504a42", 4), ("wood", "788b7628e8483c0a", 2)),
    ],
)
def test_denominators_and_the_first_and_last_prompt(
    name: str,
    num_examples: int,
    first: tuple[str, str, int],
    last: tuple[str, str, int],
    shared_dir: Path,
    tmp_path: Path,
) -> None:
    benchmark, examples = read_real(name, shared_dir, tmp_path)
    assert len(examples) == num_examples
    assert len({example.id for example in examples}) == num_examples
    pins = [
        (example.id, digest(requests(benchmark, "", example))[:16], example.fields["label"])
        for example in (examples[0], examples[-1])
    ]
    assert pins == [first, last]


@pytest.mark.parametrize("name", ["winograd_273", "piqa", "boolq", "cb", "copa"])
def test_splits_that_are_whole_have_the_expected_number(name: str, shared_dir: Path, tmp_path: Path) -> None:
    benchmark, examples = read_real(name, shared_dir, tmp_path)
    assert len(examples) == benchmark.num_examples[benchmark.split]


@pytest.mark.parametrize(
    ("name", "prompt", "answer", "percent"),
    [
        ("boolq", "lmops", " Yes", 62.17),
        ("boolq", "lmops", " No", 37.83),
        ("cb", "lmops", " False", 50.0),
        ("memory_color", "paper", " white", 22.94),
        ("color_terms", "paper", " white", 19.23),
        ("color_terms", "paper", " brown", 19.23),
        ("color_terms", "paper", " purple", 0.0),
        ("relative_size", "paper", " Yes", 100.0),
        ("relative_size", "reversed", " Yes", 0.0),
    ],
)
def test_constant_answers_score_as_they_must(
    name: str, prompt: str, answer: str, percent: float, shared_dir: Path, tmp_path: Path
) -> None:
    benchmark, examples = read_real(name, shared_dir, tmp_path)
    answered = []
    for example in examples:
        texts = [continuation for _, continuation in requests(benchmark, prompt, example)]
        scores = tuple(float(text == answer) for text in texts)
        answered.append(Answered(example.id, answer, label=example.fields["label"], scores=scores))
    assert round(100 * set_metric("accuracy").measure(answered).value, 2) == percent


@pytest.mark.parametrize("name", ["piqa", "boolq", "cb", "winogrande", "hellaswag"])
def test_lm_eval_prompts_are_lm_evals_own_requests(name: str, shared_dir: Path, tmp_path: Path) -> None:
    benchmark, examples = read_real(name, shared_dir, tmp_path)
    made = [requests(benchmark, "lm_eval", example) for example in examples]
    oracles = shared_dir / "data" / "oracles"
    oracle = json.loads((oracles / "lm_eval_hash_lm.json").read_text())[name]
    first = oracles / f"lm_eval_{name}_first20.jsonl"
    if first.exists():
        lines = [json.loads(line) for line in first.read_text().splitlines()]
        assert made[:20] == [line["requests"] for line in lines]
        if name != "winogrande":  # its target is the text to be scored
            assert [example.fields["label"] for example in examples[:20]] == [line["target"] for line in lines]
    assert len(made) == oracle["n"]
    assert digest(made) == oracle["requests_sha256"]
    # lm-eval's accuracies under a model made of a hash, by its own normalizations.
    results = oracle["hash_lm_results"]
    assert accuracy(made, examples, per_character=False) == pytest.approx(results["acc,none"], abs=1e-12)
    if "acc_norm,none" in results:
        assert accuracy(made, examples, per_character=True) == pytest.approx(results["acc_norm,none"], abs=1e-12)


def accuracy(made: list[list[list[str]]], examples: list[Example], per_character: bool) -> float:
    """Of the model whose log-likelihood is a hash; per character, lm-eval leaves out the space before an answer."""
    right = 0
    for pairs, example in zip(made, examples):
        scores = []
        for context, continuation in pairs:
            hashed = hashlib.sha1(f"{context}\0{continuation}".encode()).hexdigest()
            score = -int(hashed[:8], 16) / 2**32
            scores.append(score / len(continuation.removeprefix(" ")) if per_character else score)
        right += scores.index(max(scores)) == example.fields["label"]
    return right / len(examples)


def test_contexts_agree_with_another_rendering(shared_dir: Path, tmp_path: Path) -> None:
    """Winogrande and COPA against files that others have rendered: contexts, scored words, and labels."""
    benchmark, examples = read_real("winogrande", shared_dir, tmp_path)
    path = shared_dir / "data" / "winogrande" / "llmfoundry_winogrande_xl_dev.jsonl"
    for example, line in zip(examples, path.read_text().splitlines(), strict=True):
        rendered, made = json.loads(line), requests(benchmark, "lmops", example)
        assert [context for context, _ in made] == rendered["context_options"]
        assert made[0][1].strip() == rendered["continuation"]
        assert example.fields["label"] == rendered["gold"]
    benchmark, examples = read_real("copa", shared_dir, tmp_path)
    path = shared_dir / "data" / "copa" / "llmfoundry_copa.jsonl"
    for example, line in zip(examples, path.read_text().splitlines(), strict=True):
        rendered, made = json.loads(line), requests(benchmark, "lmops", example)
        assert [continuation.strip() for _, continuation in made] == rendered["choices"]
        assert example.fields["label"] == rendered["gold"]


def test_winograd_agrees_with_another_rendering(shared_dir: Path, tmp_path: Path) -> None:
    """Where the two collections have the same sentences (their order differs), the right one is the same."""
    benchmark, examples = read_real("winograd_273", shared_dir, tmp_path)
    path = shared_dir / "data" / "winograd" / "llmfoundry_winograd_wsc273.jsonl"
    rendered = {}
    for line in path.read_text().splitlines():
        record = json.loads(line)
        rendered[(*sorted(c.lower() for c in record["context_options"]), record["continuation"])] = record
    agreeing = 0
    for example in examples:
        made = requests(benchmark, "lm_eval", example)
        contexts = [context.lower() for context, _ in made]
        record = rendered.get((*sorted(contexts), made[0][1].strip()))
        if record is not None:
            agreeing += 1
            right = record["context_options"][record["gold"]].lower()
            assert contexts[example.fields["label"]] == right, example.id
    assert agreeing == 176


def test_demonstrations_come_in_the_official_form(shared_dir: Path, tmp_path: Path) -> None:
    """The real training files at hand are draws of 32; PIQA's is not there, and its folder says so."""
    for name in ("boolq", "cb", "copa"):
        examples = get_benchmark(name).read(real_folder(name, shared_dir, tmp_path), "train")
        assert len(examples) == 32
    from kosmos.errors import DataError

    with pytest.raises(DataError, match=r"piqa's train split is not here: looked for train.jsonl"):
        get_benchmark("piqa").read(real_folder("piqa", shared_dir, tmp_path), "train")


def test_the_pumpkin_is_orange(shared_dir: Path, tmp_path: Path) -> None:
    """The two files disagree on one label; the authors' counts."""
    folder = real_folder("memory_color", shared_dir, tmp_path)
    read = get_benchmark("memory_color").read
    authors = {example.id: example for example in read(folder, "test")}
    (tmp_path / "memory_color_data.csv").write_bytes((folder / "memory_color_data.csv").read_bytes())
    valm = {example.id: example for example in read(tmp_path, "test")}
    assert authors.keys() == valm.keys()
    differing = [name for name in authors if authors[name].fields["label"] != valm[name].fields["label"]]
    assert differing == ["pumpkin"]
    prompt = get_benchmark("memory_color").prompt("paper")
    assert (prompt.answer(authors["pumpkin"]), prompt.answer(valm["pumpkin"])) == (" orange", " red")


def test_relative_size_has_41_objects_and_no_pair_twice(shared_dir: Path, tmp_path: Path) -> None:
    _, pairs = read_real("relative_size", shared_dir, tmp_path)
    both = {(pair.fields["larger"], pair.fields["smaller"]) for pair in pairs}
    assert len(both) == 486 and len({name for pair in both for name in pair}) == 41
    assert not any((smaller, larger) in both for larger, smaller in both)
