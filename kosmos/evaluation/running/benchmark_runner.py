"""Run benchmarks through the Engine: responses on disk group by group, then samples and metrics.

Layout of the output folder:

    plan.json            what was asked: cells, settings, numbers of examples, the key of weights and numerics, and
                         facts of the run for people
    responses/rank-N.jsonl
    samples/CELL.jsonl   one example a line, in the order of the data
    metrics.json         every metric of every cell, with its interval
    timing.json          seconds and versions; the one file that differs from run to run
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from kosmos.document import Document
from kosmos.errors import DataError, ImageError, UsageError
from kosmos.evaluation.files import read_json, write_json, write_jsonl
from kosmos.evaluation.running.cells import RATIONALE_TOKENS, Item, Request
from kosmos.evaluation.running.measures import measure_cell
from kosmos.evaluation.running.plan import Group, Plan, PlannedCell, request_key
from kosmos.evaluation.running.ranks import Ranks
from kosmos.evaluation.running.response_log import ResponseLog, read_responses
from kosmos.evaluation.running.samples import sample_of
from kosmos.evaluation.task import render
from kosmos.example import Example
from kosmos.storage import remove_unwritten

SCHEMA_VERSION = 1


class BenchmarkEngine(Protocol):
    """What the runner needs of the Engine; tests pass engines that cost nothing."""

    def generate(
        self, documents: Sequence[Document], *, options: Any = None, names: Sequence[str] | None = None
    ) -> Sequence[Any]: ...

    def score(self, documents: Sequence[Document], candidates: Sequence[Sequence[str]]) -> Sequence[Sequence[Any]]: ...


@dataclass(frozen=True)
class RunSettings:
    """`model_key` names weights and numerics; `skip_broken`: examples that cannot be read are counted, not fatal.

    facts  what else plan.json says of the run (its model, its precision): for people, and for the report
    """

    out: Path
    model_key: str
    skip_broken: bool = False
    facts: Mapping[str, object] = field(default_factory=dict)


def run_benchmarks(
    engine: BenchmarkEngine,
    plan: Plan,
    settings: RunSettings,
    ranks: Ranks | None = None,
    advance: Callable[[int, str], None] = lambda cost, name: None,
) -> dict[str, Any] | None:
    """Do what is not done yet, and measure. The last rank to finish returns metrics.json's content, others None.

    Raises DataError for a broken example unless `skip_broken`; what was finished stays.
    """
    ranks = ranks or Ranks()
    _store_plan(plan, settings)
    _remove_unwritten(plan, settings.out)
    begin = time.monotonic()
    finished = read_responses(settings.out / "responses")
    done = {group.name for group in plan.groups if _is_finished(group, plan, finished.get(group.name), settings)}
    for group in plan.groups:
        if group.name in done:
            advance(group.cost, group.name)
    log = ResponseLog(settings.out / "responses", ranks.rank)
    try:
        # Numbers run over all groups: a rank that starts late finds more of them finished than the others did.
        while (number := ranks.next("group")) < len(plan.groups):
            group = plan.groups[number]
            if group.name in done:
                continue
            halvings = getattr(engine, "num_halvings", 0)
            responses = ask_group(engine, plan.cells[group.cell], group, settings)
            log.append(group.name, responses, {"halvings": getattr(engine, "num_halvings", 0) - halvings})
            advance(group.cost, group.name)
    finally:
        log.close()
    if ranks.next("done") < ranks.size - 1:
        return None
    return measure(plan, settings, time.monotonic() - begin)


def measure(plan: Plan, settings: RunSettings, seconds: float = 0.0) -> dict[str, Any]:
    """Samples and metrics from the responses on disk. Raises UsageError when some are missing."""
    found = read_responses(settings.out / "responses")
    by_cell: dict[int, dict[str, dict[str, Any]]] = {}
    for group in plan.groups:
        if group.name not in found:
            raise UsageError(f"{settings.out}: group {group.name} has no responses yet; run the evaluation to its end")
        by_cell.setdefault(group.cell, {}).update((response["id"], response) for response in found[group.name])
    metrics: dict[str, Any] = {"schema_version": SCHEMA_VERSION, "model_key": settings.model_key}
    metrics["cells"] = _kept_cells(settings)
    for number, planned in enumerate(plan.cells):
        samples = [sample_of(planned.cell, example, by_cell[number][example.id]) for example in planned.examples]
        metrics["cells"][planned.cell.name] = measure_cell(planned, samples)
        write_jsonl(settings.out / "samples" / f"{planned.cell.name}.jsonl", samples)
    write_json(settings.out / "metrics.json", metrics)
    _store_timing(settings.out, seconds, sum(len(planned.examples) for planned in plan.cells))
    return metrics


def ask_group(
    engine: BenchmarkEngine, planned: PlannedCell, group: Group, settings: RunSettings
) -> list[dict[str, Any]]:
    """The responses of one group, in its order; broken examples as such when they may be skipped."""
    examples = [planned.examples[place] for place in group.places]
    try:
        return _ask(engine, planned, examples, settings)
    except (DataError, ImageError) as error:
        if not settings.skip_broken:
            raise DataError(f"{group.name}: {error} (--skip-broken counts such examples and goes on)") from error
    responses = []
    for example in examples:  # one by one, to find the broken ones
        try:
            responses += _ask(engine, planned, [example], settings)
        except (DataError, ImageError) as error:
            responses.append({"id": example.id, "key": "", "broken": str(error)})
    return responses


def _ask(
    engine: BenchmarkEngine, planned: PlannedCell, examples: Sequence[Example], settings: RunSettings
) -> list[dict[str, Any]]:
    cell, preparer = planned.cell, planned.preparer
    rationales: list[str | None] = [None] * len(examples)
    if cell.prompt.rationale is not None:
        first = [preparer.rationale_request(example).document for example in examples]
        rationales = [
            made.text for made in engine.generate(first, options=_decoding({"max_new_tokens": RATIONALE_TOKENS}))
        ]
    items = [preparer.item(example, rationale) for example, rationale in zip(examples, rationales)]
    answers = _answers(engine, planned, [request for item in items for request in item.requests])
    responses = []
    for item, rationale in zip(items, rationales):
        mine, answers = answers[: len(item.requests)], answers[len(item.requests) :]
        response: dict[str, Any] = {
            "id": item.example.id,
            "key": _key(planned, item, settings),
            "prompts": [render(request.document) for request in item.requests],
            "answers": mine,
            "texts": list(item.texts),
            "demonstrations": list(item.demonstrations),
            "dropped": item.dropped,
            "cut": item.cut,
            "image_sha256": [image.sha256 for image in item.example.images],
        }
        if rationale is not None:
            response["rationale"] = rationale
        responses.append(response)
    return responses


def _answers(engine: BenchmarkEngine, planned: PlannedCell, requests: Sequence[Request]) -> list[Any]:
    """One answer a request: [[sum of log-probs, tokens] of each candidate], or {"text", "tokens", "finish_reason"}.

    Equal requests are asked once: their answers must be equal to the last bit.
    """
    distinct = {request.content: request for request in requests}
    documents = [request.document for request in distinct.values()]
    if planned.cell.generates:
        options = _decoding({**planned.cell.benchmark.decoding, "stop": planned.cell.prompt.stop})
        made = engine.generate(documents, options=options, names=planned.preparer.names)
        answers: list[Any] = [
            {"text": g.text, "tokens": len(g.token_ids), "score": g.score, "finish_reason": g.finish_reason}
            for g in made
        ]
    else:
        scored = engine.score(documents, [request.candidates for request in distinct.values()])
        answers = [[[score.sum, score.num_tokens] for score in scores] for scores in scored]
    by_content = dict(zip(distinct, answers, strict=True))
    return [by_content[request.content] for request in requests]


def _decoding(fields: Mapping[str, object]) -> Any:
    from kosmos.inference.generation import Decoding

    return Decoding.from_fields(fields)


def _is_finished(
    group: Group, plan: Plan, responses: Sequence[Mapping[str, Any]] | None, settings: RunSettings
) -> bool:
    """Whether what is on disk answers exactly what would be asked now."""
    if responses is None:
        return False
    planned = plan.cells[group.cell]
    examples = [planned.examples[place] for place in group.places]
    if [response["id"] for response in responses] != [example.id for example in examples]:
        return False
    for example, response in zip(examples, responses):
        if "broken" in response:
            return False  # perhaps it was mended
        item: Item = planned.preparer.item(example, response.get("rationale"))
        if _key(planned, item, settings) != response["key"]:
            return False
    return True


def _key(planned: PlannedCell, item: Item, settings: RunSettings) -> str:
    """Of all requests of an item: the second stage of a chain of thought may not have the picture of the first."""
    first = [] if planned.cell.prompt.rationale is None else [planned.preparer.rationale_request(item.example)]
    return request_key(settings.model_key, planned.cell, [r.content for r in (*first, *item.requests)])


def _store_plan(plan: Plan, settings: RunSettings) -> None:
    """Write plan.json, or see that it is the same evaluation that goes on."""
    cells = [
        {**planned.cell.settings, "name": planned.cell.name, "examples": len(planned.examples),
         "of": planned.num_examples, "limit": planned.limit}
        for planned in plan.cells
    ]  # fmt: skip
    content = {
        "schema_version": SCHEMA_VERSION,
        "model_key": settings.model_key,
        "facts": {**settings.facts, "latents": plan.latents},
    }
    path = settings.out / "plan.json"
    kept: dict[Any, Any] = {}
    if path.exists():
        held = read_json(path)
        if held.get("model_key") != settings.model_key:
            raise UsageError(
                f"{settings.out}: holds the evaluation of other weights, of another configuration or tokenizer, or of "
                "other numerics (precision, device, version of torch); choose another --out, or remove the folder"
            )
        kept = {cell["name"]: cell for cell in held["cells"]}
    settings.out.mkdir(parents=True, exist_ok=True)
    kept.update((cell["name"], cell) for cell in cells)
    write_json(path, {**content, "cells": list(kept.values())})


def _kept_cells(settings: RunSettings) -> dict[str, Any]:
    """What metrics.json has of the same weights already: an evaluation may be done in several commands."""
    path = settings.out / "metrics.json"
    held = read_json(path) if path.exists() else {}
    same = (held.get("schema_version"), held.get("model_key")) == (SCHEMA_VERSION, settings.model_key)
    return dict(held["cells"]) if same else {}


def _remove_unwritten(plan: Plan, out: Path) -> None:
    """What a kill left of results that were being written. Nobody writes them now: that is done when all is asked."""
    samples = [out / "samples" / f"{planned.cell.name}.jsonl" for planned in plan.cells]
    for path in (*samples, out / "metrics.json", out / "timing.json"):
        remove_unwritten(path)


def _store_timing(out: Path, seconds: float, examples: int) -> None:
    path = out / "timing.json"
    held = read_json(path) if path.exists() else {"seconds": 0.0}
    total = held["seconds"] + seconds
    write_json(path, {"seconds": round(total, 3), "examples": examples})
