from __future__ import annotations

import os
from pathlib import Path

import fsspec
import pytest

from kosmos.data.readers import files
from kosmos.data.readers.files import (
    content_sample,
    file_size,
    find_shards,
    fingerprint,
    is_url,
    open_binary,
    read_range,
)
from kosmos.errors import ConfigError, DataError
from tests.data.readers.server import FileServer


def test_urls_and_paths() -> None:
    assert all(is_url(path) for path in ("s3://a/b", "simplecache::http://a"))
    assert not any(is_url(path) for path in ("/a/b", "a:b", "C:\\a"))


def test_files_of_a_folder_and_of_patterns_come_sorted_without_indices(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a.jsonl", "a.jsonl.kosmos-index", "in/c.jsonl", "d.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    a, b, c = (str(tmp_path / name) for name in ("a.jsonl", "b.jsonl", "in/c.jsonl"))
    assert find_shards(str(tmp_path), (".jsonl",)) == [a, b]
    assert find_shards(f"{tmp_path}/a*", (".jsonl",)) == [a]
    assert find_shards(f"{tmp_path}/**/*.jsonl", (".jsonl",)) == [a, b, c]
    assert find_shards(b, (".tar",)) == [b]
    with pytest.raises(DataError, match=r"holds no \*\.tar file; for those of its folders say .*/\*\*/\*\.tar$"):
        find_shards(str(tmp_path), (".tar",))
    with pytest.raises(DataError, match="no such file or folder"):
        find_shards(str(tmp_path / "z*"), (".tar",))


def test_links_that_lead_in_circles_give_each_file_once(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.tar").write_bytes(b"")
    (tmp_path / "a" / "back").symlink_to(tmp_path)
    assert find_shards(f"{tmp_path}/**/*.tar", (".tar",)) == [str(tmp_path / "a" / "x.tar")]


def test_remote_folders_and_patterns() -> None:
    memory = fsspec.filesystem("memory")
    for name in ("/f/b.tar", "/f/a.tar", "/f/a.tar.kosmos-index", "/f/a.txt", "/f/in/c.tar"):
        memory.pipe_file(name, b"12345678")
    assert find_shards("memory://f", (".tar",)) == ["memory:///f/a.tar", "memory:///f/b.tar"]
    assert find_shards("memory://f/*.tar", (".tar",)) == ["memory:///f/a.tar", "memory:///f/b.tar"]
    assert find_shards("memory://f/**/*.tar", (".tar",))[-1] == "memory:///f/in/c.tar"
    assert find_shards("memory:///f/a.tar", (".tar",)) == ["memory:///f/a.tar"]
    assert read_range("memory:///f/a.tar", 2, 5) == b"345"
    assert file_size("memory:///f/a.tar") == 8
    with pytest.raises(DataError, match="no such file or folder"):
        find_shards("memory://nothing", (".tar",))


def test_ranges_end_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(bytes(range(200)))
    assert read_range(str(path), 190, 300) == bytes(range(190, 200))
    assert read_range(str(path), 5, 5) == read_range(str(path), 300, 400) == b""
    with pytest.raises(DataError, match="cannot read: No such file"):
        read_range(str(tmp_path / "b"), 0, 1)


def test_a_replaced_file_is_read_anew_and_few_files_stay_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_open_files", files._OpenFiles(4))
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    for number in range(40):
        (tmp_path / str(number)).write_bytes(b"%d" % number)
        assert read_range(str(tmp_path / str(number)), 0, 9) == b"%d" % number
    if before:
        assert len(os.listdir("/proc/self/fd")) <= before + 4
    path = str(tmp_path / "39")
    mark = fingerprint(path)
    (tmp_path / "new").write_bytes(b"new")
    os.replace(tmp_path / "new", path)
    assert fingerprint(path) != mark
    assert read_range(path, 0, 9) == b"new"


def test_a_sample_survives_copying_but_no_change_of_size_or_ends(tmp_path: Path) -> None:
    data = os.urandom(100_000)
    names = {"a": data, "copy": data, "longer": data + b"x", "other": data[:-1] + bytes([data[-1] ^ 1])}
    for name, content in names.items():
        (tmp_path / name).write_bytes(content)
    a, copy, longer, other = (content_sample(str(tmp_path / name), len(names[name])) for name in names)
    assert a == copy
    assert len({a, longer, other}) == 3


def test_reading_over_http_tries_again_and_gives_up_with_one_line(server: FileServer) -> None:
    server.files["data.bin"] = bytes(range(256))
    url = server.url("data.bin")
    assert find_shards(url, (".bin",)) == [url]
    assert file_size(url) == 256
    server.failures = 2
    assert read_range(url, 10, 20) == bytes(range(10, 20))
    assert server.ranges[-1] == ("data.bin", 10, 20)
    with open_binary(url) as file:
        assert file.read() == bytes(range(256))
    mark = fingerprint(url)
    server.files["data.bin"] = bytes(256)
    assert fingerprint(url) != mark
    server.failures = 99
    with pytest.raises(DataError, match="data.bin: cannot read after 4 attempts"):
        read_range(url, 10, 20)
    server.failures = 0
    with pytest.raises(DataError, match="no such file or folder"):
        read_range(server.url("none"), 0, 1)


def test_an_unknown_protocol_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError, match="cannot read such an address: Protocol not known: nosuch"):
        find_shards("nosuch://a", (".tar",))
