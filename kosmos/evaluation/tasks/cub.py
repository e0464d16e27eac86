"""Birds by their descriptions: which of two alike categories a picture shows (Table 12; descriptions of Table 11).

The paper's 120 pictures were never released. The format read here is a table `images.csv` with the columns `image` (a
file, relative to the table) and `category` (one of the six below). CUB_200_2011 has four of the six categories, with
which it is read directly; penguins it has none: folders `gentoo_penguin/` and `royal_penguin/` beside it are read too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from kosmos.document import Document, Text
from kosmos.errors import DataError
from kosmos.evaluation.benchmark import Benchmark, Prompt, Source
from kosmos.evaluation.readers.dataset_files import Layout, read_csv, read_layouts, read_lines
from kosmos.evaluation.readers.picture_files import PictureFile
from kosmos.example import Example

PICTURES_PER_CATEGORY = 20
_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")


@dataclass(frozen=True)
class Category:
    """One of the six. `folder`: the end of its class's name in CUB_200_2011, or the name of its own folder."""

    name: str
    description: str
    folder: str
    in_cub: bool = True


# Pairs that are told apart, by what they have in common.
GROUPS: dict[str, tuple[Category, Category]] = {
    "woodpecker": (
        Category(
            "three toed woodpecker",
            "It has black and white stripes throughout the body and a yellow crown.",
            "Three_toed_Woodpecker",
        ),
        Category(
            "downy woodpecker",
            "It has white spots on its black wings and some red on its crown.",
            "Downy_Woodpecker",
        ),
    ),
    "penguin": (
        Category(
            "Gentoo penguin",
            "It has a black head and white patch above its eyes.",
            "gentoo_penguin",
            in_cub=False,
        ),
        Category("royal penguin", "It has a white face and a yellow crown.", "royal_penguin", in_cub=False),
    ),
    "sparrow": (
        Category(
            "black throated sparrow",
            "It has white underparts and a distinctive black bib on the throat.",
            "Black_throated_Sparrow",
        ),
        Category("fox sparrow", "It has a reddish-brown plumage and a streaked breast.", "Fox_Sparrow"),
    ),
}


def _find(name: str) -> tuple[str, int] | None:
    """Group and place in it of a category."""
    for group, pair in GROUPS.items():
        for label, category in enumerate(pair):
            if category.name.lower() == name.strip().lower():
                return group, label
    return None


def _example(name: str, group: str, label: int, picture: Path) -> Example:
    names = [category.name for category in GROUPS[group]]
    fields = {"group": group, "categories": names, "label": label, "answers": [names[label]]}
    return Example(name, fields, (PictureFile(picture),))


def _read_table(paths: Sequence[Path]) -> list[Example]:
    (path,) = paths
    examples = []
    for row in read_csv(path):
        found = _find(row.filled("category"))
        if found is None:
            known = ", ".join(category.name for pair in GROUPS.values() for category in pair)
            raise DataError(f"{row.where}: no category '{row.text('category')}'; there are: {known}")
        examples.append(_example(row.filled("image"), *found, path.parent / row.filled("image")))
    return examples


def _read_cub(folder: Path, paths: Sequence[Path]) -> list[Example]:
    """CUB_200_2011: the first 20 pictures of its test set of each category, and the first 20 of each folder."""
    (path,) = paths
    root = path.parent
    classes = _table(root / "classes.txt")
    test = {number for number, training in _table(root / "train_test_split.txt").items() if training == "0"}
    files, labels = _table(root / "images.txt"), _table(root / "image_class_labels.txt")
    examples = []
    for group, pair in GROUPS.items():
        for label, category in enumerate(pair):
            if category.in_cub:
                number = _class_number(root, classes, category)
                chosen = [file for image, file in files.items() if image in test and labels.get(image) == number]
                pictures = [(Path(file).stem, root / "images" / file) for file in chosen]
            else:
                pictures = _of_folder(folder, category)
            examples += [_example(name, group, label, file) for name, file in pictures[:PICTURES_PER_CATEGORY]]
    return examples


def _class_number(root: Path, classes: dict[str, str], category: Category) -> str:
    found = [number for number, name in classes.items() if name.endswith(category.folder)]
    if len(found) != 1:
        raise DataError(f"{root / 'classes.txt'}: {len(found)} classes end in '{category.folder}', not 1")
    return found[0]


def _of_folder(folder: Path, category: Category) -> list[tuple[str, Path]]:
    """The pictures of a category's own folder by name; none where there is no such folder."""
    place = folder / category.folder
    found = sorted(path for path in place.glob("*") if path.suffix.lower() in _SUFFIXES)
    return [(f"{category.folder}/{path.stem}", path) for path in found]


def _table(path: Path) -> dict[str, str]:
    """Lines of a number and a value."""
    found = {}
    for line_number, line in enumerate(read_lines(path), start=1):
        number, _, value = line.partition(" ")
        if not value:
            raise DataError(f"{path}, line {line_number}: a number and a value, not: {line!r}")
        found[number] = value.strip()
    return found


def read(folder: Path, split: str) -> list[Example]:
    """Split "test"."""
    layouts = (
        Layout("a list of pictures", {"test": ("images.csv",)}, _read_table),
        Layout(
            "official CUB_200_2011", {"test": ("CUB_200_2011/classes.txt", "classes.txt")}, partial(_read_cub, folder)
        ),
    )
    return read_layouts("cub", folder, split, layouts)


def descriptions(example: Example) -> str:
    """Both descriptions, a line each."""
    pair = GROUPS[example.fields["group"]]
    return "\n".join(f"Description of {category.name}: {category.description}" for category in pair)


def names_sentence(example: Example) -> str:
    """The two names in a sentence: what stands in the descriptions' place without them."""
    group = example.fields["group"]
    first, second = (category.name for category in GROUPS[group])
    return f"There are two kinds of {group}: {first} and {second}."


def question(example: Example) -> str:
    """As the paper's text has it, without a space behind the colon; the category with its article, as in Figure 1."""
    return f"Question:what is the name of the {example.fields['group']} in the picture? Answer:"


def figure_question(example: Example) -> str:
    """As the paper's Figure 1 has it."""
    return f"Question: what is the name of the {example.fields['group']} in the picture? Answer:"


def _document(before: str, example: Example, after: str) -> Document:
    return Document(Text(before, supervised=False), *example.images, Text(after, supervised=False))


def _answer(example: Example) -> str:
    return f" {example.fields['answers'][0]}"


BENCHMARK = Benchmark(
    name="cub",
    title="Birds by description",
    group="classification",
    mode="generate",
    read=read,
    split="test",
    prompts=(
        Prompt("paper", lambda example: _document(descriptions(example), example, question(example)), _answer),
        Prompt(
            "without_descriptions",
            lambda example: _document(names_sentence(example), example, question(example)),
            _answer,
            note="the two names in a sentence in the descriptions' place; the paper's wording is not known",
        ),
        Prompt(
            "figure_1",
            lambda example: _document(descriptions(example), example, figure_question(example)),
            _answer,
            note="with a space behind `Question:`, as in Figure 1",
        ),
    ),
    metrics=("category_name",),
    source=Source(
        url="https://www.vision.caltech.edu/datasets/cub_200_2011/",
        licence="CUB_200_2011: research only; pictures under the terms of Flickr",
        files=(
            "CUB_200_2011/classes.txt",
            "CUB_200_2011/images/*/*.jpg",
            "gentoo_penguin/*.jpg",
            "royal_penguin/*.jpg",
        ),
        gated=True,
        how=(
            "The paper's 120 pictures were never released. Unpack CUB_200_2011.tgz into the dataset's folder "
            "(CUB_200_2011/classes.txt): the first 20 test pictures of its four categories are taken. It has no "
            "penguins: put 20 pictures each into gentoo_penguin/ and royal_penguin/. Or bring images.csv with the "
            "columns image and category; it is read first."
        ),
    ),
    num_examples={"test": 120},
    decoding={"num_beams": 1, "max_new_tokens": 32},
    chance=0.5,
    paper={"category_name": {0: 90.0}},
    table="Table 12",
    note="Without descriptions (without_descriptions) the paper has 61.7. Deviation by name, cub_own_pictures: other "
    "pictures than the paper's. Right is an answer that names exactly one of the two by a word that only its name has "
    "(`Downy`). The limit of 32 tokens is ours.",
)
