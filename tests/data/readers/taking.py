"""What tests ask of a reader: everything it gives."""

from __future__ import annotations

from pathlib import Path

from kosmos.config import CorpusConfig
from kosmos.data.readers import BadRecord, open_reader
from kosmos.document import Document


def read_all(reader: str, path: str | Path, field: str = "") -> list[Document | BadRecord]:
    """All records of a corpus, shard by shard."""
    opened = open_reader(CorpusConfig(reader, str(path), field=field), 0)
    return [opened.read(shard, record, 0) for shard in opened.shards() for record in range(opened.num_records(shard))]


def reasons(records: list[Document | BadRecord]) -> list[str | None]:
    """The reason of each bad record, None for good ones."""
    return [record.why if isinstance(record, BadRecord) else None for record in records]
