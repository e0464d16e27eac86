"""`kosmos data inspect` as a user calls it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from tests.cli.data.corpora import PAIRS, write_lines, write_pairs
from tests.cli.process import Command, one_line

READERS = (
    *("jsonl", "jsonl.gz", "jsonl.zst", "instructions", "parquet", "text", "text_blocks", "pairs_tar"),
    *("pairs_parquet", "interleaved_tar", "wet", "laion", "coyo", "cc3m", "cc12m", "mmc4", "obelics"),
)


@pytest.mark.parametrize("reader", READERS)
def test_every_form_is_guessed_and_shown(
    kosmos_here: Command, corpora: dict[str, Path], reader: str, tmp_path: Path
) -> None:
    assert set(corpora) == set(READERS)
    name = reader.partition(".")[0]
    guessed = kosmos_here("data", "inspect", corpora[reader], "--json", cwd=tmp_path)
    named = kosmos_here("data", "inspect", corpora[reader], "--json", "--reader", name, cwd=tmp_path)
    assert (guessed.returncode, guessed.stderr) == (0, "")
    told, asked = json.loads(guessed.stdout), json.loads(named.stdout)
    assert (told["reader"], asked["reader"]) == (name, name)
    assert told["guessed_by"] and asked["guessed_by"] is None
    assert told["records"] == asked["records"] and told["records"]
    assert list(tmp_path.iterdir()) == []  # inspecting leaves nothing behind


def test_segments_in_order_and_what_is_supervised(
    kosmos_here: Command, corpora: dict[str, Path], tmp_path: Path
) -> None:
    file = corpora["interleaved_tar"]
    finished = kosmos_here("data", "inspect", file, cwd=tmp_path)
    assert finished.stdout.splitlines() == [
        f"{file}: reader interleaved_tar, guessed: a member .json with texts and images",
        "",
        f"{file} record 0",
        "  prompt   See this:",
        "  image    32 x 32 png, 100 bytes",
        "  text     It is red.",
        "  image    32 x 32 png, 102 bytes",
        "",
        f"{file} record 1",
        "  text     No picture here.",
        "",
        "2 records shown, 0 bad",
    ]


def test_the_records_of_json(kosmos_here: Command, corpora: dict[str, Path], tmp_path: Path) -> None:
    told = json.loads(kosmos_here("data", "inspect", corpora["cc12m"], "--json", cwd=tmp_path).stdout)
    bad, good = told["records"]
    assert (bad["bad"], bad["detail"]) == ("tag in caption", "<PERSON>")
    assert good["segments"] == [
        {"image": {"address": "http://example.com/cat.jpg"}},
        {"text": "a cat", "supervised": True},
    ]
    told = json.loads(kosmos_here("data", "inspect", corpora["instructions"], "--json", cwd=tmp_path).stdout)
    assert told["records"][0]["segments"] == [
        {"text": "Name a colour.", "supervised": False},
        {"text": " Red.", "supervised": True},
    ]


def test_bad_records_have_reasons(kosmos_here: Command, tmp_path: Path) -> None:
    file = tmp_path / "text.jsonl"
    file.write_bytes(b'{"text": "good"}\n{"text": \n{"txt": "x"}\n{"text": "\xff"}\n{"text": " "}\n')
    finished = kosmos_here("data", "inspect", "text.jsonl", cwd=tmp_path)
    assert finished.returncode == 0  # looking is no judging
    reasons = [line.split("BAD")[1].split("(")[0].strip() for line in finished.stdout.splitlines() if "  BAD " in line]
    assert reasons == ["bad json", "no text field", "not utf-8", "empty text"]
    assert finished.stdout.endswith("5 records shown, 4 bad\n")


def test_another_field_and_number_of_records(kosmos_here: Command, tmp_path: Path) -> None:
    write_lines(tmp_path / "x.jsonl", [{"content": f"Number {i}."} for i in range(9)])
    arguments = ["data", "inspect", "x.jsonl", "--reader", "jsonl", "--field", "content", "--records", "7", "--json"]
    told = json.loads(kosmos_here(*arguments, cwd=tmp_path).stdout)
    texts = [record["segments"][0]["text"] for record in told["records"]]
    assert texts == [f"Number {i}." for i in range(7)]


def test_long_texts_are_shortened_unless_asked(kosmos_here: Command, tmp_path: Path) -> None:
    write_lines(tmp_path / "x.jsonl", [{"text": "word " * 200}])
    short = kosmos_here("data", "inspect", "x.jsonl", cwd=tmp_path).stdout
    assert "... (1,000 characters)" in short and short.count("word") == 60
    assert kosmos_here("data", "inspect", "x.jsonl", "--full", cwd=tmp_path).stdout.count("word") == 200


def test_a_text_cannot_steer_the_terminal(kosmos_here: Command, tmp_path: Path) -> None:
    write_lines(tmp_path / "x.jsonl", [{"text": "\x1b[2J\x07gone"}])
    finished = kosmos_here("data", "inspect", "x.jsonl", cwd=tmp_path)
    assert "\x1b" not in finished.stdout and "\x07" not in finished.stdout
    assert "\\x1b[2J\\x07gone" in finished.stdout


def test_the_contact_sheet_shows_every_picture(kosmos_here: Command, corpora: dict[str, Path], tmp_path: Path) -> None:
    arguments = ["data", "inspect", corpora["pairs_tar"], "--records", str(PAIRS), "--sheet", "out/sheet.png"]
    finished = kosmos_here(*arguments, cwd=tmp_path)
    assert finished.stdout.endswith("contact sheet: out/sheet.png\n")
    pixels = np.asarray(PIL.Image.open(tmp_path / "out" / "sheet.png"))
    red, blue = (int((pixels == np.array(colour)).all(-1).sum()) for colour in ((200, 30, 30), (40, 60, 200)))
    assert 0.98 * 2 < red / 208**2 <= 2.0  # two square red pictures of six, corners rounded
    assert 0.98 < blue / 208**2 <= 1.0


def test_a_broken_picture_is_named_and_drawn_as_a_frame(kosmos_here: Command, tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs.tar", broken=0)
    finished = kosmos_here("data", "inspect", "pairs.tar", "--records", "1", "--sheet", "sheet.png", cwd=tmp_path)
    assert "  image    BROKEN: picture from bytes: the picture is damaged or cut short" in finished.stdout
    pixels = np.asarray(PIL.Image.open(tmp_path / "sheet.png"))
    assert int((pixels == np.array((214, 69, 69))).all(-1).sum()) > 500


def test_no_picture_no_sheet(kosmos_here: Command, corpora: dict[str, Path], tmp_path: Path) -> None:
    finished = kosmos_here("data", "inspect", corpora["laion"], "--sheet", "sheet.png", cwd=tmp_path)
    assert (finished.returncode, finished.stderr) == (0, "no picture to draw: no contact sheet is written\n")
    assert not (tmp_path / "sheet.png").exists()


def test_a_truncated_file_shows_what_is_whole(kosmos_here: Command, corpora: dict[str, Path], tmp_path: Path) -> None:
    cut = tmp_path / "cut.jsonl.gz"
    cut.write_bytes(corpora["jsonl.gz"].read_bytes()[:-8])
    told = json.loads(kosmos_here("data", "inspect", cut, "--records", "100", "--json", cwd=tmp_path).stdout)
    assert told["records"][-1]["bad"] == "compressed file cut short"
    assert all("segments" in record for record in told["records"][:-1])


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["missing.jsonl"], 3, "missing.jsonl: no such file or folder"),
        (["missing.jsonl", "--reader", "jsonl"], 3, "missing.jsonl: no such file or folder"),
        (["text.jsonl", "--reader", "jsnl"], 2, "no reader 'jsnl' (did you mean 'jsonl'?)"),
        (["text.jsonl", "--records", "0"], 2, "argument --records: 0: must be at least 1; see `kosmos data inspect"),
    ],
)
def test_errors_of_one_line(
    kosmos_here: Command, tmp_path: Path, arguments: list[str], code: int, message: str
) -> None:
    write_lines(tmp_path / "text.jsonl", [{"text": "x"}])
    finished = kosmos_here("data", "inspect", *arguments, cwd=tmp_path)
    assert finished.returncode == code
    assert one_line(finished).startswith(message)
