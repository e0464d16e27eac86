"""README and the guides, run as they stand; every example of a help text parses. tests/documents/ has the rest."""

from __future__ import annotations

import dataclasses
import io
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from kosmos.cli.chat_line import COMMANDS
from kosmos.cli.main import VERBS, load_verb, main, verb_parser
from kosmos.config_files import recipe_names
from kosmos.data.picturebook.packages import PACKAGES, cache_directory
from kosmos.data.picturebook.worlds.dialogue import SECOND
from kosmos.data.picturebook.worlds.webpages import KEYS
from kosmos.inference.generation import Decoding
from tests.cli.data.corpora import write_lines, write_wet
from tests.cli.tiny_run import COLOURS, png
from tests.documents import reading
from tests.documents.running import check_console

REPOSITORY = Path(__file__).resolve().parents[2]


def blocks(document: Path, language: str) -> list[str]:
    """The fenced blocks of a language."""
    return re.findall(
        rf"^```{language}\n(.*?)^```$", document.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE
    )


def commands(document: Path) -> list[list[str]]:
    """The commands of the `sh` blocks, in order, as words; comments are dropped."""
    lines = "".join(blocks(document, "sh")).replace("\\\n", " ").splitlines()
    return [words for words in (shlex.split(line, comments=True) for line in lines) if words]


def kosmos_commands(document: Path) -> list[list[str]]:
    """What follows the word `kosmos` in those commands that call it."""
    return [words[1:] for words in commands(document) if Path(words[0]).name == "kosmos"]


def need_packages() -> None:
    missing = [package.spec for package in PACKAGES if not (cache_directory() / "packages" / package.filename).exists()]
    if missing:
        pytest.skip(f"the picture book is not in the cache ({missing[0]} is missing); `kosmos demo` fetches it")


def test_the_readme(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Run in a folder where `runs/demo` is a small finished run; commands that need its report come after one."""
    shutil.copytree(tiny_run, tmp_path / "runs" / "demo")
    (tmp_path / "cat.png").write_bytes(png((200, 30, 30)))
    (tmp_path / "runs" / "demo" / "report.json").write_text(MINIMAL_REPORT)
    monkeypatch.chdir(tmp_path)
    shown = kosmos_commands(REPOSITORY / "README.md")
    assert len(shown) >= 4
    said: dict[str, str] = {}
    for arguments in shown:
        assert main(arguments) == 0, arguments
        said.setdefault(arguments[0], capsys.readouterr().out)
    (program,) = blocks(REPOSITORY / "README.md", "python")
    exec(compile(program, "README.md", "exec"), {})
    caption, _, generation = capsys.readouterr().out.splitlines()
    assert caption == said["generate"].rstrip("\n")
    assert generation  # 16 tokens of the same
    assert caption.startswith(generation)


def test_the_steps_of_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need_packages()
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # the recipe leaves the number of threads open
    document = REPOSITORY / "docs" / "training.md"
    recipe, vision = blocks(document, "yaml")
    (tmp_path / "recipe.yaml").write_text(recipe, encoding="utf-8")
    (tmp_path / "vision.yaml").write_text(vision, encoding="utf-8")
    (tmp_path / "cat.png").write_bytes(png((200, 30, 30)))
    (tmp_path / "photos").mkdir()
    for name, colour in COLOURS.items():
        (tmp_path / "photos" / f"{name}.png").write_bytes(png(colour))
        (tmp_path / "photos" / f"{name}.txt").write_text(f"a {name} square")
    monkeypatch.chdir(tmp_path)
    shown = kosmos_commands(document)
    assert [words[0] for words in shown] == [
        *["data", "data", "tokenizer"],
        *["train"] * 4,
        *["presets", "train"],
        *["generate"] * 2,
        *["evaluate", "report", "evaluate"],
        *["train", "doctor", "doctor", "evaluate"],
        *["data", "data", "train"],
        *["train-vision", "train"],
    ]
    for arguments in shown:
        assert main(arguments) == 0, arguments
    for block in reading.blocks(document):
        if block.language == "console":
            check_console(block)
    assert (tmp_path / "runs" / "first" / "evaluation-partial" / "report.md").is_file()
    scores = (tmp_path / "runs" / "first" / "evaluations" / "scores.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in scores] == [10, 20]
    metrics = [json.loads(line) for line in (tmp_path / "runs" / "first" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in metrics if "validation" in line] == [10, 20]
    tower, step = tmp_path / "tower", tmp_path / "runs" / "third" / "checkpoints" / "step-10"
    pretrained, learned = (load_file(folder / "model.safetensors") for folder in (tower, step / "weights"))
    # Only the last layer has learned on.
    moved = {name for name, t in pretrained.items() if not torch.equal(learned[f"encoders.image.vision.{name}"], t)}
    assert moved and all(name.startswith(("last_layer.", "post_layernorm.")) for name in moved)


def test_every_question_of_training_is_in_the_list_of_prompts() -> None:
    worlds = REPOSITORY / "kosmos" / "data" / "picturebook" / "worlds"
    asked = re.findall(r'^QUESTION = "(.*)"$', "".join(file.read_text() for file in worlds.glob("*.py")), re.MULTILINE)
    assert len(asked) == 5
    listed = (REPOSITORY / "docs" / "training.md").read_text().split("## What the demo's model can be asked")[1]
    for question in [*asked, *SECOND.values(), "An image of", *KEYS]:
        assert f"`{question}`" in listed or question == "price", question


def test_the_data(
    tiny_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Run in a folder that holds small files of the names that are shown."""
    for name in ("wiki", "pile", "pairs"):
        (tmp_path / name).mkdir()
    for name, place in (("recipe.yaml", ""), ("corpus.jsonl", ""), ("corpus.jsonl", "wiki"), ("pairs.tar", "pairs")):
        shutil.copy(tiny_files / name, tmp_path / place)
    shutil.copy(tiny_files / "pairs.tar", tmp_path)
    shutil.copytree(tiny_files / "tokenizer", tmp_path / "tokenizer")
    write_wet(tmp_path / "crawl.warc.wet.gz")
    sets = [{"text": f"of {name}", "meta": {"pile_set_name": name}} for name in ("Github", "Wikipedia (en)")]
    write_lines(tmp_path / "pile" / "00.jsonl.zst", sets)
    (tmp_path / "cc12m.tsv").write_text("http://example.com/cat.jpg\ta cat\n")
    monkeypatch.chdir(tmp_path)
    shown = kosmos_commands(REPOSITORY / "docs" / "data.md")
    assert [words[1] for words in shown] == ["prepare"] * 3 + ["inspect"] * 2 + ["stats"] * 3 + ["verify"]
    for arguments in shown:
        assert main(arguments) == 0, (arguments, capsys.readouterr().err)
    assert (tmp_path / "crawl" / "crawl-00000.jsonl").is_file() and (tmp_path / "pairs.png").is_file()
    assert "Github" not in (tmp_path / "pile-plain" / "00-00000.jsonl").read_text()
    assert (tmp_path / "bad.jsonl").read_text() == ""


def test_the_inference(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Run in a folder where `runs/demo` is a small finished run; the lines shown are those of the files."""
    document = REPOSITORY / "docs" / "inference.md"
    shutil.copytree(tiny_run, tmp_path / "runs" / "demo")
    for name, colour in (("cat", "red"), ("dog", "blue")):
        (tmp_path / f"{name}.png").write_bytes(png(COLOURS[colour]))
    (tmp_path / "names.txt").write_text("cat\nhot dog\n")
    prompt, question = blocks(document, "json")[0].splitlines()
    (tmp_path / "prompts.jsonl").write_text(f"{prompt}\n")
    (tmp_path / "questions.jsonl").write_text(f"{question}\n")
    monkeypatch.chdir(tmp_path)
    shown = kosmos_commands(document)
    verbs = ["generate"] * 5 + ["score", "chat"] + ["generate"] * 2 + ["score", "bench"]
    assert [words[0] for words in shown] == verbs
    talk = "/image cat.png\nwhat is it?\n/set temperature 0.8\n/retry\n/save chat.json\n/undo\n/reset\n/help\n/quit\n"
    for arguments in shown:
        monkeypatch.setattr(sys, "stdin", io.StringIO(talk))
        assert main(arguments) == 0, (arguments, capsys.readouterr().err)
    answer = json.loads((tmp_path / "answers.jsonl").read_text())
    assert list(answer) == ["id", "text", "token_ids", "log_probs", "finish_reason", "score"]
    assert list(json.loads((tmp_path / "scores.jsonl").read_text())) == ["id", "best", "sums", "num_tokens"]
    assert len(json.loads((tmp_path / "chat.json").read_text())["turns"]) == 2
    names: dict[str, object] = {}
    for program in blocks(document, "python"):
        exec(compile(program, document.name, "exec"), names)
    text = document.read_text(encoding="utf-8")
    assert all(f"`{field.name}`" in text for field in dataclasses.fields(Decoding))
    assert all(f"/{command}" in text for command in COMMANDS)


def test_the_scale(capsys: pytest.CaptureFixture[str]) -> None:
    """Its `bash` blocks want GPUs or minutes: test_programmes.py and test_slurm.py run what can be run of them."""
    document = REPOSITORY / "docs" / "scale.md"
    shown = kosmos_commands(document)
    assert [words[0] for words in shown] == ["recipes", "train", "train"]
    for arguments in shown:
        assert main(arguments) == 0, arguments
    said = capsys.readouterr().out
    assert "1,200,128 tokens" in said and "294,912 tokens" in said
    text = document.read_text(encoding="utf-8")
    assert all(f"`{name}`" in text for name in recipe_names())


def test_every_reader_is_in_the_table_of_the_data() -> None:
    table = re.findall(r"^\| (`.*?) \|", (REPOSITORY / "docs" / "data.md").read_text(), flags=re.MULTILINE)
    told = set(re.findall(r"`(.*?)`", " ".join(table)))
    # Other tests of this process may have registered readers of their own.
    own = subprocess.run(
        [sys.executable, "-c", "from kosmos.data.readers import reader_names; print(*reader_names())"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert told == {*own.stdout.split(), "picturebook.<world>"}


@pytest.mark.parametrize("verb", VERBS)
def test_every_example_of_the_help_parses(verb: str) -> None:
    parser = verb_parser(verb)
    examples = re.findall(rf"^  kosmos {verb}\b(.*)$", parser.format_help(), flags=re.MULTILINE)
    assert examples
    for example in examples:
        words = shlex.split(example.partition(" < ")[0])
        module = load_verb(verb)
        parsed, unknown = parser.parse_known_args(
            module.keep_order(parser, words) if hasattr(module, "keep_order") else words
        )
        assert verb.startswith(("train", "doctor")) or unknown == []
        assert parsed is not None


MINIMAL_REPORT = """{"schema_version": 1, "kind": "kosmos-report", "abilities": [], "warnings": [],
"run": {"parameters": {"total": 1}, "steps": 1, "precision": "fp32", "seed": 1}}"""
