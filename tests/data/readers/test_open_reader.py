"""Which reader a corpus gets, and which are refused with the command that helps."""

from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path

import pytest

from kosmos.config import CorpusConfig
from kosmos.data.readers import open_reader
from kosmos.errors import ConfigError, DataError


@pytest.mark.parametrize(
    ("reader", "action"),
    [("wet", "prepare"), *((name, "fetch") for name in ("laion", "coyo", "cc3m", "cc12m", "mmc4", "obelics"))],
)
def test_sequential_forms_are_refused_with_the_command_that_makes_data_of_them(reader: str, action: str) -> None:
    with pytest.raises(ConfigError, match=rf"run `kosmos data {action} --reader {reader} some/path OUT`"):
        open_reader(CorpusConfig(reader, "some/path"), 0)


@pytest.mark.parametrize("reader", ["jsonl", "instructions", "text", "text_blocks"])
@pytest.mark.parametrize("ending", [".gz", ".zst", ".zip"])
def test_compressed_files_are_refused_with_the_command(tmp_path: Path, reader: str, ending: str) -> None:
    suffix = ".txt" if reader.startswith("text") else ".jsonl"
    file = tmp_path / f"a{suffix}{ending}"
    file.write_bytes(b"x")
    for path in (tmp_path, file, tmp_path / "*"):
        with pytest.raises(ConfigError) as caught:
            open_reader(CorpusConfig(reader, str(path)), 0)
        command = f"kosmos data prepare --reader {reader} {path} OUT"
        assert f"{file}: compressed files cannot be read in any order: run `{command}`" in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_folder_with_plain_files_too_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n')
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(b'{"text": "a"}\n'))
    assert open_reader(CorpusConfig("jsonl", str(tmp_path)), 0).shards() == [str(tmp_path / "a.jsonl")]
    with pytest.raises(DataError, match=r"the folder holds no \*\.tar file"):
        open_reader(CorpusConfig("pairs_tar", str(tmp_path)), 0)


def test_heavy_libraries_are_imported_by_their_users_only() -> None:
    code = (
        "import sys; import kosmos.data.readers, kosmos.data.index, kosmos.data.prepare;"
        "print([name for name in ('torch', 'pyarrow', 'fsspec', 'zstandard', 'aiohttp') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
