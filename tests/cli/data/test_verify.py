"""`kosmos data verify` as a user calls it."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.data.corpora import PAIRS, write_lines, write_pairs
from tests.cli.process import Command, environment, one_line


@pytest.mark.parametrize(
    "reader",
    ["jsonl", "jsonl.gz", "parquet", "text", "text_blocks", "pairs_parquet", "interleaved_tar", "wet", "obelics"],
)
def test_a_whole_corpus(kosmos_here: Command, corpora: dict[str, Path], reader: str, tmp_path: Path) -> None:
    finished = kosmos_here("data", "verify", corpora[reader], "--reader", reader.partition(".")[0], cwd=tmp_path)
    assert (finished.returncode, finished.stderr) == (0, "")
    (line,) = finished.stdout.splitlines()
    assert re.search(r": [1-9]\d* records?, \d pictures?.*, 0 bad; [\d.]+ s$", line), line


def test_json(kosmos_here: Command, corpora: dict[str, Path], tmp_path: Path) -> None:
    told = json.loads(kosmos_here("data", "verify", corpora["pairs_tar"], "--json", cwd=tmp_path).stdout)
    assert told.pop("seconds") >= 0
    assert told == {
        "path": str(corpora["pairs_tar"]),
        "reader": "pairs_tar",
        "guessed_by": "a picture member (.png) of its own",
        "records": PAIRS,
        "pictures": PAIRS,
        "addresses": 0,
        "bad_records": {},
        "bad_files": [],
    }


def test_broken_pictures_are_found_named_and_judged(kosmos_here: Command, tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs.tar", broken=1)
    arguments = ["data", "verify", "pairs.tar", "--reader", "pairs_tar", "--log", "bad.jsonl"]
    finished = kosmos_here(*arguments, cwd=tmp_path)
    assert finished.returncode == 3
    assert f"{PAIRS} records, {PAIRS} pictures, 1 bad (broken picture 1)" in finished.stdout
    expected = f"pairs.tar: 1 of {PAIRS} records are bad, more than --max-bad-fraction 0 allows; bad.jsonl names each"
    assert one_line(finished) == expected
    (problem,) = [json.loads(line) for line in (tmp_path / "bad.jsonl").read_text().splitlines()]
    assert (problem["where"], problem["why"]) == ("pairs.tar record 1", "broken picture")
    assert "damaged or cut short" in problem["detail"]
    assert kosmos_here(*arguments, "--max-bad-fraction", "0.2", cwd=tmp_path).returncode == 0
    assert kosmos_here(*arguments, "--max-bad-fraction", "0.1", cwd=tmp_path).returncode == 3


def test_a_tar_cut_short_within_a_member_and_between_two(kosmos_here: Command, tmp_path: Path) -> None:
    whole = write_pairs(tmp_path / "whole.tar").read_bytes()
    (tmp_path / "within.tar").write_bytes(whole[:560])
    (tmp_path / "between.tar").write_bytes(whole[: 6 * 512])
    finished = kosmos_here("data", "verify", "within.tar", "--reader", "pairs_tar", cwd=tmp_path)
    assert finished.returncode == 3
    assert "1 record, 0 pictures, 1 bad (tar cut short 1), 1 damaged file" in finished.stdout
    finished = kosmos_here("data", "verify", "between.tar", "--reader", "pairs_tar", cwd=tmp_path)
    assert finished.returncode == 3
    assert "1 record, 1 picture, 0 bad, 1 damaged file" in finished.stdout
    assert one_line(finished).startswith("between.tar: damaged file: the tar has no end mark, so it may be cut short")


def test_changed_and_missing_files_of_a_manifest(kosmos_here: Command, tmp_path: Path) -> None:
    files = [write_lines(tmp_path / f"{number}.jsonl", [{"text": f"text {number}"}] * 3) for number in range(3)]
    lines = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files]
    (tmp_path / "MANIFEST.sha256").write_text("".join(lines))
    arguments = ["data", "verify", ".", "--reader", "jsonl"]
    assert kosmos_here(*arguments, cwd=tmp_path).returncode == 0
    files[1].write_text(files[1].read_text().replace("text 1", "next 1"))
    files[2].unlink()
    finished = kosmos_here(*arguments, "--json", cwd=tmp_path)
    assert finished.returncode == 3
    bad = json.loads(finished.stdout)["bad_files"]
    assert [(Path(problem["where"]).name, problem["why"]) for problem in bad] == [
        ("1.jsonl", "damaged file"),
        ("2.jsonl", "missing file"),
    ]
    assert one_line(finished).endswith("; --log FILE names each")


def test_the_manifest_of_a_folder_above(kosmos_here: Command, tmp_path: Path) -> None:
    (tmp_path / "text").mkdir()
    write_lines(tmp_path / "text" / "0.jsonl", [{"text": "x"}])
    (tmp_path / "MANIFEST.sha256").write_text(f"{'0' * 64}  text/0.jsonl\n")
    finished = kosmos_here("data", "verify", "text", "--reader", "jsonl", cwd=tmp_path)
    assert finished.returncode == 3
    assert re.search(
        r"text/0\.jsonl: damaged file: its sha256 is not the one in .*MANIFEST\.sha256$", one_line(finished)
    )


def test_the_counts_of_img2dataset(kosmos_here: Command, tmp_path: Path) -> None:
    write_pairs(tmp_path / "00000.tar")
    (tmp_path / "00000_stats.json").write_text(json.dumps({"count": 10, "successes": PAIRS}))
    assert kosmos_here("data", "verify", ".", "--reader", "pairs_tar", cwd=tmp_path).returncode == 0
    (tmp_path / "00000_stats.json").write_text(json.dumps({"count": 10, "successes": 10}))
    finished = kosmos_here("data", "verify", ".", "--reader", "pairs_tar", cwd=tmp_path)
    assert finished.returncode == 3
    assert one_line(finished).endswith(f"damaged file: {PAIRS} records, but 00000_stats.json says 10")


def test_an_index_of_another_content(kosmos_here: Command, tmp_path: Path) -> None:
    file = write_lines(tmp_path / "x.jsonl", [{"text": "one"}, {"text": "another"}])
    assert kosmos_here("data", "prepare", "x.jsonl", cwd=tmp_path).returncode == 0
    arguments = ["data", "verify", "x.jsonl", "--reader", "jsonl"]
    assert kosmos_here(*arguments, cwd=tmp_path).returncode == 0
    # Other content of the same size and time, as some copying programs leave it.
    times = file.stat()
    file.write_text('{"text": "another"}\n{"text": "one"}\n')
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    finished = kosmos_here(*arguments, cwd=tmp_path)
    assert finished.returncode == 3
    assert one_line(finished).startswith("x.jsonl: wrong index: a new scan finds other records")
    # Its own mark tells a changed file apart, and the index is made again.
    os.utime(file)
    assert kosmos_here(*arguments, cwd=tmp_path).returncode == 0


def test_processes_find_the_same_in_the_same_order(kosmos_here: Command, kosmos: Command, tmp_path: Path) -> None:
    for shard in range(3):
        rows = "".join(
            json.dumps({"text": f"{shard} {number}"} if number % 97 else {"txt": "?"}) + "\n" for number in range(600)
        )
        (tmp_path / f"{shard}.jsonl").write_text(rows)
    arguments = ["data", "verify", ".", "--reader", "jsonl", "--json", "--max-bad-fraction", "1"]
    alone = kosmos_here(*arguments, "--log", "alone.jsonl", cwd=tmp_path)
    # The log is a file of the same ending, in the same folder, and yet none of the corpus.
    (tmp_path / "alone.jsonl").rename(tmp_path / "alone.log")
    shared = kosmos(*arguments, "--log", "shared.log", "--workers", "2", cwd=tmp_path)
    assert (alone.returncode, shared.returncode) == (0, 0), shared.stderr
    one, two = json.loads(alone.stdout), json.loads(shared.stdout)
    assert one["records"] == two["records"] == 1800
    assert one["bad_records"] == two["bad_records"] == {"no text field": 21}
    assert (tmp_path / "alone.log").read_text() == (tmp_path / "shared.log").read_text()
    assert len((tmp_path / "shared.log").read_text().splitlines()) == 21


@pytest.mark.parametrize(
    ("victim", "number", "code", "message"),
    [
        ("worker", signal.SIGKILL, 3, "x.jsonl.gz: a process that read it died; --workers 0 shows why"),
        ("command", signal.SIGTERM, 4, "interrupted"),
    ],
)
def test_a_process_that_is_killed(tmp_path: Path, victim: str, number: signal.Signals, code: int, message: str) -> None:
    """Neither a dead worker nor one that would read for minutes is waited for."""
    line = json.dumps({"text": "word " * 200}).encode() + b"\n"
    (tmp_path / "x.jsonl.gz").write_bytes(gzip.compress(line * 20_000, compresslevel=1))
    command = [sys.executable, "-m", "kosmos", "data", "verify", "x.jsonl.gz", "--reader", "jsonl", "--workers", "1"]
    with subprocess.Popen(command, cwd=tmp_path, text=True, stdout=-1, stderr=-1, env=environment()) as running:
        worker = child_of(running.pid)
        wait_until_open(worker, "x.jsonl.gz")  # before that it may be told to end in the midst of Python's own start
        os.kill(worker if victim == "worker" else running.pid, number)
        out, err = running.communicate(timeout=60)
    assert (running.returncode, out, err) == (code, "", f"kosmos: error: {message}\n")


def wait_until_open(pid: int, name: str) -> None:
    """Wait for a process to have a file of this name open."""
    for _ in range(3000):
        for link in Path(f"/proc/{pid}/fd").glob("*"):
            with contextlib.suppress(OSError):
                if link.readlink().name == name:
                    return
        time.sleep(0.01)
    raise AssertionError(f"{name} was not opened")


def child_of(pid: int) -> int:
    """The process that `multiprocessing` has started for a task, as soon as there is one."""
    for _ in range(3000):
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                if parent == pid and b"spawn_main" in (folder / "cmdline").read_bytes():
                    return int(folder.name)
        time.sleep(0.01)
    raise AssertionError("no process was started")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["missing", "--reader", "jsonl"], 3, "missing: no such file or folder"),
        (["x.jsonl", "--reader", "nothing"], 2, "no reader 'nothing'"),
        ([".", "--reader", "jsonl", "--log", "x.jsonl"], 2, "x.jsonl: one of the files to verify; choose another"),
        (["x.jsonl", "--max-bad-fraction", "3"], 2, "argument --max-bad-fraction: 3: must be between 0 and 1"),
        (["x.jsonl", "--log", "no/such/folder.jsonl"], 5, "no/such/folder.jsonl: cannot write: no such folder"),
    ],
)
def test_errors_of_one_line(
    kosmos_here: Command, tmp_path: Path, arguments: list[str], code: int, message: str
) -> None:
    write_lines(tmp_path / "x.jsonl", [{"text": "x"}])
    finished = kosmos_here("data", "verify", *arguments, cwd=tmp_path)
    assert finished.returncode == code
    assert one_line(finished).startswith(message)
