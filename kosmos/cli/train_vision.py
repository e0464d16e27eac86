"""Pretrain a small vision tower on pictures with captions.

examples:
  kosmos train-vision vision.yaml --out runs/tower
  kosmos train-vision vision.yaml --out runs/tower --steps 2K --lr 0.02

The folder that it writes is what `model.vision.pretrained` of a recipe takes. It appears whole or not at all; a
pretraining that was stopped goes on when the same command runs again.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from kosmos.errors import Interrupted, UsageError

_PARTS = "model.vision.pretrained: {out} and model.resampler.pretrained: {out}"
# Options that the parser does not know are keys of the configuration.
TAKES_OVERRIDES = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", type=Path, metavar="CONFIG", help="a YAML file: tower, corpora, tokenizer, steps")
    parser.add_argument("--out", type=Path, metavar="DIR", required=True, help="the new folder")
    parser.add_argument("--quiet", action="store_true", help="no progress; errors only")


def run(args: argparse.Namespace) -> int:
    from kosmos.cli.overrides import read_overrides
    from kosmos.config import VisionPretrainingConfig
    from kosmos.config_files import load_config

    if not args.config.is_file():
        raise UsageError(f"{args.config}: no such file; see `kosmos train-vision --help`")
    config = load_config(args.config, VisionPretrainingConfig, read_overrides(args.overrides))
    from kosmos.data.picturebook.vision_corpus import open_picture_corpora
    from kosmos.training.vision_pretraining import check_pretraining, pretrain_vision

    check_pretraining(config, args.out)  # before minutes go into making pictures
    corpora = open_picture_corpora(config)
    try:
        pretrain_vision(config, corpora, args.out, quiet=args.quiet)
    except (Interrupted, KeyboardInterrupt) as stop:
        said = str(stop) or f"{args.out}: interrupted"
        hint = "" if args.out.exists() else "; run the same command again to go on"
        raise Interrupted(f"{said}{hint}") from stop
    if not args.quiet:
        print(f"{args.out}: a tower and its resampler; a recipe takes them: {_PARTS.format(out=args.out)}")
    return 0
