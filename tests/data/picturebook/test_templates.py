"""Templates: the exact prompts, and what of them is supervised."""

from __future__ import annotations

import numpy as np
import pytest

from kosmos.data.picturebook.templates import raven_contexts, template, training_document
from kosmos.document import Document, Image, Text
from kosmos.errors import UsageError
from kosmos.example import Example, split_answer

PICTURES = tuple(Image(np.full((4, 4, 3), shade, dtype=np.uint8)) for shade in range(9))


def prompt(text: str) -> Text:
    return Text(text, supervised=False)


def test_captions() -> None:
    example = Example("x", {"form": "caption", "prompt": "An image of", "answer": "dog"}, PICTURES[:1])
    assert template(example) == Document(PICTURES[0], prompt("An image of"), " dog")
    assert template(example, "cat") == Document(PICTURES[0], prompt("An image of"), " cat")
    assert training_document(example) == Document(PICTURES[0], "An image of dog")


def test_questions() -> None:
    example = Example("x", {"form": "question", "question": "what is this?", "answer": "dog"}, PICTURES[:1])
    expected = Document(PICTURES[0], prompt("Question: what is this? Answer:"), " dog")
    assert template(example) == training_document(example) == expected
    assert split_answer(template(example)) == (Document(*expected.segments[:-1]), " dog")


def test_dialogues_supervise_both_answers_in_training_only() -> None:
    turns = [["what is on the left?", "cat"], ["is it an animal?", "yes"]]
    example = Example("x", {"form": "dialogue", "turns": turns, "answer": "yes"}, PICTURES[:1])
    assert template(example) == Document(
        PICTURES[0], prompt("Question: what is on the left? Answer: cat Question: is it an animal? Answer:"), " yes"
    )
    trained = training_document(example)
    assert trained.text == template(example).text
    assert [s.text for s in trained if isinstance(s, Text) and s.supervised] == [" cat", " yes"]


def test_a_word_is_supervised_from_its_second_use_on() -> None:
    fields = {"form": "binding", "demonstrations": ["dax", "wug", "dax"], "answer": "wug"}
    example = Example("x", fields, PICTURES[:4])
    assert template(example) == Document(
        PICTURES[0],
        prompt("This is a dax."),
        PICTURES[1],
        prompt("This is a wug."),
        PICTURES[2],
        prompt("This is a dax."),
        PICTURES[3],
        prompt("This is a"),
        " wug",
    )
    trained = training_document(example)
    assert trained.text == template(example).text and trained.images == template(example).images
    assert [s.text for s in trained if isinstance(s, Text) and s.supervised] == [" dax", " wug"]


def test_raven_in_the_papers_words() -> None:
    example = Example("x", {"form": "raven", "given": 3, "gold": 2, "shown": 4}, PICTURES)
    contexts = raven_contexts(example)
    assert len(contexts) == 6
    assert contexts[2] == Document(
        prompt("Here are three images:"),
        *PICTURES[:3],
        prompt("The following image is:"),
        PICTURES[5],
        prompt("Is it correct?"),
    )
    assert template(example) == contexts[2] + " Yes"
    assert training_document(example) == contexts[4] + " No"
    right = Example("x", {"form": "raven", "given": 3, "gold": 2, "shown": 2}, PICTURES)
    assert training_document(right) == contexts[2] + " Yes"


def test_pages_and_text_are_supervised_whole() -> None:
    page = Example("x", {"form": "page", "entries": [["dog", "an animal"], ["pie", "a dish"]]}, PICTURES[:2])
    assert training_document(page) == Document(PICTURES[0], "dog: an animal", PICTURES[1], "pie: a dish")
    assert training_document(Example("x", {"form": "text", "text": "a\nb"})) == Document("a\nb")


def test_an_unknown_form_is_an_error() -> None:
    with pytest.raises(UsageError, match="no template for the form 'riddle'"):
        template(Example("x", {"form": "riddle"}))


def test_training_asks_all_that_can_be_asked_of_one_picture() -> None:
    fields = {"form": "question", "question": "a?", "answer": "one", "more": [("b?", "two")]}
    made = training_document(Example("x", fields))
    texts = [(segment.text, segment.supervised) for segment in made if isinstance(segment, Text)]
    assert texts == [
        ("Question: a? Answer:", False),
        (" one", True),
        (" Question: b? Answer:", False),
        (" two", True),
    ]
