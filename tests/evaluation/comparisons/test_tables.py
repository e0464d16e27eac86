"""The paper's comparisons from made-up results under the real datasets' names."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from kosmos.cli.main import main
from kosmos.evaluation.benchmark import Benchmark, Prompt
from kosmos.evaluation.comparisons.paired import mcnemar
from kosmos.evaluation.comparisons.tables import LANGUAGE, TRANSFER, Comparisons, Place
from kosmos.evaluation.reporting.results import Results
from kosmos.evaluation.running.cells import Cell
from kosmos.evaluation.tasks.table1 import get_benchmark
from tests.evaluation.toy_results import accurate, captions, evaluate


def named(name: str, benchmark: Benchmark, *prompts: str) -> Benchmark:
    """A made-up benchmark under a real one's name, with further prompts of those names."""
    first = benchmark.prompts[0]
    others = tuple(replace(first, name=prompt) for prompt in prompts)
    shots = get_benchmark(name).shots if benchmark.demonstration_split else (0,)
    return replace(benchmark, name=name, title=get_benchmark(name).title, prompts=(first, *others), shots=shots)


def all_cells(but: tuple[str, ...] = ()) -> list[Cell]:
    language = [named(name, accurate()) for name in LANGUAGE if name not in but]
    cells = [Cell(b, b.prompt(), k) for b in language for k in b.shots]
    words = named("websrc", replace(captions(), metrics=("web_em", "web_f1")), "text_only", "image_only")
    sentiment = named("rendered_sst2", accurate(), "chain_of_thought")
    alone = [named(name, accurate()) for name in TRANSFER]
    pictures = [named("coco_caption", captions()), named("vqav2", replace(captions(), metrics=("rouge_l",)))]
    cells += [Cell(b, p) for b in (words, sentiment, *alone, *pictures) for p in b.prompts if b.name not in but]
    return cells


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Results]:
    folder = tmp_path_factory.mktemp("models")
    return {
        "base": evaluate(folder / "kosmos", all_cells(), "kosmos"),
        "llm": evaluate(folder / "llm", all_cells(but=("piqa", "rendered_sst2", "coco_caption", "vqav2")), "llm"),
    }


def test_language(models: dict[str, Results]) -> None:
    table = Comparisons(models).language()
    assert (table.number, table.columns, len(table.lines)) == (13, ("LLM", "KOSMOS"), 27)
    lines = {line.label: line for line in table.lines}
    line = lines["BoolQ, k = 4"]
    llm, kosmos = line.numbers
    assert llm is not None and kosmos is not None
    assert llm.value == models["llm"].cells["boolq-k4"]["metrics"]["accuracy"]["value"]
    assert kosmos.value == models["base"].cells["boolq-k4"]["metrics"]["accuracy"]["value"]
    assert (llm.n, kosmos.n, llm.place.paper, kosmos.place.paper) == (50, 50, 58.7, 59.2)
    values = [[sample["values"]["accuracy"] for sample in models[name].samples("boolq-k4")] for name in ("llm", "base")]
    assert line.test is not None and line.test.difference == pytest.approx(kosmos.value - llm.value)  # type: ignore[operator]
    assert line.test.p == mcnemar(*(sum(a > b for a, b in zip(*pair)) for pair in (values, values[::-1])))


def test_what_was_not_run_says_how(models: dict[str, Results]) -> None:
    table = Comparisons(models).language()
    line = next(line for line in table.lines if line.label == "PIQA, k = 1")
    missing, there = line.numbers
    assert missing is not None and there is not None
    assert (missing.value, missing.not_run, missing.place.paper) == (None, "not run", 73.0)
    assert missing.command == f"kosmos eval runs/llm --tasks piqa --shots 0,1,4 --out {models['llm'].folder}"
    assert there.value is not None and line.test is None
    mean = table.lines[-3]
    assert mean.label == "Mean of 7 tasks, k = 0"
    assert [number.place.paper if number else 0 for number in mean.numbers] == [None, None]
    values = [models["base"].cells[name]["metrics"]["accuracy"]["value"] for name in LANGUAGE if name != "piqa"]
    assert mean.numbers[1] is not None and mean.numbers[1].value == pytest.approx(sum(values) / 7)
    assert mean.numbers[1].n == 350


def test_the_mean_of_all_eight_has_the_papers(models: dict[str, Results]) -> None:
    mean = Comparisons({"base": models["base"], "llm": models["base"]}).language().lines[-1]
    assert mean.label == "Mean, k = 4"
    assert [number.place.paper if number else 0 for number in mean.numbers] == [61.8, 62.2]
    one = mean.numbers[0]
    assert one is not None and one.interval is not None and one.value is not None
    # Eight tasks of about the same width: the mean's is smaller by the root of eight.
    widths = [models["base"].cells[f"{name}-k4"]["metrics"]["accuracy"]["interval"] for name in LANGUAGE]
    expected = sum(((high - low) / 2) ** 2 for low, high in widths) ** 0.5 / 8
    assert one.interval[1] - one.value == pytest.approx(expected)


def test_web_pages(models: dict[str, Results]) -> None:
    table = Comparisons(models).websrc()
    assert table.columns == ("LLM, text", "KOSMOS, picture and text", "KOSMOS, picture")
    assert [line.label for line in table.lines] == ["EM", "F1"]
    assert [[n.place.paper for n in line.numbers if n] for line in table.lines] == [
        [7.6, 15.8, 3.8],
        [17.9, 31.3, 10.6],
    ]
    f1 = table.lines[1].numbers
    stored = [
        models[name].cells[cell]["metrics"]["web_f1"]["value"]
        for name, cell in (("llm", "websrc-text_only"), ("base", "websrc"), ("base", "websrc-image_only"))
    ]
    assert [number.value for number in f1 if number] == stored
    test = table.lines[1].test
    assert test is not None and (test.before, test.after) == (stored[0], stored[1])


def test_one_model_asked_in_two_ways(models: dict[str, Results]) -> None:
    tables = {table.number: table for table in Comparisons({**models, "tuned": models["base"]}).all()}
    assert list(tables) == [8, 9, 10, 12, 13, 14, 16]
    assert [line.label for line in tables[9].lines] == ["KOSMOS", "KOSMOS, tuned"]
    direct, thought = tables[9].lines[0].numbers
    assert direct is not None and thought is not None and direct.value is not None and thought.value is not None
    assert (direct.place.paper, thought.place.paper) == (67.1, 72.9)
    birds = tables[12].lines[0].numbers
    assert [number.command if number else "" for number in birds] == [
        f"kosmos eval runs/kosmos --tasks cub --prompt without_descriptions --out {models['base'].folder}",
        f"kosmos eval runs/kosmos --tasks cub --out {models['base'].folder}",
    ]
    coco = tables[14].lines[0]
    assert coco.label == "COCO Caption" and coco.test is not None and coco.test.p == 1.0
    assert [number.place.paper for number in coco.numbers if number] == [87.6, 84.7]
    free, held = tables[10].lines[0].numbers
    assert free is not None and held is not None
    assert (free.place.paper, held.place.paper, held.not_run) == (4.0, 38.1, "not run")


def test_other_data_are_not_tested(models: dict[str, Results], tmp_path: Path) -> None:
    boolq = named("boolq", accurate())
    turned = Prompt("paper", boolq.prompt().context, boolq.prompt().answer, boolq.prompt().candidates)
    other = replace(boolq, prompts=(turned,), read=lambda folder, split: boolq.read(folder, split)[1:])
    line = Comparisons({**models, "llm": evaluate(tmp_path, [Cell(other, turned)])}).language().lines[15]
    assert line.label == "BoolQ, k = 0" and line.test is None
    assert line.note.startswith("no test: ") and "not the same data: example 'test-0'" in line.note


def test_a_mean_over_seeds_is_tested_by_items(tmp_path: Path) -> None:
    boolq = named("boolq", accurate())
    cells = [Cell(boolq, boolq.prompt(), 4, seed) for seed in (0, 1)]
    base, llm = evaluate(tmp_path / "a", cells, "a"), evaluate(tmp_path / "b", cells, "b")
    line = next(x for x in Comparisons({"base": base, "llm": llm}).language().lines if x.label == "BoolQ, k = 4")
    assert line.test is not None and line.test.test == "paired bootstrap" and line.test.n == 50
    before, after = line.numbers
    assert before is not None and after is not None and before.value is not None and after.value is not None
    assert line.test.difference == pytest.approx(after.value - before.value)
    short = evaluate(tmp_path / "c", cells[:1], "c")
    line = next(x for x in Comparisons({"base": base, "llm": short}).language().lines if x.label == "BoolQ, k = 4")
    assert line.test is None and line.note == "no test: 1 and 2 seeds"


def test_places_without_a_model(models: dict[str, Results]) -> None:
    found = Comparisons(models).find(Place("tuned", "vqav2", "vqa_accuracy"))
    assert found.not_run == "no folder of the tuned model was given (--tuned DIR)" and found.command == ""


def test_the_command(models: dict[str, Results], capsys: pytest.CaptureFixture[str]) -> None:
    folders = [str(models[name].folder) for name in ("base", "llm")]
    assert main(["eval", "tables", *folders]) == 0
    said = capsys.readouterr().out
    for title in ("Table 8: ", "Table 9: ", "Table 10: ", "Table 12: ", "Table 13: ", "Table 14: ", "Table 16: "):
        assert title in said
    assert "To run what was not run:\n" in said
    assert f"  kosmos eval runs/llm --tasks piqa --shots 0,1,4 --out {folders[1]}\n" in said
    commands = said.partition("To run what was not run:\n")[2].splitlines()
    assert len(commands) == len(set(commands)) and sum(" --tasks piqa " in one for one in commands) == 1
    assert main(["eval", "tables", *folders, "--tuned", folders[0], "--json"]) == 0
    tables = json.loads(capsys.readouterr().out)
    assert [table["table"] for table in tables] == [8, 9, 10, 12, 13, 14, 16]
    row = tables[4]["rows"][0]
    assert row["label"] == "StoryCloze, k = 0"
    assert row["numbers"][0]["paper"] == 72.9 and row["numbers"][0]["n"] == 50
    assert set(row["test"]) >= {"p", "interval", "difference", "test"}
