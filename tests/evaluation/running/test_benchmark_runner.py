from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kosmos.document import Document, End, Image
from kosmos.errors import DataError, UsageError
from kosmos.evaluation.benchmark import Benchmark, Prompt
from kosmos.evaluation.running.benchmark_runner import RunSettings, measure, run_benchmarks
from kosmos.evaluation.running.cells import Cell, shortened
from kosmos.evaluation.running.demonstrations import draw_demonstrations
from kosmos.evaluation.running.plan import Plan, make_plan
from kosmos.evaluation.running.ranks import Ranks
from kosmos.evaluation.running.response_log import ResponseLog, read_responses
from kosmos.example import Example
from tests.evaluation.toy import FreeEngine, context, fits, gold, read, toy


def cells(*benchmarks: Benchmark, shots: Sequence[int] = (0,)) -> list[Cell]:
    return [Cell(b, b.prompt(), k) for b in benchmarks for k in shots if k in b.shots]


def plan_of(made: Sequence[Cell], folder: Path = Path(), limit: int | None = None) -> Plan:
    return make_plan(made, lambda name: folder, fits, latents=4, limit=limit)


ALL = [toy("choice"), toy("partial"), toy("yes"), toy("generate")]


def test_every_mode(tmp_path: Path) -> None:
    engine = FreeEngine()
    metrics = run_benchmarks(engine, plan_of(cells(*ALL, shots=(0, 2))), RunSettings(tmp_path, "weights"))
    assert metrics is not None
    assert list(metrics["cells"]) == ["toy_choice", "toy_choice-k2", "toy_partial", "toy_yes", "toy_generate"]
    choice = metrics["cells"]["toy_choice"]
    assert (choice["n"], choice["n_expected"], choice["majority"]) == (50, 50, 0.5)
    lines = (tmp_path / "samples" / "toy_choice-k2.jsonl").read_text().splitlines()
    samples = [json.loads(line) for line in lines]
    assert [sample["id"] for sample in samples] == [f"test-{n}" for n in range(50)]
    first = samples[0]
    shown = {example.id: example for example in read(Path(), "train")}
    front = "".join(f"{context(shown[one]).text}{gold(shown[one])}</s>" for one in first["demonstrations"])
    assert first["prompts"] == [f"{front}test question 0? Answer:"]
    assert len(first["demonstrations"]) == 2 and first["candidates"] == [" no", " yes"]
    assert first["scores"]["per_token"] == [total / n for total, n in zip(first["log_probs"], first["tokens"])]
    assert first["scores"]["per_byte"] == [total / n for total, n in zip(first["log_probs"], (2, 3))]
    right = sum(s["scores"]["per_token"].index(max(s["scores"]["per_token"])) == s["label"] for s in samples) / 50
    assert metrics["cells"]["toy_choice-k2"]["metrics"]["toy_accuracy"]["value"] == pytest.approx(right)
    low, high = metrics["cells"]["toy_choice-k2"]["metrics"]["toy_accuracy"]["interval"]
    assert low < right < high
    assert json.loads((tmp_path / "metrics.json").read_text()) == metrics
    asked = engine.asked
    assert run_benchmarks(engine, plan_of(cells(*ALL, shots=(0, 2))), RunSettings(tmp_path, "weights")) == metrics
    assert engine.asked == asked  # nothing is asked twice


class Killed(Exception):
    pass


class Mortal(FreeEngine):
    """Dies after so many calls."""

    def __init__(self, calls: int) -> None:
        super().__init__()
        self.calls = calls

    def _live(self) -> None:
        self.calls -= 1
        if self.calls < 0:
            raise Killed

    def score(self, documents: Sequence[Document], candidates: Sequence[Sequence[str]]) -> Any:
        self._live()
        return super().score(documents, candidates)

    def generate(self, documents: Sequence[Document], **options: Any) -> Any:
        self._live()
        return super().generate(documents, **options)


def files(folder: Path) -> dict[str, bytes]:
    paths = [*sorted((folder / "samples").iterdir()), folder / "metrics.json"]
    return {path.name: path.read_bytes() for path in paths}


@pytest.mark.parametrize("size", [1, 2, 3])
def test_killed_and_resumed_is_undisturbed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """Groups are done by any number of ranks in any order; what a kill leaves torn is done again."""
    monkeypatch.setattr("kosmos.evaluation.running.plan.GROUP_SIZE", 7)
    made = cells(*ALL, shots=(0, 2))
    run_benchmarks(FreeEngine(), plan_of(made), RunSettings(tmp_path / "whole", "weights"))
    out = tmp_path / "broken"
    for attempt in range(4):
        ranks = [Ranks(rank, size) for rank in range(size)]
        for rank in ranks:
            rank._counts = ranks[0]._counts  # one counter for all, as torchrun's store is
        with pytest.raises(Killed):
            for rank in ranks:
                run_benchmarks(Mortal(attempt + 1), plan_of(made), RunSettings(out, "weights"), rank)
        with (out / "responses" / "rank-0.jsonl").open("a") as file:
            file.write('{"group": "toy_choice/00001", "id": "test-3", "answers": [[[0, 1], [0, 1]]]}\n{"group": "toy_')
    (out / "samples").mkdir(exist_ok=True)
    (out / "samples" / ".toy_choice.jsonl.a1b2").write_text("half a file")
    run_benchmarks(FreeEngine(), plan_of(made), RunSettings(out, "weights"), Ranks())
    assert files(out) == files(tmp_path / "whole")


def test_other_weights_are_refused_and_other_prompts_asked_again(tmp_path: Path) -> None:
    run_benchmarks(FreeEngine(), plan_of(cells(toy())), RunSettings(tmp_path, "weights"))
    with pytest.raises(UsageError, match="other weights"):
        run_benchmarks(FreeEngine(), plan_of(cells(toy())), RunSettings(tmp_path, "others"))
    changed = Prompt("paper", lambda e: Document("Well,", context(e)[0]), gold, lambda e: [" no", " yes"])
    engine = FreeEngine()
    run_benchmarks(engine, plan_of(cells(toy(prompts=(changed,)))), RunSettings(tmp_path, "weights"))
    assert engine.asked == 50


def test_measuring_again_needs_no_engine(tmp_path: Path) -> None:
    plan = plan_of(cells(toy("generate"), toy()))
    with pytest.raises(UsageError, match="no responses yet"):
        measure(plan, RunSettings(tmp_path, "weights"))
    metrics = run_benchmarks(FreeEngine(), plan, RunSettings(tmp_path, "weights"))
    before = files(tmp_path)
    (tmp_path / "metrics.json").unlink()
    assert measure(plan, RunSettings(tmp_path, "weights")) == metrics
    assert files(tmp_path) == before


def test_a_broken_example(tmp_path: Path) -> None:
    (tmp_path / "broken").touch()
    plan = plan_of(cells(toy()), tmp_path)
    with pytest.raises(DataError, match=r"toy_choice/0000\d: picture 50.png: cannot be read"):
        run_benchmarks(FreeEngine(), plan, RunSettings(tmp_path / "out", "weights"))
    settings = RunSettings(tmp_path / "out", "weights", skip_broken=True)
    metrics = run_benchmarks(FreeEngine(), plan, settings)
    assert metrics is not None
    cell = metrics["cells"]["toy_choice"]
    assert (cell["n"], cell["n_broken"], cell["n_expected"]) == (50, 1, 50)
    assert "1 examples could not be read and are left out" in cell["warnings"]
    assert "51 examples, but the official split has 50" in cell["warnings"]


def test_a_limit_takes_the_first_and_keeps_their_demonstrations(tmp_path: Path) -> None:
    made = cells(toy(), shots=(4,))
    run_benchmarks(FreeEngine(), plan_of(made), RunSettings(tmp_path / "all", "weights"))
    metrics = run_benchmarks(FreeEngine(), plan_of(made, limit=5), RunSettings(tmp_path / "five", "weights"))
    assert metrics is not None
    assert metrics["cells"]["toy_choice-k4"]["warnings"][0] == "subset: the first 5 of 50 examples"
    lines = [(tmp_path / name / "samples" / "toy_choice-k4.jsonl").read_text().splitlines() for name in ("all", "five")]
    assert lines[0][:5] == lines[1]


def test_examples_are_cut_once_and_not_for_each_of_them() -> None:
    """A copy of hundreds of thousands for each example would take longer than the model."""
    (planned,) = plan_of(cells(toy()), limit=5).cells
    assert planned.examples is planned.examples and len(planned.examples) == 5


def test_demonstrations_that_do_not_fit_are_dropped_and_counted(tmp_path: Path) -> None:
    metrics = run_benchmarks(FreeEngine(), plan_of(cells(toy(), shots=(4,))), RunSettings(tmp_path, "weights"))
    assert metrics is not None
    dropped = metrics["cells"]["toy_choice-k4"]["demonstrations_dropped"]
    assert dropped > 0
    assert f"{dropped} demonstrations did not fit and were dropped" in metrics["cells"]["toy_choice-k4"]["warnings"]


def test_a_question_that_does_not_fit_loses_words() -> None:
    def short(document: Document, answers: Sequence[str]) -> bool:
        return len(document.text) + max(map(len, answers)) <= 30

    document = Document("one two three four five six seven", End(supervised=False), "Answer:")
    assert shortened(document, [" yes"], short, "start").text == "four five six sevenAnswer:"
    assert shortened(document, [" yes"], short, "end").text == "one two three fourAnswer:"
    with pytest.raises(DataError, match="does not fit"):
        shortened(document, [" " * 40], short, "end")


def test_a_chain_of_thought(tmp_path: Path) -> None:
    def introduce(example: Example) -> Document:
        return Document(f"Introduce {example.id}:")

    prompt = Prompt("thought", context, gold, lambda e: [" no", " yes"], rationale=introduce)
    engine = FreeEngine()
    run_benchmarks(engine, plan_of(cells(toy(prompts=(prompt,)))), RunSettings(tmp_path, "weights"))
    sample = json.loads((tmp_path / "samples" / "toy_choice.jsonl").read_text().splitlines()[0])
    expected = FreeEngine().generate([Document("Introduce test-0:")], options=_greedy(64))[0].text
    assert sample["rationale"] == expected
    assert engine.asked == 100


def test_the_picture_of_the_first_stage_is_in_the_key(tmp_path: Path) -> None:
    """A second stage without the picture is asked anew all the same when the picture has changed."""

    picture = {"shade": 1}

    def introduce(example: Example) -> Document:
        return Document(Image(np.full((2, 2, 3), picture["shade"], np.uint8)), "Introduce it:")

    prompt = Prompt("thought", context, gold, lambda e: [" no", " yes"], rationale=introduce)
    engine, plan = FreeEngine(), plan_of(cells(toy(prompts=(prompt,))))
    for shade, asked in ((1, 100), (1, 100), (2, 200)):
        picture["shade"] = shade
        run_benchmarks(engine, plan, RunSettings(tmp_path, "weights"))
        assert engine.asked == asked


def _greedy(count: int) -> Any:
    from kosmos.inference.generation import Decoding

    return Decoding(count)


def test_shots_that_the_paper_does_not_have(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="defined for 0, 2, 4 demonstrations, not 3"):
        Cell(toy(), toy().prompt(), 3)
    with pytest.raises(UsageError, match="'toy_choice' is asked for twice"):
        plan_of(cells(toy(), toy()))
    with pytest.raises(DataError, match="split empty is empty"):
        plan_of(cells(toy(split="empty")))


def test_demonstrations_are_drawn_for_the_example_alone() -> None:
    pool = read(Path(), "train")
    example = read(Path(), "test")[7]
    four = draw_demonstrations("toy", example, pool, 4, seed=0, same_split=False)
    assert draw_demonstrations("toy", example, pool, 2, seed=0, same_split=False) == four[:2]
    assert len({shown.id for shown in four}) == 4
    assert draw_demonstrations("toy", example, pool, 4, seed=1, same_split=False) != four
    assert draw_demonstrations("other", example, pool, 4, seed=0, same_split=False) != four
    same = draw_demonstrations("toy", pool[3], pool, 19, seed=0, same_split=True)
    assert sorted(shown.id for shown in same) == sorted(shown.id for shown in pool if shown.id != "train-3")
    with pytest.raises(DataError, match="20 demonstrations wanted, but only 19"):
        draw_demonstrations("toy", pool[3], pool, 20, seed=0, same_split=True)


def test_the_log_keeps_whole_groups_only(tmp_path: Path) -> None:
    log = ResponseLog(tmp_path, 0)
    log.append("a/0", [{"id": "x"}, {"id": "y"}], {"halvings": 0})
    log.close()
    with (tmp_path / "rank-0.jsonl").open("a") as file:
        file.write('{"group": "a/1", "id": "z"}\n{"group": "a/1", "id')
    again = ResponseLog(tmp_path, 0)
    again.append("a/1", [{"id": "z"}, {"id": "w"}], {"halvings": 0})
    again.close()
    other = ResponseLog(tmp_path, 10)
    other.append("a/0", [{"id": "another"}, {"id": "y"}], {})
    other.close()
    # What was asked again later counts.
    assert read_responses(tmp_path) == {"a/0": [{"id": "another"}, {"id": "y"}], "a/1": [{"id": "z"}, {"id": "w"}]}


def test_what_is_asked_again_replaces_the_answers_before_it(tmp_path: Path) -> None:
    settings = RunSettings(tmp_path, "weights", facts={"precision": "fp32"})
    run_benchmarks(FreeEngine(), plan_of(cells(toy()), limit=5), settings)
    metrics = run_benchmarks(FreeEngine(), plan_of(cells(toy())), settings)
    assert metrics is not None and metrics["cells"]["toy_choice"]["n"] == 50
    changed = Prompt("paper", lambda e: Document("Well,", context(e)[0]), gold, lambda e: [" no", " yes"])
    again = run_benchmarks(FreeEngine(), plan_of(cells(toy(prompts=(changed,)))), settings)
    undisturbed = RunSettings(tmp_path / "new", "weights")
    assert again == run_benchmarks(FreeEngine(), plan_of(cells(toy(prompts=(changed,)))), undisturbed)
    assert again != metrics


def test_several_commands_fill_one_folder(tmp_path: Path) -> None:
    settings = RunSettings(tmp_path, "weights", facts={"precision": "fp32"})
    run_benchmarks(FreeEngine(), plan_of(cells(toy(), shots=(0,))), settings)
    run_benchmarks(FreeEngine(), plan_of(cells(toy("generate"), toy(), shots=(0, 2)), limit=7), settings)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert [(name, cell["n"]) for name, cell in metrics["cells"].items()] == [
        ("toy_choice", 7),
        ("toy_generate", 7),
        ("toy_choice-k2", 7),
    ]
    plan = json.loads((tmp_path / "plan.json").read_text())
    assert [(cell["name"], cell["limit"]) for cell in plan["cells"]] == [
        ("toy_choice", 7),
        ("toy_generate", 7),
        ("toy_choice-k2", 7),
    ]
    assert plan["facts"] == {"precision": "fp32", "latents": 4}


def test_a_rank_that_starts_late_takes_its_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It finds groups finished that were waiting when the others started: numbers must mean the same to all."""
    monkeypatch.setattr("kosmos.evaluation.running.plan.GROUP_SIZE", 7)
    plan = plan_of(cells(toy()))
    ranks = [Ranks(rank, 2) for rank in range(2)]
    ranks[1]._counts = ranks[0]._counts
    with pytest.raises(Killed):
        run_benchmarks(Mortal(3), plan, RunSettings(tmp_path, "weights"), ranks[0])
    # Group 3, at which the first rank died, is nobody's until the next start.
    with pytest.raises(UsageError, match="no responses yet"):
        ranks[1].size = 1
        run_benchmarks(FreeEngine(), plan, RunSettings(tmp_path, "weights"), ranks[1])
    done = read_responses(tmp_path / "responses")
    assert len(done) == len(plan.groups) - 1 and plan.groups[3].name not in done
