"""The Python face: load a model, then caption, ask, continue, score.

    engine = kosmos.load("runs/demo")
    kosmos.caption(engine, "cat.png")
    kosmos.answer(engine, "cat.png", "what color is the cat?")
    kosmos.generate(engine, [Path("cat.png"), "An image of"], max_new_tokens=16).text

A prompt is a Document, one string, or a list of parts in order: a string is text, even one that names a picture's
file; a path (`Path("cat.png")`), bytes, a PIL image or an array [height, width, 3] is a picture.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch

from kosmos.chat_format import Role, Turn, chat_document
from kosmos.config import Precision
from kosmos.document import Document, Image, Segment
from kosmos.errors import UsageError
from kosmos.inference.engine import Engine
from kosmos.inference.generation import Decoding, Generation, Score
from kosmos.model.kosmos import Kosmos
from kosmos.processor import Processor
from kosmos.runs import resolve

Picture = Image | str | Path | bytes | PIL.Image.Image | np.ndarray
Part = str | Segment | Path | bytes | PIL.Image.Image | np.ndarray
Prompt = Document | str | Sequence[Part]


def load(
    path: str | Path, *, precision: Precision = "fp32", device: str | torch.device = "cpu", max_slots: int = 64
) -> Engine:
    """The model behind a run directory (its latest whole step), a step folder or an exported folder, ready to use."""
    folder = resolve(path)
    model = Kosmos.from_pretrained(folder).to(device)
    return Engine(model, Processor.load(folder), precision=precision, max_slots=max_slots)


def document(prompt: Prompt) -> Document:
    """A prompt as a Document. Raises UsageError for a part of an unknown type."""
    if isinstance(prompt, Document):
        return prompt
    parts = [prompt] if isinstance(prompt, str) else prompt
    if not isinstance(parts, Sequence) or isinstance(parts, bytes):
        raise UsageError(f"a prompt is a Document, a string or a list of parts, not {type(prompt).__name__}")
    return Document(*(_segment(part) for part in parts))


def caption(engine: Engine, image: Picture, *, prompt: str = "An image of", max_new_tokens: int = 32) -> str:
    """What the picture shows, by greedy search (the paper's caption prompt, section 4.3)."""
    return generate(engine, Document(_picture(image), prompt), max_new_tokens=max_new_tokens).text


def answer(engine: Engine, image: Picture | None, question: str, *, max_new_tokens: int = 32) -> str:
    """The answer to a question about a picture, or about nothing but the question, by greedy search."""
    pictures = () if image is None else (_picture(image),)
    prompt = Document(*pictures, f"Question: {question} Answer:")
    return generate(engine, prompt, max_new_tokens=max_new_tokens).text


def generate(engine: Engine, prompt: Prompt, **decoding: Any) -> Generation:
    """Continue one prompt. `decoding`: the fields of `Decoding`, such as max_new_tokens, temperature, seed, stop."""
    return generate_batch(engine, [prompt], **decoding)[0]


def generate_batch(engine: Engine, prompts: Sequence[Prompt], **decoding: Any) -> list[Generation]:
    """Continue many prompts in ragged batches, each as it would be alone; results in the order given."""
    return engine.generate([document(prompt) for prompt in prompts], options=_decoding(decoding))


def stream(engine: Engine, prompt: Prompt, **decoding: Any) -> Iterator[str]:
    """Continue one prompt and yield the text while it comes; no glyph is split, the pieces joined are the text."""
    options = _decoding(decoding)
    prefix = engine.prefill(document(prompt))  # errors come at the call, not at the first piece

    def pieces() -> Iterator[str]:
        with prefix:
            yield from prefix.stream(decoding=options)

    return pieces()


def score(engine: Engine, prompt: Prompt, candidates: Sequence[str]) -> list[Score]:
    """Log-probability of each candidate as the text that follows the prompt (mostly with a leading space)."""
    return engine.score([document(prompt)], [list(candidates)])[0]


class Chat:
    """A conversation in the model's own chat format; `turns` holds what was said.

    chat = Chat(engine)
    chat.say(Path("cat.png"), "what is on the left?")
    chat.say("what color is its background?")
    """

    def __init__(self, engine: Engine, **decoding: Any) -> None:
        self.engine = engine
        self.turns: list[Turn] = []
        self._options = _decoding(decoding)

    def say(self, *parts: Part) -> str:
        """One turn of the user (text and pictures in order); returns the model's answer."""
        return "".join(self.stream(*parts))

    def stream(self, *parts: Part) -> Iterator[str]:
        """As `say`, piece by piece; the turn is remembered once the answer is complete."""
        user: Role = "user"
        asked = [*self.turns, Turn(user, document(parts))]
        prompt = chat_document(asked, self.engine.processor.chat_format)
        text = ""
        with self.engine.prefill(prompt) as prefix:
            for delta in prefix.stream(decoding=self._options):
                text += delta
                yield delta
        self.turns = [*asked, Turn("assistant", Document(text))]


def _segment(part: Part) -> Segment | str:
    if isinstance(part, str | Segment):
        return part
    return _picture(part)


def _picture(source: Picture) -> Image:
    if isinstance(source, Image):
        return source
    if isinstance(source, str | Path | bytes | PIL.Image.Image | np.ndarray):
        return Image(source)
    raise UsageError(f"a picture is a path, bytes, a PIL image or an array, not {type(source).__name__}")


def _decoding(fields: dict[str, Any]) -> Decoding:
    return Decoding.from_fields(fields)
