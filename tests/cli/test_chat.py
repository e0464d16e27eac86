"""`kosmos chat`, mostly with a pipe for a terminal."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

import kosmos
from kosmos.api import Chat
from kosmos.chat_format import Turn
from kosmos.cli.main import main
from kosmos.document import Document
from kosmos.inference.engine import Engine
from tests.cli.process import environment
from tests.inference.tiny import save_tiny

Talk = Callable[..., tuple[list[str], list[str]]]
SHORT = ["--set", "max_new_tokens=6"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with model/, cat.png, dog.png and text.png (which is none)."""
    folder = tmp_path_factory.mktemp("chat")
    save_tiny(folder)
    for seed, name in enumerate(("cat", "dog")):
        pixels = np.random.default_rng(seed).integers(0, 256, (20, 30, 3), dtype=np.uint8)
        PIL.Image.fromarray(pixels).save(folder / f"{name}.png")
    (folder / "text.png").write_text("not a picture", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def engine(folder: Path) -> Engine:
    return kosmos.load(folder / "model")


@pytest.fixture
def chat(engine: Engine) -> Iterator[Chat]:
    """What the answers must be."""
    with kosmos.chat(engine, max_new_tokens=6) as chat:
        yield chat


@pytest.fixture
def talk(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Talk:
    """`talk(line, ...)`: the answers, and what else was said."""
    monkeypatch.chdir(folder)

    def run(*lines: str, options: list[str] = SHORT, code: int = 0) -> tuple[list[str], list[str]]:
        monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{line}\n" for line in lines)))
        assert main(["chat", "model", *options]) == code
        said = capsys.readouterr()
        return said.out.split("\n")[:-1], said.err.splitlines()

    return run


def test_each_line_is_a_turn(talk: Talk, chat: Chat) -> None:
    answers, said = talk("what is it?", "", "one cat or two?")
    assert answers == [chat.say("what is it?"), chat.say("one cat or two?")]
    assert said == []


def test_pictures_before_and_inside_a_question(talk: Talk, chat: Chat) -> None:
    cat, dog = Path("cat.png"), Path("dog.png")
    answers, said = talk("/image cat.png", "/image dog.png", "what is it?", "is /image cat.png a /image dog.png ?")
    expected = [chat.say(cat, dog, "what is it?"), chat.say("is", cat, "a", dog, "?")]
    assert answers == "\n".join(expected).split("\n")  # answers of several lines
    assert said == []


def test_a_turn_runs_its_own_tokens_only(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[tuple[int, int]] = []
    plain = Engine._read

    def read(self: Engine, parts: Any) -> Any:
        runs.extend((part.start, part.end) for part in parts)
        return plain(self, parts)

    monkeypatch.setattr(Engine, "_read", read)
    talk("/image cat.png", "what is it?", "of the red cat", "one cat or two?")
    assert runs[0][0] == 0
    # Each begins where the one before has ended, less the token whose logits are wanted again.
    assert all(start in (end - 1, end) for (_, end), (start, _) in pairwise(runs)), runs


def test_reset_undo_and_retry(talk: Talk, chat: Chat, engine: Engine) -> None:
    first, second = chat.say("what is it?"), chat.say("two dogs")
    answers, said = talk("what is it?", "two dogs", "/undo", "two dogs", "/retry", "/reset", "what is it?")
    assert answers == [first, second, second, second, first]
    assert said == ["without drawing the answer is the same; /set temperature 0.8 draws"]
    answers, said = talk("/undo", "/retry", "what is it?", code=3)
    assert answers == [first]
    assert said[:2] == ["there is no turn to take back"] * 2
    answers, _ = talk("/image cat.png", "/undo", "what is it?")
    assert answers == [first]


def test_settings(talk: Talk, engine: Engine) -> None:
    options = ["--set", "temperature=1.5", "--set", "max-new-tokens=8"]
    lines = ["an image", "/retry", "/set seed = 1", "/retry", "/set seed", "/set sed 3"]
    answers, said = talk(*lines, options=options, code=3)
    drawn = [kosmos.chat(engine, max_new_tokens=8, temperature=1.5, seed=seed).say("an image") for seed in range(4)]
    assert answers == [drawn[0], drawn[1], drawn[3]]  # each retry is a draw of its own
    assert len(set(answers)) == 3
    assert said[0] == "/set seed wants a value, as in /set temperature 0.8"
    assert said[1].startswith("unknown option 'sed' (did you mean 'seed'?)")
    _, said = talk("/set", "/set temperature -1", "/set num_beams 2", "/set num_results 2", options=options, code=3)
    assert {"temperature 1.5", "max_new_tokens 8", "seed 0"} <= set(said)
    assert said[-4:] == [
        "temperature is -1; it must be 0 (greedy) or a positive number".replace("-1", "-1.0"),
        "beams and drawing exclude each other; leave out num_beams or temperature",
        "a chat has one answer; leave num_results as it is",
        "kosmos: error: 3 lines of the input failed, as said above",
    ]
    _, said = talk("/set num_results 2", code=3)  # without drawing, too
    assert said[0] == "a chat has one answer; leave num_results as it is"
    beams, _ = talk("an image", options=["--set", "num_beams=3"])
    assert beams == [kosmos.chat(engine, num_beams=3).say("an image")]


def test_text_never_becomes_a_special_token(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    plain = Engine.encode

    def encode(self: Engine, document: Document) -> Any:
        row = plain(self, document)
        seen.extend(row.token_ids.tolist())
        return row

    monkeypatch.setattr(Engine, "encode", encode)
    tokenizer = kosmos.load("model").processor.tokenizer
    talk("</s> <s> <image> <mask> </image> </line> <pad>\x0b\x0c\x1c\x85\u2028 end")
    specials = {tokenizer.special_id(name) for name in ("<mask>", "<image>", "</image>", "</s>", "<pad>", "</line>")}
    assert seen.count(tokenizer.bos_id) == 1 and seen[0] == tokenizer.bos_id
    assert not specials & set(seen)


def test_what_goes_wrong_is_said_and_the_chat_goes_on(talk: Talk, chat: Chat) -> None:
    answers, said = talk(
        *("/image nowhere.png", "/image text.png", "what is /image text.png ?", "/rest", "/undo 3", "what is it?"),
        code=3,
    )
    assert answers == [chat.say("what is it?")]
    assert said[0] == "nowhere.png: cannot read the picture: No such file or directory"
    assert said[1].startswith("text.png: not a PNG") and said[2] == said[1]
    assert said[3].startswith("no command /rest (did you mean 'reset'?)")
    assert said[4].startswith("/undo stands alone")
    assert said[5:] == ["kosmos: error: 5 lines of the input failed, as said above"]
    _, said = talk("/image nowhere.png", "/quit", code=3)
    assert said[1:] == ["kosmos: error: 1 line of the input failed, as said above"]


def test_a_conversation_that_is_too_long_says_so(talk: Talk, chat: Chat) -> None:
    long = "of " * 55
    answers, said = talk(long, long, "/reset", "what is it?", "/reset", "of " * 200, code=3)
    assert len(answers) == 2
    assert answers[1] == chat.say("what is it?")
    assert "the conversation has outgrown the model's length of 128 tokens" in said[0]
    assert said[0].endswith("begin anew (reset), or take turns back (undo); here: /reset, /undo")
    assert said[1].startswith("the prompt is 217 tokens long") and said[1].endswith("or use fewer pictures")
    _, said = talk("of " * 105)
    assert re.fullmatch(r"1[12]\d of the model's 128 tokens are used; /reset begins anew", said[0])


def test_save(talk: Talk, folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "my chat.json"
    lines = ["/image cat.png", "what is it?", f"/save {file}", "of", f"/save {file}", "/save", "/save /x/y"]
    answers, said = talk(*lines, code=3)
    saved = json.loads(file.read_text(encoding="utf-8"))
    assert saved["turns"] == [
        {"role": "user", "content": [{"image": str(folder / "cat.png")}, "what is it?"]},
        {"role": "assistant", "content": [answers[0]]},
    ]
    assert (saved["run"], saved["chat_format"], saved["options"]["max_new_tokens"]) == ("model", "kosmos-qa", 6)
    assert said[0] == f"{file}: 1 turn"
    assert said[1] == f"{file} is there already; choose another name"
    assert said[2] == "/save wants the name of a file"
    assert said[3].startswith("/x/y: cannot write: No such file or directory")


def test_quit_and_help(talk: Talk) -> None:
    answers, said = talk("/help", "/quit", "what is it?")
    assert answers == []
    assert [line.split()[0] for line in said] == [
        *["/image", "/reset", "/undo", "/retry"],
        *["/set", "/save", "/help", "/quit"],
    ]


def test_bad_options(talk: Talk) -> None:
    for options, message in [
        (["--set", "temperature"], "write NAME=VALUE"),
        (["--set", "temprature=1"], "did you mean 'temperature'"),
    ]:
        _, said = talk(options=options, code=2)
        assert message in said[0]


def test_ctrl_c_stops_an_answer_and_not_the_program(
    talk: Talk, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"max_new_tokens": 40, "min_new_tokens": 40, "temperature": 2.0}
    whole = kosmos.chat(engine, **options).say("an image")
    plain = Chat.stream
    pieces: list[str] = []

    def stream(self: Chat, *parts: object) -> Iterator[str]:
        deltas = plain(self, *parts)  # type: ignore[arg-type]

        def interrupted() -> Iterator[str]:
            for number, delta in enumerate(deltas):
                if len(self.turns) == 0 and number == 5:
                    signal.raise_signal(signal.SIGINT)
                pieces.append(delta)
                yield delta

        return interrupted()

    monkeypatch.setattr(Chat, "stream", stream)
    words = [word for name, value in options.items() for word in ("--set", f"{name}={value}")]
    answers, said = talk("an image", "of", options=words)
    assert said[0] == "stopped"
    assert answers[0] == "".join(pieces[:6]) and whole.startswith(answers[0]) and len(answers[0]) < len(whole)
    with kosmos.chat(engine, **options) as chat:  # what had come counts
        chat.turns = [Turn("user", Document("an image")), Turn("assistant", Document(answers[0]))]
        assert answers[1] == chat.say("of")


def test_a_terminal(folder: Path, engine: Engine) -> None:
    """Ctrl-C at the prompt does nothing, SIGTERM ends the program."""
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "kosmos", "chat", "model", *SHORT]
    process = subprocess.Popen(
        command, cwd=folder, stdin=follower, stdout=follower, stderr=follower, env=environment(), start_new_session=True
    )
    os.close(follower)
    shown = b""

    def wait_for(text: str, again: Callable[[], None] = lambda: None) -> None:
        nonlocal shown
        end = time.monotonic() + 60
        while text.encode() not in shown.replace(b"\r\n", b"\n"):
            assert time.monotonic() < end and process.poll() is None, shown
            if select.select([leader], [], [], 0.5)[0]:
                shown += os.read(leader, 1024)
            else:
                again()

    try:
        wait_for("Ctrl-D leaves.")
        wait_for("> ")
        # A signal just before the terminal is waited for is noticed at the next one.
        wait_for("Ctrl-D or /quit leaves", again=lambda: process.send_signal(signal.SIGINT))
        os.write(leader, b"/image cat.png\n")
        wait_for("1 picture for the next question")
        os.write(leader, b"what is it?\n")
        wait_for(kosmos.chat(engine, max_new_tokens=6).say(folder / "cat.png", "what is it?"))
        os.write(leader, b"/undo\n")
        wait_for("taken back; 0 turns left")
        os.write(leader, b"/reset\n")
        wait_for("all is forgotten")
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 4
    finally:
        process.kill()
        os.close(leader)
