"""Count what a corpus holds, or what rows a recipe makes of its corpora.

examples:
  kosmos data stats book/pairs --reader pairs_tar
  kosmos data stats book/text --reader jsonl --tokenizer tokenizer --sample 100K
  kosmos data stats recipe.yaml --steps 50

A corpus: files, records, documents by their number of pictures, lengths, sizes and forms of pictures, bad records by
reason. A large one is measured on records spread evenly over it, the same ones each time; 0 takes all.
A recipe (YAML): the real stream runs for some steps, and rows, padding, cuts, and epochs of each corpus are told.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kosmos.cli.parser import positive, whole_number
from kosmos.errors import UsageError

if TYPE_CHECKING:
    from kosmos.config import TrainConfig
    from kosmos.data.row_statistics import SourceFigures

_MARKS = ("min", "p5", "p25", "median", "p75", "p95", "max")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", metavar="PATH", help="files of a corpus, or a recipe (.yaml)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    corpus = parser.add_argument_group("corpus")
    corpus.add_argument("--reader", metavar="NAME", help="docs/data.md lists them (default: guessed)")
    corpus.add_argument("--field", default="", metavar="F", help="column or key of the text (default: the usual one)")
    corpus.add_argument("--tokenizer", type=Path, metavar="MODEL", help="count the tokens of the texts too")
    corpus.add_argument("--sample", type=whole_number, metavar="N", help="look at N records (10K; 0: at all)")
    recipe = parser.add_argument_group("recipe")
    recipe.add_argument("--steps", type=positive, metavar="N", help="steps of the stream to make (default: 20)")


def run(args: argparse.Namespace) -> int:
    is_recipe = args.path.endswith((".yaml", ".yml")) and not args.reader
    if is_recipe and (args.tokenizer or args.field or args.sample is not None):
        raise UsageError("--tokenizer, --field and --sample are for a corpus; a recipe names its own tokenizer")
    if not is_recipe and args.steps is not None:
        raise UsageError("--steps is for a recipe; a corpus takes --sample")
    return _run_recipe(args) if is_recipe else _run_corpus(args)


def _run_corpus(args: argparse.Namespace) -> int:
    from kosmos.data.guessing import guess_reader
    from kosmos.data.statistics import corpus_statistics

    count_tokens = None
    if args.tokenizer:
        from kosmos.tokenizer import Tokenizer

        tokenizer = Tokenizer.load(args.tokenizer)
        count_tokens = lambda text: len(tokenizer.encode(text))  # noqa: E731
    guess = None if args.reader else guess_reader(args.path)
    reader = args.reader or (guess.reader if guess else "")
    sample = 10_000 if args.sample is None else args.sample
    figures = corpus_statistics(reader, args.path, args.field, sample, count_tokens)
    if args.json:
        print(json.dumps(figures, ensure_ascii=False, indent=2))
        return 0
    print(f"{args.path or 'generated'}: reader {reader}" + (f", guessed: {guess.reason}" if guess else ""))
    _print_corpus(figures)
    return 0


def _print_corpus(figures: dict[str, Any]) -> None:
    from kosmos.cli.tables import counted, print_table, readable_bytes

    parts = [counted(figures["files"], "file"), readable_bytes(figures["bytes"])] if figures["files"] else []
    parts += [] if figures["records"] is None else [counted(figures["records"], "record")]
    print(", ".join(parts))
    print(f"measured on {counted(figures['measured'], 'record')}: {figures['how']}")
    print()
    pictures = figures["pictures"]
    summaries = [
        ("characters of a document", figures["text_characters"]),
        ("tokens of a document", figures["text_tokens"]),
        ("picture width", pictures["width"]),
        ("picture height", pictures["height"]),
        ("picture bytes", pictures["bytes"]),
    ]
    rows = [
        [name, *(f"{summary[mark]:,}" for mark in _MARKS), f"{summary['mean']:,.1f}"]
        for name, summary in summaries
        if summary
    ]
    if rows:
        print_table(["", *_MARKS, "mean"], rows)
    if set(figures["documents_by_pictures"]) - {"0"}:
        print(f"\ndocuments by pictures: {_counts(figures['documents_by_pictures'])}")
        print(f"forms of pictures: {_counts(pictures['forms'])}")
    if estimate := figures["estimated_text_tokens"]:
        print(f"\ntext tokens: {estimate:,}" + ("" if figures["complete"] else ", by the sample's mean"))
    print(f"\nbad records: {_counts(figures['bad_records']) or 'none'}")


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name}: {count:,}" for name, count in counts.items())


def _run_recipe(args: argparse.Namespace) -> int:
    from kosmos.data.root import within_root
    from kosmos.data.row_statistics import measure_rows
    from kosmos.errors import ConfigError
    from kosmos.presets import load_recipe
    from kosmos.processor import Processor
    from kosmos.tokenizer import Tokenizer

    config = load_recipe(args.path)
    if not config.tokenizer:
        raise ConfigError(f"{args.path}: tokenizer: name a SentencePiece model file")
    steps = min(args.steps or 20, config.steps)
    processor = Processor(Tokenizer.load(within_root(config.tokenizer, config.data.root)), config.model)
    figures = measure_rows(config.data, processor, config.seed, steps)
    if args.json:
        told = {"recipe": args.path, "steps": steps, "of": config.steps}
        print(json.dumps(told | {"sources": _as_mapping(figures)}, ensure_ascii=False, indent=2))
    else:
        _print_recipe(args.path, config, steps, figures)
    return 0


def _as_mapping(figures: dict[str, SourceFigures]) -> dict[str, Any]:
    mapping = {name: asdict(source) for name, source in figures.items()}
    for name, source in figures.items():
        mapping[name]["padding_fraction"] = round(source.padding_fraction, 6)
        for entry, corpus in zip(mapping[name]["corpora"], source.corpora):
            entry["epochs"] = round(corpus.epochs, 6)
    return mapping


def _print_recipe(path: str, config: TrainConfig, steps: int, figures: dict[str, SourceFigures]) -> None:
    from kosmos.cli.tables import print_table

    slots = sum(source.slots for source in figures.values())
    print(f"{path}: the first {steps:,} of {config.steps:,} steps; {slots // steps:,} slots a step")
    print()
    rows = [
        [
            name,
            f"{source.rows // steps:,}",
            f"{source.slots // steps:,}",
            f"{100 * source.slots / slots:.1f}",
            f"{100 * source.padding_fraction:.2f}",
            f"{source.tokens / steps:,.0f}",
            f"{100 * source.supervised_tokens / max(1, source.tokens):.1f}",
            f"{source.images / steps:,.1f}",
            f"{source.records / steps:,.1f}",
        ]
        for name, source in figures.items()
    ]
    headings = ["source", "rows/step", "slots/step", "share %", "padding %", "tokens/step", "supervised %"]
    print_table([*headings, "pictures/step", "records/step"], rows)
    print()
    corpora = [
        [
            name,
            corpus.name,
            f"{100 * corpus.weight:.2f}",
            f"{100 * corpus.share:.2f}",
            f"{corpus.records:,}",
            f"{corpus.taken:,}",
            f"{corpus.epochs:.3f}",
            f"{corpus.epochs * config.steps / steps:,.1f}",
        ]
        for name, source in figures.items()
        for corpus in source.corpora
    ]
    headings = ["source", "corpus", "weight %", "had %", "records", "taken", "epochs"]
    print_table([*headings, f"epochs in {config.steps:,} steps"], corpora)
    print()
    for name, source in figures.items():
        share = [
            f"{what}: {count:,} ({100 * count / max(1, source.records):.2f} %)" for what, count in source.events.items()
        ]
        bad = [f"bad record, {why}: {count:,}" for why, count in source.bad_records.items()]
        print(f"{name}: {', '.join(share + bad) or 'nothing cut, nothing bad'}; of {source.records:,} records")
