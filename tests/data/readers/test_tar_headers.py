"""The tar scan against Python's own."""

from __future__ import annotations

import io
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kosmos.data.readers.tar_headers import Member, tar_members
from kosmos.errors import DataError

NAMES = st.lists(
    st.text("ab.é/ ", min_size=1, max_size=180).map(lambda name: "x" + name.replace("//", "/").rstrip("/ ")),
    max_size=6,
    unique=True,
)
FORMATS = st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])


def tar(
    members: list[tuple[str, bytes]], form: int = tarfile.GNU_FORMAT, kinds: dict[str, bytes] | None = None
) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.type = (kinds or {}).get(name, tarfile.REGTYPE)
            info.size = len(data) if info.isreg() else 0
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def scan(data: bytes) -> list[Member]:
    return list(tar_members(io.BytesIO(data), len(data), "a.tar"))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(names=NAMES, form=FORMATS, sizes=st.lists(st.integers(0, 1500), min_size=6, max_size=6))
def test_it_finds_what_tarfile_finds(names: list[str], form: int, sizes: list[int]) -> None:
    members = [(name, bytes([number]) * size) for number, (name, size) in enumerate(zip(names, sizes))]
    try:
        data = tar(members, form)
    except ValueError:  # ustar has no room for the name
        return
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        expected = [Member(member.name, member.offset_data, member.size) for member in archive.getmembers()]
    assert scan(data) == expected
    assert [data[m.offset : m.offset + m.size] for m in scan(data)] == [content for _, content in members]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(end=st.integers(0, 8 * 512), form=FORMATS)
def test_a_tar_cut_anywhere_keeps_the_members_that_are_whole(end: int, form: int) -> None:
    data = tar([("a" * 90 + str(number), bytes(100 * number)) for number in range(4)], form)
    whole = scan(data)
    found = scan(data[:end])
    good = [member for member in found if member.name]
    assert good == [member for member in whole if member.offset + member.size <= end]
    # Cut exactly between two members, it cannot be told from a tar whose closing zeros are missing.
    between = end > 0 and end in {member.offset - 512 for member in whole[1:]}
    assert len(found) - len(good) == (0 if between or end >= whole[-1].offset + 512 else 1)


def test_links_folders_and_devices_are_no_files() -> None:
    kinds = {"l": tarfile.SYMTYPE, "h": tarfile.LNKTYPE, "d": tarfile.DIRTYPE, "p": tarfile.FIFOTYPE}
    found = scan(tar([("a", b"1"), *((name, b"") for name in kinds), ("b", b"2")], kinds=kinds))
    assert [member.name for member in found] == ["a", "b"]


def test_an_empty_tar_is_one_and_other_files_are_not() -> None:
    assert scan(tar([])) == []
    assert scan(b"") == [Member("", 0, 0)]
    assert scan(b"x" * 100) == [Member("", 0, 0)]
    with pytest.raises(DataError, match=r"a\.tar: not a tar file"):
        scan(b"this is no tar" * 100)


def test_hostile_headers_end_the_scan() -> None:
    data = bytearray(tar([("a", b"1"), ("b", b"2")]))
    second = 1024
    for field in (b"\x80" + b"\xff" * 11, b"-0000000777\0", b"99999999999\0"):
        data[second + 124 : second + 136] = field
        data[second + 148 : second + 156] = b" " * 8
        data[second + 148 : second + 156] = b"%06o\0 " % sum(data[second : second + 512])
        assert [member.name for member in scan(bytes(data))] == ["a", ""]
    data[second + 10] ^= 1  # the checksum no longer fits
    assert [member.name for member in scan(bytes(data))] == ["a", ""]


def test_pax_sizes_and_names_that_are_no_utf8() -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("a.txt")
        info.size = 3
        info.pax_headers = {"size": "3", "comment": "x" * 600}
        archive.addfile(info, io.BytesIO(b"abc"))
    data = out.getvalue() + tar([])
    [member] = scan(data)
    assert (member.name, data[member.offset : member.offset + 3]) == ("a.txt", b"abc")
    raw = bytearray(tar([("zz.txt", b"1")]))
    raw[0:2] = b"\xff\xfe"
    raw[148:156] = b" " * 8
    raw[148:156] = b"%06o\0 " % sum(raw[:512])
    assert scan(bytes(raw))[0].name.encode("utf-8", "surrogateescape") == b"\xff\xfe.txt"
