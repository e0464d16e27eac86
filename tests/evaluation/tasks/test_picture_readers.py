"""Readers of the picture tasks: official files, the hub's form, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from kosmos.document import Image
from kosmos.errors import ConfigError, DataError, ImageError, UsageError
from kosmos.evaluation.fixtures import WRITERS, write_fixture
from kosmos.evaluation.fixtures.files import write_csv, write_jsonl, write_lines, write_parquet
from kosmos.evaluation.readers import picture_files
from kosmos.evaluation.readers.picture_files import PictureFile, TablePicture, picture_table
from kosmos.evaluation.running.demonstrations import draw_demonstrations
from kosmos.evaluation.tasks.imagenet import candidate_names, read_names
from kosmos.evaluation.tasks.page_text import page_text
from kosmos.evaluation.tasks.table1 import BENCHMARKS, TABLE1, get_benchmark
from kosmos.evaluation.tasks.websrc import site_split
from kosmos.example import Example
from kosmos.images import decode_image
from tests.evaluation.tasks.golden_pictures import PROTOCOL


def pixels(image: Image) -> tuple[int, int, int]:
    red, green, blue = np.asarray(decode_image(image))[0, 0].tolist()
    return red, green, blue


def near(one: Image, other: Image) -> bool:
    """The same patch, one perhaps as a JPEG."""
    return all(abs(a - b) <= 6 for a, b in zip(pixels(one), pixels(other)))


@pytest.mark.parametrize("name", [name for name in PROTOCOL if name not in ("iq50", "cub")])
def test_both_forms_give_the_same_examples(name: str, tmp_path: Path) -> None:
    benchmark = get_benchmark(name)
    official = benchmark.read(write_fixture(name, tmp_path / "official", "official"), benchmark.split)
    hub = benchmark.read(write_fixture(name, tmp_path / "hub", "hub"), benchmark.split)
    assert len(official) == len(hub) >= 3
    for one, other in zip(official, hub):
        # The hub has neither the text of pages nor whether a question can be answered.
        assert {**one.fields, "text": ""} == {**other.fields, "text": ""}
        assert (one.cluster != "") == (other.cluster != "")
        assert all(near(first, second) for first, second in zip(one.images, other.images, strict=True))
    assert official[0].meta["layout"] != hub[0].meta["layout"]


@pytest.mark.parametrize("name", PROTOCOL)
def test_ids_are_unique_and_every_picture_is_there(name: str, tmp_path: Path) -> None:
    benchmark = get_benchmark(name)
    folder = write_fixture(name, tmp_path)
    for split in {benchmark.split, benchmark.demonstration_split or benchmark.split}:
        examples = benchmark.read(folder, split)
        assert len({example.id for example in examples}) == len(examples) >= 3
        for example in examples:
            assert example.images and all(decode_image(image).size == (16, 16) for image in example.images)
            assert "label" in example.fields or example.fields["answers"]
            for prompt in benchmark.prompts:
                assert prompt.answer(Example(example.id, {**example.fields, "rationale": ""})).startswith(" ")


@pytest.mark.parametrize("name", PROTOCOL)
def test_an_empty_folder_is_refused_with_what_was_looked_for(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        get_benchmark(name).read(tmp_path, PROTOCOL[name].split)
    message = str(caught.value)
    assert str(tmp_path) in message and "looked for" in message and "the folder is empty" in message
    assert f"kosmos eval prepare {name}" in message


@pytest.mark.parametrize("name", PROTOCOL)
def test_unknown_splits_are_told(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"{name} has no split 'tst'"):
        get_benchmark(name).read(tmp_path, "tst")


def test_every_dataset_of_table1_has_small_files() -> None:
    assert set(WRITERS) == {benchmark.name for benchmark in TABLE1}


@pytest.mark.parametrize(
    ("name", "count"), [("vqav2_test", 3), ("vizwiz_test", 3), ("websrc_test", 1)]
)  # fmt: skip
def test_splits_without_answers(name: str, count: int, tmp_path: Path) -> None:
    benchmark = BENCHMARKS[name]
    questions = benchmark.read(write_fixture(benchmark.folder, tmp_path), benchmark.split)
    assert len(questions) == count
    assert all(question.fields["answers"] == [] and decode_image(question.images[0]) for question in questions)


def test_vqav2_test_dev_is_part_of_test(tmp_path: Path) -> None:
    folder = write_fixture("vqav2", tmp_path)
    part, whole = (get_benchmark("vqav2").read(folder, split) for split in ("test_dev", "test"))
    assert {one.id for one in part} < {one.id for one in whole}


def test_restval_is_training_data(tmp_path: Path) -> None:
    folder = write_fixture("coco_caption", tmp_path)
    benchmark = get_benchmark("coco_caption")
    train = benchmark.read(folder, "train")
    assert [example.id for example in train] == ["1", "2", "3", "5", "6", "7", "8", "9", "10"]
    assert [example.id for example in benchmark.read(folder, "validation")] == ["4"]
    assert [example.id for example in benchmark.read(folder, "test")] == ["11", "12", "13", "14"]


def test_the_hubs_flickr_test_split_is_not_karpathys(tmp_path: Path) -> None:
    """All rows of the hub are in a split that it calls test; the column tells the real one."""
    rows = [
        {"image": {"bytes": b"", "path": None}, "caption": [f"Caption {n}."], "sentids": ["0"], "split": split,
         "img_id": str(n), "filename": f"{n}.jpg"}
        for n, split in enumerate(["train", "train", "test", "val", "test"])
    ]  # fmt: skip
    write_parquet(tmp_path / "data", "test", rows)
    benchmark = get_benchmark("flickr30k")
    assert [example.id for example in benchmark.read(tmp_path, "test")] == ["2.jpg", "4.jpg"]
    assert [example.fields["answers"] for example in benchmark.read(tmp_path, "train")] == [
        ["Caption 0."],
        ["Caption 1."],
    ]


@pytest.mark.parametrize("name", [name for name, protocol in PROTOCOL.items() if protocol.demonstrations])
def test_a_thousand_draws_of_demonstrations_come_from_training(name: str, tmp_path: Path) -> None:
    benchmark = get_benchmark(name)
    folder = write_fixture(name, tmp_path)
    assert benchmark.demonstration_split == "train"
    pool = benchmark.read(folder, "train")
    allowed = {id(example) for example in pool}
    (first, *_) = benchmark.read(folder, benchmark.split)
    for number in range(1000):
        asked = Example(f"{first.id}/{number}", first.fields, first.images)
        four = draw_demonstrations(name, asked, pool, 4, seed=0, same_split=False)
        assert {id(example) for example in four} <= allowed and len({example.id for example in four}) == 4


def test_vizwiz_in_the_form_of_vqav2(tmp_path: Path) -> None:
    official = write_fixture("vizwiz", tmp_path)
    benchmark = get_benchmark("vizwiz")
    rows = json.loads((official / "Annotations" / "val.json").read_text())
    other = tmp_path / "other"
    questions = [{"question": r["question"], "image_id": r["image"], "question_id": n} for n, r in enumerate(rows)]
    write_lines(other / "val_questions_vqa_format.json", [json.dumps({"questions": questions})])
    with pytest.raises(DataError, match=r"val_annotations_vqa_format\.json are not beside it"):
        benchmark.read(other, "validation")
    annotations = [{"question_id": n, "answers": r["answers"]} for n, r in enumerate(rows)]
    write_lines(other / "val_annotations_vqa_format.json", [json.dumps({"annotations": annotations})])
    read = benchmark.read(other, "validation")
    assert [(e.id, e.fields["answers"], e.fields["shown_answer"]) for e in read] == [
        (e.id, e.fields["answers"], e.fields["shown_answer"]) for e in benchmark.read(official, "validation")
    ]
    write_lines(other / "val_annotations_vqa_format.json", [json.dumps({"annotations": annotations[1:]})])
    with pytest.raises(DataError, match=r"questions\[0\]: question 0 has no annotation in"):
        benchmark.read(other, "validation")


def test_websrc_yes_and_no_in_words_and_in_numbers(tmp_path: Path) -> None:
    folder = write_fixture("websrc", tmp_path)
    benchmark = get_benchmark("websrc")
    in_words = benchmark.read(folder, "validation")[-1]
    assert (in_words.id, in_words.fields["answers"]) == ("bo170000200001", ["yes"])
    rows = [
        {"question": "?", "id": f"bo17000020000{start}", "element_id": -1, "answer_start": start, "answer": ""}
        for start in (0, 1)
    ]
    write_csv(folder / "book" / "17" / "dataset.csv", rows)
    assert [q.fields["answers"] for q in benchmark.read(folder, "validation")[-2:]] == [["no"], ["yes"]]


def test_websrc_splits_go_by_website(tmp_path: Path) -> None:
    assert [site_split(site) for site in ("au08", "ho07", "au03", "un10")] == [
        "validation",
        "test",
        "train",
        "train",
    ]
    benchmark = get_benchmark("websrc")
    folder = write_fixture("websrc", tmp_path)
    assert [question.id for question in benchmark.read(folder, "train")] == ["au030000100000"]
    # Pages of different websites may have the same number.
    assert {question.cluster for question in benchmark.read(folder, "validation")} == {"au0800001", "bo1700002"}


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<html><head><title>T</title><style>p {}</style></head><body><p>One</p><p>two</p></body></html>", "One two"),
        ("<p>H<sub>2</sub>O &amp; <b>s</b>alt</p>", "H2O & salt"),
        ("<body>a<script>if (1 < 2) {}</script>b<br>c</body>", "a b c"),
        ("<head><title>never closed<body>seen</body>", "seen"),
        ("<div>  much \n\n white\tspace </div>", "much white space"),
        ("", ""),
    ],
)
def test_text_of_a_page(html: str, text: str) -> None:
    assert page_text(html) == text


def test_imagenet_twins_and_names(tmp_path: Path) -> None:
    folder = write_fixture("imagenet", tmp_path)
    pictures = get_benchmark("imagenet").read(folder, "validation")
    assert [picture.fields["label"] for picture in pictures] == [0, 7, 999]
    assert [picture.fields["answers"] for picture in pictures] == [["red patch"], ["twin thing"], ["twin thing"]]
    assert len(read_names(folder)) == 1000
    names = candidate_names(folder)
    assert len(names) == len(set(names)) == 999 and all(name.startswith(" ") for name in names)
    write_lines(folder / "class_names.txt", ["one", "two"])
    with pytest.raises(DataError, match=r"class_names\.txt: must have 1000 names"):
        read_names(folder)


def test_imagenet_flat_forms(tmp_path: Path) -> None:
    folder = write_fixture("imagenet", tmp_path)
    benchmark = get_benchmark("imagenet")
    wanted = [(p.id, p.fields, pixels(p.images[0])) for p in benchmark.read(folder, "validation")]
    synsets = {}
    for path in sorted((folder / "val").glob("*/*.JPEG")):
        synsets[path.stem] = path.parent.name
        path.rename(folder / "val" / path.name)
        path.parent.rmdir()
    labels = [fields["label"] for _, fields, _ in wanted]
    write_lines(folder / "val.txt", [f"{name}.JPEG {label}" for name, label in zip(synsets, labels)])
    assert [(p.id, p.fields, pixels(p.images[0])) for p in benchmark.read(folder, "validation")] == wanted
    (folder / "val.txt").unlink()
    rows = [{"ImageId": name, "PredictionString": f"{synset} 1 2 3 4 "} for name, synset in synsets.items()]
    write_csv(folder / "LOC_val_solution.csv", rows[::-1])
    assert [(p.id, p.fields, pixels(p.images[0])) for p in benchmark.read(folder, "validation")] == wanted
    (folder / "synset_words.txt").unlink()
    with pytest.raises(DataError, match=r"LOC_val_solution\.csv: needs LOC_synset_mapping\.txt beside it"):
        benchmark.read(folder, "validation")


def test_imagenet_folders_need_all_classes_or_their_list(tmp_path: Path) -> None:
    folder = write_fixture("imagenet", tmp_path)
    (folder / "synset_words.txt").unlink()
    with pytest.raises(DataError, match=r"3 folders of classes instead of 1000, and no LOC_synset_mapping\.txt"):
        get_benchmark("imagenet").read(folder, "validation")


def test_cub_takes_20_test_pictures_of_its_four_categories(tmp_path: Path) -> None:
    folder = write_fixture("cub", tmp_path, "hub")
    root = folder / "CUB_200_2011"
    classes = [line.partition(".")[2] for line in (root / "classes.txt").read_text().splitlines()]
    images, labels, split = [], [], []
    for number in range(1, 4 * 50 + 1):
        label = (number - 1) // 50 + 1
        images.append(f"{number} {label:03d}.{classes[label - 1]}/{number}.jpg")
        labels.append(f"{number} {label}")
        split.append(f"{number} {number % 2}")
    for name, lines in (("images", images), ("image_class_labels", labels), ("train_test_split", split)):
        write_lines(root / f"{name}.txt", lines)
    birds = get_benchmark("cub").read(folder, "test")
    by_name: dict[str, list[str]] = {}
    for bird in birds:
        by_name.setdefault(bird.fields["answers"][0], []).append(bird.id)
    assert {name: len(found) for name, found in by_name.items()} == {
        "three toed woodpecker": 20,
        "downy woodpecker": 20,
        "Gentoo penguin": 1,
        "royal penguin": 1,
        "black throated sparrow": 20,
        "fox sparrow": 20,
    }
    assert by_name["downy woodpecker"][:2] == ["52", "54"]  # test pictures have an even number here
    write_lines(root / "classes.txt", ["1 001.Albatross"])
    with pytest.raises(DataError, match=r"classes\.txt: 0 classes end in 'Three_toed_Woodpecker', not 1"):
        get_benchmark("cub").read(folder, "test")


def test_cub_list_names_its_categories(tmp_path: Path) -> None:
    write_csv(tmp_path / "images.csv", [{"image": "a.jpg", "category": "gentoo Penguin"}])
    (bird,) = get_benchmark("cub").read(tmp_path, "test")
    assert bird.fields["categories"] == ["Gentoo penguin", "royal penguin"] and bird.fields["label"] == 0
    write_csv(tmp_path / "images.csv", [{"image": "a.jpg", "category": "hen"}])
    with pytest.raises(DataError, match=r"images\.csv, line 2: no category 'hen'; there are: three toed woodpecker"):
        get_benchmark("cub").read(tmp_path, "test")


def test_old_hateful_memes_call_the_validation_set_dev(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "dev.jsonl", [{"id": 8291, "img": "img/08291.png", "label": 1, "text": ""}])
    (meme,) = get_benchmark("hateful_memes").read(tmp_path, "validation")
    assert (meme.id, meme.images[0].source) == ("8291", tmp_path / "img" / "08291.png")
    write_jsonl(tmp_path / "test_seen.jsonl", [{"id": 1, "img": "img/1.png", "text": ""}])
    with pytest.raises(DataError, match=r"test_seen\.jsonl, line 1: no 'label'"):
        get_benchmark("hateful_memes").read(tmp_path, "test_seen")


def test_a_picture_in_a_wrong_folder_is_named(tmp_path: Path) -> None:
    path = tmp_path / "test" / "neutral" / "0.png"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"")
    with pytest.raises(DataError, match=r"0\.png: the folder of a picture must be negative or positive, not 'neutral'"):
        get_benchmark("rendered_sst2").read(tmp_path, "test")


def test_a_missing_picture_is_named_when_it_is_needed(tmp_path: Path) -> None:
    folder = write_fixture("vizwiz", tmp_path)
    (folder / "val" / "VizWiz_val_00000000.jpg").unlink()
    (first, *_) = get_benchmark("vizwiz").read(folder, "validation")
    with pytest.raises(ImageError, match=r"VizWiz_val_00000000\.jpg: cannot read the picture: No such file"):
        decode_image(first.images[0])


def test_pictures_are_not_kept(tmp_path: Path) -> None:
    folder = write_fixture("vizwiz", tmp_path)
    (first, *_) = get_benchmark("vizwiz").read(folder, "validation")
    (picture,) = first.images
    assert isinstance(picture, PictureFile) and picture == Image(picture.source)
    assert picture.data == Path(picture.source).read_bytes()
    assert not [value for value in vars(picture).values() if isinstance(value, bytes)]


def test_pictures_of_a_table_are_read_by_row_group(tmp_path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    path = tmp_path / "t.parquet"
    cells = [{"bytes": bytes([number] * 3), "path": None} for number in range(7)]
    table = pyarrow.table({"n": list(range(7)), "image": cells})
    parquet.write_table(table, path, row_group_size=3)
    rows = picture_table([path])
    assert [row.integer("n") for row, _ in rows] == list(range(7))
    assert [picture.data for _, picture in rows] == [bytes([number] * 3) for number in range(7)]
    assert rows[4][1] == Image(bytes([4] * 3))
    assert rows[4][1].where == f"{path}, row 4, column image"
    assert not [value for value in vars(rows[4][1]).values() if isinstance(value, bytes)]


def test_cells_of_a_table(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"beside")
    records: list[dict[str, object]] = [
        {"image": "AAEC"},
        {"image": "data:image/png;base64,AwQF"},
        {"image": "no base64!"},
        {"image": None},
    ]
    write_parquet(tmp_path / "texts", "x", records)
    write_parquet(tmp_path / "paths", "x", [{"image": {"bytes": None, "path": "../a.png"}}])
    texts, paths = ([p for _, p in picture_table(sorted((tmp_path / n).glob("*")))] for n in ("texts", "paths"))
    assert [texts[0].data, texts[1].data, paths[0].data] == [b"\x00\x01\x02", b"\x03\x04\x05", b"beside"]
    with pytest.raises(ImageError, match=r"row 2, column image: the picture is not base64"):
        len(texts[2].data or b"")
    with pytest.raises(ImageError, match=r"row 3, column image: there is no picture in this cell"):
        len(texts[3].data or b"")


def test_tables_without_pictures_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_parquet(tmp_path, "test", [{"picture": 1, "label": 0}])
    (path,) = tmp_path.glob("*.parquet")
    with pytest.raises(DataError, match=r"no column 'image' with the pictures; there are: picture, label"):
        picture_table([path])
    path.write_bytes(b"PAR1 broken")
    picture_files._open.cache_clear()
    with pytest.raises(DataError, match=r"cannot read the table"):
        picture_table([path])
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    picture_files._open.cache_clear()
    with pytest.raises(ConfigError, match=r"parquet needs pyarrow: pip install 'kosmos\[data\]'"):
        picture_table([path])


def test_a_table_that_changed_is_told(tmp_path: Path) -> None:
    write_parquet(tmp_path, "test", [{"image": "AAEC"}])
    (path,) = tmp_path.glob("*.parquet")
    with pytest.raises(DataError, match="the table has changed since it was read"):
        len(TablePicture("x", path=path, row=5).data)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"given": ["a.png"] * 5}, r"item 1: 'given' must have 3, 4 or 8 pictures, not 5"),
        ({"candidates": ["a.png"] * 5}, r"item 1: 'candidates' must have 6 strings, not 5"),
        ({"answer": 0}, r"item 1: 'answer' must be a number from 1 to 6, not 0"),
        ({"answer": 7}, r"item 1: 'answer' must be a number from 1 to 6, not 7"),
        ({"id": None}, r"item 1: no 'id'"),
    ],
)
def test_iq_items_are_checked(change: dict[str, object], message: str, tmp_path: Path) -> None:
    item = {"id": "1", "given": ["a.png"] * 3, "candidates": ["b.png"] * 6, "answer": 6}
    table = {"format": "kosmos-iq-1", "items": [item]}
    (tmp_path / "iq.json").write_text(json.dumps(table))
    (read,) = get_benchmark("iq50").read(tmp_path, "test")
    assert (read.fields, read.meta["stand_in"], len(read.images)) == ({"given": 3, "label": 5}, False, 9)
    (tmp_path / "iq.json").write_text(json.dumps({**table, "items": [{**item, **change}]}))
    with pytest.raises(DataError, match=message):
        get_benchmark("iq50").read(tmp_path, "test")


@pytest.mark.parametrize("content", ["[]", '{"items": []}', "{", '{"format": "kosmos-iq-2", "items": []}'])
def test_another_format_of_iq_items_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "iq.json").write_text(content)
    with pytest.raises(DataError, match=r"iq\.json: "):
        get_benchmark("iq50").read(tmp_path, "test")
