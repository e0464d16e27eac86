"""What the benchmarks share: CPU time with children, the machine and versions, and the JSON line that ends each."""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import sys
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any


def cpu_seconds() -> float:
    """CPU seconds of this process with all its threads, and of its children that have ended."""
    used = 0.0
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        spent = resource.getrusage(who)
        used += spent.ru_utime + spent.ru_stime
    return used


class Stopwatch:
    """CPU and wall seconds of a `with` block."""

    def __enter__(self) -> Stopwatch:
        self._wall = time.perf_counter()
        self._cpu = cpu_seconds()
        return self

    def __exit__(self, *error: object) -> None:
        self.cpu = cpu_seconds() - self._cpu
        self.wall = time.perf_counter() - self._wall


def apart(action: Callable[[], dict[str, Any]], here: bool = False) -> dict[str, Any]:
    """Run an action in a forked process of its own and return what it returns, or {"error": ...}.

    Libraries keep threads, caches and imports; one contestant must not pay for another's. `here`: no process, for
    small runs.
    """
    if here:
        return _answer(action)
    receive, send = os.pipe()
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        os.close(receive)
        with os.fdopen(send, "w") as pipe:
            json.dump(_answer(action), pipe)
        os._exit(0)
    os.close(send)
    with os.fdopen(receive) as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    answer = json.loads(text) if text else {"error": "the process died"}
    return dict(answer)


def _answer(action: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        return action()
    except ImportError as error:
        return {"error": f"not installed ({error.name})"}
    except Exception as error:  # it is printed in the contestant's row
        return {"error": describe(error)}


def describe(error: BaseException) -> str:
    """An error in one short line: its kind and the last line of what it says."""
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[-1].strip()[:160]}"


def repeated(action: Callable[[], dict[str, Any]], times: int, here: bool = False) -> dict[str, Any]:
    """`apart` several times, merged: `spread` is (largest - smallest) / median of `rate`."""
    return merge([apart(action, here) for _ in range(times)])


def merge(answers: list[dict[str, Any]]) -> dict[str, Any]:
    """One answer of several: medians of the numbers, `spread` of `rate`, or the first error."""
    failed = next((answer for answer in answers if "error" in answer), None)
    if failed is not None:
        return failed
    merged = dict(answers[0])
    for key, value in merged.items():
        if isinstance(value, int | float) and not isinstance(value, bool):
            merged[key] = median(answer[key] for answer in answers)
    if "rate" in merged:
        rates = [answer["rate"] for answer in answers]
        merged["spread"] = (max(rates) - min(rates)) / median(rates)
    return merged


def machine() -> dict[str, Any]:
    """The machine and the versions that a figure depends on."""
    names = ("kosmos", "torch", "numpy", "pillow", "sentencepiece", "webdataset", "megatron-energon", "grain")
    found = {}
    for name in (*names, "datasets", "torchdata"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    cpu = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), cpu)
    except OSError:
        pass  # not Linux: the short name will do
    return {"cpu": cpu, "cores": os.cpu_count(), "python": platform.python_version(), "versions": found}


def parser(description: str) -> argparse.ArgumentParser:
    """Options that every benchmark has."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--small", action="store_true", help="seconds instead of minutes; the figures mean little")
    made.add_argument("--repeat", type=int, default=3, help="times that each timing is taken; the median counts")
    return made


def table(rows: list[dict[str, Any]], columns: list[str]) -> str:
    """A Markdown table."""
    cells = [[_cell(row.get(column, "")) for column in columns] for row in rows]
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    return "\n".join([*lines, *("| " + " | ".join(line) + " |" for line in cells)])


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def finish(name: str, result: dict[str, Any]) -> None:
    """Print the JSON line that ends a benchmark."""
    print(json.dumps({"benchmark": name, **result, "machine": machine()}), flush=True)
