"""`kosmos data prepare` as a user calls it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.data.corpora import PAIRS, WET_PAGES, write_lines, write_pairs, write_wet
from tests.cli.process import Command, one_line, snapshot


def texts_of(folder: Path) -> list[str]:
    """The texts of all shards in order."""
    lines = [line for file in sorted(folder.glob("*.jsonl")) for line in file.read_text().splitlines()]
    return [json.loads(line)["text"] for line in lines]


def test_wet_becomes_what_training_reads(kosmos_here: Command, tmp_path: Path) -> None:
    write_wet(tmp_path / "crawl.warc.wet.gz")
    finished = kosmos_here("data", "prepare", "crawl.warc.wet.gz", "crawl", cwd=tmp_path)
    assert (finished.returncode, finished.stderr) == (0, "")
    lines = finished.stdout.splitlines()
    assert lines[0] == "crawl.warc.wet.gz: wet (guessed): 1 file, 2 records"
    assert lines[1].startswith("crawl: 1 shard, ")
    assert lines[2] == "in a recipe: {reader: jsonl, path: crawl}"
    assert texts_of(tmp_path / "crawl") == list(WET_PAGES)
    assert kosmos_here("data", "verify", "crawl", "--reader", "jsonl", cwd=tmp_path).returncode == 0


def test_shards_of_a_size_and_finished_ones_stay(kosmos_here: Command, tmp_path: Path) -> None:
    for number in range(2):
        write_lines(tmp_path / f"part{number}.jsonl.zst", [{"text": f"{number}-{i} " + "x" * 900} for i in range(10)])
    arguments = ["data", "prepare", "*.jsonl.zst", "out", "--shard-bytes", "4K", "--json"]
    told = json.loads(kosmos_here(*arguments, cwd=tmp_path).stdout)
    assert (told["read_as"], told["inputs"], told["records"], told["inputs_done_before"]) == ("jsonl", 2, 20, 0)
    assert told["shards"] == 4 == len(list((tmp_path / "out").glob("*.jsonl")))
    assert [text.split()[0] for text in texts_of(tmp_path / "out")] == [f"{n}-{i}" for n in range(2) for i in range(10)]
    before = snapshot(tmp_path)
    again = json.loads(kosmos_here(*arguments, cwd=tmp_path).stdout)
    assert (again["records"], again["inputs_done_before"]) == (20, 2)
    assert snapshot(tmp_path) == before


def test_only_the_index(kosmos_here: Command, tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs.tar")
    finished = kosmos_here("data", "prepare", "pairs.tar", cwd=tmp_path)
    assert finished.returncode == 0
    assert finished.stdout.splitlines() == [
        f"pairs.tar: pairs_tar (guessed): 1 file, {PAIRS} records",
        "nothing to rewrite: the indices are there",
        "in a recipe: {reader: pairs_tar, path: pairs.tar}",
    ]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["pairs.tar", "pairs.tar.kosmos-index"]
    assert kosmos_here("data", "verify", "pairs.tar", cwd=tmp_path).returncode == 0


def test_sets_of_the_pile_are_left_out(kosmos_here: Command, tmp_path: Path) -> None:
    names = ["Github", "Wikipedia (en)", "PubMed Central", "Github"]
    rows = [{"text": f"from {name}", "meta": {"pile_set_name": name}} for name in names]
    write_lines(tmp_path / "00.jsonl.zst", rows)
    arguments = ["data", "prepare", "00.jsonl.zst", "out", "--exclude-sets", "GitHub", "PubMed Central"]
    finished = kosmos_here(*arguments, cwd=tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert "left out, of GitHub: 2" in finished.stdout and "left out, of PubMed Central: 1" in finished.stdout
    assert texts_of(tmp_path / "out") == ["from Wikipedia (en)"]


def test_bad_records_are_told(kosmos_here: Command, tmp_path: Path) -> None:
    whole = write_lines(tmp_path / "x.jsonl.gz", [{"text": f"text number {i}, {i * i}"} for i in range(500)])
    whole.write_bytes(whole.read_bytes()[:-30])
    finished = kosmos_here("data", "prepare", "x.jsonl.gz", "out", cwd=tmp_path)
    assert finished.returncode == 0
    assert "left out, compressed file cut short: 1" in finished.stdout
    assert 400 < len(texts_of(tmp_path / "out")) < 500


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["x.jsonl.gz"], 2, "x.jsonl.gz: these files must be rewritten: name a folder OUT"),
        (["x.jsonl.gz", "out", "--shard-bytes", "many"], 2, "argument --shard-bytes: 'many' is not a size (like 512M"),
        (["cc3m.tsv", "out"], 2, "cc3m.tsv: the pictures of 'cc3m' must be fetched first: run `kosmos data fetch"),
        (["none.jsonl.gz", "out", "--reader", "jsonl"], 3, "none.jsonl.gz: no such file or folder"),
    ],
)
def test_errors_of_one_line(
    kosmos_here: Command, tmp_path: Path, arguments: list[str], code: int, message: str
) -> None:
    write_lines(tmp_path / "x.jsonl.gz", [{"text": "x"}])
    (tmp_path / "cc3m.tsv").write_text("a cat\thttp://example.com/cat.jpg\n")
    finished = kosmos_here("data", "prepare", *arguments, cwd=tmp_path)
    assert finished.returncode == code
    assert one_line(finished).startswith(message)
    assert not (tmp_path / "out").exists()
