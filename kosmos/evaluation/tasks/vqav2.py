"""VQAv2: short answers to questions about COCO's pictures (Tables 4 and 5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
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
    question_prompts,
    questions_with_annotations,
)
from kosmos.example import Example


@dataclass(frozen=True)
class _Part:
    """How a split's official files are named: questions and annotations of `subtype`, pictures of `pictures`."""

    subtype: str
    pictures: str
    labelled: bool
    hub: str = ""


_PARTS = {
    "train": _Part("train2014", "train2014", True),
    "validation": _Part("val2014", "val2014", True, "validation"),
    "test_dev": _Part("test-dev2015", "test2015", False, "testdev"),
    "test": _Part("test2015", "test2015", False, "test"),
}


def _read(folder: Path, split: str, paths: Sequence[Path]) -> list[Example]:
    (path,) = paths
    part = _PARTS[split]
    annotations = beside(path, f"v2_mscoco_{part.subtype}_annotations.json") if part.labelled else None
    pictures = picture_folder(folder, part.pictures, f"images/{part.pictures}", "images")
    return [
        _question(row, annotation, _picture(pictures, part, row))
        for row, annotation in questions_with_annotations(path, annotations)
    ]


def _picture(pictures: Path, part: _Part, row: Row) -> Image:
    return PictureFile(pictures / f"COCO_{part.pictures}_{row.integer('image_id'):012d}.jpg")


def _read_hub(split: str, paths: Sequence[Path]) -> list[Example]:
    labelled = _PARTS[split].labelled
    return [_question(row, row if labelled else None, picture) for row, picture in picture_table(paths)]


def _question(row: Row, annotation: Row | None, picture: Image) -> Example:
    fields: dict[str, object] = {"question": row.filled("question"), "answers": []}
    if annotation is not None:
        # Excerpts of the dataset may lack the two keys that can be done without.
        fields["answers"] = answers = given_answers(annotation)
        given = "multiple_choice_answer" in annotation
        fields["shown_answer"] = annotation.filled("multiple_choice_answer") if given else commonest(answers)
        if "answer_type" in annotation:
            fields["answer_type"] = annotation.filled("answer_type")
    return Example(str(row.integer("question_id")), fields, (picture,), cluster=str(row.integer("image_id")))


def read(folder: Path, split: str) -> list[Example]:
    """Splits "train", "validation", "test_dev" and "test"; the last two have no answers."""
    official = {
        name: tuple(f"{place}v2_OpenEnded_mscoco_{part.subtype}_questions.json" for place in ("", "*/"))
        for name, part in _PARTS.items()
    }
    hub: Mapping[str, Sequence[str]] = {name: [part.hub] for name, part in _PARTS.items() if part.hub}
    layouts = (
        Layout("official", official, partial(_read, folder, split)),
        hub_layout("lmms-lab/VQAv2", hub, partial(_read_hub, split)),
    )
    return read_layouts("vqav2", folder, split, layouts)


BENCHMARK = Benchmark(
    name="vqav2",
    title="VQAv2",
    group="vqa",
    mode="generate",
    read=read,
    split="validation",
    prompts=question_prompts(),
    metrics=("vqa_accuracy",),
    source=Source(
        url="https://visualqa.org/download.html",
        licence="questions and answers CC BY 4.0; pictures under the terms of Flickr",
        files=(
            "v2_OpenEnded_mscoco_val2014_questions.json",
            "v2_mscoco_val2014_annotations.json",
            "val2014/COCO_val2014_*.jpg",
        ),
        hub="lmms-lab/VQAv2",
        hub_files=("data/validation-*.parquet",),
        how=(
            "Unpack the v2 files of questions and annotations (v2_OpenEnded_mscoco_val2014_questions.json, "
            "v2_mscoco_val2014_annotations.json; for demonstrations the same of train2014; for the server "
            "v2_OpenEnded_mscoco_test2015_questions.json) into the dataset's folder, and COCO's pictures into "
            "val2014/, train2014/ and test2015/ beside them. The hub's parquet files are taken for all but train."
        ),
    ),
    shots=VQA_SHOTS,
    demonstration_split="train",
    num_examples={"train": 443_757, "validation": 214_354, "test_dev": 107_394, "test": 447_793},
    decoding=VQA_DECODING,
    paper={"vqa_accuracy": {0: 51.0, 2: 51.4, 4: 51.8, 8: 51.4}},
    table="Tables 4 and 5",
    note="Deviation by name, vqav2_validation: the paper's figures are of test-dev, whose answers only the server has. "
    "This scores validation; vqav2_test answers all 447,793 questions of test for a submission, of which test-dev is a "
    "part. A demonstration shows the answer most people gave. The limit of 32 tokens is ours.",
)

VQAV2_TEST = replace(
    BENCHMARK,
    name="vqav2_test",
    title="VQAv2 test, for the server",
    split="test",
    folder="vqav2",
    metrics=(),
    paper={},
    note=UNLABELLED + " The server wants all 447,793 of test, and tells the score of test-dev among them.",
)
