"""The tutorials, run as they stand on small stand-ins; budgets that are made smaller are named in each test."""

from __future__ import annotations

import gzip
import json
import shutil
import socket
from pathlib import Path

import pytest

from tests.cli.data.corpora import write_lines
from tests.cli.test_documents import need_packages
from tests.cli.tiny_run import png
from tests.data.web.site import image, paragraphs, picture, prose, warc_record, write
from tests.documents.running import run_document
from tests.evaluation.small_model import save_small, write_datasets


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory of the commands."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # the recipes leave the number of threads open
    return tmp_path


def test_own_pictures(here: Path) -> None:
    need_packages()
    (here / "picture.png").write_bytes(png((200, 30, 30), 60))
    smaller = {
        "--records 9000": "--records 60",
        "--vocab-size 600": "--vocab-size 60",
        "vocab_size: 607": "vocab_size: 67",
        "steps: 400": "steps: 3",
        "batch_size: 128": "batch_size: 16",
        "warmup_steps: 50": "warmup_steps: 1",
        "warmup_steps: 20": "warmup_steps: 1",
        "every: 200": "every: 1",
        "steps: 800": "steps: 2",
    }
    said = run_document("docs/tutorials/own_pictures.md", here, smaller)
    (looked,) = [text for where, text in said.items() if where.startswith("docs/")]
    test = len(list((here / "photos-test").glob("*.png")))
    assert looked.splitlines()[0].endswith(f" of {test} right") and len(looked.splitlines()) == 6
    metrics = [json.loads(line) for line in (here / "runs" / "mine" / "metrics.jsonl").read_text().splitlines()]
    assert all(line["validation"]["pairs"]["loss"] > 0 for line in metrics) and len(metrics) == 2
    assert said["kosmos generate runs/mine -i picture.png"].endswith("\n")


def need_web() -> None:
    for package in ("datatrove", "trafilatura", "resiliparse"):
        pytest.importorskip(package)


def write_site(folder: Path, pages: int = 4) -> None:
    for number in range(pages):
        names = [f"{number}-{place}.png" for place in range(2)]
        for place, name in enumerate(names):
            write(folder, name, picture(10 * number + place))
        write(folder, f"{number}.html", paragraphs(number, *(image(name) for name in names)))


def test_web_pages(here: Path) -> None:
    need_web()
    write_site(here / "saved-site")
    pages = [warc_record(f"http://example.com/{n}.html", paragraphs(90 + n).encode()) for n in range(2)]
    write(here, "crawl.warc.gz", b"".join(pages))
    (here / "cc").mkdir()
    lines = "".join(json.dumps({"text": prose(number)}) + "\n" for number in (20, 21, 20))
    (here / "cc" / "0.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    write_lines(here / "benchmark.jsonl", [{"text": prose(50)}])
    write(here, "eval/items.json", json.dumps({"text": " ".join(prose(21).split()[:30])}))
    said = run_document("docs/web.md", here, {"--workers 16": "--workers 1"})
    kept = ["0 of 2 pages kept", "4 of 4 pages kept, 8 of 8 pictures", "2 of 3 lines kept", "1 of 2 lines kept"]
    assert [line for text, line in zip(said.values(), kept, strict=True) if line not in text] == []


def test_web_corpus(here: Path) -> None:
    need_web()
    write_site(here / "saved-site")
    write_lines(here / "corpus.jsonl", [{"text": prose(number)} for number in (20, 21, 22, 20)])
    said = run_document(
        "docs/tutorials/web_corpus.md",
        here,
        {"--vocab-size 200": "--vocab-size 80", "vocab_size: 207": "vocab_size: 87"},
    )
    assert "4 of 4 pages kept" in said["kosmos data pages saved-site documents --against benchmark.jsonl"]
    assert "3 of 4 lines kept" in said["kosmos data dedup corpus.jsonl corpus-once --workers 1"]
    assert (here / "runs" / "web" / "checkpoints" / "step-4").is_dir() and (here / "pages.png").is_file()


def test_many_gpus(here: Path) -> None:
    need_packages()
    said = run_document("docs/tutorials/many_gpus.md", here, {"--records 200": "--records 60"})
    assert "64" in said["kosmos train kosmos-1 --dry-run --hardware h100 --ranks 64"]
    assert "all is well" in said["kosmos doctor runs/rehearsal"]


def test_table1(here: Path) -> None:
    shutil.copytree(save_small(here), here / "runs" / "kosmos")
    write_datasets(here / "eval-data", "boolq", "coco_caption", "cb")
    said = run_document("docs/tutorials/table1.md", here)
    assert "report.html" in said["kosmos eval report runs/kosmos/eval"]
    cells = json.loads((here / "runs" / "kosmos" / "eval" / "metrics.json").read_text())["cells"]
    assert {"boolq", "boolq-k1", "boolq-k4", "iq50", "coco_caption"} <= set(cells)


def test_serving(tiny_run: Path, here: Path) -> None:
    for package in ("fastapi", "uvicorn", "openai"):
        pytest.importorskip(package)
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    shutil.copytree(tiny_run, here / "runs" / "demo")
    (here / "cat.png").write_bytes(png((200, 30, 30)))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    said = run_document("docs/tutorials/serve.md", here, {"8000": str(port)})
    models, text, scores = (json.loads(out) for command, out in said.items() if "/v1/" in command)
    assert models["data"][0]["id"] == "demo" and text["usage"]["completion_tokens"] <= 8
    assert scores["best"] in ("an animal", "a tool") and len(scores["results"]) == 2
    chat, completion = (out for where, out in said.items() if where.startswith("docs/"))
    assert chat.splitlines()[0].split()[-1].isdigit() and completion
