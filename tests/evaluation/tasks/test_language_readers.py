"""Readers of the language tasks: official files, the hub's form, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from kosmos.errors import DataError, KosmosError, UsageError
from kosmos.evaluation.fixtures import WRITERS, write_fixture
from kosmos.evaluation.tasks.table1 import get_benchmark
from kosmos.evaluation.tasks.winograd import LAYOUTS as WINOGRAD_LAYOUTS
from kosmos.example import Example
from tests.evaluation.tasks.golden_language import PROTOCOL

ONE_FORM = ("relative_size", "color_terms")


def content(example: Example) -> tuple[object, ...]:
    return example.fields, example.cluster != ""


@pytest.mark.parametrize("name", [name for name in PROTOCOL if name not in ONE_FORM])
def test_both_forms_give_the_same_examples(name: str, tmp_path: Path) -> None:
    benchmark = get_benchmark(name)
    official = write_fixture(name, tmp_path / "official", "official")
    hub = write_fixture(name, tmp_path / "hub", "hub")
    for split in {benchmark.split, benchmark.demonstration_split or benchmark.split}:
        one, other = benchmark.read(official, split), benchmark.read(hub, split)
        assert [content(example) for example in one] == [content(example) for example in other]
        assert len(one) >= 4
        assert one[0].meta["layout"] != other[0].meta["layout"]


@pytest.mark.parametrize("name", PROTOCOL)
def test_ids_are_unique_and_labels_point_at_candidates(name: str, tmp_path: Path) -> None:
    benchmark = get_benchmark(name)
    examples = benchmark.read(write_fixture(name, tmp_path), benchmark.split)
    assert len({example.id for example in examples}) == len(examples)
    for example in examples:
        for prompt in benchmark.prompts:
            options = (prompt.candidates or prompt.contexts)(example)  # type: ignore[misc]
            assert 0 <= example.fields["label"] < len(options)
            assert prompt.answer(example).startswith(" ")


@pytest.mark.parametrize("name", PROTOCOL)
def test_an_empty_folder_is_refused_with_what_was_looked_for(name: str, tmp_path: Path) -> None:
    benchmark = get_benchmark(name)
    with pytest.raises(DataError) as caught:
        benchmark.read(tmp_path, benchmark.split)
    message = str(caught.value)
    assert str(tmp_path) in message and "looked for" in message and "the folder is empty" in message
    assert any(pattern.replace("*", "") in message.replace("*", "") for pattern in benchmark.source.files)
    assert f"kosmos eval prepare {name}" in message
    hub = [pattern for pattern in benchmark.source.hub_files if benchmark.split in pattern]
    assert not hub or hub[0] in message


def test_a_wrong_layout_names_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "questions.txt").write_text("?")
    (tmp_path / "pictures").mkdir()
    with pytest.raises(DataError) as caught:
        get_benchmark("boolq").read(tmp_path, "validation")
    assert str(caught.value) == (
        f"{tmp_path}: boolq's validation split is not here: looked for val.jsonl or BoolQ/val.jsonl (official, "
        "SuperGLUE); boolq/validation-*.parquet (as on the hub, aps/super_glue); there are pictures/, questions.txt; "
        "`kosmos eval prepare boolq` says how to obtain its files"
    )


def test_a_missing_folder_and_an_unknown_split_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder; `kosmos eval prepare cb` says"):
        get_benchmark("cb").read(tmp_path / "nowhere", "validation")
    with pytest.raises(UsageError, match=r"cb has no split 'validaton' \(did you mean 'validation'\?\)"):
        get_benchmark("cb").read(tmp_path, "validaton")


def edit_json(path: Path, line: int, change: Callable[[dict[str, object]], object]) -> None:
    lines = path.read_text().splitlines()
    record = json.loads(lines[line])
    change(record)
    lines[line] = json.dumps(record)
    path.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(
    ("name", "file", "change", "message"),
    [
        ("boolq", "val.jsonl", lambda row: row.pop("passage"), "line 2: no 'passage'; there are: question, idx, label"),
        ("boolq", "val.jsonl", lambda row: row.update(label="yes"), "line 2: 'label' must be one of False, 0, True, 1"),
        ("boolq", "val.jsonl", lambda row: row.update(label=-1), "not -1 .a test set without its labels"),
        ("cb", "val.jsonl", lambda row: row.update(label="maybe"), "line 2: 'label' must be one of 'entailment', 0"),
        ("cb", "val.jsonl", lambda row: row.update(premise=7), "line 2: 'premise' must be a string, not 7"),
        ("copa", "val.jsonl", lambda row: row.update(question="why"), "'question' must be one of 'cause', 'effect'"),
        ("copa", "val.jsonl", lambda row: row.update(choice1=""), "line 2: 'choice1' is empty"),
        ("copa", "val.jsonl", lambda row: row.update(label=True), "'label' must be one of 0, 1, not True"),
        ("hellaswag", "hellaswag_val.jsonl", lambda row: row.update(endings=["one"]), "must have 4 strings, not 1"),
        ("hellaswag", "hellaswag_val.jsonl", lambda row: row.update(label=""), "a test set without its labels"),
        ("hellaswag", "hellaswag_val.jsonl", lambda row: row.update(ind="x"), "'ind' must be a whole number, not 'x'"),
        ("winogrande", "dev.jsonl", lambda row: row.update(sentence="No blank."), "must have one blank '_', not 0"),
        ("winogrande", "dev.jsonl", lambda row: row.update(answer="3"), "'answer' must be one of '1', 1, '2', 2"),
        ("memory_color", "memory_colors.jsonl", lambda row: row.update(label="teal"), "'color' must be one of 'black'"),
    ],
)
def test_a_wrong_row_names_file_line_and_key(
    name: str, file: str, change: Callable[[dict[str, object]], object], message: str, tmp_path: Path
) -> None:
    benchmark = get_benchmark(name)
    folder = write_fixture(name, tmp_path)
    edit_json(folder / file, 1, change)
    with pytest.raises(DataError, match=message) as caught:
        benchmark.read(folder, benchmark.split)
    assert f"{folder / file}, line 2" in str(caught.value)


def test_piqa_labels_must_lie_beside_the_goals_line_by_line(tmp_path: Path) -> None:
    read, folder = get_benchmark("piqa").read, write_fixture("piqa", tmp_path)
    labels = folder / "valid-labels.lst"
    labels.write_text("1\n0\n1\n0\n")
    with pytest.raises(DataError, match=r"valid-labels.lst: 4 labels for the 5 goals of valid.jsonl"):
        read(folder, "validation")
    labels.write_text("1\n0\n2\n0\n1\n")
    with pytest.raises(DataError, match="valid-labels.lst, line 3: a label must be 0 or 1, not '2'"):
        read(folder, "validation")
    labels.unlink()
    with pytest.raises(DataError, match="its labels are missing; put valid-labels.lst beside it"):
        read(folder, "validation")


def test_relative_size_needs_two_objects_a_line(tmp_path: Path) -> None:
    folder = write_fixture("relative_size", tmp_path)
    (folder / "sizePairsFull.txt").write_text("barn mouse\nwhale\n")
    with pytest.raises(DataError, match="line 2: two objects, the larger one first"):
        get_benchmark("relative_size").read(folder, "test")


def test_memory_color_prefers_the_authors_file_and_strips_valms(tmp_path: Path) -> None:
    read = get_benchmark("memory_color").read
    folder = write_fixture("memory_color", tmp_path, "hub")
    valm = read(folder, "test")
    assert valm[0].fields["object"] == "a cucumber" and valm[0].meta["layout"] == "VaLM's copy"
    edit = (folder / "memory_color_data.csv").read_text().replace("cucumber,green", "cucumber,red")
    (folder / "memory_color_data.csv").write_text(edit)
    write_fixture("memory_color", tmp_path, "official")
    both = read(folder, "test")
    assert both[0].meta["layout"] == "the authors'" and both[0].fields == valm[0].fields


def test_story_cloze_takes_the_open_substitute(tmp_path: Path) -> None:
    """The tab-separated files of xstory_cloze have the official columns."""
    import csv

    folder = write_fixture("story_cloze", tmp_path)
    official = get_benchmark("story_cloze").read(folder, "test")
    (path,) = folder.glob("cloze_test_test*")
    rows = list(csv.reader(path.read_text().splitlines()))
    path.unlink()
    text = "\n".join("\t".join(row) for row in rows) + "\n"
    (folder / "spring2016.val.en.tsv.split_20_80_eval.tsv").write_text(text)
    substitute = get_benchmark("story_cloze").read(folder, "test")
    assert [example.fields for example in substitute] == [example.fields for example in official]
    assert substitute[0].meta["layout"].startswith("xstory_cloze")


def test_two_files_for_one_split_are_refused(tmp_path: Path) -> None:
    folder = write_fixture("story_cloze", tmp_path)
    (folder / "cloze_test_test__spring2016 copy.csv").write_text("x")
    with pytest.raises(DataError, match="all fit 'cloze_test_test__spring2016"):
        get_benchmark("story_cloze").read(folder, "test")


def test_winograd_reads_the_crosslingual_table(tmp_path: Path) -> None:
    """Tokens say where the pronoun is; other languages and sources are passed over."""
    sentence = 'Nora said "hello" to Paula because she can\'t wave.'
    tokens = ["Nora", "said", "``", "hello", "''", "to", "Paula", "because", "she", "ca", "n't", "wave", "."]
    columns = [
        json.dumps(tokens),
        json.dumps(["she", [8, 9], ["she"]]),
        json.dumps([["Nora", [0, 1], ["Nora"], False], ["Paula", [6, 7], ["Paula"], True]]),
    ]
    line = "\t".join(["en", "original", "?", sentence, *columns])
    other = "\t".join(["en", "superglue.val", "?", sentence, *columns])
    foreign = "\t".join(["fr", "original", "?", sentence, *columns])
    (tmp_path / "dataset.tsv").write_text(f"{other}\n{foreign}\n{line}\n")
    (schema,) = get_benchmark("winograd").read(tmp_path, "test")
    assert schema.fields["text"][schema.fields["place"] :].startswith("she can't wave.")
    assert (schema.fields["label"], schema.fields["options"]) == (1, ["Nora", "Paula"])
    prompt = get_benchmark("winograd").prompt("lmops")
    assert prompt.context(schema).text == 'Nora said "hello" to Paula because Paula'
    assert prompt.answer(schema) == " can't wave."


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("<pron>  it </pron>", "", "schema 1: no <text/pron>"),
        (" A. </correctAnswer>", " C </correctAnswer>", "schema 1: correctAnswer must be A or B, not 'C'"),
        ("<answer>the box</answer>", "", "schema 1: there must be 2 options, not 1"),
        ("<collection>", "<collection", "not XML"),
    ],
)
def test_winograd_xml_is_checked(old: str, new: str, message: str, tmp_path: Path) -> None:
    folder = write_fixture("winograd", tmp_path)
    path = folder / "WSCollection.xml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(DataError, match=message):
        get_benchmark("winograd").read(folder, "test")


def test_winograd_options_in_lm_evals_way(tmp_path: Path) -> None:
    """Lower case inside a sentence, as it is after a full stop, possessive for a possessive pronoun."""
    benchmark = get_benchmark("winograd")
    schemas = benchmark.read(write_fixture("winograd", tmp_path), "test")
    contexts = benchmark.prompt("lm_eval").contexts
    assert contexts is not None
    assert [document.text for document in contexts(schemas[4])] == [
        "The farmer fed the horse before dark. The farmer",
        "The farmer fed the horse before dark. The horse",
    ]
    assert [document.text for document in contexts(schemas[5])] == [
        "The aunt asked the girl for the aunt's",
        "The aunt asked the girl for the girl's",
    ]
    assert [schema.cluster for schema in schemas] == ["0", "0", "2", "2", "4", "5", "6", "6"]


def test_twins_share_a_cluster_with_and_without_their_ids(tmp_path: Path) -> None:
    benchmark = get_benchmark("winogrande")
    official = benchmark.read(write_fixture("winogrande", tmp_path / "a", "official"), "train")
    hub = benchmark.read(write_fixture("winogrande", tmp_path / "b", "hub"), "train")
    same = [[one.cluster == other.cluster for other in examples] for examples in (official, hub) for one in examples]
    assert same[:5] == same[5:]
    assert same[0] == [True, True, False, False, False]


def test_hub_shards_are_read_in_order(tmp_path: Path) -> None:
    benchmark = get_benchmark("boolq")
    folder = write_fixture("boolq", tmp_path, "hub")
    (shard,) = folder.glob("boolq/validation-*.parquet")
    data = shard.read_bytes()
    shard.rename(shard.with_name("validation-00000-of-00002.parquet"))
    shard.with_name("validation-00001-of-00002.parquet").write_bytes(data)
    examples = benchmark.read(folder, "validation")
    assert [example.id for example in examples[:2] + examples[5:7]] == ["0", "1", "0#2", "1#2"]


def test_a_damaged_table_is_named(tmp_path: Path) -> None:
    folder = write_fixture("cb", tmp_path, "hub")
    (shard,) = folder.glob("cb/validation-*.parquet")
    shard.write_bytes(shard.read_bytes()[:-7])
    with pytest.raises(DataError, match=r"validation-00000-of-00001.parquet: cannot read the table"):
        get_benchmark("cb").read(folder, "validation")


def test_unknown_fixtures_get_the_nearest() -> None:
    assert set(WRITERS) >= set(PROTOCOL)
    with pytest.raises(KosmosError, match=r"no small files for 'bolq' \(did you mean 'boolq'\?\)"):
        write_fixture("bolq", Path("unused"))


def test_every_winograd_layout_serves_both_collections() -> None:
    splits = [split for layout in WINOGRAD_LAYOUTS for split in layout.files]
    assert sorted(splits) == ["test", "test", "test", "wsc273", "wsc273", "wsc273"]
