"""KOSMOS-1 from scratch. The names below are loaded when first used, so that `import kosmos` is instant."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kosmos.api import Chat, answer, caption, chat, generate, generate_batch, load, score, stream
    from kosmos.document import Document, End, Image, Text
    from kosmos.inference.engine import Engine
    from kosmos.model.kosmos import Kosmos
    from kosmos.processor import Processor
    from kosmos.tokenizer import Tokenizer

__version__ = "0.1.0"

_HOMES = {
    "Document": "kosmos.document",
    "End": "kosmos.document",
    "Image": "kosmos.document",
    "Text": "kosmos.document",
    "Engine": "kosmos.inference.engine",
    "Kosmos": "kosmos.model.kosmos",
    "Processor": "kosmos.processor",
    "Tokenizer": "kosmos.tokenizer",
    "Chat": "kosmos.api",
    "answer": "kosmos.api",
    "caption": "kosmos.api",
    "chat": "kosmos.api",
    "generate": "kosmos.api",
    "generate_batch": "kosmos.api",
    "load": "kosmos.api",
    "score": "kosmos.api",
    "stream": "kosmos.api",
}

__all__ = [
    "Chat",
    "Document",
    "End",
    "Engine",
    "Image",
    "Kosmos",
    "Processor",
    "Text",
    "Tokenizer",
    "__version__",
    "answer",
    "caption",
    "chat",
    "generate",
    "generate_batch",
    "load",
    "score",
    "stream",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'kosmos' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
