"""Front to back, a form says what it says when it is addressed; and every form on disk comes back as it was."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from kosmos.data.readers import BadRecord
from kosmos.data.readers.records import RawRecord, to_document
from kosmos.data.readers.sequential import input_files, records
from kosmos.document import Document, Image, Text
from kosmos.errors import ConfigError, DataError
from tests.data.readers.server import FileServer
from tests.data.readers.taking import read_all

Write = Callable[..., Path]
TEXTS = ["one\ntwo", "é 😀", "x" * 5000, "last"]


def documents(reader: str, path: str | Path, field: str = "") -> list[Document | BadRecord]:
    return [r if isinstance(r, BadRecord) else to_document(r) for r in records(reader, str(path), field)]


@pytest.fixture
def forms(tmp_path: Path, write_tar: Write) -> dict[str, Path]:
    """The same texts, or pictures with them, in every form that training addresses."""
    lines = [json.dumps({"text": text}) + "\n" for text in TEXTS]
    asked = [json.dumps({"instruction": "Say", "input": "it", "output": text}) + "\n" for text in TEXTS]
    for name, content in (("jsonl", lines), ("asked", asked)):
        (tmp_path / f"{name}.jsonl").write_text("".join(content), encoding="utf-8")
    (tmp_path / "files").mkdir()
    for number, text in enumerate(TEXTS):
        (tmp_path / "files" / f"{number}.txt").write_text(text, encoding="utf-8")
    (tmp_path / "blocks.txt").write_text("\n\n".join(TEXTS), encoding="utf-8")
    pq.write_table(pa.table({"text": TEXTS}), tmp_path / "text.parquet", row_group_size=2)
    pictures = [{"bytes": b"P%d" % number, "path": None} for number in range(len(TEXTS))]
    pq.write_table(pa.table({"image": pictures, "caption": TEXTS}), tmp_path / "pairs.parquet", row_group_size=3)
    pairs, pages = [], []
    for number, text in enumerate(TEXTS):
        pairs += [(f"{number}.jpg", b"P%d" % number), (f"{number}.txt", text.encode())]
        page = {"texts": ["first", None, text], "images": [None, "0.jpg", None], "supervised": [False, False, True]}
        pages += [(f"{number}.json", json.dumps(page).encode()), (f"{number}.0.jpg", b"P%d" % number)]
    return {
        "jsonl": tmp_path / "jsonl.jsonl",
        "instructions": tmp_path / "asked.jsonl",
        "text": tmp_path / "files",
        "text_blocks": tmp_path / "blocks.txt",
        "parquet": tmp_path / "text.parquet",
        "pairs_parquet": tmp_path / "pairs.parquet",
        "pairs_tar": write_tar("pairs.tar", pairs),
        "interleaved_tar": write_tar("pages.tar", pages),
    }


def expected(reader: str) -> list[Document]:
    made = []
    for number, text in enumerate(TEXTS):
        image = Image(b"P%d" % number)
        if reader == "instructions":
            made.append(Document(Text("Say it", supervised=False), Text(f" {text}")))
        elif reader.startswith("pairs"):
            made.append(Document(image, Text(text)))
        elif reader.startswith("interleaved"):
            made.append(Document(Text("first", supervised=False), image, Text(text)))
        else:
            made.append(Document(Text(text)))
    return made


def test_every_form_comes_back_as_it_was_and_both_ways_agree(forms: dict[str, Path]) -> None:
    for reader, path in forms.items():
        assert read_all(reader, path) == expected(reader), reader
        assert documents(reader, path) == expected(reader), reader


def test_every_form_from_memory_and_over_http(forms: dict[str, Path], server: FileServer) -> None:
    memory = fsspec.filesystem("memory")
    for reader, path in forms.items():
        for file in sorted(path.iterdir()) if path.is_dir() else [path]:
            server.files[file.name] = file.read_bytes()
            memory.pipe_file(f"/forms/{reader}/{file.name}", file.read_bytes())
        assert documents(reader, f"memory://forms/{reader}") == expected(reader), reader
        assert read_all(reader, f"memory://forms/{reader}") == expected(reader), reader
        if not path.is_dir():
            assert read_all(reader, server.url(path.name)) == expected(reader), reader
            assert documents(reader, server.url(path.name)) == expected(reader), reader


@pytest.mark.parametrize("ending", [".gz", ".zst"])
def test_compressed_forms(forms: dict[str, Path], tmp_path: Path, ending: str) -> None:
    pack = gzip.compress if ending == ".gz" else zstandard.compress
    for reader in ("jsonl", "instructions", "text_blocks"):
        packed = tmp_path / "packed" / f"{forms[reader].name}{ending}"
        packed.parent.mkdir(exist_ok=True)
        packed.write_bytes(pack(forms[reader].read_bytes()))
        assert documents(reader, packed) == expected(reader)
    for file in forms["text"].iterdir():
        (tmp_path / "packed" / f"{file.name}{ending}").write_bytes(pack(file.read_bytes()))
    assert documents("text", tmp_path / "packed" / f"[0-9].txt{ending}") == expected("text")


LINES = st.sampled_from(
    [
        b"\n",
        b"\r\n",
        b'{"text": "a"}\n',
        b'{"text": " "}\r\n',
        b'{"text": \n',
        b"[]\n",
        b"\xff{}\n",
        b'{"no": 1}\n',
        b" \n",
    ]
)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(lines=st.lists(LINES, max_size=12), last=st.booleans(), mark=st.booleans())
def test_lines_agree_with_the_index_whatever_they_hold(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], last: bool, mark: bool
) -> None:
    data = (b"\xef\xbb\xbf" if mark else b"") + b"".join(lines)
    path = tmp_path_factory.mktemp("lines") / "a.jsonl"
    path.write_bytes(data if last else data.removesuffix(b"\n"))
    addressed = read_all("jsonl", path)
    assert documents("jsonl", path) == addressed
    packed = path.with_suffix(".jsonl.gz")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    kinds = [item.why if isinstance(item, BadRecord) else item for item in addressed]
    assert [item.why if isinstance(item, BadRecord) else item for item in documents("jsonl", packed)] == kinds


BLOCKS = st.lists(st.sampled_from([b"\n", b"\r\n", b"a\n", b" b \n", b"\t\n", b"\xff\n", b"c"]), max_size=14)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(lines=BLOCKS)
def test_blocks_agree_with_the_index(tmp_path_factory: pytest.TempPathFactory, lines: list[bytes]) -> None:
    path = tmp_path_factory.mktemp("blocks") / "a.txt"
    path.write_bytes(b"".join(lines))
    assert documents("text_blocks", path) == read_all("text_blocks", path)


def test_a_cut_file_ends_in_one_bad_record_and_the_next_file_goes_on(tmp_path: Path) -> None:
    lines = b"".join(
        json.dumps({"text": f"t{number} " + "é" * (number % 50)}).encode() + b"\n" for number in range(500)
    )
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(lines)[:-40])
    (tmp_path / "b.jsonl.zst").write_bytes(zstandard.compress(b'{"text": "whole"}\n'))
    found = list(records("jsonl", str(tmp_path)))
    bad = [number for number, item in enumerate(found) if isinstance(item, BadRecord)]
    assert bad == [len(found) - 2] and bad[0] > 300
    cut = found[bad[0]]
    assert isinstance(cut, BadRecord)
    assert (cut.where, cut.why) == (str(tmp_path / "a.jsonl.gz"), "compressed file cut short")
    assert isinstance(found[-1], RawRecord) and found[-1].texts == ("whole",)


def test_where_a_file_is_there_twice_the_plain_one_is_read(tmp_path: Path) -> None:
    for name in ("a.jsonl", "a.jsonl.gz", "b.jsonl.gz"):
        (tmp_path / name).write_bytes(b"")
    assert input_files("jsonl", str(tmp_path)) == [str(tmp_path / name) for name in ("a.jsonl", "b.jsonl.gz")]


def test_what_a_file_says_beside_the_text_goes_to_meta(tmp_path: Path) -> None:
    line = {"text": "a", "id": 7, "meta": {"pile_set_name": "Pile-CC"}}
    (tmp_path / "a.jsonl").write_text(json.dumps(line))
    [found] = records("jsonl", str(tmp_path))
    assert isinstance(found, RawRecord) and found.meta == {"id": 7, "pile_set_name": "Pile-CC"}
    [other] = records("jsonl", str(tmp_path), field="id")
    assert isinstance(other, BadRecord) and other.why == "no text field"


def test_generated_worlds_are_records_too() -> None:
    found = next(records("picturebook.equations", ""))
    assert isinstance(found, RawRecord) and found.kind == "interleaved"
    image = next(image for image in found.images if image is not None)
    assert isinstance(image, bytes) and image.startswith(b"\x89PNG")
    assert all((text is None) != (picture is None) for text, picture in zip(found.texts, found.images, strict=True))


def test_unknown_readers_and_missing_files(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no reader 'laoin' \(did you mean 'laion'\?\)"):
        list(records("laoin", str(tmp_path)))
    with pytest.raises(DataError, match=r"holds no \*\.wet file"):
        list(records("wet", str(tmp_path)))


def test_a_bit_of_a_tar_that_is_not_there_is_named(write_tar: Write) -> None:
    out = io.BytesIO()
    page = {"texts": [None], "images": ["1.jpg"]}
    path = write_tar("a.tar", [("k.json", json.dumps(page).encode()), ("k.0.jpg", out.getvalue())])
    assert documents("interleaved_tar", path) == [BadRecord(f"{path} record k", "missing member", "1.jpg")]
