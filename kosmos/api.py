"""The Python face: load a model, then caption, ask, continue, score, talk.

    engine = kosmos.load("runs/demo")
    kosmos.caption(engine, "cat.png")
    kosmos.answer(engine, "cat.png", "what color is the cat?")
    kosmos.generate(engine, [Path("cat.png"), "An image of"], max_new_tokens=16).text

A prompt is a Document, one string, or a list of parts in order: a string is text, even one that names a picture's
file; a path (`Path("cat.png")`), bytes, a PIL image or an array [height, width, 3] is a picture. `**decoding` are the
fields of `Decoding`: temperature, seed, stop, num_beams, ...; without any the search is greedy.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch

from kosmos.chat_format import Turn, chat_document
from kosmos.config import Precision
from kosmos.document import Document, End, Image, Segment
from kosmos.errors import PromptTooLong, UsageError
from kosmos.inference.engine import Engine
from kosmos.inference.generation import Decoding, Generation, Score
from kosmos.inference.prefix import Prefix
from kosmos.inference.quantization import Quantization
from kosmos.model.kosmos import Kosmos
from kosmos.processor import Processor
from kosmos.runs import resolve

Picture = Image | str | Path | bytes | PIL.Image.Image | np.ndarray
Part = str | Segment | Path | bytes | PIL.Image.Image | np.ndarray
Prompt = Document | str | Sequence[Part]


def load(
    path: str | Path,
    *,
    precision: Precision = "fp32",
    prefill_precision: Precision | None = None,
    quantization: Quantization | None = None,
    static_decode: bool = False,
    device: str | torch.device = "cpu",
    max_slots: int = 64,
    image_cache_dir: str | Path | None = None,
    pictures_per_call: int | None = None,
) -> Engine:
    """The model behind a run directory (its latest whole step), a step folder or an exported folder, ready to use.

    The options are those of `Engine`: "bf16" and "int8" are faster and change the scores a little; `image_cache_dir`
    is a folder that keeps embeddings of pictures for later processes. `pictures_per_call` encodes exactly so many at a
    time: to the bit, a picture then does not depend on those beside it.
    """
    folder, device = resolve(path), find_device(device)
    return Engine(
        Kosmos.from_pretrained(folder).to(device),
        Processor.load(folder),
        max_slots=max_slots,
        precision=precision,
        prefill_precision=prefill_precision,
        quantization=quantization,
        static_decode=static_decode,
        image_cache_dir=image_cache_dir,
        pictures_per_call=pictures_per_call,
    )


def find_device(device: str | torch.device) -> torch.device:
    """A device, once it is known to be there. Raises UsageError."""
    try:
        found = torch.device(device)
    except RuntimeError:
        raise UsageError(f"device {device}: unknown; use cpu or cuda") from None
    if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        there = f"finds no GPU but 0 to {count - 1}" if count else "finds no GPU"
        raise UsageError(f"device {device}: this machine's torch {there}; leave it out to use the CPU")
    return found


def document(prompt: Prompt) -> Document:
    """A prompt as a Document. Raises UsageError for a part of an unknown type."""
    if isinstance(prompt, Document):
        return prompt
    parts = [prompt] if isinstance(prompt, str) else prompt
    if not isinstance(parts, Sequence) or isinstance(parts, bytes):
        raise UsageError(
            f"a prompt is a Document, a string or a list of parts, not {type(prompt).__name__}; a picture alone is a "
            "list of one"
        )
    return Document(*(_segment(part) for part in parts))


def caption(
    engine: Engine,
    image: Picture,
    *,
    prompt: str = "An image of",
    examples: Sequence[tuple[Picture, str]] = (),
    max_new_tokens: int = 32,
    **decoding: Any,
) -> str:
    """What the picture shows (the paper's caption prompt, section 4.3; its captions are of five beams: num_beams=5).

    `examples` are pictures with their captions, shown before in the same form.
    """
    shown = [part for picture, said in examples for part in (_picture(picture), f"{prompt} {said.strip()}")]
    asked = Document(*shown, _picture(image), prompt)
    return generate(engine, asked, max_new_tokens=max_new_tokens, **decoding).text


def answer(
    engine: Engine,
    image: Picture | None,
    question: str,
    *,
    examples: Sequence[tuple[Picture | None, str, str]] = (),
    max_new_tokens: int = 32,
    **decoding: Any,
) -> str:
    """The answer to a question about a picture, or about nothing but the question.

    `examples` are (picture, question, answer), shown before in the same form.
    """
    parts: list[Segment | str] = []
    for picture, asked, said in [*examples, (image, question, "")]:
        if picture is not None:
            parts.append(_picture(picture))
        elif parts:
            parts.append(End())  # text demonstrations end as documents do; a picture parts them by itself
        parts.append(f"Question: {asked} Answer: {said.strip()}".rstrip())
    return generate(engine, Document(*parts), max_new_tokens=max_new_tokens, **decoding).text


def generate(engine: Engine, prompt: Prompt, *, names: Sequence[str] | None = None, **decoding: Any) -> Generation:
    """Continue one prompt. With `names` the answer is one of these (mostly with a leading space)."""
    return generate_batch(engine, [prompt], names=names, **decoding)[0]


def generate_batch(
    engine: Engine, prompts: Sequence[Prompt], *, names: Sequence[str] | None = None, **decoding: Any
) -> list[Generation]:
    """Continue many prompts in ragged batches, each as it would be alone; results in the order given."""
    _refuse_string(prompts, "prompts")
    _refuse_string(names, "names")
    return engine.generate([document(prompt) for prompt in prompts], options=_decoding(decoding), names=names)


def stream(engine: Engine, prompt: Prompt, **decoding: Any) -> Iterator[str]:
    """Continue one prompt and yield the text while it comes; no glyph is split, the pieces joined are the text."""
    options = _decoding(decoding)
    prefix = engine.prefill(document(prompt))  # errors come at the call, not at the first piece

    def pieces() -> Iterator[str]:
        with prefix:
            yield from prefix.stream(decoding=options)

    return pieces()


def score(engine: Engine, prompt: Prompt, candidates: Sequence[str], *, include_end: bool = False) -> list[Score]:
    """Log-probability of each candidate as the text that follows the prompt (mostly with a leading space).

    `include_end` counts the closing `</s>`.
    """
    _refuse_string(candidates, "candidates")
    return engine.score([document(prompt)], [list(candidates)], include_end=include_end)[0]


def chat(engine: Engine, **decoding: Any) -> Chat:
    """A new conversation; see `Chat`."""
    return Chat(engine, **decoding)


class Chat:
    """A conversation in the model's own chat format; `turns` holds what was said and may be changed.

    chat = kosmos.chat(engine)
    chat.say(Path("cat.png"), "what is on the left?")
    chat.say("what color is its background?")

    What the model has read stays in a slot of the engine, so that a turn runs only what is new; `close` (or the end of
    a `with` block) gives the slot back. `options` are those of the next answer.
    """

    def __init__(self, engine: Engine, **decoding: Any) -> None:
        self.engine = engine
        self.turns: list[Turn] = []
        self.options = _decoding(decoding)
        self._prefix: Prefix | None = None

    def __enter__(self) -> Chat:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def num_tokens(self) -> int:
        """Tokens of the conversation that the model has read, the latest answer not counted."""
        return 0 if self._prefix is None else len(self._prefix)

    def say(self, *parts: Part) -> str:
        """One turn of the user (text and pictures in order); returns the model's answer."""
        return "".join(self.stream(*parts))

    def stream(self, *parts: Part) -> Iterator[str]:
        """As `say`, piece by piece; the turn is remembered once the answer is complete.

        Raises PromptTooLong, at the call, when the conversation has outgrown the model's length.
        """
        asked = [*self.turns, Turn("user", document(parts))]
        deltas = self._read(chat_document(asked, self.engine.processor.chat_format)).stream(decoding=self.options)

        def pieces() -> Iterator[str]:
            text = ""
            for delta in deltas:
                text += delta
                yield delta
            self.turns = [*asked, Turn("assistant", Document(text))]

        return pieces()

    def undo(self) -> Document:
        """Take back the last question and its answer; returns the question. Raises UsageError when there is none."""
        if len(self.turns) < 2:
            raise UsageError("there is no turn to take back")
        *self.turns, question, _ = self.turns
        return question.content

    def reset(self) -> None:
        """Forget what was said; the options stay."""
        self.turns = []
        self.close()

    def close(self) -> None:
        """Give the slot back; the conversation can go on all the same, and is read anew then."""
        if self._prefix is not None:
            self._prefix.free()
        self._prefix = None

    def _read(self, prompt: Document) -> Prefix:
        """The conversation's prefix, made of the one before."""
        held = self._prefix
        try:
            self._prefix = self.engine.prefill(prompt) if held is None else held.reread(prompt, take=True)
            return self._prefix
        except PromptTooLong as error:
            if not self.turns:
                raise
            raise PromptTooLong(
                f"the conversation has outgrown the model's length of {self.engine.max_length} tokens, pictures "
                "included: begin anew (reset), or take turns back (undo)"
            ) from error
        finally:
            if self._prefix is not None and not self._prefix.is_held:  # an error in the midst of reading
                self._prefix = None


def _refuse_string(given: object, what: str) -> None:
    """A string is a sequence of strings too, and its letters would be taken one by one."""
    if isinstance(given, str):
        raise UsageError(f"{what} must be a list, not one string: [{given[:40]!r}]")


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
