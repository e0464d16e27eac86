"""Bring in weights of transformers: Kosmos-2, a CLIP folder as a vision tower, what `kosmos export` once wrote.

examples:
  hf download microsoft/kosmos-2-patch14-224 --local-dir kosmos-2
  kosmos import kosmos-2 models/kosmos-2
  kosmos generate models/kosmos-2 -i cat.png "An image of"
  kosmos import kosmos-2 models/kosmos-2-64007 --truncate-vocabulary
  kosmos import clip-vit-large-patch14 towers/clip
  kosmos import tuned-with-transformers models/tuned

FOLDER holds config.json and the weights (model.safetensors, its parts with an index, or pytorch_model.bin). OUT is new.
Before OUT is there, the logits (of CLIP: the features) of both sides are compared on rows with 0, 1 and 3 pictures;
above 1e-5 nothing is written. One side runs after the other, so that memory holds one of them. What cannot
be expressed is refused with all reasons. docs/weights.md has the whole path, and what to expect.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from kosmos.errors import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="a folder in transformers' form")
    parser.add_argument("out", type=Path, metavar="OUT", help="new folder")
    parser.add_argument(
        "--truncate-vocabulary",
        action="store_true",
        help="leave out the grounding tokens (65,037 entries to 64,007); every probability changes",
    )
    parser.add_argument(
        "--tokenizer", type=Path, metavar="FILE", help="the SentencePiece model, where FOLDER does not bring it"
    )
    parser.add_argument("--skip-check", action="store_true", help="do not compare both sides (for lack of memory)")


def run(args: argparse.Namespace) -> int:
    from kosmos.interop.folder_kind import folder_kind

    kind = folder_kind(args.folder)
    if kind == "kosmos-2":
        from kosmos.interop.kosmos2.conversion import import_kosmos2

        import_kosmos2(
            args.folder,
            args.out,
            truncate_vocabulary=args.truncate_vocabulary,
            tokenizer_file=args.tokenizer,
            check=not args.skip_check,
        )
        print(f'{args.out}: written; try: kosmos generate {args.out} -i PICTURE "An image of"')
        return 0
    if args.truncate_vocabulary or args.tokenizer is not None:
        raise UsageError("--truncate-vocabulary and --tokenizer are for Kosmos-2; leave them out")
    if kind == "kosmos1":
        from kosmos.interop.transformers.importing import import_exported

        import_exported(args.folder, args.out, check=not args.skip_check)
        print(f"{args.out}: written")
        return 0
    from kosmos.interop.clip_folder import import_clip

    settings = import_clip(args.folder, args.out, check=not args.skip_check)
    print(f"{args.out}: written; in a recipe:\n\n{settings}", end="")
    return 0
