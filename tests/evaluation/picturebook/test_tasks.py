"""The picture book's Tasks: all abilities are there, large enough, with a chance level and baselines that run."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from kosmos.data.picturebook import heldout, reader
from kosmos.data.picturebook.concepts import load_picturebook
from kosmos.data.picturebook.heldout import SETS, draw_set
from kosmos.errors import DataError
from kosmos.evaluation.picturebook.baselines import run_baselines
from kosmos.evaluation.picturebook.tasks import blind_guess, picturebook_credits, picturebook_tasks
from kosmos.evaluation.task import Task

_NAMES = """
naming captioning vqa vqa_color counting explanation dialogue webpage_qa equation number ocr ocr_unseen sentiment
raven_3 raven_4 raven_8 in_context_0 in_context_2 in_context_4 in_context_8 in_context_shuffled
"""
NAMES = _NAMES.split()


def task(name: str) -> Task:
    return next(task for task in picturebook_tasks() if task.name == name)


def test_every_ability_has_a_task_and_a_set() -> None:
    assert [task.name for task in picturebook_tasks()] == NAMES == list(SETS)
    assert all(SETS[name].count >= 400 for name in NAMES)
    assert all(task.baselines and task.title and task.reference for task in picturebook_tasks())


@pytest.mark.parametrize("name", ["equation", "ocr", "webpage_qa", "number", "sentiment", "raven_4"])
def test_prompts_and_golds(name: str) -> None:
    asked = task(name)
    for example in draw_set(name, limit=5):
        [gold] = asked.golds(example)
        if asked.mode == "yes":
            assert int(gold) == example.fields["gold"] and len(asked.contexts(example)) == 6  # type: ignore[misc]
        else:
            assert gold == f" {example.fields['answer']}"
            assert asked.prompt(example).text.endswith("Answer:")


def test_chance_levels() -> None:
    examples = draw_set("sentiment", limit=50)
    answers = [example.fields["answer"] for example in examples]
    assert blind_guess(examples) == max(answers.count("positive"), answers.count("negative")) / 50
    assert task("raven_8").chance_score(examples) == pytest.approx(1 / 6)
    assert [task(f"in_context_{k}").chance_score([]) for k in (0, 2, 4, 8)] == [0.025, 0.5, 0.5, 0.5]
    assert task("in_context_shuffled").expects_chance and task("in_context_0").expects_chance


def test_context_blind_baseline_of_raven_is_at_chance() -> None:
    asked = replace(task("raven_3"), examples=lambda: draw_set("raven_3"), baselines=("central_candidate",))
    [result] = run_baselines(asked)
    assert result.n == 500 and abs(result.score - 1 / 6) < 0.05


def test_training_examples_share_nothing_with_the_test() -> None:
    asked = task("ocr")
    assert asked.train_examples is not None
    train, test = asked.train_examples(200), draw_set("ocr", limit=200)
    assert not {image.sha256 for e in train for image in e.images} & {image.sha256 for e in test for image in e.images}
    assert [e.id for e in train[:2]] == ["ocr/plain/0", "ocr/plain/1"]
    assert all(not example.meta["unseen_word"] for example in train)


def test_fields_survive_json() -> None:
    for name in ("equation", "raven_3"):
        for example in draw_set(name, limit=3):
            assert json.loads(json.dumps(example.fields)) == example.fields
    assert heldout.SEED == 853


def test_naming_baseline_knows_every_training_picture() -> None:
    try:
        load_picturebook(download=False)
    except DataError as error:
        pytest.skip(f"the picture book is not in the cache: {error}")
    train = reader.plain_training_examples("pictures", 10_000)
    assert len(train) == 2715 and len({example.fields["answer"] for example in train}) == 853
    assert all(example.meta["artist"] != "twemoji" for example in train)


def test_baselines_know_each_training_digit_once() -> None:
    asked = task("number")
    assert asked.train_examples is not None and asked.num_train_examples == 10_000
    train = asked.train_examples(asked.num_train_examples)
    assert [example.meta["digit"] for example in train] == list(range(1297))
    [_, nearest] = run_baselines(replace(asked, examples=lambda: draw_set("number")))
    assert nearest.name == "pixel_nearest_neighbour" and nearest.score > 0.9


def test_credits_name_artists_and_licences() -> None:
    credits = picturebook_credits()
    assert len(credits) == 8
    assert ("@iconify-json/twemoji@1.2.5", "Twemoji by Twitter", "CC-BY-4.0") in credits
    assert all(what and who and licence for what, who, licence in credits)
