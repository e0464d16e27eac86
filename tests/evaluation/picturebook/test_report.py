from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from kosmos.errors import DataError
from kosmos.evaluation.picturebook.report import Presentation, RunFacts, load_report, write_report
from kosmos.evaluation.picturebook.report_markdown import HEADINGS, NUMERIC, cells
from kosmos.evaluation.picturebook.report_terminal import print_report
from kosmos.evaluation.picturebook.suite import run_suite
from kosmos.evaluation.reporting.markdown import table
from tests.evaluation.scripted import LEVELS, ScriptedEngine, level_of, puzzle_task, shade_examples, shade_task

FACTS = RunFacts(
    steps=1200,
    seed=1,
    precision="bf16",
    parameters={"total": 2100000, "decoder": 1700000},
    data_fingerprint="ab" * 32,
    extra={"training_artists": 4},
)
PRESENTATION = Presentation(
    introduction="Trained from nothing.",
    sheet_task="shade",
    credit="Drawings: nobody, CC BY 4.0",
    credits=(("drawings@1.0", "Nobody", "CC-BY-4.0"),),
    notes=("Nothing here is a photograph.",),
    next_steps=(('kosmos generate RUN -i cat.png "An image of"', "caption a picture"),),
)


def finished_run(run: Path) -> Path:
    engine = ScriptedEngine(reply=lambda document: LEVELS.get(level_of(document), "dark"))
    tasks = [
        shade_task(title="Shades", examples=lambda: shade_examples(400), baselines=("majority",)),
        puzzle_task(title="Puzzles", note="three candidates each"),
        puzzle_task(name="control", title="Puzzles, shuffled", expects_chance=True),
        shade_task(name="describe", metric="token_f1", max_new_tokens=5),
    ]
    abilities = run_suite(engine, tasks, run / "evaluation", quiet=True)
    run.mkdir(exist_ok=True)
    (run / "metrics.jsonl").write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "loss": 1.0}\n')
    write_report(run, abilities, FACTS, PRESENTATION, timing={"training": 12.5})
    return run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished_run(tmp_path_factory.mktemp("runs") / "demo")


def test_report_json_has_a_row_for_each_ability_and_the_facts_of_the_run(run: Path) -> None:
    report = load_report(run)
    assert report == json.loads((run / "report.json").read_text())
    assert list(report) == ["schema_version", "kind", "run", "abilities", "warnings", "next_steps"]
    assert report["run"]["parameters"] == {"total": 2100000, "decoder": 1700000}
    assert (report["run"]["steps"], report["run"]["seed"], report["run"]["precision"]) == (1200, 1, "bf16")
    assert [row["name"] for row in report["abilities"]] == ["shade", "puzzle", "control", "describe"]
    shade = report["abilities"][0]
    assert (shade["n"], shade["score"], shade["learned"], shade["beats_baseline"]) == (400, 1.0, "learned", True)
    assert report["abilities"][1]["learned"] == "not learned"
    assert report["warnings"] == [
        "Puzzles: nearly all answers are the same.",
        "Puzzles: 6 of 6 items tied and count as a fair draw.",
        "Puzzles, shuffled: nearly all answers are the same.",
        "Puzzles, shuffled: 6 of 6 items tied and count as a fair draw.",
    ]


def test_two_runs_give_the_same_report_to_the_last_byte(run: Path, tmp_path: Path) -> None:
    again = finished_run(tmp_path / "elsewhere")
    for name in ("report.json", "report.md", "contact_sheet.png", "loss_curve.png"):
        assert (run / name).read_bytes() == (again / name).read_bytes(), name
    text = (run / "report.json").read_text() + (run / "report.md").read_text()
    assert str(run) not in text and "12.5" not in text
    assert json.loads((run / "timing.json").read_text()) == {"training": 12.5}


def test_report_md_shows_the_table_the_pictures_and_the_honest_notes(run: Path) -> None:
    text = (run / "report.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len({len(row) for row in rows}) == 1 and len(rows) == 6
    assert [cell.strip() for cell in rows[2].strip("|").split("|")] == [
        "Shades", "400", "100.0", "99.0 – 100.0", "25.0", "25.0", "25.0 commonest answer", "learned"
    ]  # fmt: skip
    assert "not learned" in rows[3] and "at chance, as it must be" in rows[4]
    assert rows[5].startswith("| describe (word F1)")
    for line in (
        "![What the model says it sees](contact_sheet.png)",
        "*Drawings: nobody, CC BY 4.0*",
        "![Training loss by source](loss_curve.png)",
        "- Nothing here is a photograph.",
        "- Puzzles: three candidates each",
        "- drawings@1.0: Nobody, CC-BY-4.0",
        'kosmos generate RUN -i cat.png "An image of"  # caption a picture',
        "- parameters: total 2,100,000, decoder 1,700,000",
        "- training artists: 4",
        "- **Shades** (right)  ",
        "  prompt: `<image>The shade is`  ",
        "  answer: `black`, expected: `black`",
    ):
        assert line in text.splitlines(), line
    for name in re.findall(r"\]\((.+?\.png)\)", text):
        assert (run / name).stat().st_size > 1000


def test_the_terminal_shows_the_same_figures(run: Path) -> None:
    for width in (80, 160):
        stream = io.StringIO()
        print_report(run, Console(file=stream, width=width, force_terminal=False))
        text = stream.getvalue()
        assert all(len(line) <= width for line in text.splitlines() if str(run) not in line)
        [row] = [line for line in text.splitlines() if "Shades" in line]
        assert row.split()[0] == "Shades" and row.split()[-1] == "learned"
        assert "100.0" in row and ("99.0 – 100.0" if width == 160 else "99.0–100.0") in row
        assert ("at chance, as it must be" if width == 160 else " control") in text
        assert ("████████████" in row) is (width == 160)
        assert str(run / "report.md") in text and str(run / "contact_sheet.png") in text
        assert f'kosmos generate {run} -i cat.png "An image of"' in text and "# caption a picture" in text
        assert "2,100,000 parameters, 1,200 steps, bf16, seed 1" in text


@pytest.mark.parametrize("found", [None, "/usr/bin/kosmos"])
def test_how_to_have_the_command_found(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found: str | None
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "activate").write_text("")
    monkeypatch.setattr("shutil.which", lambda name: found)
    monkeypatch.setattr("sys.executable", str(tmp_path / "bin" / "python"))
    monkeypatch.chdir(tmp_path)
    stream = io.StringIO()
    print_report(run, Console(file=stream, width=100))
    assert ("source bin/activate\n" in stream.getvalue()) is (found is None)


LONG = "binding of made-up words to drawings, 8 shots, labels"


@pytest.mark.parametrize("width", [50, 60, 80, 100, 139])
def test_names_are_folded_and_never_cut(tmp_path: Path, width: int) -> None:
    tasks = [shade_task(name=name, title=f"{LONG} {name}") for name in ("kept", "shuffled")]
    write_report(tmp_path, run_suite(ScriptedEngine(), tasks, tmp_path, quiet=True), FACTS, Presentation())
    stream = io.StringIO()
    print_report(tmp_path, Console(file=stream, width=width))
    table, _ = stream.getvalue().split("2,100,000 parameters")
    lines = table.splitlines()
    assert all(len(line) <= width for line in lines) and "…" not in table
    room = lines[1].index("Score")
    # In the column of the names stands every word of them.
    words = " ".join(line[:room] for line in lines).split()
    assert " ".join(words).endswith(f"{LONG} kept {LONG} shuffled")


def test_a_pipe_gets_each_row_on_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    task = shade_task(title=f"{LONG} shuffled")
    write_report(tmp_path, run_suite(ScriptedEngine(), [task], tmp_path, quiet=True), FACTS, Presentation())
    print_report(tmp_path)
    [row] = [line for line in capsys.readouterr().out.splitlines() if line.startswith(f" {LONG} shuffled ")]
    assert len(row.split("  ")) > 8 and row.rstrip().endswith("learned")


def test_what_was_seen_in_training_and_what_was_not_is_told_apart(tmp_path: Path) -> None:
    examples = [replace(e, meta={"unseen_word": e.fields["answer"] == "white"}) for e in shade_examples(40)]
    engine = ScriptedEngine(reply=lambda document: LEVELS[level_of(document)] if level_of(document) < 250 else "?")
    plain = shade_task(name="plain", title="Plain")
    abilities = run_suite(engine, [shade_task(title="Shades", examples=lambda: examples), plain], tmp_path, quiet=True)
    report = write_report(tmp_path, abilities, FACTS, Presentation())
    shades, other = report["abilities"]
    assert (shades["score"], shades["splits_by"]) == (0.75, "unseen_word") and other["splits"] is None
    seen, unseen = shades["splits"]["seen"], shades["splits"]["unseen"]
    assert (seen["n"], seen["score"], unseen["n"], unseen["score"]) == (30, 1.0, 10, 0.0)
    assert unseen["interval"][0] == 0.0 and 0.2 < unseen["interval"][1] < 0.4 and seen["interval"][1] == 1.0
    text = (tmp_path / "report.md").read_text().split("## What was seen in training and what was not")[1]
    [row] = [line for line in text.splitlines() if line.startswith("| Shades")]
    cells_of_row = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells_of_row[:4] == ["Shades", "word", "30", "100.0"] and cells_of_row[5:7] == ["10", "0.0"]
    stream = io.StringIO()
    print_report(tmp_path, Console(file=stream, width=160))
    assert "note: Shades, by word: 100.0 seen in training (n 30), 0.0 unseen (n 10)" in stream.getvalue()


def test_a_run_without_a_report_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has not been evaluated yet"):
        print_report(tmp_path)
    (tmp_path / "report.json").write_text('{"kind": "something else"}')
    with pytest.raises(DataError, match="not a report of version 1"):
        load_report(tmp_path)


def test_a_contact_sheet_of_a_task_not_run_is_an_error(tmp_path: Path) -> None:
    abilities = run_suite(ScriptedEngine(), [puzzle_task()], tmp_path / "evaluation", quiet=True)
    with pytest.raises(DataError, match="'shade' was not evaluated"):
        write_report(tmp_path, abilities, FACTS, PRESENTATION)
    assert not (tmp_path / "report.json").exists()


def test_a_report_without_pictures_links_none(tmp_path: Path) -> None:
    abilities = run_suite(ScriptedEngine(), [puzzle_task()], tmp_path / "evaluation", quiet=True)
    write_report(tmp_path, abilities, FACTS, Presentation())
    text = (tmp_path / "report.md").read_text()
    assert ".png" not in text and "## Try next" not in text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["evaluation", "report.json", "report.md"]


def test_the_table_survives_a_bar_in_a_title() -> None:
    row = {
        "title": "x | y", "metric": "exact_match", "n": 1, "score": 0.5, "interval": [0.1, 0.9], "chance": 0.0,
        "blank_image": None, "baselines": [], "strongest_baseline": None, "beats_baseline": None,
        "expects_chance": False, "beats_chance": False, "learned": "not learned",
    }  # fmt: skip
    assert cells(row) == ["x \\| y", "1", "50.0", "10.0 – 90.0", "0.0", "–", "–", "not learned"]
    lines = table([cells(row)], HEADINGS, NUMERIC).splitlines()
    assert lines[1].count(":") == 4 and [line.replace("\\|", "").count("|") for line in lines] == [9, 9, 9]
