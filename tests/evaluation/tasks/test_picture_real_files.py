"""The picture tasks on the real files beside the repository: denominators, first and last prompt, constant answers."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from kosmos.document import Image
from kosmos.evaluation.fixtures import write_fixture
from kosmos.evaluation.metrics.answered import Answered, set_metric
from kosmos.evaluation.tasks.cub import GROUPS
from kosmos.evaluation.tasks.imagenet import candidate_names, read_names
from kosmos.evaluation.tasks.table1 import get_benchmark
from kosmos.example import Example
from kosmos.images import decode_image
from tests.evaluation.tasks.golden_pictures import rendered


@pytest.fixture
def data(shared_dir: Path) -> Path:
    """The folder of real files; skips where it is not there."""
    if not (shared_dir / "data").is_dir():
        pytest.skip(f"no real files at {shared_dir / 'data'}")
    return shared_dir / "data"


def digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, ensure_ascii=False).encode()).hexdigest()[:16]


def prompts(name: str, examples: list[Example]) -> list[tuple[str, str]]:
    """First and last: id, and hash of the rendered prompt (the datasets' sentences stay out of the repository)."""
    prompt = get_benchmark(name).prompt()
    return [(example.id, digest(rendered(prompt.context(example)))) for example in (examples[0], examples[-1])]


def test_vizwiz(data: Path) -> None:
    benchmark = get_benchmark("vizwiz")
    questions = benchmark.read(data / "vizwiz", "validation")
    assert len(questions) == benchmark.num_examples["validation"] == 4319
    assert all(len(question.fields["answers"]) == 10 for question in questions)
    assert prompts("vizwiz", questions) == [
        ("VizWiz_val_00000000.jpg", "a84b4e6a8828c079"),
        ("VizWiz_val_00004318.jpg", "f7b5fe3ff749a19f"),
    ]
    assert questions[0].fields["shown_answer"] == "unanswerable"
    source = questions[-1].images[0].source
    assert source == data / "vizwiz" / "val" / "VizWiz_val_00004318.jpg"


@pytest.mark.parametrize(("answer", "percent"), [("unanswerable", 52.12), (None, 94.11)])
def test_vizwiz_constant_and_commonest_answers(answer: str | None, percent: float, data: Path) -> None:
    questions = get_benchmark("vizwiz").read(data / "vizwiz", "validation")
    given = [
        Answered(q.id, answer or str(q.fields["shown_answer"]), answers=tuple(q.fields["answers"])) for q in questions
    ]
    assert round(100 * set_metric("vqa_accuracy").measure(given).value, 2) == percent


def test_vqav2(data: Path, tmp_path: Path) -> None:
    source = data / "vqav2"
    shutil.copyfile(source / "questions.json", tmp_path / "v2_OpenEnded_mscoco_train2014_questions.json")
    shutil.copyfile(source / "annotations.json", tmp_path / "v2_mscoco_train2014_annotations.json")
    shutil.copytree(source / "images", tmp_path / "train2014")
    questions = get_benchmark("vqav2").read(tmp_path, "train")
    assert [question.id for question in questions] == ["458752000", "458752001", "458752002"]
    assert [question.fields["shown_answer"] for question in questions] == ["net", "pitcher", "orange"]
    assert {question.cluster for question in questions} == {"458752"}
    assert all(len(question.fields["answers"]) == 10 for question in questions)
    assert decode_image(questions[0].images[0]).size == (640, 480)
    assert prompts("vqav2", questions) == [("458752000", "8b557f0cd0246fb4"), ("458752002", "7d0582e79bc8fa9d")]


@pytest.mark.parametrize(("split", "count"), [("validation", 5), ("train", 25)])
def test_websrc(split: str, count: int, data: Path) -> None:
    benchmark = get_benchmark("websrc")
    questions = benchmark.read(data / "websrc", split)
    assert len(questions) == count
    for question in questions:
        (answer,) = question.fields["answers"]
        # Every answer but yes and no is a piece of the page, with single spaces as ours.
        assert answer in ("yes", "no") or " ".join(answer.split()) in question.fields["text"]
        assert decode_image(question.images[0]).width > 100
    pins: dict[str, list[tuple[str, str]]] = {
        "validation": [("au080000100000", "1606e37fd6cbff22"), ("au080000100004", "a9a7d065e294ffb0")],
        "train": [("au030056206472", "735778903e9f8460"), ("sp010000100005", "0b3e0afc2ca58768")],
    }
    assert prompts("websrc", questions) == pins[split]


def test_coco_captions(data: Path, tmp_path: Path) -> None:
    """Real references of 4,982 of Karpathy's 5,000 test pictures, put into his form."""
    table = json.loads((data / "coco_caption" / "magic_result.json").read_text())
    images = [
        {
            "filepath": "val2014",
            "filename": entry["image_name"],
            "cocoid": int(entry["image_name"][-16:-4]),
            "split": entry["split"],
            "sentences": [{"raw": caption} for caption in entry["captions"]],
        }
        for entry in table
    ]
    (tmp_path / "dataset_coco.json").write_text(json.dumps({"images": images, "dataset": "coco"}))
    pictures = get_benchmark("coco_caption").read(tmp_path, "test")
    assert len(pictures) == 4982
    assert (pictures[0].id, pictures[-1].id) == ("391895", "74478")
    assert {len(picture.fields["answers"]) for picture in pictures} == {5, 6}
    assert pictures[0].images[0].source == tmp_path / "val2014" / "COCO_val2014_000000391895.jpg"


def test_imagenet_names(data: Path, tmp_path: Path) -> None:
    shutil.copyfile(data / "imagenet" / "class_names.txt", tmp_path / "class_names.txt")
    names = read_names(tmp_path)
    assert (names[0], names[999], len(names)) == ("tench", "toilet paper", 1000)
    assert sorted(name for name in set(names) if names.count(name) > 1) == ["missile", "sunglasses"]
    assert len(candidate_names(tmp_path)) == 998
    folder = write_fixture("imagenet", tmp_path / "small")
    shutil.copyfile(tmp_path / "class_names.txt", folder / "class_names.txt")
    pictures = get_benchmark("imagenet").read(folder, "validation")
    assert [picture.fields["answers"] for picture in pictures] == [["tench"], ["rooster"], ["toilet paper"]]


def test_cub_has_four_of_the_six_categories(data: Path) -> None:
    names = [
        name.replace("-", "_").replace(" ", "_")
        for name in json.loads((data / "cub" / "descriptors_cub.json").read_text())
    ]
    found = {
        category.name: sum(name.endswith(category.folder) for name in names)
        for pair in GROUPS.values()
        for category in pair
    }
    assert found == {
        "three toed woodpecker": 1,
        "downy woodpecker": 1,
        "Gentoo penguin": 0,
        "royal penguin": 0,
        "black throated sparrow": 1,
        "fox sparrow": 1,
    }


def test_rendered_sst2_sentences_drawn_in_the_official_folders(data: Path, tmp_path: Path) -> None:
    """The real labels of the test split, as pictures in folders: 1,821, of which 909 are positive."""
    lines = (data / "rendered_sst2" / "sst2_test.tsv").read_text().splitlines()
    labels = [int(line.rpartition("\t")[2]) for line in lines if line]
    for number, label in enumerate(labels):
        path = tmp_path / "test" / ("negative", "positive")[label] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    benchmark = get_benchmark("rendered_sst2")
    pictures = benchmark.read(tmp_path, "test")
    assert len(pictures) == benchmark.num_examples["test"] == 1821
    assert sum(picture.fields["label"] for picture in pictures) == 909
    assert all(isinstance(picture.images[0], Image) for picture in pictures)
