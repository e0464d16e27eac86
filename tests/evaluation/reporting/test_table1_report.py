from __future__ import annotations

import base64
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

from kosmos.cli.main import main
from kosmos.document import Image
from kosmos.evaluation.files import write_json
from kosmos.evaluation.reporting.page import Band, Bullets, Gallery, Grid, Link, Page, Paragraph, Shown
from kosmos.evaluation.reporting.page_html import to_html
from kosmos.evaluation.reporting.page_markdown import to_markdown
from kosmos.evaluation.reporting.report_examples import examples_of
from kosmos.evaluation.reporting.report_samples import lead, thumbnail, worst_and_best
from kosmos.evaluation.reporting.report_warnings import deviations_of, warnings_of
from kosmos.evaluation.reporting.results import Results, contains, load_results
from kosmos.evaluation.reporting.table1_report import write_table1_report
from kosmos.evaluation.reporting.table1_rows import family_of, scores_of
from kosmos.evaluation.running.cells import Cell
from kosmos.example import Example
from tests.evaluation.toy import read, toy
from tests.evaluation.toy_results import accurate, captions, evaluate, plan_of, read_pictures, square

VOID = {"meta", "img"}


class Balanced(HTMLParser):
    """Every element is closed; nothing is fetched, nothing runs."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.pictures: list[bytes] = []
        self.text: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        values = dict(attrs)
        assert tag not in ("script", "link", "iframe") and not any(name.startswith("on") for name in values)
        assert not str(values.get("src", "data:")).startswith("http")
        if tag == "img":
            kind, _, data = values["src"].partition(",")
            assert kind == "data:image/jpeg;base64"
            self.pictures.append(base64.b64decode(data))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """A real dataset's name for the figures of the paper: boolq; the rest are made up."""
    boolq = accurate("boolq", "BoolQ")
    cells = [Cell(boolq, boolq.prompt(), k, seed) for k, seed in ((0, 0), (4, 0), (4, 1))]
    cells += [Cell(boolq, boolq.prompt("other.1")), Cell(captions(), captions().prompt())]
    return evaluate(tmp_path_factory.mktemp("out"), [*cells, Cell(toy("yes"), toy("yes").prompt())])


def test_scores(results: Results) -> None:
    scores = {(*score.key, score.entry["shots"], score.metric): score for score in scores_of(results)}
    zero = scores["boolq", "paper", False, 0, "accuracy"]
    stored = results.cells["boolq"]["metrics"]["accuracy"]
    assert (zero.value, zero.interval, zero.method) == (stored["value"], tuple(stored["interval"]), "Wilson")
    assert (zero.deviation, zero.paper, zero.label) == (None, 56.4, "BoolQ")
    four = scores["boolq", "paper", False, 4, "accuracy"]
    one, other = (results.cells[name]["metrics"]["accuracy"]["value"] for name in ("boolq-k4", "boolq-k4-s1"))
    assert four.cells == ("boolq-k4", "boolq-k4-s1") and four.value == pytest.approx((one + other) / 2)
    assert four.deviation == pytest.approx(abs(one - other) / 2**0.5)
    assert four.interval is not None and four.value is not None and four.interval[0] < four.value < four.interval[1]
    assert (four.method, four.paper) == ("Student's t, of items' means", 59.2)
    assert scores["boolq", "other", False, 0, "accuracy"].label == "BoolQ (other)"
    assert scores["boolq", "other", False, 0, "accuracy"].paper is None


def test_families() -> None:
    assert [family_of(name) for name in ("valm.1", "valm.10", "lm_eval", "v1.5x")] == [
        "valm",
        "valm",
        "lm_eval",
        "v1.5x",
    ]


def test_the_interval_holds_a_printed_figure() -> None:
    assert contains((0.5, 0.6), "accuracy", 56.4) is True
    assert contains((0.5, 0.6), "accuracy", 61.0) is False
    assert contains((0.5642, 0.6), "accuracy", 56.4) is True  # 56.4 stands for 56.35 to 56.45
    assert contains((0.5646, 0.6), "accuracy", 56.4) is False
    assert contains(None, "accuracy", 56.4) is None and contains((0.5, 0.6), "accuracy", None) is None


def test_the_page(results: Results) -> None:
    path = write_table1_report(results)
    text = (results.folder / "report.md").read_text(encoding="utf-8")
    score = results.cells["boolq"]["metrics"]["accuracy"]
    low, high = (f"{100 * bound:.1f}" for bound in score["interval"])
    (row,) = re.findall(r"^\| BoolQ +\|.*ccuracy.*\|$", text.split("## Every number")[0], flags=re.MULTILINE)
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    inside = "in" if score["interval"][0] <= 0.564 <= score["interval"][1] else "out"
    assert cells[:4] == ["BoolQ", "accuracy", f"{100 * score['value']:.1f} [{low} to {high}]", f"56.4 {inside}"]
    assert "±" in cells[4] and cells[5].startswith("59.2")
    assert "Not run: StoryCloze, HellaSwag," in text and "COCO Caption" in text
    (line,) = re.findall(r"^\| BoolQ +\| +0 \|.*$", text, flags=re.MULTILINE)
    assert f"| {low} to {high} |  50 | 3270 |" not in line and "|  50 | 50 |" not in line
    values = [cell.strip() for cell in line.strip("|").split("|")]
    assert values[6:10] == ["50", "50", "50.0", "50.0"]  # n, of, chance, majority
    assert values[-3:] == ["paper", "Wilson", "[boolq](samples/boolq.jsonl)"]
    page = Balanced(path.read_text(encoding="utf-8"))
    assert "BoolQ" in page.text and page.pictures == []
    assert "prefers-color-scheme: dark" in path.read_text(encoding="utf-8")


def test_pictures_of_samples(results: Results) -> None:
    plan = plan_of([Cell(captions(), captions().prompt())])
    path = write_table1_report(results, examples_of(results, None, plan))
    pictures = Balanced(path.read_text(encoding="utf-8")).pictures
    assert len(pictures) == 6
    sizes = [PIL.Image.open(io.BytesIO(data)).size for data in pictures]
    assert set(sizes) == {(128, 128)}
    before = path.read_bytes()
    write_table1_report(results, examples_of(results, None, plan))
    assert path.read_bytes() == before


def test_a_picture_that_has_changed_is_not_shown(results: Results) -> None:
    def changed(cell: str) -> dict[str, Example]:
        return {e.id: Example(e.id, e.fields, (Image(square(12)),)) for e in read_pictures(Path(), "test")}

    page = Balanced(write_table1_report(results, changed).read_text(encoding="utf-8"))
    assert page.pictures == []
    assert page.text.count("a picture is not the one that was asked with, and is not shown") == 6


def test_worst_and_best() -> None:
    def sample(name: str, scores: list[float], label: int) -> dict[str, Any]:
        right = float(scores.index(max(scores)) == label)
        return {"id": name, "label": label, "scores": {"sum": scores}, "values": {"accuracy": right}}

    samples = [
        sample("sure and right", [-9.0, -1.0], 1),
        sample("right by a hair", [-1.0, -1.1], 0),
        sample("wrong by a hair", [-1.0, -1.1], 1),
        sample("sure and wrong", [-1.0, -9.0], 1),
        {"id": "broken", "broken": "no picture"},
    ]
    worst, best = worst_and_best(samples, "accuracy", "sum")
    assert [s["id"] for s in worst] == ["sure and wrong", "wrong by a hair"]
    assert [s["id"] for s in best] == ["sure and right", "right by a hair"]
    assert lead(samples[3], "sum") == -8.0 and lead(samples[0], "sum") == 8.0
    # Without values of items (ROC AUC) the lead alone decides; answers that are generated go by value, then sureness.
    bare = [{k: v for k, v in s.items() if k != "values"} for s in samples[:4]]
    assert [s["id"] for s in worst_and_best(bare, "roc_auc", "sum", 1)[0]] == ["sure and wrong"]
    said = [
        {"id": str(n), "score": s, "values": {"f1": v}} for n, (v, s) in enumerate([(0, -1), (0, -9), (1, -9), (1, -1)])
    ]
    worst, best = worst_and_best(said, "f1", None, 2)
    assert ([s["id"] for s in worst], [s["id"] for s in best]) == (["0", "1"], ["3", "2"])


def test_a_thumbnail_keeps_its_shape() -> None:
    file = io.BytesIO()
    PIL.Image.new("RGB", (600, 300)).save(file, "PNG")
    assert PIL.Image.open(io.BytesIO(thumbnail(Image(file.getvalue())))).size == (128, 64)


def test_a_part_is_never_called_cider(tmp_path: Path) -> None:
    part = evaluate(tmp_path, [Cell(captions("coco_caption", "COCO Caption"), captions().prompt())], limit=5)
    write_table1_report(part)
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert list(part.cells["coco_caption"]["metrics"]) == ["cider_subset", "rouge_l"]
    (row,) = [line for line in text.splitlines() if line.startswith("| COCO Caption")][:1]
    assert "| captions of a subset, no CIDEr |" in row and "84.7" not in text
    assert "coco_caption: the captions' score of 5 pictures is no CIDEr" in text
    assert "coco_caption: only the first 5 examples (--limit)" in text
    assert re.findall(r"\| CIDEr", text) == []


def relabelled(folder: Path, split: str) -> list[Example]:
    """Two pairs of equal questions with different golds, and one pair with the same."""
    twice = [Example(f"again-{n}", read(folder, split)[n].fields) for n in range(3)]
    other = [Example(e.id, {**e.fields, "label": 1 - e.fields["label"]}) for e in twice[:2]]
    return [*read(folder, split), *other, twice[2]]


def test_warnings_and_deviations(tmp_path: Path) -> None:
    conflicting = toy(read=relabelled, metrics=("accuracy",))
    sizes = accurate("relative_size", "RelativeSize")
    made = evaluate(tmp_path, [Cell(conflicting, conflicting.prompt()), Cell(sizes, sizes.prompt(), 4, 1)])
    warnings = warnings_of(made, scores_of(made))
    assert "toy_choice: label conflicts: 2 prompts stand there twice with different right answers" in warnings
    assert any(
        line.startswith("RelativeSize: asked in the one order in which Yes is always right") for line in warnings
    )
    assert any("demonstrations did not fit and were dropped" in line for line in warnings)
    deviations = deviations_of(made)
    assert "relative_size-k4-s1: demonstrations are drawn with seed 1, not 0" in deviations
    assert "toy_choice: no row of the paper's tables" in deviations
    chance = [line for line in warnings if line.startswith("The interval holds chance")]
    held = [
        score.label for score in scores_of(made) if score.interval and score.interval[0] <= 0.5 <= score.interval[1]
    ]
    assert len(chance) == 1 and all(label in chance[0] for label in held) and held


def test_both_orders_and_twins(tmp_path: Path) -> None:
    made = evaluate(tmp_path, [Cell(accurate("relative_size", "RelativeSize"), accurate().prompt())])
    cells = {name: dict(entry) for name, entry in made.cells.items()}
    reversed_cell = {**cells["relative_size"], "prompt": "reversed", "default_prompt": False}
    accuracy = cells["relative_size"]["metrics"]["accuracy"]
    reversed_cell["metrics"] = {"accuracy": {**accuracy, "value": 1 - accuracy["value"]}}
    named = {**cells["relative_size"], "benchmark": "imagenet", "title": "ImageNet"}
    named["metrics"] = {"exact_name": {**accuracy, "details": {"twins": 200.0}}}
    cells |= {"relative_size-reversed": reversed_cell, "imagenet": named}
    for name in ("relative_size-reversed", "imagenet"):
        (tmp_path / "samples" / f"{name}.jsonl").write_bytes(
            (tmp_path / "samples" / "relative_size.jsonl").read_bytes()
        )
    write_json(tmp_path / "metrics.json", {**made.metrics, "cells": cells})
    changed = load_results(tmp_path)
    warnings = warnings_of(changed, scores_of(changed))
    shown = 100 * accuracy["value"]
    assert (
        f"RelativeSize: {shown:.1f} with the larger object first, {100 - shown:.1f} with the smaller one first; their "
        "mean is 50.0, where a constant answer has 50.0"
    ) in warnings
    assert any(line.startswith("imagenet: 200 pictures are of classes that share their name") for line in warnings)


def test_any_text_survives() -> None:
    shown = Shown("a|b", None, (("answer", "`x` <b> | &"),), missing="gone")
    table = Grid(("a", "b"), (Band("<group>"), ("x|y", Link("1 < 2", "samples/a.jsonl"))), frozenset({1}))
    page = Page("T & T", [Paragraph("is `<i>` code"), Bullets(("one",)), table, Gallery((shown,))])
    html = to_html(page)
    assert "<code>&lt;i&gt;</code>" in html and "<b>" not in html and "T &amp; T" in html
    Balanced(html)
    lines = to_markdown(page).splitlines()
    assert "| x\\|y        | [1 < 2](samples/a.jsonl) |" in lines
    assert "- **a|b**  " in lines and "  answer: `` `x` <b> | & ``  " in lines


def test_the_command(results: Results, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (results.folder / "report.md").unlink(missing_ok=True)
    assert main(["eval", "report", str(results.folder)]) == 0
    assert capsys.readouterr().out == f"{results.folder / 'report.html'}\n"
    assert (results.folder / "report.md").exists()
    assert main(["eval", "report", str(results.folder), "--data", str(tmp_path / "none")]) == 2
    assert "no such folder" in capsys.readouterr().err
    assert main(["eval", "report", str(tmp_path)]) == 2
    (tmp_path / "metrics.json").write_text(json.dumps({"schema_version": 0}))
    (tmp_path / "plan.json").write_text("{}")
    assert main(["eval", "report", str(tmp_path)]) == 3
    assert "metrics.json: not of version 1" in capsys.readouterr().err
