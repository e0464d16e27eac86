"""The official caption scorers, where Java and their parts are there: Stanford's tokenizer, METEOR, SPICE.

Nothing here is needed for CIDEr, BLEU and ROUGE-L. A part that is missing gives a result that says so, with the line
that says what to install; nothing is fetched. The parts come from the package pycocoevalcap (`pip install
pycocoevalcap`), which has the tokenizer and METEOR; SPICE wants two more files, which its licence leaves to the user.
"""

from __future__ import annotations

import importlib.util
import json
import math
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from kosmos.errors import DataError
from kosmos.evaluation.metrics.answered import Answered, Measured, SetMetric, not_run
from kosmos.evaluation.metrics.bleu import MAX_ORDER, bleu, bleu_statistics
from kosmos.evaluation.metrics.cider import cider_values
from kosmos.evaluation.metrics.ptb_tokenizer import PUNCTUATION
from kosmos.evaluation.metrics.rouge_l import rouge_l

JAVA_LINE = "Java is missing: install a Java runtime (Debian: apt-get install default-jre-headless)"
PARTS_LINE = "the official scorers' parts are missing: pip install pycocoevalcap"
SPICE_LINE = (
    "SPICE wants stanford-corenlp-3.6.0.jar and stanford-corenlp-3.6.0-models.jar (in "
    "http://nlp.stanford.edu/software/stanford-corenlp-full-2015-12-09.zip) in {folder}, or set KOSMOS_SPICE to a "
    "folder with spice-1.0.jar and lib/"
)
_SPICE_JARS = ("stanford-corenlp-3.6.0.jar", "stanford-corenlp-3.6.0-models.jar")


def java_command() -> str | None:
    """Path of the Java runtime, or None."""
    return shutil.which("java")


def parts_folder() -> Path | None:
    """Folder of pycocoevalcap, whose import is not needed; or None."""
    found = importlib.util.find_spec("pycocoevalcap")
    locations = list(found.submodule_search_locations or ()) if found else []
    return Path(locations[0]) if locations else None


def spice_folder() -> Path | None:
    """Folder with spice-1.0.jar: KOSMOS_SPICE, or the one of pycocoevalcap; None when there is neither."""
    own = os.environ.get("KOSMOS_SPICE")
    if own:
        return Path(own)
    parts = parts_folder()
    return parts / "spice" if parts else None


def missing_for(metric: str) -> str:
    """What `metric` ("ptb", "meteor" or "spice") lacks here, in one line; "" when it can run."""
    if java_command() is None:
        return f"{metric} was not run: {JAVA_LINE}"
    if metric == "spice":
        folder = spice_folder()
        if folder is None:
            return f"{metric} was not run: {PARTS_LINE}"
        wanted = [folder / "spice-1.0.jar", *(folder / "lib" / name for name in _SPICE_JARS)]
        if not all(path.is_file() for path in wanted):
            return f"{metric} was not run: {SPICE_LINE.format(folder=folder / 'lib')}"
        return ""
    parts = parts_folder()
    names = {"ptb": "tokenizer/stanford-corenlp-3.4.1.jar", "meteor": "meteor/meteor-1.5.jar"}
    if parts is None or not (parts / names[metric]).is_file():
        return f"{metric} was not run: {PARTS_LINE}"
    return ""


def java_ptb_tokenize(captions: Iterable[str]) -> list[str]:
    """As `ptb_tokenize`, by Stanford's tokenizer itself. Raises DataError when it cannot run."""
    lacking = missing_for("ptb")
    if lacking:
        raise DataError(lacking)
    lines = [caption.replace("\n", " ") for caption in captions]
    parts = parts_folder() or Path()
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "captions.txt"
        source.write_text("\n".join(lines), encoding="utf-8")
        jar = parts / "tokenizer" / "stanford-corenlp-3.4.1.jar"
        done = _java(
            ["-cp", str(jar), "edu.stanford.nlp.process.PTBTokenizer", "-preserveLines", "-lowerCase", str(source)]
        )
    tokens = done.stdout.decode("utf-8").split("\n")
    if len(tokens) < len(lines):
        raise DataError(f"Stanford's tokenizer gave {len(tokens)} lines for {len(lines)} captions")
    return [" ".join(token for token in line.rstrip().split(" ") if token not in PUNCTUATION) for line in tokens][
        : len(lines)
    ]


def meteor_values(captions: Sequence[str], references: Sequence[Sequence[str]]) -> tuple[float, list[float]]:
    """METEOR 1.5 of the set, and of each picture, from tokenized captions. Raises DataError when it cannot run."""
    lacking = missing_for("meteor")
    if lacking:
        raise DataError(lacking)
    folder = (parts_folder() or Path()) / "meteor"
    command = [java_command() or "java", "-Xmx2G", "-jar", "meteor-1.5.jar", "-", "-", "-stdio", "-l", "en", "-norm"]
    with subprocess.Popen(
        command,
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        encoding="utf-8",
    ) as process:
        assert process.stdin is not None and process.stdout is not None

        def ask(line: str) -> str:
            print(line, file=process.stdin, flush=True)
            return answer()

        def answer() -> str:
            assert process.stdout is not None
            said = process.stdout.readline().strip()
            if not said:
                process.kill()
                raise DataError("METEOR ended without an answer: its Java needs 2 GB of memory")
            return said

        try:
            statistics = [
                ask(" ||| ".join(("SCORE", *choices, caption.replace("|||", "").replace("  ", " "))))
                for caption, choices in zip(captions, references)
            ]
            values = [float(ask(" ||| ".join(("EVAL", *statistics))))] + [float(answer()) for _ in statistics[1:]]
            whole = float(answer())
        except OSError as error:
            process.kill()
            raise DataError(f"METEOR stopped: {error}") from error
        process.stdin.close()
    return whole, values


def spice_values(captions: Sequence[str], references: Sequence[Sequence[str]]) -> list[float]:
    """SPICE of each picture (NaN where neither side has a proposition). Raises DataError when it cannot run."""
    lacking = missing_for("spice")
    if lacking:
        raise DataError(lacking)
    folder = spice_folder() or Path()
    memory = os.environ.get("KOSMOS_SPICE_MEMORY", "8G")
    with tempfile.TemporaryDirectory() as scratch:
        source, target, cache = (Path(scratch) / name for name in ("in.json", "out.json", "cache"))
        cache.mkdir()
        items = [
            {"image_id": index, "test": caption, "refs": list(choices)}
            for index, (caption, choices) in enumerate(zip(captions, references))
        ]
        source.write_text(json.dumps(items), encoding="utf-8")
        options = ["-cache", str(cache), "-out", str(target), "-subset", "-silent"]
        # Java 9 and later hide what SPICE's serialisation reaches into; Java 8 does not read this variable.
        opened = " ".join(
            f"--add-opens=java.base/{name}=ALL-UNNAMED" for name in ("java.lang", "java.util", "java.math")
        )
        _java(
            [f"-Xmx{memory}", "-jar", str(folder / "spice-1.0.jar"), str(source), *options],
            cwd=folder,
            environment={"JDK_JAVA_OPTIONS": opened},
        )
        found = {entry["image_id"]: entry["scores"]["All"]["f"] for entry in json.loads(target.read_text("utf-8"))}
    return [float(found[index]) if found[index] is not None else math.nan for index in range(len(items))]


def reference_scores(answered: Sequence[Answered], run: Iterable[str] = ("meteor", "spice")) -> dict[str, Measured]:
    """Every caption metric from the tokens of Stanford's own tokenizer; what cannot run says so and stops nothing."""
    names = ("cider", *(f"bleu{order}" for order in range(1, MAX_ORDER + 1)), "rouge_l", *run)
    lacking = missing_for("ptb")
    if lacking:
        return {name: not_run(lacking) for name in names}
    captions, references = _java_tokens(answered)
    table = bleu(bleu_statistics(captions, references))
    scores = {"cider": _mean(cider_values(captions, references).tolist())}
    scores |= {f"bleu{order}": Measured(value) for order, value in enumerate(table, start=1)}
    scores["rouge_l"] = _mean([rouge_l(caption, choices) for caption, choices in zip(captions, references)])
    scores |= {name: _attempt(name, captions, references) for name in run}
    return scores


def _java_tokens(answered: Sequence[Answered]) -> tuple[list[str], list[list[str]]]:
    tokens = iter(java_ptb_tokenize([text for item in answered for text in (item.prediction, *item.answers)]))
    captions, references = [], []
    for item in answered:
        captions.append(next(tokens))
        references.append([next(tokens) for _ in item.answers])
    return captions, references


def _attempt(name: str, captions: Sequence[str], references: Sequence[Sequence[str]]) -> Measured:
    lacking = missing_for(name)
    if lacking:
        return not_run(lacking)
    try:
        if name == "meteor":
            whole, values = meteor_values(captions, references)
            # METEOR of a set is computed from summed counts: not the mean of the pictures' values.
            return Measured(whole, details={"mean_of_pictures": math.fsum(values) / len(values)})
        values = spice_values(captions, references)
        known = [value for value in values if not math.isnan(value)]
        if len(known) == len(values):
            return _mean(values)
        return replace(_mean(known), values=None, details={"without_value": float(len(values) - len(known))})
    except (DataError, OSError) as error:
        return not_run(f"{name} was not run: {error}")


def _mean(values: Sequence[float]) -> Measured:
    return Measured(math.fsum(values) / len(values), tuple(values)) if values else not_run("no picture has a value")


def _metric(name: str) -> SetMetric:
    def measure(answered: Sequence[Answered]) -> Measured:
        # The captions are cut into words by Java too; the metric is what was asked for.
        lacking = missing_for("ptb").replace("ptb", name, 1) or missing_for(name)
        return not_run(lacking) if lacking else _attempt(name, *_java_tokens(answered))

    return SetMetric(name, measure)


def _java(
    arguments: Sequence[str], cwd: Path | None = None, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    command = java_command()
    if command is None:
        raise DataError(JAVA_LINE)
    done = subprocess.run(
        [command, *arguments], cwd=cwd, capture_output=True, env={**os.environ, **(environment or {})}
    )
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise DataError(f"Java left with {done.returncode}: {said[-1] if said else 'it said nothing'}")
    return done


METEOR = _metric("meteor")
SPICE = _metric("spice")
