"""Tables: plain text in a pipe, drawn on a terminal."""

from __future__ import annotations

import pytest

from kosmos.cli.tables import counted, print_table, printable, readable_bytes

ROWS = [["cats", "1,200"], ["a dog", "7"]]


def test_plain_text_is_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["what", "how many"], ROWS)
    assert capsys.readouterr().out == "what   how many\ncats      1,200\na dog         7\n"


def test_a_terminal_gets_a_drawn_table(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("NO_COLOR", "1")
    print_table(["what", "how many"], [*ROWS, ["[bold]", "1"]])
    out = capsys.readouterr().out
    assert "─────" in out and "1,200" in out
    assert "[bold]" in out  # a cell is text, not markup


@pytest.mark.parametrize(
    ("size", "said"), [(0, "0 bytes"), (999, "999 bytes"), (1400, "1.4 kB"), (2.5e9, "2.5 GB"), (7e15, "7000.0 TB")]
)
def test_sizes(size: float, said: str) -> None:
    assert readable_bytes(size) == said


def test_words() -> None:
    assert (counted(1, "file"), counted(0, "file"), counted(1200, "file")) == ("1 file", "0 files", "1,200 files")
    assert printable("a\x1b[31m\tb\nc\x7fd é") == "a\\x1b[31m\tb\nc\\x7fd é"
