from __future__ import annotations

import json
import math
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kosmos.errors import DataError
from kosmos.evaluation.metrics import java_reference
from kosmos.evaluation.metrics.answered import Answered, set_metric
from kosmos.evaluation.metrics.java_reference import (
    java_ptb_tokenize,
    meteor_values,
    missing_for,
    reference_scores,
    spice_values,
)

SET = [
    Answered("1", "A man rides a horse.", ("A man riding a horse.", "Someone on a horse")),
    Answered("2", "a cat", ("A cat on a bed.",)),
]


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of empty parts, and a `java` that runs the Python program put at `program.py`."""
    for name in ("tokenizer/stanford-corenlp-3.4.1.jar", "meteor/meteor-1.5.jar", "spice/spice-1.0.jar"):
        (tmp_path / "parts" / name).parent.mkdir(parents=True)
        (tmp_path / "parts" / name).touch()
    (tmp_path / "parts" / "spice" / "lib").mkdir()
    for name in ("stanford-corenlp-3.6.0.jar", "stanford-corenlp-3.6.0-models.jar"):
        (tmp_path / "parts" / "spice" / "lib" / name).touch()
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.write_text(f'#!/bin/sh\nexec python3 {tmp_path / "program.py"} "$@"\n')
    java.chmod(java.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{java.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(java_reference, "parts_folder", lambda: tmp_path / "parts")
    monkeypatch.delenv("KOSMOS_SPICE", raising=False)
    return tmp_path


@pytest.mark.parametrize("name", ["meteor", "spice"])
def test_without_java_it_says_what_to_install(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(java_reference, "java_command", lambda: None)
    measured = set_metric(name).measure(SET)
    assert math.isnan(measured.value)
    assert "was not run: Java is missing: install" in measured.not_run and "ptb" not in measured.not_run
    # Nothing else waits for it.
    assert set_metric("cider").measure(SET).value > 0
    with pytest.raises(DataError, match="Java is missing"):
        java_ptb_tokenize(["a cat"])


def test_without_parts_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(java_reference, "java_command", lambda: "java")
    monkeypatch.setattr(java_reference, "parts_folder", lambda: None)
    monkeypatch.delenv("KOSMOS_SPICE", raising=False)
    for name in ("ptb", "meteor", "spice"):
        assert missing_for(name) == f"{name} was not run: {java_reference.PARTS_LINE}"
    scores = reference_scores(SET)
    assert list(scores) == ["cider", "bleu1", "bleu2", "bleu3", "bleu4", "rouge_l", "meteor", "spice"]
    assert all("pip install pycocoevalcap" in measured.not_run for measured in scores.values())


def test_spice_names_its_two_files(parts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (parts / "parts" / "spice" / "lib" / "stanford-corenlp-3.6.0-models.jar").unlink()
    assert "stanford-corenlp-3.6.0-models.jar" in missing_for("spice")
    assert str(parts / "parts" / "spice" / "lib") in missing_for("spice")
    monkeypatch.setenv("KOSMOS_SPICE", str(parts / "own"))
    assert str(parts / "own" / "lib") in missing_for("spice")


def test_spice_is_read_from_what_java_writes(parts: Path) -> None:
    (parts / "program.py").write_text(
        "import json, os, sys\n"
        "assert '--add-opens=java.base/java.lang=ALL-UNNAMED' in os.environ['JDK_JAVA_OPTIONS']\n"
        "arguments = sys.argv[1:]\n"
        "items = json.load(open(arguments[3]))\n"
        "def f(item): return len(item['refs']) / 4 if item['test'] else None\n"
        "scores = [{'image_id': item['image_id'], 'scores': {'All': {'f': f(item)}}} for item in reversed(items)]\n"
        "json.dump(scores, open(arguments[arguments.index('-out') + 1], 'w'))\n"
    )
    values = spice_values(["a man", "a cat", ""], [["a", "b"], ["c"], ["d"]])
    assert values[:2] == [0.5, 0.25] and math.isnan(values[2])


def test_a_java_that_fails_stops_only_its_metric(parts: Path) -> None:
    (parts / "program.py").write_text(
        "import sys\n"
        "if 'edu.stanford.nlp.process.PTBTokenizer' in sys.argv:\n"
        "    print(open(sys.argv[-1]).read().lower().replace('.', ' .'))\n"
        "else:\n"
        "    sys.exit('out of memory')\n"
    )
    scores = reference_scores(SET)
    assert scores["cider"].value == set_metric("cider").measure(SET).value
    assert scores["rouge_l"].value == set_metric("rouge_l").measure(SET).value
    assert scores["meteor"].not_run.startswith("meteor was not run: METEOR ")
    assert scores["spice"].not_run == "spice was not run: Java left with 1: out of memory"
    assert set_metric("spice").measure(SET).not_run == scores["spice"].not_run


def test_meteor_speaks_lines(parts: Path) -> None:
    (parts / "program.py").write_text(
        "import sys\n"
        "for line in sys.stdin:\n"
        "    fields = line.rstrip('\\n').split(' ||| ')\n"
        "    if fields[0] == 'SCORE':\n"
        "        print(len(fields) - 2, len(fields[-1].split()), flush=True)\n"
        "    else:\n"
        "        for found in fields[1:]:\n"
        "            print(int(found.split()[0]) / 10, flush=True)\n"
        "        print(sum(int(found.split()[1]) for found in fields[1:]), flush=True)\n"
    )
    assert meteor_values(["a man", "a cat"], [["x", "y"], ["z"]]) == (4.0, [0.2, 0.1])


def test_the_official_scores_where_java_is(coco: list[Answered], published: Callable[[str], Any]) -> None:
    if missing_for("meteor"):
        pytest.skip(missing_for("meteor"))
    expected = published("oracles/captions_pycocoevalcap.json")
    references = published("coco_caption/clipscore_example/refs.json")
    captions = published("coco_caption/clipscore_example/good_captions.json")
    small = [Answered(key, captions[key], tuple(references[key])) for key in references]
    assert reference_scores(small)["meteor"].value == pytest.approx(expected["clipscore_good"]["METEOR"], abs=1e-9)
    assert reference_scores(coco, run=())["cider"].value == pytest.approx(expected["coco_magic"]["CIDEr"], abs=1e-9)
    assert json.dumps(reference_scores(coco[:2], run=())["bleu4"].value) != "NaN"
