"""`kosmos data stats` as a user calls it: a corpus, and a recipe."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from kosmos.tokenizer import Tokenizer
from tests.cli.data.corpora import PAIRS, write_lines, write_pairs
from tests.cli.process import Command, one_line, write_corpus


def test_pairs(kosmos_here: Command, corpora: dict[str, Path], tmp_path: Path) -> None:
    finished = kosmos_here("data", "stats", corpora["pairs_tar"], "--reader", "pairs_tar", "--json", cwd=tmp_path)
    told = json.loads(finished.stdout)
    assert (told["files"], told["records"], told["measured"], told["complete"]) == (1, PAIRS, PAIRS, True)
    assert told["bytes"] == corpora["pairs_tar"].stat().st_size
    assert told["documents_by_pictures"] == {"1": PAIRS}
    assert told["pictures"]["forms"] == {"png": 3, "jpeg": 3}
    width, height = told["pictures"]["width"], told["pictures"]["height"]
    assert (width["min"], width["median"], width["max"], width["sum"]) == (32, 32, 40, 3 * 32 + 3 * 40)
    assert (height["min"], height["max"]) == (20, 32)
    captions = [len(f"a {name} thing") for name in ("red", "green", "blue", "white", "red", "green")]
    assert told["text_characters"]["sum"] == sum(captions) == told["supervised_characters"]
    assert (told["bad_records"], told["text_tokens"]) == ({}, None)


def test_what_is_not_supervised_and_broken_headers(
    kosmos_here: Command, corpora: dict[str, Path], tmp_path: Path
) -> None:
    told = json.loads(kosmos_here("data", "stats", corpora["interleaved_tar"], "--json", cwd=tmp_path).stdout)
    assert told["documents_by_pictures"] == {"0": 1, "2": 1}
    assert told["text_characters"]["sum"] - told["supervised_characters"] == len("See this:")
    told = json.loads(kosmos_here("data", "stats", corpora["laion"], "--json", cwd=tmp_path).stdout)
    assert told["pictures"] == {"forms": {"address": 1}, "width": None, "height": None, "bytes": None}


def test_tokens_are_those_of_the_tokenizer(kosmos_here: Command, tiny_files: Path, tmp_path: Path) -> None:
    tokenizer = Tokenizer.load(tiny_files / "tokenizer")
    arguments = ["--reader", "jsonl", "--tokenizer", tiny_files / "tokenizer", "--json"]
    finished = kosmos_here("data", "stats", tiny_files / "corpus.jsonl", *arguments, cwd=tmp_path)
    told = json.loads(finished.stdout)
    lines = (tiny_files / "corpus.jsonl").read_text().splitlines()
    counts = [len(tokenizer.encode(json.loads(line)["text"])) for line in lines]
    assert told["text_tokens"]["sum"] == told["estimated_text_tokens"] == sum(counts)
    assert (told["text_tokens"]["min"], told["text_tokens"]["max"]) == (min(counts), max(counts))


def test_a_sample_is_spread_evenly_and_the_same_each_time(kosmos_here: Command, tmp_path: Path) -> None:
    for shard in range(3):
        rows = [{"text": "x" * (shard * 100 + number + 1)} for number in range(100)]
        write_lines(tmp_path / f"{shard}.jsonl", rows)
    arguments = ["data", "stats", "*.jsonl", "--reader", "jsonl", "--sample", "30", "--json"]
    first, second = (kosmos_here(*arguments, cwd=tmp_path).stdout for _ in range(2))
    assert first == second
    told = json.loads(first)
    assert (told["records"], told["measured"], told["complete"]) == (300, 30, False)
    assert told["how"] == "spread evenly over 300"
    # Every tenth of 1, 2, ... 300.
    lengths = told["text_characters"]
    assert (lengths["min"], lengths["max"], lengths["mean"]) == (1, 291, 146.0)


def test_compressed_files_are_measured_at_their_beginnings(kosmos_here: Command, tmp_path: Path) -> None:
    for shard in range(2):
        write_lines(tmp_path / f"{shard}.jsonl.zst", [{"text": "x" * (number + 1)} for number in range(50)])
    arguments = ["data", "stats", ".", "--reader", "jsonl", "--json", "--sample"]
    part = json.loads(kosmos_here(*arguments, "20", cwd=tmp_path).stdout)
    assert (part["records"], part["measured"], part["complete"]) == (None, 20, False)
    assert part["how"].startswith("the first 10 of each file at most")
    assert part["text_characters"]["max"] == 10
    for sample in ("0", "100"):
        whole = json.loads(kosmos_here(*arguments, sample, cwd=tmp_path).stdout)
        assert (whole["records"], whole["measured"], whole["complete"]) == (100, 100, True)


def test_bad_records_are_counted_by_reason(kosmos_here: Command, tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_bytes(b'{"text": "good"}\n{"text"\n{"txt": "x"}\n[1]\n')
    told = json.loads(kosmos_here("data", "stats", "x.jsonl", "--reader", "jsonl", "--json", cwd=tmp_path).stdout)
    assert told["bad_records"] == {"bad json": 2, "no text field": 1}
    assert told["documents_by_pictures"] == {"0": 1}


def test_the_table_for_people(kosmos_here: Command, corpora: dict[str, Path], tmp_path: Path) -> None:
    finished = kosmos_here("data", "stats", corpora["pairs_tar"], cwd=tmp_path)
    lines = finished.stdout.splitlines()
    assert lines[1] == "1 file, 30.7 kB, 6 records"
    assert lines[2] == "measured on 6 records: all"
    assert lines[4].split() == ["min", "p5", "p25", "median", "p75", "p95", "max", "mean"]
    assert lines[6].split() == ["picture", "width", "32", "32", "32", "32", "40", "40", "40", "36.0"]
    assert "documents by pictures: 1: 6" in lines and "bad records: none" in lines


def test_a_recipe(kosmos_here: Command, tiny_files: Path) -> None:
    finished = kosmos_here("data", "stats", "recipe.yaml", "--steps", "10", "--json", cwd=tiny_files)
    assert (finished.returncode, finished.stderr) == (0, "")
    told = json.loads(finished.stdout)
    assert (told["steps"], told["of"]) == (10, 100)
    text, pairs = told["sources"]["text"], told["sources"]["pairs"]
    # The recipe: 4 and 2 rows of 48 slots a step.
    assert (text["rows"], text["slots"]) == (40, 1920)
    assert (pairs["rows"], pairs["slots"]) == (20, 960)
    for source in (text, pairs):
        assert source["tokens"] + source["padding"] == source["slots"]
        assert source["padding_fraction"] == pytest.approx(source["padding"] / source["slots"], abs=1e-6)
    assert text["images"] == 0 and pairs["images"] > 20
    (corpus,) = text["corpora"]
    assert (corpus["name"], corpus["records"]) == ("corpus.jsonl", 200)
    assert corpus["taken"] == text["records"] > 0
    assert corpus["epochs"] == pytest.approx(corpus["taken"] / 200)


def test_weights_and_what_each_corpus_had(kosmos_here: Command, tiny_files: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_corpus(tmp_path / f"{name}.jsonl", 100)
    recipe = (tiny_files / "recipe.yaml").read_text()
    recipe = recipe.replace("tokenizer: tokenizer", f"tokenizer: {tiny_files}/tokenizer")
    recipe = recipe.replace("pairs.tar", f"{tiny_files}/pairs.tar").replace(
        "{reader: jsonl, path: corpus.jsonl}",
        "{reader: jsonl, path: a.jsonl, weight: 3}, {reader: jsonl, path: b.jsonl, weight: 1}",
    )
    (tmp_path / "recipe.yaml").write_text(recipe)
    finished = kosmos_here("data", "stats", "recipe.yaml", "--steps", "50", "--json", cwd=tmp_path)
    a, b = json.loads(finished.stdout)["sources"]["text"]["corpora"]
    assert (a["weight"], b["weight"]) == (0.75, 0.25)
    assert a["share"] == pytest.approx(0.75, abs=0.01) and a["share"] + b["share"] == pytest.approx(1)
    assert a["epochs"] == pytest.approx(3 * b["epochs"], rel=0.05)


def test_no_more_steps_than_the_recipe_has(kosmos_here: Command, tiny_files: Path, tmp_path: Path) -> None:
    recipe = (tiny_files / "recipe.yaml").read_text().replace("steps: 100\n", "steps: 10\n")
    for name in ("corpus.jsonl", "pairs.tar", "tokenizer"):
        (tmp_path / name).symlink_to(tiny_files / name)
    (tmp_path / "recipe.yaml").write_text(recipe)
    finished = kosmos_here("data", "stats", "recipe.yaml", cwd=tmp_path)
    assert finished.stdout.splitlines()[0] == "recipe.yaml: the first 10 of 10 steps; 288 slots a step"


def test_a_recipe_for_people(kosmos_here: Command, tiny_files: Path) -> None:
    finished = kosmos_here("data", "stats", "recipe.yaml", "--steps", "10", cwd=tiny_files)
    assert finished.returncode == 0
    lines = finished.stdout.splitlines()
    assert lines[0] == "recipe.yaml: the first 10 of 100 steps; 288 slots a step"
    text = next(line.split() for line in lines if re.match(r"text +4 ", line))
    assert text[1:4] == ["4", "192", "66.7"]
    assert any(re.match(r"pairs +pairs.tar +100.00 +100.00 +4 ", line) for line in lines)
    assert lines[-1].startswith("pairs: ") and lines[-1].endswith(" records")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["recipe.yaml", "--sample", "5"], 2, "--tokenizer, --field and --sample are for a corpus; a recipe names"),
        (["corpus.jsonl", "--steps", "5"], 2, "--steps is for a recipe; a corpus takes --sample"),
        (["missing.yaml"], 2, "missing.yaml: no such file"),
        (["corpus.jsonl", "--tokenizer", "nowhere"], 3, "nowhere"),
        (["missing", "--reader", "pairs_tar"], 3, "missing: no such file or folder"),
    ],
)
def test_errors_of_one_line(
    kosmos_here: Command, tiny_files: Path, arguments: list[str], code: int, message: str
) -> None:
    finished = kosmos_here("data", "stats", *arguments, cwd=tiny_files)
    assert finished.returncode == code
    assert one_line(finished).startswith(message)


def test_a_recipe_with_too_many_bad_records(kosmos_here: Command, tiny_files: Path, tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs.tar", broken=1)
    write_corpus(tmp_path / "corpus.jsonl", 20)
    with (tmp_path / "corpus.jsonl").open("a") as out:
        out.write("broken\n" * 30)
    recipe = (
        (tiny_files / "recipe.yaml").read_text().replace("tokenizer: tokenizer", f"tokenizer: {tiny_files}/tokenizer")
    )
    (tmp_path / "recipe.yaml").write_text(recipe)
    finished = kosmos_here("data", "stats", "recipe.yaml", cwd=tmp_path)
    assert finished.returncode == 3
    assert "data.max_bad_fraction" in one_line(finished)
