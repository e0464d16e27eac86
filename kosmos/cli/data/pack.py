"""Pack a folder of your own pictures with captions into the tars that training reads.

examples:
  kosmos data pack photos photos-tars
  kosmos data pack scans scans-tars --shrink 512
  kosmos data pack stories stories-tars --interleaved

FOLDER holds a.jpg (or jpeg, png, webp, gif) and its caption a.txt beside it, in folders of any depth. With
--interleaved it holds a.json {"texts": [text or null], "images": [file or null]}: at each place a text or a picture,
files named from where a.json is. Pictures over 16 megapixels are left out, unless --shrink makes them smaller.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from kosmos.cli.parser import positive


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="pictures with captions, or documents")
    parser.add_argument("out", type=Path, metavar="OUT", help="the new folder for the tars")
    parser.add_argument("--interleaved", action="store_true", help="documents of texts and pictures, a.json each")
    parser.add_argument(
        "--shrink", type=positive, default=0, metavar="N", help="bring longer sides of pictures to N pixels"
    )


def run(args: argparse.Namespace) -> int:
    from kosmos.cli.tables import counted, printable
    from kosmos.data.pack_folder import pack_folder

    report = pack_folder(args.folder, args.out, interleaved=args.interleaved, shrink=args.shrink)
    what = "document" if args.interleaved else "pair"
    print(f"{args.out}: {counted(report.records, what)} in {counted(report.tars, 'tar')}")
    for why, count in report.left_out.items():
        print(f"left out, {why}: {count:,}; the first: {printable(report.first[why])}")
    reader = "interleaved_tar" if args.interleaved else "pairs_tar"
    print(f"in a recipe: {{reader: {reader}, path: {args.out}}}")
    return 0
