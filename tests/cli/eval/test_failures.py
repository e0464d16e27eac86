"""What goes wrong while evaluating: a clear line, the right exit code, and nothing that was finished is lost."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kosmos.evaluation.running.response_log import read_responses
from tests.cli.process import Command, environment, one_line, snapshot
from tests.evaluation.small_model import save_small, write_datasets

ROOT = Path(__file__).parents[3]
_NAMESPACES = shutil.which("unshare") is not None and subprocess.run(
    ["unshare", "--user", "--map-root-user", "--mount", "true"], capture_output=True
).returncode == 0  # fmt: skip
TASKS = ("boolq", "rendered_sst2", "vizwiz")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with model/ and data/; not to be changed."""
    folder = tmp_path_factory.mktemp("evaluation")
    save_small(folder)
    write_datasets(folder / "data", *TASKS)
    return folder


@pytest.fixture
def folder(files: Path, tmp_path: Path) -> Path:
    shutil.copytree(files, tmp_path / "copy")
    return tmp_path / "copy"


def words(*options: str, tasks: tuple[str, ...] = TASKS) -> list[str]:
    return ["eval", "model", "--data", "data", "--tasks", ",".join(tasks), "--out", "out", "--quiet", *options]


def results(out: Path) -> dict[str, bytes]:
    found = snapshot(out / "samples")
    return {**found, "metrics.json": (out / "metrics.json").read_bytes()}


def first_picture(folder: Path) -> Path:
    return sorted((folder / "data" / "vizwiz" / "val").glob("*.jpg"))[0]


@pytest.mark.parametrize("damage", ["broken", "missing"])
def test_a_picture_that_cannot_be_read(damage: str, folder: Path, kosmos_here: Command) -> None:
    assert kosmos_here(*words(), cwd=folder).returncode == 0
    undisturbed = results(folder / "out")
    shutil.rmtree(folder / "out")
    picture = first_picture(folder)
    content = picture.read_bytes()
    if damage == "broken":
        picture.write_bytes(content[: len(content) // 2])
    else:
        picture.unlink()
    finished = kosmos_here(*words(), cwd=folder)
    assert finished.returncode == 3
    assert picture.name in one_line(finished) and "--skip-broken" in one_line(finished)
    # The other groups may have been asked before, and are there.
    kept = {name for name in read_responses(folder / "out" / "responses")}
    assert not [name for name in kept if name.startswith("vizwiz")]
    assert not (folder / "out" / "metrics.json").exists()

    skipped = kosmos_here(*words("--skip-broken"), cwd=folder)
    assert skipped.returncode == 0
    cell = json.loads((folder / "out" / "metrics.json").read_text())["cells"]["vizwiz"]
    assert (cell["n"], cell["n_broken"]) == (7, 1)
    assert "1 examples could not be read and are left out" in cell["warnings"]

    picture.write_bytes(content)
    assert kosmos_here(*words(), cwd=folder).returncode == 0
    assert results(folder / "out") == undisturbed


def test_a_missing_dataset_stops_before_the_first_question(folder: Path, kosmos_here: Command) -> None:
    shutil.rmtree(folder / "data" / "boolq")
    finished = kosmos_here(*words(), cwd=folder)
    assert finished.returncode == 3
    said = one_line(finished)
    assert "data/boolq: no such folder" in said and "kosmos eval prepare boolq" in said
    assert not (folder / "out").exists()


def test_a_device_that_is_not_there(folder: Path, kosmos_here: Command) -> None:
    finished = kosmos_here(*words("--device", "cuda:99"), cwd=folder)
    assert finished.returncode == 2
    assert one_line(finished).startswith("device cuda:99: this machine's torch finds no GPU")
    assert not (folder / "out").exists()


def test_empty_folders_are_not_available(folder: Path, kosmos_here: Command) -> None:
    """A download that failed leaves its folder behind."""
    (folder / "data" / "piqa").mkdir()
    (folder / "data" / "cb").mkdir()
    (folder / "data" / "cb" / ".CB.zip.part").write_bytes(b"PK")
    finished = kosmos_here(*words("--available", "--limit", "1", tasks=("cb", "piqa", "boolq")), cwd=folder)
    assert finished.returncode == 0, finished.stderr
    assert "not below data, left out: cb, piqa" in finished.stderr
    assert [path.name for path in (folder / "out" / "samples").iterdir()] == ["boolq.jsonl"]


def test_a_wrong_layout(folder: Path, kosmos_here: Command) -> None:
    train = folder / "data" / "boolq" / "train.jsonl"
    train.rename(train.with_name("boolq_train.jsonl"))
    finished = kosmos_here(*words("--shots", "1", tasks=("boolq",)), cwd=folder)
    assert finished.returncode == 3
    said = one_line(finished)
    assert "train.jsonl" in said and "there are boolq_train.jsonl, val.jsonl" in said
    assert "kosmos eval prepare boolq" in said


def test_a_record_without_its_key(folder: Path, kosmos_here: Command) -> None:
    file = folder / "data" / "boolq" / "val.jsonl"
    lines = file.read_text(encoding="utf-8").splitlines()
    file.write_text("\n".join([lines[0], lines[1].replace('"passage"', '"pasage"')]), encoding="utf-8")
    finished = kosmos_here(*words(tasks=("boolq",)), cwd=folder)
    assert finished.returncode == 3
    assert "val.jsonl, line 2: no 'passage' (did you mean 'pasage'?)" in one_line(finished)


def test_damaged_responses_are_named(folder: Path, kosmos_here: Command) -> None:
    assert kosmos_here(*words(tasks=("boolq",)), cwd=folder).returncode == 0
    (file,) = (folder / "out" / "responses").iterdir()
    content = bytearray(file.read_bytes())
    content[content.index(b'"answers"')] = 0
    file.write_bytes(content)
    finished = kosmos_here(*words(tasks=("boolq",)), cwd=folder)
    assert finished.returncode == 3
    assert "rank-0.jsonl:1: not a line of responses" in one_line(finished)


@pytest.mark.skipif(not _NAMESPACES, reason="no user namespaces here, and so no small disk")
def test_a_full_disk(folder: Path, kosmos_here: Command) -> None:
    """The results' folder is a file system of 24 kB; then it grows, and the same command goes on."""
    arguments = words("--shots", "0,1,2,4")
    assert kosmos_here(*arguments, cwd=folder).returncode == 0
    undisturbed = results(folder / "out")
    shutil.rmtree(folder / "out")
    (folder / "out").mkdir()
    script = """
        mount -t tmpfs -o size=24k none out
        "$@" 2> full.txt; echo $? > full.code
        cp -r out full
        mount -o remount,size=16m out
        "$@" 2> again.txt; echo $? > again.code
        cp -r out again
    """
    command = [sys.executable, "-m", "kosmos", *arguments]
    subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh", *command],
        cwd=folder,
        env={**environment(), "PYTHONPATH": str(ROOT)},
        check=True,
        timeout=120,
    )
    said = (folder / "full.txt").read_text()
    assert (folder / "full.code").read_text() == "5\n", said
    assert len(said.splitlines()) == 1 and "No space left on device" in said and "free some space" in said
    assert not (folder / "full" / "metrics.json").exists()
    kept = read_responses(folder / "full" / "responses")
    assert kept
    assert (folder / "again.code").read_text() == "0\n", (folder / "again.txt").read_text()
    assert results(folder / "again") == undisturbed
    # What was finished before the disk was full was not asked again.
    lines = b"".join(path.read_bytes() for path in (folder / "again" / "responses").iterdir()).splitlines()
    ends = [json.loads(line)["group"] for line in lines if b'"end": ' in line]
    assert len(ends) == len(set(ends)) and set(kept) < set(ends)
