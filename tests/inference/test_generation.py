from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kosmos.document import Document
from kosmos.errors import UsageError
from kosmos.inference.engine import Engine
from kosmos.inference.generation import Decoding, Score, TextStream
from kosmos.tokenizer import Tokenizer
from tests.inference.oracle import PICTURES


def generated_ids(tokenizer: Tokenizer) -> list[int]:
    """Everything that a generation may hold but `</s>`."""
    return [*range(4, tokenizer.slot_id), tokenizer.line_id]


@settings(max_examples=150, deadline=None, derandomize=True)
@given(data=st.data())
def test_deltas_join_to_the_decoded_text(tokenizer: Tokenizer, data: st.DataObject) -> None:
    """Any sequence of tokens, likely or not: lone word marks, several in a row, newlines anywhere."""
    mark = next(index for index in range(4, tokenizer.slot_id) if tokenizer.id_to_piece(index) == "▁")
    pool = st.one_of(st.sampled_from(generated_ids(tokenizer)), st.sampled_from([mark, tokenizer.line_id]))
    ids = data.draw(st.lists(pool, max_size=12))
    stream = TextStream(tokenizer.decode)
    deltas = [stream.push(token) for token in ids]
    assert "".join(deltas) + stream.finish() == tokenizer.decode(ids)
    assert stream.text == tokenizer.decode(ids)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(data=st.data())
def test_stop_strings_cut_the_stream_where_they_cut_the_text(tokenizer: Tokenizer, data: st.DataObject) -> None:
    ids = data.draw(st.lists(st.sampled_from(generated_ids(tokenizer)), max_size=12))
    whole = tokenizer.decode(ids)
    stops = data.draw(st.lists(st.sampled_from(["a", "an", "he", "e ", "\n", " t", "im", "t\n", whole[2:5] or "x"])))
    stream = TextStream(tokenizer.decode, stops)
    deltas = []
    for token in ids:
        deltas.append(stream.push(token))
        if stream.stopped:
            break
    deltas.append(stream.finish())
    found = [whole.find(stop) for stop in stops if stop in whole]
    text = "".join(deltas)
    assert text == stream.text
    assert stream.stopped == bool(found)
    if not found:
        assert text == whole
    else:
        # The first token that completes a stop string ends it; a longer one may have begun before.
        assert whole.startswith(text)
        assert not any(stop in text for stop in stops)
        assert any(whole.startswith(text + stop) for stop in stops)


def test_half_glyphs_are_held_back() -> None:
    """A tokenizer with byte pieces: no piece of a stream ends in the middle of a glyph."""
    glyphs = "né🐱 ok".encode()

    def decode(ids: list[int]) -> str:
        return bytes(ids).decode(errors="replace")

    stream = TextStream(decode)  # type: ignore[arg-type]
    deltas = [stream.push(byte) for byte in glyphs]
    assert deltas == ["n", "", "é", "", "", "", "🐱", "", " o", "k"]
    assert stream.finish() == ""


def test_a_glyph_that_never_ends_comes_last() -> None:
    stream = TextStream(lambda ids: bytes(ids).decode(errors="replace"))
    assert [stream.push(byte) for byte in b"a\xf0\x9f"] == ["a", "", ""]
    assert stream.finish() == "�"


def test_engine_streams_the_text_of_the_generation(engine: Engine) -> None:
    for seed in range(5):
        prefix = engine.prefill(Document(PICTURES[seed % 4], "an image of"))
        decoding = Decoding(30, temperature=2.0, seed=seed, min_new_tokens=20)
        deltas = list(prefix.stream(decoding=decoding))
        assert "".join(deltas) == engine.decode([prefix], [decoding])[0].text
        assert len(deltas) > 5
        assert "" not in deltas


def test_engine_stops_at_a_string(engine: Engine) -> None:
    prefix = engine.prefill(Document("an"))
    seed = next(seed for seed in range(50) if len(prefix.sample(40, 2.0, seed=seed).text) > 20)
    whole = prefix.sample(40, 2.0, seed=seed)
    stop = whole.text[9:12]
    place = whole.text.find(stop)
    made = prefix.sample(40, 2.0, seed=seed, stop=[stop])
    assert (made.text, made.finish_reason) == (whole.text[:place], "stop")
    assert made.token_ids == whole.token_ids[: len(made.token_ids)]
    assert engine.processor.decode(made.token_ids).startswith(whole.text[: place + len(stop)])
    assert len(made.token_ids) == len(made.log_probs) < len(whole.token_ids)
    assert "".join(prefix.stream(decoding=Decoding(40, 0, 2.0, seed=seed, stop=(stop,)))) == made.text


def test_stop_strings_wait_for_the_fewest_tokens() -> None:
    stream = TextStream(lambda ids: "".join(map(chr, ids)), ["b"], min_tokens=3)
    assert [stream.push(ord(letter)) for letter in "abcab"] == ["a", "b", "c", "a", ""]
    assert (stream.text, stream.stopped) == ("abca", True)
    # Nor does one act later that was complete too early, but still held back as white space at the end.
    stream = TextStream(lambda ids: "".join(map(chr, ids)), ["\n"], min_tokens=3)
    assert [stream.push(ord(letter)) for letter in "a\nbc\n"] == ["a", "", "\nb", "c", ""]
    assert (stream.text, stream.stopped) == ("a\nbc", True)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens is 0"),
        ({"max_new_tokens": 3, "min_new_tokens": 4}, "min_new_tokens is 4"),
        ({"temperature": -0.1}, "temperature is -0.1"),
        ({"temperature": float("nan")}, "temperature is nan"),
        ({"top_k": -1}, "top_k is -1"),
        ({"top_p": 0.0}, "top_p is 0.0"),
        ({"top_p": 1.5}, "top_p is 1.5"),
        ({"stop": [""]}, "not empty"),
        ({"stop": [3]}, "not empty"),
        ({"seed": 1 << 64}, "seed is 18446744073709551616; it must be a number of 64 bits"),
        ({"length_penalty": 33.0}, "length_penalty is 33.0; it must lie between -32 and 32"),
        ({"length_penalty": float("-inf")}, "length_penalty is -inf"),
        ({"length_penalty": float("nan")}, "length_penalty is nan"),
        ({"temprature": 1}, "did you mean 'temperature'"),
        ({"max_new_tokens": "8"}, "max_new_tokens is '8'; it must be a whole number"),
        ({"max_new_tokens": True}, "must be a whole number"),
        ({"top_p": None}, "must be a number"),
    ],
)
def test_impossible_decodings_are_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Decoding.from_fields(fields)


def test_fields_fill_in_a_decoding() -> None:
    base = Decoding(max_new_tokens=8, seed=3)
    made = Decoding.from_fields({"temperature": 1, "stop": "Question:"}, base)
    assert made == Decoding(max_new_tokens=8, seed=3, temperature=1.0, stop=("Question:",))


def test_mean_of_a_score() -> None:
    assert Score(-6.0, 3).mean == -2.0
    assert Score(0.0, 0).mean == 0.0
