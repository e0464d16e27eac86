"""Sums, quantiles and samples."""

from __future__ import annotations

from pathlib import Path

from kosmos.config import CorpusConfig
from kosmos.data.inspection import Seen
from kosmos.data.readers import BadRecord, open_reader
from kosmos.data.statistics import CorpusFigures, Values, sample_addressed
from kosmos.document import Document, Image, Text
from tests.cli.data.corpora import write_lines
from tests.cli.tiny_run import png


def test_quantiles_are_values_that_occur() -> None:
    values = Values()
    assert values.summary() is None
    for value in range(100, 0, -1):
        values.add(value)
    assert values.summary() == {
        **{"sum": 5050, "mean": 50.5, "min": 1, "p5": 5, "p25": 25},
        **{"median": 50, "p75": 75, "p95": 95, "max": 100},
    }


def test_figures_of_documents() -> None:
    figures = CorpusFigures(count_tokens=lambda text: len(text.split()))
    figures.add(Seen("a", Document(Image(png((0, 0, 0))), Text("one two"), Image(b"broken"))))
    figures.add(Seen("b", Document(Text("a prompt", supervised=False), Text("answer"))))
    figures.add(BadRecord("c", "bad json"))
    told = figures.as_mapping()
    assert figures.records == 3
    assert told["documents_by_pictures"] == {"0": 1, "2": 1}
    assert told["text_characters"]["sum"] == 7 + 14 and told["supervised_characters"] == 7 + 6
    assert told["text_tokens"]["sum"] == 5
    assert told["pictures"]["forms"] == {"png": 1, "broken": 1}
    assert told["bad_records"] == {"bad json": 1}


def test_a_sample_skips_empty_shards_and_takes_all_when_it_is_large(tmp_path: Path) -> None:
    write_lines(tmp_path / "a.jsonl", [{"text": "0"}])
    write_lines(tmp_path / "b.jsonl", [])
    write_lines(tmp_path / "c.jsonl", [{"text": str(number)} for number in range(1, 10)])
    reader = open_reader(CorpusConfig("jsonl", str(tmp_path)), 0)

    def texts(sample: int) -> list[str]:
        total, records = sample_addressed(reader, sample)
        assert total == 10
        documents = [record.document for record in records if isinstance(record, Seen)]
        return [segment.text for document in documents for segment in document if isinstance(segment, Text)]

    assert texts(0) == texts(99) == [str(number) for number in range(10)]
    assert texts(5) == ["0", "2", "4", "6", "8"]
    assert texts(3) == ["0", "3", "6"]
