"""The metrics beside the official scorers: the same values, and how long each takes.

    python -m benchmarks.evaluation.metrics [FOLDER] [--vqa-eval vqaEval.py] [--small]

FOLDER has `coco_caption/magic_result.json` (4,982 pictures with a generated caption each); without it, captions of
5,000 pictures with 5 references are made up. The official caption scorers come from the package pycocoevalcap, in an
environment of your own; the official VQA rules are one file of github.com/GT-Vision-Lab/VQA
(PythonEvaluationTools/vqaEvaluation/vqaEval.py), named with --vqa-eval. What is not there has a row that says so.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import math
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.data.measure import Stopwatch, finish, parser, repeated, table
from kosmos.evaluation.metrics.answered import Answered, set_metric
from kosmos.evaluation.metrics.bleu import bleu, bleu_statistics
from kosmos.evaluation.metrics.cider import cider_values
from kosmos.evaluation.metrics.java_reference import java_ptb_tokenize
from kosmos.evaluation.metrics.ptb_tokenizer import ptb_tokenize
from kosmos.evaluation.metrics.rouge_l import rouge_l
from kosmos.evaluation.statistics.bootstrap import bootstrap_interval

NUM_PICTURES = 5_000
NUM_QUESTIONS = 214_354


def captions(folder: Path | None, number: int) -> list[Answered]:
    """Real captions, or made-up ones of ten words of a skewed vocabulary."""
    path = folder / "coco_caption" / "magic_result.json" if folder else None
    if path and path.is_file():
        rows = json.loads(path.read_text(encoding="utf-8"))[:number]
        return [Answered(row["image_name"], row["prediction"], tuple(row["captions"])) for row in rows]
    rng = random.Random(0)

    def caption() -> str:
        return " ".join(f"word{int(3000 * rng.random() ** 4)}" for _ in range(10)) + "."

    return [Answered(str(index), caption(), tuple(caption() for _ in range(5))) for index in range(number)]


def questions(number: int) -> list[Answered]:
    """As many questions as VQAv2's validation set has, ten answers each; one in five is unanimous."""
    rng = random.Random(0)
    words = [f"the {color} {thing}{end}" for color in ("red", "blue", "two", "dont") for thing in range(2000)
             for end in ("", ".", "'s", " - x")]  # fmt: skip
    made = []
    for index in range(number):
        common = rng.choice(words)
        unanimous = rng.random() < 0.2
        people = [common if unanimous or rng.random() < 0.6 else rng.choice(words) for _ in range(10)]
        made.append(Answered(str(index), rng.choice((common, people[0], people[1])), tuple(people)))
    return made


def timed(compute: Callable[[], tuple[float, int]]) -> dict[str, Any]:
    with Stopwatch() as watch:
        value, items = compute()
    return {"value": value, "items": items, "seconds": watch.cpu, "wall": watch.wall}


def official_captions(scorer: str, references: Sequence[Sequence[str]], texts: Sequence[str]) -> tuple[float, int]:
    """One of pycocoevalcap's pure-Python scorers on tokenized captions."""
    module = importlib.import_module(f"pycocoevalcap.{scorer.lower()}.{scorer.lower()}")
    given = {index: list(choices) for index, choices in enumerate(references)}
    answered = {index: [text] for index, text in enumerate(texts)}
    made = getattr(module, scorer)(4) if scorer == "Bleu" else getattr(module, scorer)()
    with contextlib.redirect_stdout(io.StringIO()):
        value, _ = made.compute_score(given, answered)
    return float(value[-1] if isinstance(value, list) else value), len(texts)


class _Table:
    """What the official VQA code wants of its reader of files."""

    def __init__(self, qa: dict[int, dict[str, Any]]) -> None:
        self.qa = qa

    def getQuesIds(self) -> list[int]:  # its name
        return list(self.qa)


def official_vqa(path: Path, given: Sequence[Answered]) -> tuple[float, int]:
    """Accuracy by the official file. Its table of questions is built within, as it changes the answers."""
    spec = importlib.util.spec_from_file_location("official_vqa_rules", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    people = {
        index: {
            "answers": [{"answer": text, "answer_id": at} for at, text in enumerate(item.answers)],
            "question_type": "",
            "answer_type": "",
        }
        for index, item in enumerate(given)
    }
    answers = {index: {"answer": item.prediction} for index, item in enumerate(given)}
    with contextlib.redirect_stdout(io.StringIO()):
        rules = module.VQAEval(_Table(people), _Table(answers), n=6)
        rules.evaluate()
    return rules.accuracy["overall"] / 100, len(given)


def rows(folder: Path | None, vqa_eval: Path | None, small: bool, times: int) -> list[dict[str, Any]]:
    pictures = captions(folder, 200 if small else NUM_PICTURES)
    texts = ptb_tokenize(item.prediction for item in pictures)
    references = [ptb_tokenize(item.answers) for item in pictures]
    raw = [text for item in pictures for text in (item.prediction, *item.answers)]
    asked = questions(2_000 if small else NUM_QUESTIONS)
    found = []

    def row(metric: str, who: str, compute: Callable[[], tuple[float, int]]) -> None:
        answer = repeated(lambda: timed(compute), times, here=small)
        found.append({"metric": metric, "by": who, **answer})

    def mean(values: Sequence[float]) -> tuple[float, int]:
        return math.fsum(values) / len(values), len(values)

    def agreement(tokenize: Callable[[Sequence[str]], list[str]]) -> tuple[float, int]:
        return float(sum(len(line.split()) for line in tokenize(raw))), len(raw)

    row("PTB tokens", "ours", lambda: agreement(ptb_tokenize))
    row("PTB tokens", "Java (in pycocoevalcap)", lambda: agreement(java_ptb_tokenize))
    row("CIDEr-D", "ours", lambda: mean(cider_values(texts, references).tolist()))
    row("CIDEr-D", "pycocoevalcap", lambda: official_captions("Cider", references, texts))
    row("CIDEr-D with tokens", "ours", lambda: (set_metric("cider").measure(pictures).value, len(pictures)))
    row("BLEU-4", "ours", lambda: (bleu(bleu_statistics(texts, references))[3], len(texts)))
    row("BLEU-4", "pycocoevalcap", lambda: official_captions("Bleu", references, texts))
    row("ROUGE-L", "ours", lambda: mean([rouge_l(text, choices) for text, choices in zip(texts, references)]))
    row("ROUGE-L", "pycocoevalcap", lambda: official_captions("Rouge", references, texts))
    row("VQA accuracy", "ours", lambda: (set_metric("vqa_accuracy").measure(asked).value, len(asked)))
    if vqa_eval:
        row("VQA accuracy", "official code", lambda: official_vqa(vqa_eval, asked))
    else:
        found.append({"metric": "VQA accuracy", "by": "official code", "error": "not run (name it with --vqa-eval)"})

    def interval() -> tuple[float, int]:
        bound = bootstrap_interval(pictures, set_metric("cider").measure(pictures))
        return bound.high - bound.low, len(pictures)

    row("CIDEr-D, 1,000 bootstrap draws (width)", "ours", interval)
    return found


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    options = parser(__doc__ or "")
    options.add_argument("folder", nargs="?", type=Path, help="folder with coco_caption/magic_result.json")
    options.add_argument("--vqa-eval", type=Path, help="vqaEval.py of GT-Vision-Lab/VQA")
    given = options.parse_args(arguments)
    result = {"rows": rows(given.folder, given.vqa_eval, given.small, given.repeat)}
    print(table(result["rows"], ["metric", "by", "items", "value", "seconds", "wall", "error"]))
    finish("evaluation metrics", result)
    return result


if __name__ == "__main__":
    main()
