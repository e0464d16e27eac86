"""Score candidates as the text that follows a prompt, and rank them.

examples:
  kosmos score runs/demo -i cat.png "An image of" --candidate cat --candidate dog
  kosmos score runs/demo -i cat.png "An image of" --candidates names.txt --include-end
  kosmos score runs/demo -i cat.png "Is it a cat? Answer:" --candidate Yes --candidate No --json
  kosmos score runs/demo --jsonl questions.jsonl --out scores.jsonl --resume

RUN and the prompt are those of `kosmos generate`. Scores are natural logarithms of probabilities: the sum over a
candidate's tokens, the mean over them, the sum per character; `probability` is the share among the candidates by their
sums. Candidates follow the prompt after a space. A line of a --jsonl file: {"prompt": ["text", {"image": "cat.png"}],
"candidates": ["cat", "dog"], "id": 7}; without "candidates" those of the command are scored. An answer has the best
one, and "sums" and "num_tokens" in the order of the candidates.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kosmos.cli.engine_options import add_engine_options, open_engine
from kosmos.cli.prompt_parts import add_prompt_arguments, keep_order, prompt_document
from kosmos.cli.request_file import add_file_options, answer_file, check_file_options
from kosmos.cli.tables import print_table, printable
from kosmos.cli.user_modules import import_modules
from kosmos.errors import UsageError

if TYPE_CHECKING:
    from kosmos.inference.engine import Engine
    from kosmos.inference.requests import Request

__all__ = ["add_arguments", "keep_order", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_prompt_arguments(parser)
    choice = parser.add_argument_group("candidates")
    choice.add_argument("-c", "--candidate", action="append", metavar="TEXT", help="a candidate; to be repeated")
    choice.add_argument("--candidates", type=Path, metavar="FILE", help="candidates, one a line")
    choice.add_argument("--no-space", action="store_true", help="no space between the prompt and a candidate")
    choice.add_argument("--include-end", action="store_true", help="count the closing </s>: how the answer ends, too")
    choice.add_argument(
        "--by", choices=("sum", "mean", "per-character"), default="sum", help="rank by this score (default: sum)"
    )
    add_file_options(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    add_engine_options(parser)


def run(args: argparse.Namespace) -> int:
    import_modules(args.modules)
    check_file_options(args)
    if args.jsonl is not None and args.json:
        raise UsageError("--jsonl answers in JSON lines; leave out --json")
    from kosmos.inference.requests import read_texts

    candidates = list(args.candidate or [])
    if args.candidates is not None:
        candidates += read_texts(args.candidates, "candidates")
    if any(not text.strip() for text in candidates):
        raise UsageError("a candidate is empty; give it a text, or leave it out")
    if args.jsonl is not None:
        return _answer_file(args, candidates)
    if not candidates:
        raise UsageError("there are no candidates: give some (--candidate TEXT), or a file of them (--candidates FILE)")
    return _print_scores(args, candidates)


def _print_scores(args: argparse.Namespace, candidates: list[str]) -> int:
    from kosmos.inference.answers import rank

    engine = open_engine(args, max_slots=1)
    texts = _following(candidates, args.no_space)
    (scores,) = engine.score([prompt_document(args.parts)], [texts], include_end=args.include_end)
    ranked = rank(texts, scores, args.by.replace("-", "_"))
    if args.json:
        print(json.dumps({"candidates": [item.fields for item in ranked]}, ensure_ascii=False))
        return 0
    rows = [
        [
            printable(item.candidate.strip()),
            f"{item.score.sum:.3f}",
            f"{item.score.mean:.3f}",
            f"{item.per_character:.3f}",
            f"{item.probability:.4f}",
        ]
        for item in ranked
    ]
    print_table(["candidate", "sum", "mean", "per character", "probability"], rows)
    return 0


def _answer_file(args: argparse.Namespace, candidates: list[str]) -> int:
    from kosmos.inference.answers import score_fields
    from kosmos.inference.requests import candidates_of, read_requests

    by = args.by.replace("-", "_")

    def ask(engine: Engine, batch: list[Request[tuple[str, ...]]]) -> Sequence[Mapping[str, Any]]:
        texts = [_following(request.options, args.no_space) for request in batch]
        documents = [request.document for request in batch]
        made = engine.score(documents, texts, include_end=args.include_end)
        return [score_fields(each, scores, by) for each, scores in zip(texts, made)]

    requests = read_requests(args.jsonl, lambda fields: candidates_of(fields, candidates))
    about = {
        "command": "score",
        "candidates": candidates,
        "no_space": args.no_space,
        "include_end": args.include_end,
        "by": args.by,
    }
    return answer_file(args, requests, about, ask)


def _following(candidates: Sequence[str], no_space: bool) -> list[str]:
    """The candidates as they follow the prompt."""
    return [text if no_space or text[0].isspace() else f" {text}" for text in candidates]
