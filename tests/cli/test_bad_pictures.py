"""Pictures that cannot be used: one line, exit code 3, nothing written over."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image

from tests.cli.process import Command, one_line, snapshot
from tests.cli.tiny_run import png


def huge_png(side: int = 20_000) -> bytes:
    """A valid black PNG of side x side pixels; compressed it is small, as a bomb is."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    row = b"\0" * (1 + (side + 7) // 8)  # filter byte, then one bit a pixel
    packer = zlib.compressobj(1)
    data = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def truncated_jpeg() -> bytes:
    file = io.BytesIO()
    Image.linear_gradient("L").save(file, "JPEG")
    return file.getvalue()[: len(file.getvalue()) // 2]


BAD = {
    "text.png": (b"This is no picture.\n", "text.png"),
    "huge.png": (huge_png(), "20000 x 20000"),
    "header-only.png": (huge_png()[:40], "header-only.png"),
    "half.jpg": (truncated_jpeg(), "half.jpg"),
    "empty.png": (b"", "empty.png"),
}


@pytest.mark.parametrize("name", [*BAD, "nothing.png", "."])
def test_one_line_and_code_3(kosmos_here: Command, tiny_run: Path, tmp_path: Path, name: str) -> None:
    message = name
    if name in BAD:
        content, message = BAD[name]
        (tmp_path / name).write_bytes(content)
    before = snapshot(tmp_path)
    finished = kosmos_here("generate", tiny_run, "-i", name, "a", cwd=tmp_path)
    assert message in one_line(finished).replace("20,000", "20000").replace("20000x20000", "20000 x 20000")
    assert finished.returncode == 3
    assert finished.stdout == ""
    assert snapshot(tmp_path) == before


def test_a_good_picture_beside_them(kosmos_here: Command, tiny_run: Path, tmp_path: Path) -> None:
    (tmp_path / "red.png").write_bytes(png((200, 30, 30), size=64))
    finished = kosmos_here("generate", tiny_run, "-i", "red.png", "a", cwd=tmp_path)
    assert (finished.returncode, finished.stderr) == (0, "")
    assert finished.stdout.strip() == "red square"


def test_answers_are_never_written_over(kosmos_here: Command, tiny_run: Path, tmp_path: Path) -> None:
    (tmp_path / "prompts.jsonl").write_text('{"prompt": ["a"]}\n')
    (tmp_path / "answers.jsonl").write_text("precious")
    finished = kosmos_here("generate", tiny_run, "--jsonl", "prompts.jsonl", "--out", "answers.jsonl", cwd=tmp_path)
    assert "is there already" in one_line(finished)
    assert finished.returncode == 2
    assert (tmp_path / "answers.jsonl").read_text() == "precious"


def test_a_damaged_checkpoint_is_code_5(kosmos: Command, tiny_run: Path, tmp_path: Path) -> None:
    """A real process: the whole path from the shell, on a copy with one changed byte."""
    folder = tmp_path / "step-100"
    for name, data in snapshot(tiny_run / "checkpoints" / "step-100").items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        changed = bytes([data[0] ^ 1]) + data[1:] if name == "weights/model.safetensors" else data
        (folder / name).write_bytes(changed)
    finished = kosmos("generate", folder, "a")
    assert "damaged" in one_line(finished)
    assert finished.returncode == 5


def test_a_text_file_named_png_from_the_shell(kosmos: Command, tiny_run: Path, tmp_path: Path) -> None:
    (tmp_path / "text.png").write_bytes(BAD["text.png"][0])
    finished = kosmos("generate", tiny_run, "-i", "text.png", "a", cwd=tmp_path)
    assert one_line(finished).startswith("text.png: ")
    assert (finished.returncode, finished.stdout) == (3, "")
