"""Model card: the README.md of an exported folder in the hub's form. Where something is not known, it says so."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from kosmos.config import CorpusConfig, ModelConfig, TrainConfig
from kosmos.config_files import dump_yaml, load_config, parse_yaml
from kosmos.data.readers.files import is_url
from kosmos.errors import KosmosError
from kosmos.evaluation.picturebook.report import load_report
from kosmos.evaluation.picturebook.report_markdown import HEADINGS, NUMERIC, cells
from kosmos.evaluation.reporting.markdown import table
from kosmos.interop.card_words import FORMATS, INTENDED, KOSMOS2_DATA, LIMITS, MISUSE, TEXT_FORMATS
from kosmos.interop.kosmos2.processor import DEFAULT_SLOTS
from kosmos.model.counting import count_parameters
from kosmos.processor import Processor
from kosmos.runs import CHECKPOINTS, CONFIG_FILE, WEIGHTS_FILE
from kosmos.storage import file_sha256

CARD_FILE = "README.md"
Format = Literal["kosmos", "transformers", "kosmos2"]
_TOLD_ONCE = ("Training data", "Training", "Evaluation")
_PAPER = "[Language Is Not All You Need](https://arxiv.org/abs/2302.14045)"


def exported_card(source: Path, folder: Path, format: Format, licence: str | None = None) -> str:
    """The card of the model in the weights folder `folder`, which the user named as `source` (a run, a step, itself).

    Data, steps and evaluation come from the run that the folder lies in, or else from the folder's own card.
    """
    processor = Processor.load(folder)
    run = _run_of(folder)
    name = (run or source.absolute()).name
    front = _stored_front(folder)
    licence = licence or str(front.get("license") or "unknown")
    sections = {
        "The model": _model(processor.config, f"weights of {folder.parent.name}" if run else "a model folder"),
        "Use": _use(processor.config, format),
        "Intended use": INTENDED,
        "Limits": _limits(processor.config),
        "Misuse": MISUSE,
        "Training data": _data(run),
        "Training": _training(run),
        "Evaluation": _evaluation(run, folder),
        "Licence": _licence(licence),
    }
    if run is None:  # what an earlier card tells travels on
        sections |= {title: text for title, text in _stored_sections(folder).items() if title in _TOLD_ONCE}
    made = _front(processor.config, licence, "kosmos" if format == "kosmos" else "transformers")
    return _page(name, made | {key: front[key] for key in ("base_model",) if key in front}, sections)


def imported_card(folder: Path, processor: Processor) -> str:
    """The card of a Kosmos-2 brought in from `folder`; its licence is what the folder's own card says."""
    known = str(_stored_front(folder).get("license") or "unknown")
    base = _base_model(folder)
    sections = {
        "The model": _model(processor.config, "a Kosmos-2 checkpoint in transformers' form, tensors unchanged"),
        "Use": _use(processor.config, "kosmos"),
        "Intended use": INTENDED,
        "Limits": _limits(processor.config),
        "Misuse": MISUSE,
        "Training data": KOSMOS2_DATA,
        "Evaluation": "None of these weights by this project. The publisher's figures are in the original's card.",
        "Licence": _licence(known),
    }
    front = _front(processor.config, known, "kosmos") | ({"base_model": base} if base else {})
    return _page(folder.absolute().name, front, sections)


def returned_card(source: Path, processor: Processor) -> str:
    """The card of a model that comes back from a transformers folder `source`."""
    front = _stored_front(source)
    licence = str(front.get("license") or "unknown")
    sections = {
        "The model": _model(processor.config, "a transformers folder, where it may have been trained further"),
        "Use": _use(processor.config, "kosmos"),
        "Intended use": INTENDED,
        "Limits": _limits(processor.config),
        "Misuse": MISUSE,
        "Training data": "Unknown: what came after the export, if anything did, is not told in the folder.",
        "Evaluation": "None of these weights.",
        "Licence": _licence(licence),
    }
    return _page(source.absolute().name, _front(processor.config, licence, "kosmos"), sections)


def _stored_front(folder: Path) -> Mapping[str, Any]:
    try:
        text = (folder / CARD_FILE).read_text(encoding="utf-8")
        front = parse_yaml(text.split("---", 2)[1]) if text.startswith("---") else {}
    except Exception:  # a card that cannot be read says nothing
        return {}
    return front if isinstance(front, Mapping) else {}


def _stored_sections(folder: Path) -> dict[str, str]:
    """The sections of a folder's own card, by title."""
    try:
        text = (folder / CARD_FILE).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return {}
    parts = (part.partition("\n") for part in f"\n{text}".split("\n## ")[1:])
    return {title.strip(): body.strip() for title, _, body in parts}


def _base_model(folder: Path) -> str | None:
    """The hub id in config.json, where saving has kept one."""
    try:
        name = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("_name_or_path")
    except (OSError, ValueError, AttributeError):
        return None
    return name if isinstance(name, str) and name.count("/") == 1 and not name.startswith((".", "/", "~")) else None


def _front(config: ModelConfig, licence: str, library: str) -> dict[str, Any]:
    return {
        "license": licence,
        "library_name": library,
        "pipeline_tag": "text-generation" if config.vision is None else "image-text-to-text",
        "tags": ["kosmos", "kosmos-1", *([] if config.vision is None else ["vision", "multimodal"])],
    }


def _page(name: str, front: Mapping[str, Any], sections: Mapping[str, str]) -> str:
    body = "\n\n".join(f"## {title}\n{text.strip()}" for title, text in sections.items())
    return f"---\n{dump_yaml(front).decode()}---\n\n# {name}\n\n{body}\n"


def _model(config: ModelConfig, origin: str) -> str:
    decoder, vision, resampler = config.decoder, config.vision, config.resampler
    counts = count_parameters(config)
    rows = [
        ["decoder", f"{decoder.num_layers} layers of width {decoder.hidden_size}, {decoder.num_heads} heads"],
        ["positions", f"{decoder.position}, rows of {decoder.max_positions} tokens"],
        ["vocabulary", f"{decoder.vocab_size:,} entries"],
        [
            "parameters",
            f"{counts.total:,}: text {counts.text:,}, vision {counts.vision:,}, resampler {counts.resampler:,}",
        ],
    ]
    if vision is None:
        rows.append(["pictures", "none: a language model"])
    else:
        tower = f"CLIP, {vision.num_layers} layers" if vision.kind == "clip" else "convolutional"
        rows.append(
            ["pictures", f"{vision.image_size} x {vision.image_size} pixels, {resampler.num_latents} tokens each"]
        )
        rows.append(["vision tower", f"{tower} of width {vision.hidden_size}; resampler: {resampler.kind}"])
    if config.extra_modalities:
        rows.append(["further modalities", ", ".join(config.extra_modalities)])
    lead = (
        f"A model of the form of KOSMOS-1 ({_PAPER}): one decoder reads text and pictures in any order and writes text."
    )
    return f"{lead} It comes from {origin}.\n\n{table(rows, ('', 'value'), ())}"


def _use(config: ModelConfig, format: Format) -> str:
    if config.vision is None:
        return TEXT_FORMATS[format]
    slots = config.resampler.num_latents
    # transformers' model of Kosmos-2 refuses another number of slots than its own.
    told = "" if slots == DEFAULT_SLOTS else f"num_image_tokens={slots}, "
    return FORMATS[format].replace("NUM_IMAGE_TOKENS, ", told)


def _limits(config: ModelConfig) -> str:
    own = [f"A row holds {config.decoder.max_positions} tokens, pictures included; what is longer is refused."]
    if config.vision is not None:
        own.append(
            f"Pictures are squeezed to {config.vision.image_size} x {config.vision.image_size} pixels: small print and "
            "fine detail are lost."
        )
    return "\n".join(f"- {line}" for line in (*own, *LIMITS))


def _run_of(folder: Path) -> Path | None:
    """The run directory that a weights folder lies in, or None."""
    for parent in folder.absolute().parents[:3]:
        if (parent / CHECKPOINTS).is_dir() and (parent / CONFIG_FILE).is_file():
            return parent
    return None


def _recipe(run: Path | None) -> TrainConfig | None:
    if run is None:
        return None
    try:
        return load_config(run / CONFIG_FILE, TrainConfig)
    except KosmosError:
        return None


def _data(run: Path | None) -> str:
    recipe = _recipe(run)
    if recipe is None or not recipe.data.sources:
        return "Unknown: the weights came without the recipe of their training."
    rows = [
        [
            source,
            corpus.reader,
            _corpus_name(corpus),
            f"{corpus.weight:g}",
            f"{config.rows_per_step} x {config.row_length}",
        ]
        for source, config in recipe.data.sources.items()
        for corpus in config.corpora
    ]
    begun = _beginnings(recipe)
    known = table(rows, ("source", "reader", "corpus", "weight", "rows x tokens a step"), (3, 4))
    return (
        f"By the recipe of the run:\n\n{known}\n\n{begun}Where the texts and pictures came from, under which licences, "
        "and whom they show, the recipe does not say: unknown."
    )


def _beginnings(recipe: TrainConfig) -> str:
    """What the weights began with, in words; paths of the machine are left out."""
    vision = recipe.model.vision
    begun = [] if not recipe.start_from else [f"weights of {Path(recipe.start_from).name}"]
    if vision is not None and vision.pretrained:
        begun.append(f"the vision tower of {Path(vision.pretrained).name}")
    return f"Training began with {' and '.join(begun)}, whose own data is not told here. " if begun else ""


def _corpus_name(corpus: CorpusConfig) -> str:
    if not corpus.path:
        return "generated" if corpus.reader.startswith("picturebook.") else "–"
    if is_url(corpus.path):
        address = urlsplit(corpus.path)  # passwords and keys of the address are left out
        return f"{address.scheme}://{address.netloc.split('@')[-1]}{address.path}"
    return Path(corpus.path).name


def _training(run: Path | None) -> str:
    recipe = _recipe(run)
    if recipe is None:
        return "Unknown."
    steps = list(_training_facts(recipe))
    return "\n".join(f"- {line}" for line in steps)


def _training_facts(recipe: TrainConfig) -> Iterator[str]:
    optimizer = recipe.optimizer
    tokens = sum(source.rows_per_step * source.row_length for source in recipe.data.sources.values())
    yield f"a plan of {recipe.steps:,} steps of {tokens:,} tokens (slots of pictures and padding counted)"
    yield (
        f"AdamW, learning rate {optimizer.lr:g}, betas {optimizer.betas[0]:g} and {optimizer.betas[1]:g}, weight decay "
        f"{optimizer.weight_decay:g}, {optimizer.warmup_steps} steps of warm-up, then linear decay to 0"
    )
    yield f"seed {recipe.seed}, precision {recipe.precision}"


def _evaluation(run: Path | None, folder: Path) -> str:
    if run is None:
        return "Unknown: no report came with the weights."
    try:
        report = load_report(run)
        rows = [cells(row) for row in report["abilities"]]
    except (KosmosError, KeyError, TypeError):
        return "None: the run has no report."
    facts = report["run"]
    same = facts.get("extra", {}).get("weights_sha256") == file_sha256(folder / WEIGHTS_FILE)
    whose = "these weights" if same else f"other weights of the same run (step {facts.get('steps')})"
    notes = "".join(f"\n- {warning}" for warning in report["warnings"])
    return f"Measured on {whose}.\n\n{table(rows, HEADINGS, NUMERIC)}" + (f"\n{notes}" if notes else "")


def _licence(name: str) -> str:
    if name != "unknown":
        return f"`{name}`, as given by who made this folder."
    return (
        "Unknown: the weights carry the terms of the data and of the weights that they began with. Settle them before "
        "you share the folder, and write the licence into this file's first lines. The code is under the MIT licence."
    )
