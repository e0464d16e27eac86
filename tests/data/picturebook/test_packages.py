"""Packages: pinned, verified, and refused in one line when they cannot be had."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import io
import shutil
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from kosmos.data.picturebook.packages import (
    ARTISTS,
    FXEMOJI,
    HELD_OUT_ARTIST,
    INSTALL_NPM,
    PACKAGES,
    TRAINING_ARTISTS,
    cache_directory,
    fetch,
    npm_command,
    read_members,
)
from kosmos.errors import DataError


def tarball(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def fake_npm(folder: Path, payload: Path) -> Path:
    """An executable that answers `npm pack` by copying `payload` under the name that npm would give."""
    folder.mkdir()
    script = folder / "npm"
    script.write_text(f'#!/bin/sh\ncp "{payload}" "$4/{FXEMOJI.filename}"\n')
    script.chmod(0o755)
    return script


def test_held_out_artist_is_no_training_artist() -> None:
    assert HELD_OUT_ARTIST == "twemoji"
    assert tuple(TRAINING_ARTISTS) == ("noto", "fluent-emoji-flat", "emojione", "fxemoji")
    assert set(ARTISTS) - set(TRAINING_ARTISTS) == {"twemoji"}


def test_every_package_pins_version_and_sha512() -> None:
    assert len(PACKAGES) == 7
    assert all(len(base64.b64decode(package.sha512)) == 64 and package.version[0].isdigit() for package in PACKAGES)
    assert FXEMOJI.filename == "iconify-json-fxemoji-1.2.2.tgz"


def test_cache_directory_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KOSMOS_CACHE", str(tmp_path / "mine"))
    assert cache_directory() == tmp_path / "mine"
    monkeypatch.delenv("KOSMOS_CACHE")
    assert cache_directory().name == "kosmos"


def test_absent_package_without_download_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="run `kosmos data picturebook`"):
        fetch(FXEMOJI, tmp_path, download=False)


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in for npm is a shell script")
def test_a_tarball_with_another_hash_is_refused_and_not_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    payload = tmp_path / "payload"
    payload.write_bytes(tarball({"icons.json": b"{}"}))
    monkeypatch.setattr(shutil, "which", lambda name: str(fake_npm(tmp_path / "bin", payload)))
    with pytest.raises(DataError, match="sha512"):
        fetch(FXEMOJI, tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("*.tgz"))


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in for npm is a shell script")
def test_a_verified_tarball_is_kept_and_fetched_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    payload = tmp_path / "payload"
    payload.write_bytes(tarball({"icons.json": b"{}"}))
    package = replace(FXEMOJI, sha512=base64.b64encode(hashlib.sha512(payload.read_bytes()).digest()).decode())
    script = fake_npm(tmp_path / "bin", payload)
    monkeypatch.setattr(shutil, "which", lambda name: str(script))
    path = fetch(package, tmp_path / "cache")
    assert path.read_bytes() == payload.read_bytes()
    script.unlink()
    assert fetch(package, tmp_path / "cache") == path
    path.write_bytes(b"damaged")
    with pytest.raises(DataError, match="not in the cache"):
        fetch(package, tmp_path / "cache", download=False)


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in for npm is a shell script")
def test_what_npm_itself_says_is_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = tmp_path / "npm"
    lines = (
        "warn old",
        "error code ENOTFOUND",
        "error network request to https://r.test failed",
        "error A complete log",
    )
    said = "\n".join(f"npm {line}" for line in lines)
    # As npm does, it keeps its reasons to itself when it is told to be silent.
    script.write_text(f'#!/bin/sh\ncase "$*" in *--silent*) ;; *) echo "{said}" >&2 ;; esac\nexit 1\n')
    script.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda name: str(script))
    with pytest.raises(
        DataError, match=r"failed: code ENOTFOUND, network request to https://r\.test failed; check the"
    ):
        fetch(FXEMOJI, tmp_path / "cache")


def test_without_npm_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DataError) as caught:
        npm_command()
    assert INSTALL_NPM in str(caught.value) and "\n" not in str(caught.value)


def test_only_named_members_are_read(tmp_path: Path) -> None:
    path = tmp_path / "p.tgz"
    path.write_bytes(tarball({"a.json": b"A", "b.json": b"B"}))
    assert read_members(path, ["b.json", "a.json"]) == [b"B", b"A"]
    with pytest.raises(DataError, match=r"no member c\.json"):
        read_members(path, ["a.json", "c.json"])
