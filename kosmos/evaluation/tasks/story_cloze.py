"""StoryCloze, 2016: which of two endings closes a story of four sentences (Table 13)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kosmos.evaluation.benchmark import Benchmark, Source
from kosmos.evaluation.readers.dataset_files import Layout, Row, hub_layout, read_layouts, read_rows
from kosmos.evaluation.tasks.text_prompts import BLANK_LINE, choice_prompt
from kosmos.example import Example

_HUB = "LSDSem/story_cloze or juletxara/xstory_cloze"


def _read(paths: Sequence[Path]) -> list[Example]:
    return [_story(row) for row in read_rows(paths)]


def _story(row: Row) -> Example:
    """A story by the names of the official tables, or by those of the hub."""
    if "InputStoryid" in row.values:
        story, gold = "InputStoryid", "AnswerRightEnding"
        sentences = [f"InputSentence{number}" for number in range(1, 5)]
        endings = ["RandomFifthSentenceQuiz1", "RandomFifthSentenceQuiz2"]
    else:
        story, gold = "story_id", "answer_right_ending"
        sentences = [f"input_sentence_{number}" for number in range(1, 5)]
        endings = ["sentence_quiz1", "sentence_quiz2"]
    fields = {
        "sentences": [row.filled(key) for key in sentences],
        "endings": [row.filled(key) for key in endings],
        "label": row.label(gold, [(1, "1"), (2, "2")]),
    }
    return Example(row.filled(story), fields)


LAYOUTS = (
    Layout(
        "official, spring 2016",
        {"validation": ("cloze_test_val__spring2016*.csv",), "test": ("cloze_test_test__spring2016*.csv",)},
        _read,
    ),
    hub_layout(_HUB, {"validation": ["validation", "train"], "test": ["test", "eval"]}, _read, "2016", "en"),
    Layout(
        "xstory_cloze, English: the 2016 validation set cut in two",
        {
            "validation": ("spring2016.val.en.tsv.split_20_80_train.tsv",),
            "test": ("spring2016.val.en.tsv.split_20_80_eval.tsv",),
        },
        _read,
    ),
    Layout(
        "official, winter 2018",
        {"validation": ("cloze_test_val__winter2018*.csv",), "test": ("cloze_test_test__winter2018*.csv",)},
        _read,
    ),
)


def read(folder: Path, split: str) -> list[Example]:
    """Splits "validation" and "test"."""
    return read_layouts("story_cloze", folder, split, LAYOUTS)


def context(example: Example) -> str:
    return " ".join(example.fields["sentences"])


def candidates(example: Example) -> list[str]:
    return [f" {ending}" for ending in example.fields["endings"]]


BENCHMARK = Benchmark(
    name="story_cloze",
    title="StoryCloze",
    group="language",
    mode="choice",
    read=read,
    split="test",
    prompts=(
        choice_prompt("lmops", context, candidates),
        choice_prompt("lm_eval", context, candidates, normalization="sum", separator=BLANK_LINE),
    ),
    metrics=("accuracy",),
    source=Source(
        url="https://cs.rochester.edu/nlp/rocstories/",
        licence="for research, after a form; the open substitute is CC BY-SA 4.0",
        files=("cloze_test_val__spring2016*.csv", "cloze_test_test__spring2016*.csv"),
        hub=_HUB,
        hub_files=("2016/*.parquet", "en/*.parquet", "spring2016.val.en.tsv.split_20_80_*.tsv"),
        gated=True,
        how=(
            "Fill in the form on the ROCStories page; its authors send links to the Story Cloze tables by mail. Put "
            "the spring 2016 validation and test tables (cloze_test_val__spring2016*.csv and "
            "cloze_test_test__spring2016*.csv) into the dataset's folder under the names they have. Without the form: "
            "the English part of juletxara/xstory_cloze is the 2016 validation set cut into 360 stories for "
            "demonstrations and 1,511 for the test; the report shows that the number is not the paper's."
        ),
    ),
    shots=(0, 1, 4),
    demonstration_split="validation",
    num_examples={"validation": 1871, "test": 1871},
    chance=0.5,
    paper={"accuracy": {0: 72.1, 1: 72.2, 4: 72.3}},
    table="Table 13",
    note="There is no training split: demonstrations come from the validation split, as in the harness of the paper's "
    "authors. The paper does not print its language prompts; theirs of the same year are the default.",
)
