"""The registry of checks: order, what applies, errors as findings, the exit code."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kosmos.config import TrainConfig
from kosmos.doctor import registry
from kosmos.doctor.registry import (
    PARTS,
    Check,
    Finding,
    Result,
    Subject,
    bytes_in_words,
    check,
    checks,
    examine,
    from_error,
    ok,
    problem,
    warning,
    worst_exit_code,
)
from kosmos.doctor.subject import open_subject
from kosmos.errors import ConfigError, DataError, UsageError

CONFIGURED = Subject("recipe.yaml", None, TrainConfig())


@pytest.fixture(autouse=True)
def own_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    checks()  # the modules register theirs once, at import
    monkeypatch.setattr(registry, "_CHECKS", dict(registry._CHECKS))


def only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_CHECKS", {})


def test_the_checks_come_part_by_part() -> None:
    found = checks()
    parts = list(dict.fromkeys(entry.part for entry in found))
    assert parts == list(PARTS) == ["environment", "configuration", "data", "checkpoint", "evaluation"]
    assert len({(entry.part, entry.name) for entry in found}) == len(found)
    names = [entry.name for entry in found if entry.part == "checkpoint"]
    assert names == ["whole", "weights", "resumable", "space", "history"]


def test_a_room_adds_its_own_and_may_replace_one(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch)
    for what in ("first", "second"):

        @check("serving", "port")
        def port(subject: Subject, what: str = what) -> Iterator[Finding]:
            yield ok(what)

    (result,) = examine(Subject())
    assert (result.check.part, result.findings) == ("serving", (ok("second"),))


@pytest.mark.parametrize(
    ("subject", "applying"),
    [
        (Subject(), ["nothing"]),
        (CONFIGURED, ["nothing", "config"]),
        (Subject("run", Path("run"), TrainConfig()), ["nothing", "config", "run"]),
        (Subject("run", Path("run"), None, ConfigError("x: y")), ["nothing"]),
    ],
)
def test_what_applies(subject: Subject, applying: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch)
    for needs in ("nothing", "config", "run"):
        check("environment", needs, needs=needs)(lambda subject: [ok("here")])
    assert [result.check.name for result in examine(subject)] == applying


def test_an_error_is_a_finding_and_never_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch)

    @check("data", "broken")
    def broken(subject: Subject) -> Iterator[Finding]:
        yield ok("so far")
        raise DataError("a.tar: cut short; fetch it again")

    @check("data", "faulty")
    def faulty(subject: Subject) -> Iterator[Finding]:
        raise ZeroDivisionError("by zero")
        yield

    @check("data", "after")
    def after(subject: Subject) -> Iterator[Finding]:
        yield warning("old", "renew it")

    results = list(examine(Subject()))
    assert [result.findings for result in results] == [
        (ok("so far"), problem("a.tar: cut short", "fetch it again", 3)),
        (problem("faulty: the check itself failed: ZeroDivisionError: by zero", "please report it", 1),),
        (warning("old", "renew it"),),
    ]
    assert worst_exit_code(results) == 3
    assert results[2].to_json() == [
        {"part": "data", "check": "after", "level": "warning", "what": "old", "do": "renew it"}
    ]


def test_the_worst_problem_is_the_exit_code() -> None:
    here = Check("data", "x", "nothing", lambda subject: [])
    results = [Result(here, (problem("a", "", 2), warning("b", ""))), Result(here, (problem("c", "", 5),))]
    assert worst_exit_code(results) == 5
    assert worst_exit_code([Result(here, (warning("b", ""), ok("d")))]) == 0


def test_an_error_without_advice() -> None:
    assert from_error(UsageError("no such device")) == problem("no such device", "", 2)


def test_sizes_in_words() -> None:
    assert [bytes_in_words(size) for size in (12, 1500, 2.5e9, 3e13)] == ["12 bytes", "1.5 kB", "2.5 GB", "30 TB"]


def test_what_can_be_looked_at(tmp_path: Path) -> None:
    assert open_subject(None) == Subject()
    recipe = open_subject("kosmos-1")
    assert recipe.config is not None and recipe.config.steps == 300_000
    (tmp_path / "bad.yaml").write_text("stepz: 1\n")
    bad = open_subject(str(tmp_path / "bad.yaml"))
    assert bad.config is None and "did you mean 'steps'" in str(bad.config_error)
    with pytest.raises(UsageError, match="no such run directory or recipe"):
        open_subject("kosmos-one")
    with pytest.raises(UsageError, match="not a run directory"):
        open_subject(str(tmp_path))
    with pytest.raises(UsageError, match="and no recipe"):
        open_subject(None, ["steps=3"])
