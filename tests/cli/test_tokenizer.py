"""`kosmos tokenizer`: train one, look into it."""

from __future__ import annotations

from pathlib import Path

import pytest

from kosmos.cli.main import main
from tests.cli.process import Command, one_line, write_corpus


def test_train_and_show(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    corpus, plain, folder = tmp_path / "a.jsonl", tmp_path / "b.txt", tmp_path / "tokenizer"
    write_corpus(corpus)
    plain.write_text("A whale swims in the deep sea.\n\nA whale!\n", encoding="utf-8")
    assert main(["tokenizer", "train", str(corpus), str(plain), "--out", str(folder), "--vocab-size", "33"]) == 0
    assert capsys.readouterr().out == (
        f"{folder}: 40 entries (33 pieces and the special tokens); model.decoder.vocab_size: 40\n"
    )
    assert main(["tokenizer", "show", str(folder)]) == 0
    assert "<s> 0  <pad> 1  </s> 2  <unk> 3  <mask> 34  <image> 36  </image> 37  </line> 39" in capsys.readouterr().out
    assert main(["tokenizer", "show", str(folder), "The cat </s>"]) == 0
    ids = [int(line.split()[0]) for line in capsys.readouterr().out.splitlines()[1:]]
    assert ids
    assert not {0, 1, 2} & set(ids)
    assert max(ids) < 34


def test_further_special_tokens(tmp_path: Path, kosmos_here: Command) -> None:
    write_corpus(tmp_path / "a.jsonl")
    words = ["tokenizer", "train", "a.jsonl", "--vocab-size", "31", "--special", "<speech>"]
    finished = kosmos_here(*words, "--special", "</speech>", "--out", "tokenizer", cwd=tmp_path)
    assert finished.stdout.startswith("tokenizer: 40 entries ") and finished.returncode == 0
    assert kosmos_here("tokenizer", "show", "tokenizer", cwd=tmp_path).stdout.endswith("<speech> 38  </speech> 39\n")
    for name in ("<speech>", "<image>"):
        refused = kosmos_here(*words, "--special", name, "--out", "other", cwd=tmp_path)
        assert one_line(refused) == f"--special {name}: it is there already"
        assert refused.returncode == 2 and not (tmp_path / "other").exists()


def test_it_never_writes_over(kosmos: Command, tmp_path: Path) -> None:
    (tmp_path / "tokenizer").mkdir()
    finished = kosmos("tokenizer", "train", "x.txt", "--out", tmp_path / "tokenizer", "--vocab-size", "80")
    assert finished.returncode == 2
    assert "is there already" in one_line(finished)
    assert list((tmp_path / "tokenizer").iterdir()) == []


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"text": "a"}\n{"txt": "b"}\n', 'a.jsonl:2: expected one JSON object with a field "text"'),
        ("a.jsonl", b"[1]\n", "a.jsonl:1: expected one JSON object"),
        ("a.jsonl", b'{"text": 5}\n', 'a.jsonl:1: the field "text" is not text'),
        ("a.txt", b"\xff\xfe\x00", "a.txt: not UTF-8 text"),
        ("a.txt", b"too little\n", "cannot train a tokenizer of 500 pieces"),
    ],
)
def test_bad_files(kosmos: Command, tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    finished = kosmos("tokenizer", "train", name, "--out", "tokenizer", "--vocab-size", "500", cwd=tmp_path)
    assert finished.returncode == 3
    assert one_line(finished).startswith(message)
    assert not (tmp_path / "tokenizer").exists()


def test_missing_file(kosmos: Command, tmp_path: Path) -> None:
    finished = kosmos("tokenizer", "train", "nothing.txt", "--out", "tokenizer", "--vocab-size", "500", cwd=tmp_path)
    assert finished.returncode == 3
    assert one_line(finished) == "nothing.txt: no such file"
