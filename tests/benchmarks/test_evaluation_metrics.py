"""The small form of the metrics' benchmark: our values beside whatever official scorer is there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.evaluation import metrics

RULES = '''
class VQAEval:
    """Stands in for the official file: one number of questions, whatever they say."""

    def __init__(self, vqa, answers, n):
        assert vqa.getQuesIds() == answers.getQuesIds()
        self.accuracy = {"overall": len(vqa.qa) / 100}

    def evaluate(self):
        print("computing accuracy")
'''


def test_every_metric_has_a_row_and_what_is_absent_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "vqaEval.py").write_text(RULES)
    rows = metrics.main(["--small", "--repeat", "1", "--vqa-eval", str(tmp_path / "vqaEval.py")])["rows"]
    values = {(row["metric"], row["by"]): row.get("value") for row in rows}
    assert len(values) == 12
    for metric in ("CIDEr-D", "BLEU-4", "ROUGE-L"):
        assert 0 < values[metric, "ours"] < 10
        theirs = values[metric, "pycocoevalcap"]
        assert theirs is None or theirs == pytest.approx(values[metric, "ours"], abs=1e-9)
    assert values["VQA accuracy", "official code"] == 0.2
    assert all("value" in row or row["error"] for row in rows)
    printed = capsys.readouterr().out.splitlines()
    assert json.loads(printed[-1])["benchmark"] == "evaluation metrics"
    assert "computing accuracy" not in "".join(printed)


def test_the_official_rules_are_named_by_the_user() -> None:
    rows = metrics.main(["--small", "--repeat", "1"])["rows"]
    assert [row["error"] for row in rows if row["by"] == "official code"] == ["not run (name it with --vqa-eval)"]
