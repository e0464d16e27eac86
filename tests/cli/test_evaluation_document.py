"""The commands of docs/evaluation.md, run as they stand on small made-up datasets and tiny random models."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from kosmos.cli.main import main
from kosmos.evaluation.tasks.table1 import TABLE1
from tests.cli.test_documents import REPOSITORY, blocks, kosmos_commands
from tests.evaluation.small_model import save_small, write_datasets

DOCUMENT = REPOSITORY / "docs" / "evaluation.md"


def test_the_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    model = save_small(tmp_path)
    for name in ("kosmos", "llm"):
        shutil.copytree(model, tmp_path / "runs" / name)
    # Fewer datasets than there are: every mode, picture and text, and those that are named.
    wanted = ["boolq", "cb", "winograd", "rendered_sst2", "relative_size", "coco_caption", "vizwiz", "websrc", "cub"]
    write_datasets(tmp_path / "eval-data", *wanted, "imagenet")
    monkeypatch.chdir(tmp_path)
    shown = kosmos_commands(DOCUMENT)
    assert [words[1] if words[1].islower() and "/" not in words[1] else "run" for words in shown] == [
        *["list", "list", "iq"],
        *["run"] * 6,
        *["measure", "report"],
        *["run", "run", "compare", "tables"],
    ]
    said = ""
    for arguments in shown:
        runs = "--tasks" in arguments
        assert main([*arguments, *(["--available", "--quiet"] if runs else [])]) == 0, capsys.readouterr().err
        said = capsys.readouterr().out
    assert "Table 13: Language tasks" in said and "Table 9: Chain of thought" in said
    cells = json.loads((tmp_path / "runs" / "kosmos" / "eval" / "metrics.json").read_text())["cells"]
    assert {"boolq", "boolq-k4-s1", "iq50", "rendered_sst2-chain_of_thought", "imagenet-names"} <= set(cells)
    assert (tmp_path / "runs" / "kosmos" / "eval" / "report.html").is_file()


def test_the_format_of_the_iq_test_is_the_one_that_is_read() -> None:
    from kosmos.evaluation.tasks.iq50 import FORMAT

    assert f'"format": "{FORMAT}"' in DOCUMENT.read_text(encoding="utf-8")


def test_commands_that_want_gpus_or_a_network_parse() -> None:
    from kosmos.cli.main import load_verb, verb_parser

    parser, module = verb_parser("eval"), load_verb("eval")
    lines = [line for line in "".join(blocks(DOCUMENT, "bash")).splitlines() if "kosmos eval " in line]
    shown = [re.sub(r"^.*?kosmos eval ", "", line.partition("#")[0]).split() for line in lines]
    assert len(shown) == 4
    for words in shown:
        if words[0] in module.action_modules() or "/" in words[0]:
            parser.parse_args(module.keep_order(parser, words))


def test_every_dataset_of_the_table_has_a_figure_of_its_size() -> None:
    """What the document counts: 21 datasets."""
    assert len(TABLE1) == 21 and "21 datasets" in DOCUMENT.read_text(encoding="utf-8")
