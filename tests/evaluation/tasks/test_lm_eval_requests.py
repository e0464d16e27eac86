"""Our `lm_eval` prompts against the requests of lm-eval itself, with and without demonstrations.

Runs where lm-eval is installed. Its task files are read as they are; only the dataset is replaced by local rows.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kosmos.evaluation.benchmark import Benchmark
from kosmos.evaluation.fixtures import write_fixture
from kosmos.evaluation.readers.dataset_files import read_rows
from kosmos.evaluation.tasks.table1 import get_benchmark
from kosmos.example import Example

lm_eval = pytest.importorskip("lm_eval", reason="lm-eval is not installed")
lm_eval_tasks = pytest.importorskip("lm_eval.api.task")
lm_eval_files = pytest.importorskip("lm_eval.tasks._yaml_loader")

TASKS = {
    "story_cloze": "storycloze/storycloze_2016.yaml",
    "hellaswag": "hellaswag/hellaswag.yaml",
    "winograd": "wsc273/default.yaml",
    "winogrande": "winogrande/default.yaml",
    "piqa": "piqa/piqa.yaml",
    "boolq": "super_glue/boolq/default.yaml",
    "cb": "super_glue/cb/default.yaml",
    "copa": "super_glue/copa/default.yaml",
}


def lm_eval_task(name: str, hub: Path, benchmark: Benchmark, tmp_path: Path) -> Any:
    """lm-eval's own task over the hub's form of the made-up dataset, the demonstrations being the first ones."""
    config = lm_eval_files.load_yaml(Path(lm_eval.__file__).parent / "tasks" / TASKS[name])
    for key in ("tag", "metadata"):
        config.pop(key, None)
    # The names of the splits at the hub are those of ours.
    files = {}
    for split in {benchmark.split, str(benchmark.demonstration_split)}:
        found = sorted(hub.glob(f"*/{split}-*.parquet"))
        assert len(found) == 1
        files[split] = str(found[0])
    config.update(
        dataset_path="parquet",
        dataset_name=None,
        dataset_kwargs={"data_files": files, "cache_dir": str(tmp_path / "cache")},
        fewshot_split=benchmark.demonstration_split,
        fewshot_config={"sampler": "first_n"},
    )
    return lm_eval_tasks.ConfigurableTask(config=config)


def our_requests(benchmark: Benchmark, example: Example, demonstrations: list[Example]) -> list[tuple[str, str]]:
    prompt = benchmark.prompt("lm_eval")
    before = "".join(prompt.context(demo).text + prompt.answer(demo) + prompt.separator for demo in demonstrations)
    if prompt.contexts is not None:
        return [(before + document.text, prompt.answer(example)) for document in prompt.contexts(example)]
    assert prompt.candidates is not None
    return [(before + prompt.context(example).text, candidate) for candidate in prompt.candidates(example)]


@pytest.mark.parametrize("shots", [0, 2])
@pytest.mark.parametrize("name", TASKS)
def test_requests_are_lm_evals(name: str, shots: int, tmp_path: Path) -> None:
    benchmark = get_benchmark(name)
    hub = write_fixture(name, tmp_path, "hub")
    task = lm_eval_task(name, hub, benchmark, tmp_path)
    examples = benchmark.read(hub, benchmark.split)
    pool = benchmark.read(hub, str(benchmark.demonstration_split))
    documents = list(task.eval_docs)
    assert len(documents) == len(examples)
    for index, (document, example) in enumerate(zip(documents, examples)):
        if shots and benchmark.demonstration_split == benchmark.split and index < shots:
            continue  # a document is not its own demonstration, and lm-eval takes another then
        context = task.fewshot_context(document, num_fewshot=shots)
        theirs = [request.args for request in task.construct_requests(document, context)]
        assert our_requests(benchmark, example, pool[:shots]) == theirs


def test_fixtures_have_the_columns_that_lm_eval_reads(tmp_path: Path) -> None:
    hub = write_fixture("winograd", tmp_path, "hub")
    (path,) = hub.glob("wsc285/*.parquet")
    assert json.dumps(sorted(read_rows([path])[0].values)) == (
        '["label", "options", "pronoun", "pronoun_loc", "quote", "quote_loc", "source", "text"]'
    )
