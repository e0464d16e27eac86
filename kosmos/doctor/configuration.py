"""The recipe: its keys, and what it names beside the data: tokenizer, vision tower, start, device, trackers, memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from kosmos.doctor.registry import Finding, Subject, bytes_in_words, check, from_error, ok, problem, warning
from kosmos.errors import KosmosError


@check("configuration", "recipe")
def recipe(subject: Subject) -> Iterator[Finding]:
    if subject.config_error is not None:
        for line in str(subject.config_error).splitlines():
            yield problem(line, "`kosmos train RECIPE --keys` explains every key", subject.config_error.exit_code)
    elif subject.config is not None:
        sources = ", ".join(subject.config.data.sources) or "no sources"
        yield ok(f"{subject.name}: every key is known ({subject.config.steps:,} steps; {sources})")
        if not subject.config.data.sources:
            yield problem("data.sources is empty", "name at least one source", 2)


@check("configuration", "tokenizer", needs="config")
def tokenizer(subject: Subject) -> Iterator[Finding]:
    from kosmos.processor import Processor
    from kosmos.training.start import start_tokenizer

    assert subject.config is not None
    try:
        found = start_tokenizer(subject.config)
        Processor(found, subject.config.model)
    except KosmosError as error:
        wrong = from_error(error)
        yield problem(
            wrong.what, wrong.do or "look at `tokenizer`; `kosmos tokenizer train` makes one", wrong.exit_code
        )
        return
    size = subject.config.model.decoder.vocab_size
    spare = f", {size - found.vocab_size} embeddings to spare" if size > found.vocab_size else ""
    yield ok(f"tokenizer: {found.vocab_size:,} entries{spare}")


@check("configuration", "vision", needs="config")
def vision(subject: Subject) -> Iterator[Finding]:
    """Whether the tower's weights are there; a hub's are not fetched."""
    from kosmos.model.vision import check_random_vision, resolve_vision

    config = subject.config
    assert config is not None
    tower = config.model.vision
    if tower is None:
        yield ok("vision: none, a language model")
        return
    if not config.start_from:
        check_random_vision(tower, config.random_vision)
    if tower.pretrained is None:
        yield ok(f"vision: {tower.kind}, from random weights, trainable: {tower.trainable}")
    elif Path(tower.pretrained).is_dir():
        resolve_vision(tower)
        yield ok(f"vision: {tower.kind} from {tower.pretrained}, trainable: {tower.trainable}")
    elif tower.kind == "conv" or tower.pretrained.startswith((".", "/", "~")):
        do = "`kosmos train-vision` makes one" if tower.kind == "conv" else "look at model.vision.pretrained"
        yield problem(f"vision: {tower.pretrained}: no such folder", do, 3)
    else:
        do = f"fetch it before: hf download {tower.pretrained}; nodes without a network need a folder"
        yield warning(f"vision: {tower.pretrained} is a hub's name, which is not looked up here", do)


@check("configuration", "device", needs="config")
def device(subject: Subject) -> Iterator[Finding]:
    from kosmos.training.precision import choose_device, choose_precision
    from kosmos.training.trackers import check_trackers

    assert subject.config is not None
    place = choose_device(subject.config.device)
    yield ok(f"device: {place.type}, precision: {choose_precision(subject.config.precision, place)}")
    check_trackers(subject.config)
    if subject.config.trackers:
        yield ok(f"trackers: {', '.join(subject.config.trackers)}")


@check("configuration", "memory", needs="config")
def memory(subject: Subject) -> Iterator[Finding]:
    """The estimate for one rank on this machine."""
    from kosmos.training.dry_run import dry_run
    from kosmos.training.expectations import expected_step
    from kosmos.training.hardware import this_machine

    config = subject.config
    assert config is not None
    if not config.data.sources or config.parallel.replicas > 1:
        return
    found = dry_run(config, expected_step(config), this_machine())
    said = f"memory: about {bytes_in_words(found.memory.total)} for one rank alone, on {found.hardware.name}"
    if found.fits is False:
        do = "`kosmos train RECIPE --dry-run --ranks N` says what more ranks need; see docs/training.md"
        yield warning(f"{said} with {bytes_in_words(found.hardware.memory)}", do)
    else:
        yield ok(said)
