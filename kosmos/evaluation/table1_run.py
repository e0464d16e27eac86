"""Evaluate a model on cells of Table 1: the Engine, the plan, the ranks, and the results' folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from kosmos.config import Precision
from kosmos.document import Document
from kosmos.errors import UsageError
from kosmos.evaluation.benchmark import Benchmark
from kosmos.evaluation.files import read_json
from kosmos.evaluation.progress import EvaluationProgress
from kosmos.evaluation.reporting.report_examples import examples_of
from kosmos.evaluation.reporting.results import load_results
from kosmos.evaluation.reporting.table1_report import write_table1_report
from kosmos.evaluation.running.benchmark_runner import RunSettings, run_benchmarks
from kosmos.evaluation.running.cells import Cell
from kosmos.evaluation.running.plan import make_plan
from kosmos.evaluation.running.ranks import open_ranks
from kosmos.inference.engine import Engine
from kosmos.model.kosmos import Kosmos
from kosmos.processor import PROCESSOR_FILE, Processor
from kosmos.runs import CONFIG_FILE, WEIGHTS_FILE, resolve
from kosmos.storage import file_sha256
from kosmos.tokenizer import MODEL_FILE as TOKENIZER_FILE
from kosmos.training.threads import set_threads

# Room that a prompt leaves for an answer of unknown length.
_ANSWER_TOKENS = 64
# A fixed number, so that a resumed evaluation is equal to an undisturbed one to the bit.
_PICTURES_PER_CALL = 8


def evaluate_cells(
    model: Path,
    cells: Sequence[Cell],
    *,
    data: Path,
    out: Path,
    limit: int | None = None,
    precision: Precision = "fp32",
    device: str = "cpu",
    max_slots: int = 64,
    skip_broken: bool = False,
    quiet: bool = False,
) -> dict[str, Any] | None:
    """Run the cells and return metrics.json's content (None on a rank that was not the last to finish).

    `data` holds a folder per dataset, named as the benchmark. Raises DataError for missing or wrong files.
    """
    ranks = open_ranks()
    if device == "cuda" and ranks.size > 1:
        device = f"cuda:{ranks.rank % torch.cuda.device_count()}"
    threads, max_slots = settle_threads(out), settle_batch_size(out, max_slots)
    folder = resolve(model)
    engine = Engine(
        Kosmos.from_pretrained(folder).to(device),
        Processor.load(folder),
        precision=precision,
        max_slots=max_slots,
        pictures_per_call=_PICTURES_PER_CALL,
    )
    facts = {
        "model": str(model),
        "data": str(data),
        "precision": precision,
        "device": torch.device(device).type,
        "threads": threads,
        "batch_size": max_slots,
    }
    settings = RunSettings(out, model_key(model, precision, device), skip_broken, facts)
    plan = make_plan(cells, folder_in(data), Fits(engine), _latents(engine), limit)
    with EvaluationProgress(plan.cost, len(cells), "Evaluation", quiet or ranks.rank > 0) as progress:

        def advance(cost: int, group: str) -> None:
            progress.begin(group.split("/")[0])
            progress.advance(cost)

        metrics = run_benchmarks(engine, plan, settings, ranks, advance)
    if metrics is not None:
        results = load_results(out)
        write_table1_report(results, examples_of(results, data, plan))
    return metrics


def settle_threads(out: Path) -> int:
    """Use as many CPU threads as this evaluation began with: their number moves the last bits of every sum.

    It is not the same by itself: torchrun gives each of its processes one thread, and a process alone has them all.
    """
    return set_threads(int(_begun(out).get("threads", 0)))


def settle_batch_size(out: Path, asked: int) -> int:
    """The batch size that this evaluation began with, for the same reason; or the one asked for."""
    return int(_begun(out).get("batch_size", asked))


def _begun(out: Path) -> dict[str, Any]:
    """What plan.json says of the evaluation that goes on here."""
    path = out / "plan.json"
    facts: dict[str, Any] = read_json(path).get("facts", {}) if path.exists() else {}
    return facts


def folder_in(data: Path) -> Callable[[Benchmark], Path]:
    """Where each dataset's files lie below the data folder."""
    return lambda benchmark: data / (benchmark.folder or benchmark.name)


def model_key(model: Path, precision: str, device: str) -> str:
    """A hash of what the answers depend on beside the questions: weights, configuration, tokens, numerics."""
    folder = resolve(model)
    files = [file_sha256(folder / name) for name in (WEIGHTS_FILE, CONFIG_FILE, TOKENIZER_FILE, PROCESSOR_FILE)]
    parts = [*files, precision, torch.device(device).type, torch.__version__]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


class Fits:
    """Whether a prompt leaves room for its longest candidate, or for a generated answer."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def __call__(self, document: Document, candidates: Sequence[str]) -> bool:
        try:
            length = len(self._engine.encode(document))
        except UsageError:  # longer than the model
            return False
        tokenizer = self._engine.processor.tokenizer
        room = max((len(tokenizer.encode(text)) + 2 for text in candidates), default=_ANSWER_TOKENS)
        return length + room <= self._engine.max_length


def _latents(engine: Engine) -> int:
    config = engine.model.config
    return config.resampler.num_latents if config.vision is not None else 1
