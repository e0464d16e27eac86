"""Continue text and pictures with a trained model.

examples:
  kosmos generate runs/demo -i cat.png "An image of"
  kosmos generate runs/demo -i cat.png "Question: what color is the cat? Answer:" --stream
  kosmos generate runs/demo -i cat.png "An image of a cat." -i dog.png "An image of" --max-new-tokens 8 --json
  kosmos generate runs/demo "A dog is" --temperature 0.8 --top-p 0.9 --seed 7
  kosmos generate runs/demo --jsonl prompts.jsonl --out answers.jsonl

RUN is a run directory (its latest step), a step or a model folder. Pictures and texts make one prompt in the order
given. A line of a --jsonl file: {"prompt": ["text", {"image": "cat.png"}, "text"], "id": 7, "max_new_tokens": 8}; only
"prompt" is needed, and paths are relative to the file. A small model knows the prompts that it was trained with and no
others; docs/training.md lists those of the demo's.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from kosmos.cli.parser import positive, whole_number
from kosmos.cli.user_modules import add_import_option, import_modules
from kosmos.errors import UsageError

if TYPE_CHECKING:
    from kosmos.document import Document
    from kosmos.inference.engine import Engine
    from kosmos.inference.generation import Decoding


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, metavar="RUN", help="a run directory, a step, or a model folder")
    prompt = parser.add_argument_group("prompt, in the order given (words without an option are text)")
    prompt.add_argument("-i", "--image", dest="parts", action="append", type=Path, metavar="FILE", help="a picture")
    prompt.add_argument("-t", "--text", dest="parts", action="append", metavar="TEXT", help="a piece of text")
    prompt.add_argument("--jsonl", type=Path, metavar="FILE", help="many prompts, one a line, answered in batches")
    choice = parser.add_argument_group("choice of tokens")
    choice.add_argument("--max-new-tokens", type=positive, default=64, metavar="N", help="limit (default: 64)")
    choice.add_argument("--min-new-tokens", type=whole_number, default=0, metavar="N", help="do not end before (0)")
    choice.add_argument("--temperature", type=float, default=0.0, metavar="X", help="0: greedy (default)")
    choice.add_argument("--top-k", type=whole_number, default=0, metavar="N", help="draw among the N most probable")
    choice.add_argument("--top-p", type=float, default=1.0, metavar="X", help="draw among those that sum to X")
    choice.add_argument("--seed", type=whole_number, default=0, metavar="N", help="of the draws (default: 0)")
    choice.add_argument("--stop", action="append", metavar="TEXT", help="end before this text; may be repeated")
    output = parser.add_argument_group("output")
    output.add_argument("--stream", action="store_true", help="print the text while it comes")
    output.add_argument("--json", action="store_true", help="print text, token ids, log-probabilities and why it ended")
    output.add_argument("--out", type=Path, metavar="FILE", help="a new file for the answers of --jsonl")
    machine = parser.add_argument_group("machine")
    machine.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help="default: fp32")
    machine.add_argument("--device", default="cpu", metavar="NAME", help="cpu (default), cuda, cuda:1 ...")
    machine.add_argument("--batch-size", type=positive, default=64, metavar="N", help="prompts at once (default: 64)")
    add_import_option(parser)


def keep_order(parser: argparse.ArgumentParser, words: list[str]) -> list[str]:
    """Turn every bare word after RUN into `--text=word`, so that texts keep their place among the pictures."""
    takes_value = {name for action in parser._actions if action.nargs != 0 for name in action.option_strings}
    prepared: list[str] = []
    rest = iter(words)
    seen_run = only_text = False
    for word in rest:
        if word == "--" and not only_text:
            only_text = True
        elif not only_text and word.startswith("-") and word != "-" and " " not in word.split("=")[0]:
            prepared.append(word)
            if word in takes_value:
                prepared += [value for value in [next(rest, None)] if value is not None]
        elif not seen_run:
            seen_run = True
            prepared.append(word)
        else:
            prepared.append(f"--text={word}")
    return prepared


def run(args: argparse.Namespace) -> int:
    import_modules(args.modules)
    _check(args)
    from kosmos.api import load
    from kosmos.inference.generation import Decoding

    decoding = Decoding(
        max_new_tokens=args.max_new_tokens,
        min_new_tokens=args.min_new_tokens,
        temperature=args.temperature,
        top_k=args.top_k,
        top_p=args.top_p,
        seed=args.seed,
        stop=tuple(args.stop or ()),
    )
    if args.jsonl is not None:
        return _run_file(args, decoding)
    document = _document(args.parts or [])
    engine = load(args.run, precision=args.precision, device=_device(args.device))
    if args.stream:
        return _print_stream(engine, document, decoding)
    (generation,) = engine.generate([document], options=decoding)
    if args.json:
        from dataclasses import asdict

        print(json.dumps(asdict(generation), ensure_ascii=False))
    else:
        print(generation.text)
    return 0


def _check(args: argparse.Namespace) -> None:
    """Refuse what cannot work before torch is loaded."""
    if args.jsonl is not None and args.parts:
        raise UsageError("--jsonl brings its own prompts; leave out the pictures and texts")
    if args.jsonl is not None and (args.stream or args.json):
        raise UsageError("--jsonl answers in JSON lines; leave out --stream and --json")
    if args.stream and args.json:
        raise UsageError("choose one of --stream and --json")
    if args.jsonl is None and not args.parts:
        raise UsageError("there is no prompt: give a text, a picture (-i FILE) or many prompts (--jsonl FILE)")
    if args.jsonl is None and args.temperature == 0 and (args.top_k or args.top_p != 1 or args.seed):
        raise UsageError("--top-k, --top-p and --seed are about drawing; add --temperature, such as 0.8")
    if args.out is not None and args.jsonl is None:
        raise UsageError("--out is for --jsonl; without it the text goes to the terminal")
    if args.out is not None and args.out.exists():
        raise UsageError(f"{args.out} is there already; choose another --out, or remove it first")


def _document(parts: list[Path | str]) -> Document:
    from kosmos.document import Document, Image, Segment, Text

    segments: list[Segment] = []
    for part in parts:
        if isinstance(part, Path):
            segments.append(Image(part))
        elif segments and isinstance(segments[-1], Text):  # words that the shell took apart
            segments[-1] = Text(f"{segments[-1].text} {part}")
        else:
            segments.append(Text(part))
    return Document(*segments)


def _device(name: str) -> str:
    import torch

    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"--device {name}: unknown; use cpu or cuda") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"--device {name}: this machine's torch finds no GPU; leave it out to use the CPU")
    return name


def _print_stream(engine: Engine, document: Document, decoding: Decoding) -> int:
    with engine.prefill(document) as prefix:
        for delta in prefix.stream(decoding=decoding):
            sys.stdout.write(delta)
            sys.stdout.flush()
    print()
    return 0


def _run_file(args: argparse.Namespace, decoding: Decoding) -> int:
    from kosmos.api import load
    from kosmos.inference.requests import answer_line, read_requests
    from kosmos.storage import make_folder, write_atomic

    requests = read_requests(args.jsonl, decoding)
    engine = load(args.run, precision=args.precision, device=_device(args.device), max_slots=args.batch_size)
    generations = engine.generate(
        [request.document for request in requests], options=[request.decoding for request in requests]
    )
    lines = "".join(answer_line(request, generation) for request, generation in zip(requests, generations))
    if args.out is None:
        sys.stdout.write(lines)
    else:
        make_folder(args.out.parent)
        write_atomic(args.out, lines.encode())
    return 0
