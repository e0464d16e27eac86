"""The on-disk forms: what the readers of files make of them."""

from __future__ import annotations

import html
import json
import re
from itertools import islice
from pathlib import Path

import pytest

from kosmos.config import CorpusConfig
from kosmos.data.picturebook.concepts import PictureBook
from kosmos.data.picturebook.corpus import answer_words, tokenizer_corpus
from kosmos.data.picturebook.export import ExportSizes, build, instructions
from kosmos.data.picturebook.reader import training_examples
from kosmos.data.picturebook.templates import training_document
from kosmos.data.picturebook.wordnet import WordNet
from kosmos.data.picturebook.worlds.pages import page_html
from kosmos.data.readers import open_reader
from kosmos.document import Document, Text
from kosmos.errors import UsageError
from kosmos.storage import check_manifest

SIZES = ExportSizes(text=5, pairs=8, interleaved=26, instructions=6, pages=2)


@pytest.fixture(scope="module")
def exported(book: PictureBook, wordnet: WordNet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("export") / "book", SIZES, seed=3, book=book)


def first_documents(reader: str, path: Path, count: int) -> list[Document]:
    opened = open_reader(CorpusConfig(reader, str(path)), 0)
    [shard] = opened.shards()
    assert opened.num_records(shard) == count
    documents = [opened.read(shard, record, 0) for record in range(count)]
    assert all(isinstance(document, Document) for document in documents)
    return [document for document in documents if isinstance(document, Document)]


def test_everything_is_listed_in_the_manifest(exported: Path) -> None:
    check_manifest(exported)
    credit = (exported / "CREDITS.txt").read_text()
    assert "Twemoji by Twitter: @iconify-json/twemoji@1.2.5, CC-BY-4.0" in credit
    assert not [path for path in exported.parent.iterdir() if path.name.startswith(".")]


def test_text(exported: Path) -> None:
    documents = first_documents("jsonl", exported / "text", 5)
    assert documents == [training_document(example) for example in training_examples("glosses", 5, 3)]
    assert all("\n" in document.text for document in documents)


def test_pairs(exported: Path) -> None:
    documents = first_documents("pairs_tar", exported / "pairs", 8)
    assert all(len(document.images) == 1 and document.text.startswith("An image of ") for document in documents)
    assert json.loads((exported / "pairs" / "00000_stats.json").read_text())["successes"] == 8


def test_interleaved(exported: Path) -> None:
    documents = first_documents("interleaved_tar", exported / "interleaved", 26)
    assert sum(len(document.images) > 1 for document in documents) >= 3
    assert any(document.text.startswith("Here are ") for document in documents)


def test_instructions(exported: Path, book: PictureBook) -> None:
    documents = first_documents("instructions", exported / "instructions", 6)
    assert [[s.supervised for s in document if isinstance(s, Text)] for document in documents] == [[False, True]] * 6
    kinds = {item["instruction"] for item in islice(instructions(book, 3), 60)}
    assert len(kinds) == 4


def test_pages_say_what_their_documents_say(exported: Path) -> None:
    for number, example in enumerate(training_examples("pages", 2, 3)):
        page = (exported / "pages" / f"{number:05d}.html").read_text(encoding="utf-8")
        lines = [html.unescape(line) for line in re.findall("<p>(.*)</p>", page)]
        assert lines == [s.text for s in training_document(example) if isinstance(s, Text)]
        sources = re.findall('<img src="([^"]+)"', page)
        assert len(sources) == len(example.images)
        assert all((exported / "pages" / source).read_bytes()[:4] == b"\x89PNG" for source in sources)
        assert page == page_html(example, sources)


def test_an_existing_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="nothing was written"):
        build(tmp_path)
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_the_tokenizer_corpus_says_every_answer(book: PictureBook, wordnet: WordNet) -> None:
    words = answer_words(book)
    assert len(words) == len(set(words)) and {word for label in book.labels for word in label.split()} <= set(words)
    lines = list(islice(tokenizer_corpus(book), 400))
    assert lines[:150] == ["monkey"] * 150 and lines[150] == "monkey,"
