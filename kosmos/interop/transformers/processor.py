"""The processor's part of an exported transformers folder: tokenizer, image processor, chat template, their code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from kosmos.errors import UsageError
from kosmos.processor import Processor
from kosmos.storage import make_folder, write_atomic

CODE_FOLDER = Path(__file__).parents[1] / "remote_code"
CODE_FILES = ("tokenization_kosmos.py", "image_processing_kosmos.py", "processing_kosmos.py")
TEMPLATE_FILE = "chat_template.jinja"


def chat_template(chat_format: str) -> str:
    """The Jinja template of a chat format. Raises UsageError for one that has none."""
    if chat_format != "kosmos-qa":
        raise UsageError(f"the chat format '{chat_format}' has no template for transformers; only kosmos-qa has")
    return (CODE_FOLDER / TEMPLATE_FILE).read_text(encoding="utf-8")


def save_processor(processor: Processor, out: Path) -> None:
    """Write what `AutoTokenizer`, `AutoImageProcessor` and `AutoProcessor` load with `trust_remote_code` into `out`.

    A model without vision gets a tokenizer alone. Raises UsageError for a chat format without a template, and for
    modalities that transformers has no processor of.
    """
    if processor.config.extra_modalities:
        names = ", ".join(processor.config.extra_modalities)
        raise UsageError(f"extra_modalities: {names}: an exported processor reads text and pictures alone")
    out = make_folder(out)
    template = chat_template(processor.chat_format)
    write_atomic(out / TEMPLATE_FILE, template.encode())
    for name in CODE_FILES:
        write_atomic(out / name, (CODE_FOLDER / name).read_bytes())
    made = to_transformers(processor)
    tokenizer = made if processor.config.vision is None else made.tokenizer
    tokenizer.save_pretrained(str(out), save_jinja_files=True)
    _edit(out / "tokenizer_config.json", auto_map={"AutoTokenizer": ["tokenization_kosmos.KosmosTokenizer", None]})
    if processor.config.vision is None:
        return
    image_map = {"AutoImageProcessor": "image_processing_kosmos.KosmosImageProcessor"}
    processor_map = {"AutoProcessor": "processing_kosmos.KosmosProcessor"}
    _edit(out / "tokenizer_config.json", processor_class="KosmosProcessor")
    # No preprocessor_config.json beside it: pipelines would look in that one for a video processor.
    stored = {
        "processor_class": "KosmosProcessor",
        "num_image_tokens": made.num_image_tokens,
        "image_processor": {**made.image_processor.to_dict(), "auto_map": image_map},
        "auto_map": {**image_map, **processor_map},
    }
    _write(out / "processor_config.json", stored)


def to_transformers(processor: Processor) -> Any:
    """Our processor as a KosmosProcessor of transformers; for a model without vision, its KosmosTokenizer."""
    import tempfile

    from kosmos.interop.remote_code.image_processing_kosmos import KosmosImageProcessor
    from kosmos.interop.remote_code.processing_kosmos import KosmosProcessor
    from kosmos.interop.remote_code.tokenization_kosmos import KosmosTokenizer

    template = chat_template(processor.chat_format)
    with tempfile.TemporaryDirectory() as folder:
        processor.tokenizer.save(folder)
        tokenizer = KosmosTokenizer(
            str(Path(folder) / "tokenizer.model"),
            extra_specials=processor.tokenizer.extra_specials,
            model_max_length=processor.config.decoder.max_positions,
            chat_template=template,
        )
    if processor.config.vision is None:
        return tokenizer
    vision = processor.config.vision
    image_processor = KosmosImageProcessor(vision.image_size, vision.image_mean, vision.image_std)
    return KosmosProcessor(
        image_processor, tokenizer, num_image_tokens=processor.config.resampler.num_latents, chat_template=template
    )


def _edit(path: Path, **values: Any) -> None:
    _write(path, {**json.loads(path.read_text(encoding="utf-8")), **values})


def _write(path: Path, values: dict[str, Any]) -> None:
    write_atomic(path, (json.dumps(values, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode())
