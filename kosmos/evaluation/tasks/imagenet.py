"""ImageNet: the name of what a picture shows, free and held to the 1,000 names (Table 10)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from kosmos.document import Image
from kosmos.errors import DataError
from kosmos.evaluation.benchmark import Benchmark, Source
from kosmos.evaluation.readers.dataset_files import Layout, hub_layout, read_csv, read_layouts, read_lines
from kosmos.evaluation.readers.picture_files import PictureFile, picture_folder, picture_table
from kosmos.evaluation.tasks.picture_prompts import free_prompt
from kosmos.example import Example

NAMES_FILE = "class_names.txt"
NUM_CLASSES = 1000
# A synset (WordNet id) is a letter and eight digits; a class's number is its synset's rank.
_SYNSET = "n" + "[0-9]" * 8
_MAPPING = ("LOC_synset_mapping.txt", "synset_words.txt", "synsets.txt", "imagenet_synsets.txt")


def read_names(folder: Path) -> list[str]:
    """The 1,000 names in the order of the classes; two of them occur twice."""
    path = folder / NAMES_FILE
    names = [name.strip() for name in read_lines(path)]
    if len(names) != NUM_CLASSES or not all(names):
        raise DataError(f"{path}: must have {NUM_CLASSES} names, one a line in the order of the classes")
    return names


def candidate_names(folder: Path) -> list[str]:
    """What an answer is held to: each name once, with the space before it."""
    return [f" {name}" for name in dict.fromkeys(read_names(folder))]


def _read_folders(folder: Path, paths: Sequence[Path]) -> list[Example]:
    """Paths .../SYNSET/PICTURE.JPEG; ids are the names of the files, whose order is that of the flat folder."""
    names = read_names(folder)
    present = sorted({path.parent.name for path in paths})
    classes = {synset: number for number, synset in enumerate(_synsets(folder) or present)}
    if len(classes) != NUM_CLASSES:
        raise DataError(
            f"{folder}: {len(classes)} folders of classes instead of {NUM_CLASSES}, and no {_MAPPING[0]} that says "
            "which are missing"
        )
    unknown = [synset for synset in present if synset not in classes]
    if unknown:
        raise DataError(f"{folder}: the folder {unknown[0]} is none of the {NUM_CLASSES} classes")
    ordered = sorted(paths, key=lambda path: path.name)
    return [_picture(path.stem, classes[path.parent.name], names, PictureFile(path)) for path in ordered]


def _synsets(folder: Path) -> list[str]:
    """The classes' synsets in order, from a file that begins each line with one; [] without such a file."""
    for name in _MAPPING:
        if (folder / name).is_file():
            return sorted(line.split()[0] for line in read_lines(folder / name) if line.strip())
    return []


def _read_list(folder: Path, paths: Sequence[Path]) -> list[Example]:
    """val.txt: a picture's file and the number of its class, from 0, on each line."""
    (path,) = paths
    names, pictures = read_names(folder), _flat(folder)
    examples = []
    for number, line in enumerate(read_lines(path), start=1):
        parts = line.split()
        if len(parts) != 2 or not parts[1].isdigit() or int(parts[1]) >= NUM_CLASSES:
            raise DataError(f"{path}, line {number}: a file and a class from 0 to 999, not: {line!r}")
        name = Path(parts[0]).name
        examples.append(_picture(Path(name).stem, int(parts[1]), names, PictureFile(pictures / name)))
    return examples


def _read_solution(folder: Path, paths: Sequence[Path]) -> list[Example]:
    """Kaggle's table: ImageId, and PredictionString that begins with the synset."""
    (path,) = paths
    names, pictures = read_names(folder), _flat(folder)
    classes = {synset: number for number, synset in enumerate(_synsets(folder))}
    if len(classes) != NUM_CLASSES:
        raise DataError(f"{path}: needs {_MAPPING[0]} beside it, with {NUM_CLASSES} synsets")
    examples = []
    for row in sorted(read_csv(path), key=lambda row: row.text("ImageId")):
        synset = row.filled("PredictionString").split()[0]
        if synset not in classes:
            raise DataError(f"{row.where}: no class '{synset}'")
        name = row.filled("ImageId")
        examples.append(_picture(name, classes[synset], names, PictureFile(pictures / f"{name}.JPEG")))
    return examples


def _flat(folder: Path) -> Path:
    return picture_folder(folder, "val", "ILSVRC2012_img_val", "ILSVRC/Data/CLS-LOC/val")


def _read_hub(folder: Path, paths: Sequence[Path]) -> list[Example]:
    names = read_names(folder)
    examples = []
    for row, picture in picture_table(paths):
        number = row.integer("label")
        if not 0 <= number < NUM_CLASSES:
            raise DataError(f"{row.where}: 'label' must be a class from 0 to 999, not {number}")
        examples.append(_picture(str(row.index), number, names, picture))
    return examples


def _picture(name: str, number: int, names: Sequence[str], picture: Image) -> Example:
    return Example(name, {"label": number, "answers": [names[number]]}, (picture,))


def read(folder: Path, split: str) -> list[Example]:
    """Split "validation"."""
    layouts = (
        Layout(
            "folders of synsets",
            {"validation": tuple(f"{place}{_SYNSET}/*.JPEG" for place in ("val/", "validation/", ""))},
            partial(_read_folders, folder),
            shards=True,
            wanted={"validation": "val/n01440764/*.JPEG"},
        ),
        Layout("a flat folder and a list", {"validation": ("val.txt",)}, partial(_read_list, folder)),
        Layout("Kaggle's", {"validation": ("LOC_val_solution.csv",)}, partial(_read_solution, folder)),
        hub_layout("ILSVRC/imagenet-1k", {"validation": ["validation"]}, partial(_read_hub, folder)),
    )
    return read_layouts("imagenet", folder, split, layouts)


BENCHMARK = Benchmark(
    name="imagenet",
    title="ImageNet",
    group="classification",
    mode="names",
    read=read,
    split="validation",
    prompts=(free_prompt("paper", lambda example: "The photo of the", lambda example: example.fields["answers"][0]),),
    metrics=("exact_name",),
    source=Source(
        url="https://image-net.org/download.php",
        licence="ImageNet's terms of access: research and education, not to be passed on",
        files=(NAMES_FILE, "val/n*/*.JPEG"),
        hub="ILSVRC/imagenet-1k",
        hub_files=(NAMES_FILE, "data/validation-*.parquet"),
        gated=True,
        how=(
            "Put class_names.txt into the dataset's folder: 1,000 names, one a line in the order of the classes, as in "
            "CLIP's notebook on ImageNet prompts (open_clip has them as IMAGENET_CLASSNAMES). The pictures need an "
            "account at image-net.org: put the 50,000 of validation into val/, in folders by synset (val/n*/*.JPEG), "
            "or flat with a val.txt of file and class, or as Kaggle serves them (LOC_val_solution.csv, "
            "LOC_synset_mapping.txt). The hub's parquet files of ILSVRC/imagenet-1k (terms to accept) are taken too."
        ),
    ),
    num_examples={"validation": 50_000},
    decoding={"num_beams": 2, "max_new_tokens": 16},
    names=candidate_names,
    chance=1 / NUM_CLASSES,
    paper={"exact_name": {0: 4.0}},
    table="Table 10",
    note="Held to the names the paper has 38.1. Right is the category's name, letter by letter. 998 of the 1,000 names "
    "are different: `missile` and `sunglasses` belong to two classes each, and count as right for both. Not known: "
    "which list of names the paper used; this is the common one. The limit of 16 tokens is ours (the longest name has "
    "12).",
)
