"""What a typed line means."""

from __future__ import annotations

from pathlib import Path

import pytest

from kosmos.cli.chat_line import Command, parse_line
from kosmos.errors import UsageError


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("", []),
        ("  what is it? \n", ["what is it?"]),
        ("/image cat.png", [Path("cat.png")]),
        ("/image a.png what is it?", [Path("a.png"), "what is it?"]),
        ("is /image a.png left of /image b.png ?", ["is", Path("a.png"), "left of", Path("b.png"), "?"]),
        ("/image \"my cat.png\" /image 'your dog.png'", [Path("my cat.png"), Path("your dog.png")]),
        ("/image a.png /image b.png", [Path("a.png"), Path("b.png")]),
        ("the folder/image is here", ["the folder/image is here"]),
        ("an /images/cat.png", ["an /images/cat.png"]),
        ("//reset is a word", ["/reset is a word"]),
        ("//image a.png", ["/image a.png"]),
        ("//image a.png /image b.png", ["/image a.png", Path("b.png")]),
        ("/reset", Command("reset", "")),
        ("  /set temperature 0.8 ", Command("set", "temperature 0.8")),
        ("/save my chat.json", Command("save", "my chat.json")),
        ("</s> <image> a </image>", ["</s> <image> a </image>"]),
    ],
)
def test_lines(line: str, meant: Command | list[str | Path]) -> None:
    assert parse_line(line) == meant


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("/rest", r"no command /rest \(did you mean 'reset'\?\); /help lists them, and // begins a text with a slash"),
        ("/images a.png", r"no command /images \(did you mean 'image'\?\)"),
        ("/", "no command /;"),
        ("/image", "/image wants the name of a file"),
        ("what is /image", "/image wants the name of a file"),
        ('/image "', "/image wants the name of a file"),
    ],
)
def test_lines_that_mean_nothing(line: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_line(line)


def test_home_is_known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert parse_line("/image ~/cat.png") == [tmp_path / "cat.png"]
