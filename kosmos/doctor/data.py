"""The corpora of a recipe: files there, indexed, and the first record of each as training meets it."""

from __future__ import annotations

from collections.abc import Iterator

from kosmos.config import CorpusConfig
from kosmos.data.index import is_indexed
from kosmos.data.inspection import files_of, open_addressed, read_one
from kosmos.data.prepare import INDEX_KINDS
from kosmos.data.readers import SEQUENTIAL, BadRecord
from kosmos.data.readers.files import file_size
from kosmos.data.root import at_root, within_root
from kosmos.doctor.registry import Finding, Subject, bytes_in_words, check, from_error, ok, problem, warning
from kosmos.errors import KosmosError

_DATA = 3
# To index so much takes a minute; more of it is left to the user.
_INDEX_HERE = 1e9


@check("data", "corpora", needs="config")
def corpora(subject: Subject) -> Iterator[Finding]:
    assert subject.config is not None
    sources = {**subject.config.data.sources}
    if subject.config.validation.every:
        sources |= {f"validation {name}": source for name, source in subject.config.validation.sources.items()}
    within_root("corpus", subject.config.data.root)  # raises when it cannot be
    seen = set()
    for name, source in sources.items():
        for entry in source.corpora:
            key = (entry.reader, entry.path, entry.field)
            if key in seen:
                continue
            seen.add(key)
            try:
                yield from _corpus(name, at_root(entry, subject.config.data.root))
            except KosmosError as error:
                found = from_error(error)
                do = found.do or "look at the path and the reader; docs/data.md lists readers"
                yield problem(f"{name}: {found.what}", do, found.exit_code)


def _corpus(source: str, entry: CorpusConfig) -> Iterator[Finding]:
    if entry.reader.startswith("picturebook.") and (missing := _missing_drawings(entry.reader)):
        yield warning(f"{source}: {entry.reader} draws with {missing}, not fetched yet", "the first run fetches it")
        return
    files = files_of(entry.reader, entry.path, entry.field)
    size = sum(file_size(file) for file in files)
    kind = INDEX_KINDS.get(entry.reader)
    without = [file for file in files if kind and not is_indexed(file, kind)]
    where = entry.path or entry.reader
    what = f"{source}: {where}"
    if files:
        what += f": {len(files):,} file{'s' * (len(files) > 1)}, {bytes_in_words(size)}"
    if without and size > _INDEX_HERE:
        do = f"kosmos data prepare --reader {entry.reader} {entry.path} OUT; or the first run makes it, and waits"
        yield warning(f"{what}; {len(without):,} without an index, so no record was read", do)
        return
    yield _first_record(what, entry, generated=not files)


def _first_record(what: str, entry: CorpusConfig, generated: bool) -> Finding:
    reader = open_addressed(entry.reader, entry.path, entry.field)
    if reader is None:
        command = SEQUENTIAL.get(entry.reader, "prepare")
        do = f"kosmos data {command} --reader {entry.reader} {entry.path} OUT, then name OUT in the recipe"
        return problem(f"{what}: can only be read from its front, training reads anywhere", do, _DATA)
    shards = reader.shards()
    filled = next((shard for shard in shards if reader.num_records(shard)), None)
    if filled is None:
        return problem(f"{what}: no record", "look at the path and the reader", _DATA)
    verify = f"kosmos data verify {entry.path} --reader {entry.reader}"
    found = read_one(reader, filled, 0)
    if isinstance(found, BadRecord):
        return problem(f"{what}: its first record is bad ({found.why}): {found.where} {found.detail}", verify, _DATA)
    images = len(found.document.images)
    shown = "the first record can be read" + (f" (pictures: {images})" if images else "")
    return ok(f"{what}; {shown}" + ("" if generated else f"; all of them: {verify}"))


def _missing_drawings(reader: str) -> str:
    """What a world draws with and is not in the cache; the doctor fetches nothing."""
    from kosmos.data.picturebook.packages import PACKAGES, cache_directory
    from kosmos.data.picturebook.worlds import get_world

    if not get_world(reader.removeprefix("picturebook.")).needs_book:
        return ""
    folder = cache_directory() / "packages"
    return next((package.spec for package in PACKAGES if not (folder / package.filename).is_file()), "")
