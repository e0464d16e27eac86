"""Turns to Documents: the format of the paper's questions, what is supervised, and turns that make no sense."""

from __future__ import annotations

from typing import Any

import pytest

from kosmos.chat_format import Turn, chat_document, get_format
from kosmos.document import Document, End, Image, Segment, Text
from kosmos.errors import UsageError
from kosmos.example import split_answer

CAT = Image(b"cat")


def merged(document: Document) -> list[object]:
    """Adjoining text of the same supervision joined: (text, supervised), or the segment."""
    found: list[Any] = []
    for segment in document:
        if not isinstance(segment, Text):
            found.append(segment)
        elif found and isinstance(found[-1], tuple) and found[-1][1] == segment.supervised:
            found[-1] = (found[-1][0] + segment.text, segment.supervised)
        else:
            found.append((segment.text, segment.supervised))
    return found


def test_one_question() -> None:
    document = chat_document([("user", Document(CAT, "What is it?"))])
    assert merged(document) == [CAT, ("Question: What is it? Answer:", False)]


def test_an_answer_is_supervised() -> None:
    document = chat_document([("user", "What is it?"), ("assistant", "A cat.")])
    assert merged(document) == [("Question: What is it? Answer: ", False), ("A cat.", True)]
    assert split_answer(document)[1] == "A cat."


def test_several_turns_end_their_answers() -> None:
    turns: list[Any] = [("user", Document(CAT, "What is it?")), ("assistant", "A cat."), ("user", "What colour?")]
    assert merged(chat_document(turns)) == [
        CAT,
        ("Question: What is it? Answer: ", False),
        ("A cat.", True),
        End(),
        ("Question: What colour? Answer:", False),
    ]
    whole = chat_document([*turns, ("assistant", "Red.")])
    assert merged(whole)[-2:] == [("Question: What colour? Answer: ", False), ("Red.", True)]


def test_a_prompt_is_the_start_of_what_was_learned() -> None:
    asked = chat_document([("user", "What is it?")])
    learned = chat_document([("user", "What is it?"), ("assistant", "A cat.")])
    assert learned.text.startswith(asked.text) and learned.text[len(asked.text) :] == " A cat."


def test_pictures_stay_where_they_are() -> None:
    dog = Image(b"dog")
    document = chat_document([("user", Document(CAT, "Is", dog, "a dog?")), ("assistant", Document("Yes", CAT))])
    kinds: list[type[Segment] | str] = [s.text if isinstance(s, Text) else type(s) for s in document]
    assert kinds == [Image, "Question: ", "Is", Image, "a dog?", " Answer:", " ", "Yes", Image]
    assert document.images == (CAT, dog, CAT)


def test_supervision_in_the_turns_does_not_matter() -> None:
    loud = chat_document([("user", Text("a", True)), ("assistant", Text("b", False))])
    assert loud == chat_document([Turn("user", Document(Text("a", False))), Turn("assistant", Document("b"))])


@pytest.mark.parametrize(
    ("turns", "message"),
    [
        ([], "a chat needs at least one turn"),
        ([("assistant", "a")], "turn 1 is the assistant's: turns alternate, starting with the user"),
        ([("user", "a"), ("user", "b")], "turn 2 is the user's"),
        ([("system", "a")], "a turn's role is 'user' or 'assistant', not 'system'"),
        ([("user", 3)], "a Document takes segments or str, not int"),
    ],
)
def test_turns_that_make_no_sense(turns: list[Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        chat_document(turns)


def test_formats_are_known_by_name() -> None:
    assert get_format("kosmos-qa")([Turn("user", Document("a"))]) == chat_document([("user", "a")], format="kosmos-qa")
    with pytest.raises(UsageError, match=r"no chat format 'kosmos-qu' \(did you mean 'kosmos-qa'\?\)"):
        chat_document([("user", "a")], format="kosmos-qu")
