from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kosmos
from kosmos import api
from kosmos.chat_format import Turn, chat_document
from kosmos.document import Document, End, Image
from kosmos.errors import DataError, PromptTooLong, UsageError
from kosmos.inference.engine import Engine
from kosmos.inference.generation import Decoding
from tests.inference.oracle import PICTURES
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


def test_load_hands_the_options_on(folder: Path, engine: Engine) -> None:
    made = kosmos.load(folder, prefill_precision="bf16", static_decode=True)
    assert (made.precision, made.prefill_precision, made.quantization, made.static_decode) == (
        *("fp32", "bf16", None),
        True,
    )
    with pytest.raises(UsageError, match="quantization 'int3' is unknown"):
        kosmos.load(folder, quantization="int3")  # type: ignore[arg-type]


def test_devices_that_are_not_there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for count, device, said in [
        (0, "tpu", "device tpu: unknown; use cpu or cuda"),
        (0, "cuda", "device cuda: this machine's torch finds no GPU; leave it out to use the CPU"),
        (2, "cuda:2", "device cuda:2: this machine's torch finds no GPU but 0 to 1; leave it out to use the CPU"),
    ]:
        monkeypatch.setattr("torch.cuda.device_count", lambda count=count: count)
        with pytest.raises(UsageError) as error:
            kosmos.load(folder, device=device)
        assert str(error.value) == said
    assert api.find_device("cuda:1").index == 1


def test_one_string_is_no_list(engine: Engine) -> None:
    for call, said in [
        (lambda: kosmos.generate_batch(engine, "an image"), "prompts must be a list, not one string: ['an image']"),
        (lambda: kosmos.generate(engine, "an", names=" cat"), "names must be a list, not one string: [' cat']"),
        (lambda: kosmos.score(engine, "an", " cat"), "candidates must be a list, not one string: [' cat']"),
    ]:
        with pytest.raises(UsageError) as error:
            call()
        assert str(error.value) == said
    with pytest.raises(UsageError, match=r"a list of parts, not \w*Path; a picture alone is a list of one"):
        kosmos.generate(engine, Path("cat.png"))  # type: ignore[arg-type]


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


def test_caption_and_answer_show_examples_first(engine: Engine, picture: Path) -> None:
    pixels = PIL.Image.open(picture).transpose(PIL.Image.Transpose.ROTATE_90)
    first, second = Image(pixels), Image(picture)
    shots = Document(first, "An image of a red cat.", second, "An image of")
    made = kosmos.caption(engine, picture, examples=[(pixels, " a red cat. ")])
    assert made == engine.generate([shots], 32)[0].text
    asked = Document(first, "Question: what is it? Answer: one cat", second, "Question: is it? Answer:")
    made = kosmos.answer(engine, picture, "is it?", examples=[(pixels, "what is it?", "one cat")], max_new_tokens=9)
    assert made == engine.generate([asked], 9)[0].text
    blind = Document("Question: a? Answer: Yes", End(), "Question: b? Answer: No", End(), "Question: c? Answer:")
    made = kosmos.answer(engine, None, "c?", examples=[(None, "a?", "Yes"), (None, "b?", "No")])
    assert made == engine.generate([blind], 32)[0].text


def test_caption_and_answer_by_beams(engine: Engine, picture: Path) -> None:
    made = kosmos.caption(engine, picture, num_beams=5, length_penalty=0.0)
    options = Decoding(32, num_beams=5, length_penalty=0.0)
    assert made == engine.generate([Document(Image(picture), "An image of")], options=options)[0].text
    asked = Document(Image(picture), "Question: what is it? Answer:")
    assert kosmos.answer(engine, picture, "what is it?", num_beams=3, max_new_tokens=4) == (
        engine.prefill(asked).beam(3, 4).text
    )


def test_one_of_the_names(engine: Engine, picture: Path) -> None:
    names = [" red cat", " two dogs", " green house"]
    best = kosmos.generate(engine, [picture, "The"], names=names, num_beams=3, length_penalty=0.0)
    scores = kosmos.score(engine, [picture, "The"], names, include_end=True)
    assert best.text == max(zip(names, scores), key=lambda pair: pair[1].sum)[0].strip()
    assert best.score == pytest.approx(max(score.sum for score in scores), abs=1e-4)


def test_pictures_stay_in_a_folder(folder: Path, picture: Path, tmp_path: Path) -> None:
    for _ in range(2):
        engine = kosmos.load(folder, image_cache_dir=tmp_path / "cache")
        assert kosmos.caption(engine, picture) == kosmos.caption(kosmos.load(folder), picture)
    assert any(path.is_file() for path in (tmp_path / "cache").rglob("*"))


def test_a_failed_turn_is_not_remembered(engine: Engine) -> None:
    chat = kosmos.chat(engine, max_new_tokens=6)
    with pytest.raises(DataError, match="nowhere.png"):
        chat.say(Path("nowhere.png"), "what is it?")
    assert chat.turns == []
    first = chat.say("what is it?")
    held = chat.num_tokens
    with pytest.raises(DataError, match="nowhere.png"):
        chat.say(Path("nowhere.png"), "what is it?")
    begun = chat.stream("one cat or two?")
    next(begun)
    begun.close()  # type: ignore[attr-defined]
    assert [turn.content.text for turn in chat.turns] == ["what is it?", first]
    assert chat.num_tokens > held  # what was read stays until something else is asked


def test_a_chat_is_taken_back(engine: Engine, picture: Path) -> None:
    free = engine.pool.num_free
    with kosmos.chat(engine, max_new_tokens=6) as chat:
        first, second = chat.say(picture, "what is it?"), chat.say("two dogs")
        assert engine.pool.num_free == free - 1
        assert chat.undo() == Document("two dogs")
        assert chat.say("of") != second
        assert chat.undo() == Document("of") and chat.undo() == Document(Image(picture), "what is it?")
        with pytest.raises(UsageError, match="there is no turn to take back"):
            chat.undo()
        assert chat.say(picture, "what is it?") == first
        chat.reset()
        assert (chat.turns, chat.num_tokens, engine.pool.num_free) == ([], 0, free)
        assert chat.say(picture, "what is it?") == first
        chat.close()
        assert chat.say("two dogs") == second  # read anew
    assert engine.pool.num_free == free


def test_a_chat_that_is_too_long(engine: Engine) -> None:
    with kosmos.chat(engine, max_new_tokens=6) as chat:
        with pytest.raises(PromptTooLong, match="the prompt is 1[0-9]+ tokens long .* the limit is 128"):
            chat.stream("of " * 120)  # at the call
        first = chat.say("of " * 50)
        with pytest.raises(PromptTooLong, match="the conversation has outgrown the model's length of 128 tokens"):
            chat.stream("of " * 50)
        assert len(chat.turns) == 2
        chat.say("two dogs")  # the conversation that fits goes on
        chat.undo()
        chat.undo()
        assert chat.say("of " * 50) == first


def test_an_error_in_the_midst_of_reading_costs_no_slot(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    with kosmos.chat(engine, max_new_tokens=6) as chat:
        first, free = chat.say("what is it?"), engine.pool.num_free
        with monkeypatch.context() as patch:
            patch.setattr(engine, "_read", lambda parts: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                chat.say("two dogs")
        assert engine.pool.num_free == free + 1
        second = chat.say("two dogs")
        assert engine.pool.num_free == free
    whole = chat_document([("user", "what is it?"), ("assistant", first), ("user", "two dogs")])
    assert second == engine.generate([whole], 6)[0].text


@st.composite
def _conversations(draw: st.DrawFn) -> list[Document]:
    """Questions of text and pictures in odd places."""
    parts = st.lists(st.one_of(_TEXTS, st.sampled_from(PICTURES)), max_size=4).map(lambda parts: Document(*parts))
    return draw(st.lists(parts, min_size=1, max_size=5))


_TEXTS = st.sampled_from(["", " ", "what is it?", "two dogs", "</s>", "été\nis", "<image>", "Answer:", "the red cat "])


@settings(deadline=None, max_examples=15)
@given(questions=_conversations(), undone=st.integers(0, 4), other=_conversations())
def test_any_split_of_a_chat_gives_the_answers_of_the_whole_prompt(
    engine: Engine, questions: list[Document], undone: int, other: list[Document]
) -> None:
    """Turn by turn, after turns were taken back and others asked instead: the answer is that of the whole prompt."""
    with kosmos.chat(engine, max_new_tokens=5) as chat:
        for question in [*questions, None, *other]:
            if question is None:
                for _ in range(min(undone, len(chat.turns) // 2)):
                    chat.undo()
                continue
            whole = chat_document([*chat.turns, Turn("user", question)])
            try:
                expected = engine.generate([whole], 5)[0].text
            except PromptTooLong:
                with pytest.raises(PromptTooLong):
                    chat.say(*question)
                return
            assert chat.say(*question) == expected
            assert chat.num_tokens == len(engine.encode(whole))


def test_wrong_arguments_are_named(engine: Engine) -> None:
    with pytest.raises(UsageError, match="unknown option 'max_tokens'"):
        kosmos.generate(engine, "an", max_tokens=3)
    with pytest.raises(UsageError, match="a picture is a path, bytes, a PIL image or an array, not int"):
        kosmos.generate(engine, ["an", 3])  # type: ignore[list-item]
    with pytest.raises(UsageError, match="not bytes"):
        kosmos.generate(engine, b"an")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="tokens long"):
        kosmos.stream(engine, "an " * 200)  # at the call, before the first piece
