"""The files of one shard, and what is counted in it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from kosmos.data.tar_writer import SHARD_DIGITS


@dataclass
class ShardStats:
    """Counts of one finished shard. `picture_failures` counts URLs by reason, `dropped` records by reason."""

    count: int = 0
    successes: int = 0
    pictures: int = 0
    pictures_fetched: int = 0
    picture_bytes: int = 0
    duration: float = 0.0
    picture_failures: dict[str, int] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)
    records_sha256: str = ""

    def to_json(self) -> bytes:
        """With the keys of img2dataset's statistics too, for the tools that read them."""
        as_others = {
            "failed_to_download": self.count - self.successes,
            "failed_to_resize": 0,
            "status_dict": {"success": self.successes, **self.dropped},
        }
        return json.dumps(asdict(self) | as_others, indent=1).encode() + b"\n"

    @classmethod
    def from_json(cls, data: bytes) -> ShardStats:
        """Raises ValueError when the file is damaged."""
        fields = json.loads(data)
        try:
            return cls(**{name: fields[name] for name in cls.__dataclass_fields__})
        except (KeyError, TypeError) as error:
            raise ValueError(f"no statistics of a shard: {error}") from error


@dataclass(frozen=True)
class ShardFiles:
    """Where the files of one shard are."""

    folder: Path
    number: int

    @property
    def tar(self) -> Path:
        return self.folder / f"{self.number:0{SHARD_DIGITS}d}.tar"

    @property
    def failed(self) -> Path:
        return self.folder / f"{self.number:0{SHARD_DIGITS}d}_failed.jsonl"

    @property
    def stats(self) -> Path:
        return self.folder / f"{self.number:0{SHARD_DIGITS}d}_stats.json"
