"""Checks and what they find. A room adds its own with `@check` in a module that PARTS names."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from kosmos.config import TrainConfig
from kosmos.errors import ConfigError, KosmosError

Level = Literal["ok", "warning", "problem"]
Needs = Literal["nothing", "config", "run", "evaluation"]

# Part -> the module that registers its checks; they run in this order. Nothing of it is imported before.
PARTS = {
    "environment": "kosmos.doctor.environment",
    "configuration": "kosmos.doctor.configuration",
    "data": "kosmos.doctor.data",
    "checkpoint": "kosmos.doctor.checkpoint",
    "evaluation": "kosmos.doctor.evaluation",
}


@dataclass(frozen=True)
class Finding:
    """What a check says: how it stands, and what to do. `exit_code` is the class of a problem (2, 3, 5; 1: a fault)."""

    level: Level
    what: str
    do: str = ""
    exit_code: int = 0


def ok(what: str) -> Finding:
    return Finding("ok", what)


def warning(what: str, do: str) -> Finding:
    return Finding("warning", what, do)


def problem(what: str, do: str, exit_code: int) -> Finding:
    return Finding("problem", what, do, exit_code)


@dataclass(frozen=True)
class Subject:
    """What is looked at. `config` is None where none was named, or it cannot be read (`config_error` says why).

    evaluation_data   the folder that `kosmos eval --data` takes; None: not looked at
    evaluation_tasks  datasets by their names, with commas; empty: those that are there
    """

    name: str = ""
    run: Path | None = None
    config: TrainConfig | None = None
    config_error: ConfigError | None = None
    evaluation_data: Path | None = None
    evaluation_tasks: str = ""

    @property
    def place(self) -> Path:
        """Where a run writes, or would by default."""
        return self.run or Path.cwd()


@dataclass(frozen=True)
class Check:
    """One check: its part, its name, and what it must have to run."""

    part: str
    name: str
    needs: Needs
    look: Callable[[Subject], Iterable[Finding]]

    def applies(self, subject: Subject) -> bool:
        if self.needs == "nothing":
            return True
        if self.needs == "evaluation":
            return subject.evaluation_data is not None
        return subject.config is not None and (self.needs == "config" or subject.run is not None)


@dataclass(frozen=True)
class Result:
    """What one check found."""

    check: Check
    findings: tuple[Finding, ...] = field(default_factory=tuple)

    def to_json(self) -> list[dict[str, Any]]:
        return [
            {"part": self.check.part, "check": self.check.name, "level": f.level, "what": f.what, "do": f.do}
            for f in self.findings
        ]


def bytes_in_words(size: float) -> str:
    """`1.4 GB`: powers of 1000, as disks count."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"


_CHECKS: dict[tuple[str, str], Check] = {}


def check(
    part: str, name: str, needs: Needs = "nothing"
) -> Callable[[Callable[[Subject], Iterable[Finding]]], Callable[[Subject], Iterable[Finding]]]:
    """Register a function (Subject) -> findings; one of the same part and name is replaced."""

    def register(look: Callable[[Subject], Iterable[Finding]]) -> Callable[[Subject], Iterable[Finding]]:
        _CHECKS[part, name] = Check(part, name, needs, look)
        return look

    return register


def checks() -> list[Check]:
    """All checks, part by part."""
    for module in PARTS.values():
        importlib.import_module(module)
    order = list(PARTS)
    return sorted(_CHECKS.values(), key=lambda found: order.index(found.part) if found.part in order else len(order))


def examine(subject: Subject) -> Iterator[Result]:
    """Run every check that applies. An error is a finding, never the end."""
    for found in checks():
        if found.applies(subject):
            yield Result(found, tuple(_look(found, subject)))


def _look(found: Check, subject: Subject) -> list[Finding]:
    findings: list[Finding] = []
    try:
        findings.extend(found.look(subject))
    except KosmosError as error:
        findings.append(from_error(error))
    except Exception as error:
        what = f"{found.name}: the check itself failed: {type(error).__name__}: {error}"
        findings.append(problem(what, "please report it", exit_code=1))
    return findings


def from_error(error: KosmosError) -> Finding:
    """An error as a problem: what is wrong, and after the last `; ` what to do."""
    what, _, do = " ".join(str(error).split()).rpartition("; ")
    return problem(what or do, do if what else "", error.exit_code)


def worst_exit_code(results: Iterable[Result]) -> int:
    """0, or the highest class among the problems."""
    return max((f.exit_code for result in results for f in result.findings if f.level == "problem"), default=0)
