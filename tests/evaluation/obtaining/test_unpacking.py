from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from kosmos.errors import DataError
from kosmos.evaluation.obtaining.unpacking import unpack


def zipped(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def tarred(path: Path, *members: tarfile.TarInfo | tuple[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                archive.addfile(info, io.BytesIO(member[1]))
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_what_is_wanted_comes_to_lie_where_it_should(tmp_path: Path) -> None:
    folder = tmp_path / "boolq"
    folder.mkdir()
    archive = zipped(tmp_path / "BoolQ.zip", {"BoolQ/": b"", "BoolQ/val.jsonl": b"{}\n", "BoolQ/test.jsonl": b"x",
                                              "__MACOSX/._val.jsonl": b"junk"})  # fmt: skip
    assert unpack(archive, folder, ("train.jsonl", "val.jsonl"), strip="BoolQ/") == [folder / "val.jsonl"]
    assert names(folder) == ["val.jsonl"]
    (folder / "test" / "old").mkdir(parents=True)
    packed = tarred(tmp_path / "a.tgz", ("./sst/test/negative/0.png", b"one"), ("sst/README", b"no"))
    unpack(packed, folder, ("test/*/*.png",), strip="sst/")
    assert names(folder) == ["test/negative/0.png", "val.jsonl"]


@pytest.mark.parametrize("name", ["../out.txt", "/etc/out.txt", "a/../../out.txt", "C:/out.txt", "..\\out.txt"])
def test_names_that_lead_out_are_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for archive in (zipped(tmp_path / "a.zip", {"fine.txt": b"x", name: b"evil"}),
                    tarred(tmp_path / "a.tgz", ("fine.txt", b"x"), (name, b"evil"))):  # fmt: skip
        with pytest.raises(DataError, match="leads out of the folder"):
            unpack(archive, tmp_path / "folder", ("*",))
    assert names(tmp_path) == ["a.tgz", "a.zip"]


def test_links_are_refused(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    link = tarfile.TarInfo("link")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    with pytest.raises(DataError, match="link is a link or a device"):
        unpack(tarred(tmp_path / "a.tgz", ("a.txt", b"x"), link), tmp_path / "folder", ("*",))
    info = zipfile.ZipInfo("link")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(DataError, match="link is a link"):
        unpack(tmp_path / "a.zip", tmp_path / "folder", ("*",))
    assert names(tmp_path / "folder") == []


def test_more_than_expected_is_refused_and_nothing_stays(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    archive = zipped(tmp_path / "bomb.zip", {"a.txt": b"0" * 60_000, "b.txt": b"0" * 60_000})
    assert archive.stat().st_size < 1000
    with pytest.raises(DataError, match="unpacks to more than 100,000 bytes"):
        unpack(archive, tmp_path / "folder", ("*.txt",), max_bytes=100_000)
    assert list((tmp_path / "folder").iterdir()) == []


def test_damaged_and_foreign_archives(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / ".unpacking-left").mkdir(parents=True)
    archive = zipped(tmp_path / "a.zip", {"a.txt": bytes(range(256)) * 10})
    data = bytearray(archive.read_bytes())
    data[60] ^= 0xFF
    archive.write_bytes(data)
    with pytest.raises(DataError, match="a.zip: .*remove it and fetch it again"):
        unpack(archive, folder, ("*.txt",))
    packed = tarred(tmp_path / "b.tgz", ("a.txt", bytes(range(256)) * 100))
    packed.write_bytes(packed.read_bytes()[:-200])
    with pytest.raises(DataError, match="b.tgz: .*remove it and fetch it again"):
        unpack(packed, folder, ("*.txt",))
    (tmp_path / "c.tgz").write_text("<html>please log in</html>")
    with pytest.raises(DataError, match="c.tgz: is no whole archive"):
        unpack(tmp_path / "c.tgz", folder, ("*.txt",))
    with pytest.raises(DataError, match="nothing in it is named train.jsonl"):
        unpack(zipped(tmp_path / "d.zip", {"x": b"y"}), folder, ("train.jsonl",))
    assert list(folder.iterdir()) == []
