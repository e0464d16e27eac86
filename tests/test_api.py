from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

import kosmos
from kosmos import api
from kosmos.chat_format import chat_document
from kosmos.document import Document, Image
from kosmos.errors import DataError, UsageError
from kosmos.inference.engine import Engine
from tests.inference.tiny import save_tiny


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("api"))


@pytest.fixture(scope="module")
def engine(folder: Path) -> Engine:
    return kosmos.load(folder)


@pytest.fixture(scope="module")
def picture(folder: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    path = folder.parent / "cat.png"
    PIL.Image.fromarray(pixels).save(path)
    return path


def test_a_loaded_model_is_the_saved_one(folder: Path, engine: Engine) -> None:
    again = kosmos.load(str(folder), max_slots=3)
    assert again.pool.max_slots == 3
    assert kosmos.generate(again, "an image") == kosmos.generate(engine, "an image")


def test_load_names_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such run"):
        kosmos.load(tmp_path / "nowhere")


def test_caption_and_answer_are_prompts_of_the_paper(engine: Engine, picture: Path) -> None:
    image = Image(picture)
    expected = engine.generate([Document(image, "An image of")], 32)[0].text
    assert kosmos.caption(engine, picture) == kosmos.caption(engine, str(picture)) == expected
    asked = Document(image, "Question: what is it? Answer:")
    assert kosmos.answer(engine, image, "what is it?", max_new_tokens=9) == engine.generate([asked], 9)[0].text
    blind = Document("Question: what is it? Answer:")
    assert kosmos.answer(engine, None, "what is it?") == engine.generate([blind], 32)[0].text


def test_every_form_of_a_picture_is_one_document(picture: Path) -> None:
    opened = PIL.Image.open(picture)
    expected = Document("an", Image(picture))
    assert api.document(["an", picture]) == expected
    assert api.document(["an", picture.read_bytes()]) == expected
    assert api.document(("an", Image(picture))) == expected
    pixels = Document("an", Image(opened))
    assert api.document(["an", opened]) == api.document(["an", np.asarray(opened)]) == pixels
    assert api.document("an") == Document("an")
    assert api.document(expected) is expected


def test_generate_batch_is_generate_for_each(engine: Engine, picture: Path) -> None:
    prompts: list[api.Prompt] = ["an image of", ["of", picture], Document(), [picture, picture, "two"]]
    made = kosmos.generate_batch(engine, prompts, max_new_tokens=7, temperature=0.9, seed=4)
    assert [one.token_ids for one in made] == [
        kosmos.generate(engine, prompt, max_new_tokens=7, temperature=0.9, seed=4).token_ids for prompt in prompts
    ]


def test_stream_joins_to_the_text_and_frees_its_slot(engine: Engine, picture: Path) -> None:
    free = engine.pool.num_free
    pieces = list(kosmos.stream(engine, [picture, "an"], max_new_tokens=20, temperature=2.0, min_new_tokens=10))
    made = kosmos.generate(engine, [picture, "an"], max_new_tokens=20, temperature=2.0, min_new_tokens=10)
    assert "".join(pieces) == made.text
    assert len(pieces) > 3
    begun = kosmos.stream(engine, "an", max_new_tokens=20)
    next(begun)
    begun.close()  # type: ignore[attr-defined]
    assert engine.pool.num_free == free


def test_score_prefers_what_the_model_says(engine: Engine) -> None:
    scores = kosmos.score(engine, "an image", [" Yes", " No", " of the red cat"])
    assert [score.num_tokens for score in scores][:2] == [1, 1]
    assert scores == engine.prefill(Document("an image")).score([" Yes", " No", " of the red cat"])


def test_chat_remembers_its_turns(engine: Engine, picture: Path) -> None:
    chat = kosmos.Chat(engine, max_new_tokens=6)
    first = chat.say(picture, "what is it?")
    second = chat.say("one cat or two?")
    asked = chat_document([("user", Document(Image(picture), "what is it?"))])
    assert first == engine.generate([asked], 6)[0].text
    again = chat_document(
        [("user", Document(Image(picture), "what is it?")), ("assistant", first), ("user", "one cat or two?")]
    )
    assert second == engine.generate([again], 6)[0].text
    assert [(turn.role, turn.content.text) for turn in chat.turns] == [
        ("user", "what is it?"),
        ("assistant", first),
        ("user", "one cat or two?"),
        ("assistant", second),
    ]


def test_a_failed_turn_is_not_remembered(engine: Engine) -> None:
    chat = kosmos.Chat(engine)
    with pytest.raises(DataError, match="nowhere.png"):
        chat.say(Path("nowhere.png"), "what is it?")
    assert chat.turns == []


def test_wrong_arguments_are_named(engine: Engine) -> None:
    with pytest.raises(UsageError, match="unknown option 'max_tokens'"):
        kosmos.generate(engine, "an", max_tokens=3)
    with pytest.raises(UsageError, match="a picture is a path, bytes, a PIL image or an array, not int"):
        kosmos.generate(engine, ["an", 3])  # type: ignore[list-item]
    with pytest.raises(UsageError, match="not bytes"):
        kosmos.generate(engine, b"an")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="tokens long"):
        kosmos.stream(engine, "an " * 200)  # at the call, before the first piece
