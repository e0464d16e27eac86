"""VizWiz: questions that blind people asked about their own photographs (Tables 4 and 5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from kosmos.document import Image
from kosmos.evaluation.benchmark import Benchmark, Source
from kosmos.evaluation.readers.dataset_files import Layout, Row, hub_layout, read_layouts
from kosmos.evaluation.readers.picture_files import PictureFile, picture_folder, picture_table
from kosmos.evaluation.tasks.questions import (
    UNLABELLED,
    VQA_DECODING,
    VQA_SHOTS,
    beside,
    commonest,
    given_answers,
    json_rows,
    question_prompts,
    questions_with_annotations,
)
from kosmos.example import Example

# Our split -> the official name of files and pictures.
_NAMES = {"train": "train", "validation": "val", "test": "test"}


def _pictures(folder: Path, split: str) -> Path:
    name = _NAMES[split]
    return picture_folder(folder, name, f"images/{name}", f"Images/{name}", "images")


def _read(folder: Path, split: str, paths: Sequence[Path]) -> list[Example]:
    (path,) = paths
    pictures = _pictures(folder, split)
    return [
        _question(row, row.filled("image"), given_answers(row), PictureFile(pictures / row.filled("image")))
        for row in json_rows(path)
    ]


def _read_vqa_form(folder: Path, split: str, paths: Sequence[Path]) -> list[Example]:
    """VizWiz rewritten in VQAv2's form, as few-shot harnesses have it: `image_id` is the picture's file."""
    (path,) = paths
    name, pictures = _NAMES[split], _pictures(folder, split)
    annotations = None if split == "test" else beside(path, f"{name}_annotations_vqa_format.json")
    examples = []
    for row, annotation in questions_with_annotations(path, annotations):
        picture = row.filled("image_id")
        answers = given_answers(annotation) if annotation is not None else []
        examples.append(_question(row, picture, answers, PictureFile(pictures / picture)))
    return examples


def _read_hub(split: str, paths: Sequence[Path]) -> list[Example]:
    examples = []
    for row, picture in picture_table(paths):
        name = row.filled("question_id")
        answers = given_answers(row) if split != "test" else []
        examples.append(_question(row, name if name.endswith(".jpg") else f"{name}.jpg", answers, picture))
    return examples


def _question(row: Row, name: str, answers: list[str], picture: Image) -> Example:
    fields: dict[str, object] = {"question": row.filled("question"), "answers": answers}
    if answers:
        fields["shown_answer"] = commonest(answers)
    kind = row.values.get("answer_type") or row.values.get("category")
    if isinstance(kind, str):
        fields["answer_type"] = kind
    return Example(name, fields, (picture,))


def read(folder: Path, split: str) -> list[Example]:
    """Splits "train", "validation" and "test" (without answers). Ids are the pictures' files."""
    official = {ours: (f"{name}.json", f"Annotations/{name}.json") for ours, name in _NAMES.items()}
    vqa_form = {ours: (f"{name}_questions_vqa_format.json",) for ours, name in _NAMES.items()}
    layouts = (
        Layout("official", official, partial(_read, folder, split)),
        Layout("in VQAv2's form", vqa_form, partial(_read_vqa_form, folder, split)),
        hub_layout("lmms-lab/VizWiz-VQA", {"validation": ["val"], "test": ["test"]}, partial(_read_hub, split)),
    )
    return read_layouts("vizwiz", folder, split, layouts)


BENCHMARK = Benchmark(
    name="vizwiz",
    title="VizWiz",
    group="vqa",
    mode="generate",
    read=read,
    split="validation",
    prompts=question_prompts(),
    metrics=("vqa_accuracy",),
    source=Source(
        url="https://vizwiz.org/tasks-and-datasets/vqa/",
        licence="CC BY 4.0",
        files=("Annotations/val.json", "val/VizWiz_val_*.jpg"),
        hub="lmms-lab/VizWiz-VQA",
        hub_files=("data/val-*.parquet",),
        how=(
            "Unpack Annotations.zip (Annotations/val.json and train.json; test.json for the server) and val.zip, and "
            "train.zip for demonstrations, into the dataset's folder: the pictures lie in val/ and train/. The hub's "
            "parquet files are taken for all but train; files in VQAv2's form (val_questions_vqa_format.json) too."
        ),
    ),
    shots=VQA_SHOTS,
    demonstration_split="train",
    num_examples={"train": 20_523, "validation": 4319, "test": 8000},
    decoding=VQA_DECODING,
    paper={"vqa_accuracy": {0: 29.2, 2: 31.4, 4: 35.3, 8: 39.0}},
    table="Tables 4 and 5",
    note="Deviation by name, vizwiz_validation: the paper's figures are of test-dev, whose answers only the server "
    "has. This scores validation; vizwiz_test writes the answers of test for a submission. Always answering "
    "unanswerable scores 52.12. A demonstration shows the answer most people gave. The limit of 32 tokens is ours.",
)

VIZWIZ_TEST = replace(
    BENCHMARK,
    name="vizwiz_test",
    title="VizWiz test, for the server",
    split="test",
    folder="vizwiz",
    metrics=(),
    paper={},
    note=UNLABELLED,
)
