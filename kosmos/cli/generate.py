"""Continue text and pictures with a trained model.

examples:
  kosmos generate runs/demo -i cat.png "An image of"
  kosmos generate runs/demo -i cat.png "Question: what color is the cat? Answer:" --stream
  kosmos generate runs/demo -i cat.png "An image of a cat." -i dog.png "An image of" --max-new-tokens 8 --json
  kosmos generate runs/demo "A dog is" --temperature 0.8 --top-p 0.9 --seed 7 --num-results 3
  kosmos generate runs/demo -i cat.png "An image of" --num-beams 5
  kosmos generate runs/demo -i cat.png "The photo of the" --names names.txt
  kosmos generate runs/demo --jsonl prompts.jsonl --out answers.jsonl --resume

RUN is a run directory (its latest step), a step or a model folder. Pictures and texts make one prompt in the order
given. A line of a --jsonl file: {"prompt": ["text", {"image": "cat.png"}, "text"], "id": 7, "max_new_tokens": 8}; only
"prompt" is needed, and paths are relative to the file. Answers are saved batch by batch, --resume goes on after them,
and the finished file has the order of the prompts. A bad line gets an answer with its "error". A small model knows the
prompts that it was trained with and no others; docs/training.md lists those of the demo's.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kosmos.cli.engine_options import add_engine_options, open_engine
from kosmos.cli.parser import positive, whole_number
from kosmos.cli.prompt_parts import add_prompt_arguments, keep_order, prompt_document
from kosmos.cli.request_file import add_file_options, answer_file, check_file_options
from kosmos.cli.user_modules import import_modules
from kosmos.errors import DataError, UsageError

if TYPE_CHECKING:
    from kosmos.document import Document
    from kosmos.inference.engine import Engine
    from kosmos.inference.generation import Decoding, Generation
    from kosmos.inference.requests import Request

__all__ = ["add_arguments", "keep_order", "run"]

# The paper's beams for names (section 4.6).
_BEAMS_FOR_NAMES = 2
_EARLY_STOPPING = {"false": False, "true": True, "never": "never"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_prompt_arguments(parser)
    add_file_options(parser)
    choice = parser.add_argument_group("choice of tokens")
    choice.add_argument("--max-new-tokens", type=positive, default=64, metavar="N", help="limit (default: 64)")
    choice.add_argument("--min-new-tokens", type=whole_number, default=0, metavar="N", help="do not end before (0)")
    choice.add_argument("--temperature", type=float, default=0.0, metavar="X", help="0: greedy (default)")
    choice.add_argument("--top-k", type=whole_number, default=0, metavar="N", help="draw among the N most probable")
    choice.add_argument("--top-p", type=float, default=1.0, metavar="X", help="draw among those that sum to X")
    choice.add_argument("--seed", type=whole_number, default=0, metavar="N", help="of the draws (default: 0)")
    choice.add_argument("--stop", action="append", metavar="TEXT", help="end before this text; may be repeated")
    choice.add_argument("--num-beams", type=positive, metavar="N", help="beam search (the paper's captions: 5)")
    choice.add_argument(
        "--length-penalty", type=float, default=1.0, metavar="X", help="beams rank by sum / length ** X (default: 1)"
    )
    choice.add_argument(
        "--early-stopping",
        choices=tuple(_EARLY_STOPPING),
        default="false",
        help="end beams at N finished ones (true), when no better one is likely (false) or possible (never)",
    )
    choice.add_argument(
        "--num-results",
        type=positive,
        default=1,
        metavar="N",
        help="the N best beams, or N draws; --json keeps texts of several lines apart",
    )
    choice.add_argument("--names", type=Path, metavar="FILE", help="the answer is one of these, one a line (2 beams)")
    output = parser.add_argument_group("output of one prompt")
    output.add_argument("--stream", action="store_true", help="print the text while it comes")
    output.add_argument("--json", action="store_true", help="print text, token ids, log-probabilities and why it ended")
    add_engine_options(parser)


def run(args: argparse.Namespace) -> int:
    import_modules(args.modules)
    _check(args)
    from kosmos.inference.generation import Decoding
    from kosmos.inference.requests import read_texts

    names = None if args.names is None else [f" {name}" for name in read_texts(args.names, "names")]
    decoding = Decoding(
        max_new_tokens=args.max_new_tokens,
        min_new_tokens=args.min_new_tokens,
        temperature=args.temperature,
        top_k=args.top_k,
        top_p=args.top_p,
        seed=args.seed,
        stop=tuple(args.stop or ()),
        num_beams=args.num_beams or (1 if names is None else max(_BEAMS_FOR_NAMES, args.num_results)),
        length_penalty=args.length_penalty,
        early_stopping=_EARLY_STOPPING[args.early_stopping],  # type: ignore[arg-type]
        num_results=args.num_results,
    )
    if args.jsonl is not None:
        return _answer_file(args, decoding, names)
    document = prompt_document(args.parts)
    engine = open_engine(args, max_slots=1 + decoding.num_results)
    if args.stream:
        return _print_stream(engine, document, decoding)
    (generation,) = engine.generate([document], options=decoding, names=names)
    if args.json:
        print(json.dumps(_fields(generation, decoding, names), ensure_ascii=False))
    else:
        for result in generation.all:
            print(result.text)
    return 0


def _check(args: argparse.Namespace) -> None:
    """Refuse what cannot work before torch is loaded."""
    check_file_options(args)
    if args.jsonl is not None and (args.stream or args.json):
        raise UsageError("--jsonl answers in JSON lines; leave out --stream and --json")
    if args.stream and args.json:
        raise UsageError("choose one of --stream and --json")
    if args.stream and (args.names is not None or (args.num_beams or 1) > 1 or args.num_results > 1):
        raise UsageError("--stream shows one text as it comes; leave out --num-beams, --num-results and --names")
    if args.names is not None and args.temperature > 0:
        raise UsageError("--names is a search for the best name; leave out --temperature")
    if args.jsonl is not None:  # whose lines have options of their own
        return
    if args.temperature == 0 and (args.top_k or args.top_p != 1 or args.seed):
        raise UsageError("--top-k, --top-p and --seed are about drawing; add --temperature, such as 0.8")
    if (
        args.names is None
        and (args.num_beams or 1) == 1
        and (args.length_penalty != 1 or args.early_stopping != "false")
    ):
        raise UsageError("--length-penalty and --early-stopping are about beams; add --num-beams, such as 5")


def _print_stream(engine: Engine, document: Document, decoding: Decoding) -> int:
    with engine.prefill(document) as prefix:
        for delta in prefix.stream(decoding=decoding):
            sys.stdout.write(delta)
            sys.stdout.flush()
    print()
    return 0


def _fields(generation: Generation, decoding: Decoding, names: list[str] | None) -> dict[str, Any]:
    from kosmos.inference.answers import generation_fields

    return generation_fields(generation, ranked=decoding.num_beams > 1 or names is not None)


def _answer_file(args: argparse.Namespace, decoding: Decoding, names: list[str] | None) -> int:
    from kosmos.inference.generation import Decoding
    from kosmos.inference.requests import read_requests

    def options(fields: dict[str, Any]) -> Decoding:
        made = Decoding.from_fields(fields, decoding)
        if names is not None and made.temperature > 0:
            raise DataError("a name is searched for, not drawn; leave out temperature")
        return made

    def ask(engine: Engine, batch: list[Request[Decoding]]) -> Sequence[Mapping[str, Any]]:
        each = [request.options for request in batch]
        made = engine.generate([request.document for request in batch], options=each, names=names)
        return [_fields(generation, option, names) for generation, option in zip(made, each)]

    about = {"command": "generate", **asdict(decoding), "names": names}
    return answer_file(args, read_requests(args.jsonl, options), about, ask)
