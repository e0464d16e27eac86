"""From the parts of a request to Documents: chats, prompts with `<image>`, lists of parts.

Text stays text: whatever it spells, no special token comes of it. Pictures come from `image_url` and `images` alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from kosmos.chat_format import Turn, chat_document
from kosmos.document import Document, Image, Segment, Text
from kosmos.errors import UsageError
from kosmos.serving.options import ServeOptions
from kosmos.serving.pictures import read_picture
from kosmos.serving.refusals import Refusal
from kosmos.serving.schemas import ImagePart, Message, TextPart

Made = TypeVar("Made")

# Where a picture stands in the text of a completion; text like any other when the request has no `images`.
PLACEHOLDER = "<image>"


class PromptReader:
    """Makes the Documents of one server's model. `picture_size`: its side in pixels, None when it takes none."""

    def __init__(self, options: ServeOptions, chat_format: str, picture_size: int | None) -> None:
        self._options = options
        self._chat_format = chat_format
        self._picture_size = picture_size

    async def chat(self, messages: Sequence[Message]) -> Document:
        """The prompt of a chat whose last message is the user's. Raises Refusal.

        The text of system messages, which come first, stands before the first question.
        """
        if len(messages) > self._options.max_messages:
            raise _bad(f"{len(messages)} messages are over the limit of {self._options.max_messages}", "messages")
        self._check_parts([part for m in messages if not isinstance(m.content, str) for part in m.content], "messages")
        said: list[str] = []
        spoken: list[tuple[Message, str]] = []
        for index, message in enumerate(messages):
            where = f"messages[{index}].content"
            if message.role in ("system", "developer"):
                if spoken:
                    raise _bad("a system message comes before the first question", f"messages[{index}].role")
                said.append(_only_text(message, where))
            else:
                spoken.append((message, where))
        turns = await _together([self._turn(message, where) for message, where in spoken])
        if messages[-1].role != "user":
            raise _bad("the last message must be the user's: it is what is answered", "messages")
        try:
            made = chat_document(turns, self._chat_format)
        except UsageError as error:
            raise _bad(str(error), "messages") from error
        return Document(Text(" ".join(said) + " ", supervised=False), *made) if said else made

    async def completion(self, prompts: Sequence[str], images: Sequence[str] | None) -> list[Document]:
        """Prompts with the pictures of `images` where they say `<image>`, in order. Raises Refusal."""
        if images is None:
            return [Document(prompt) if prompt else Document() for prompt in prompts]
        pieces = [prompt.split(PLACEHOLDER) for prompt in prompts]
        wanted = sum(len(piece) - 1 for piece in pieces)
        if wanted != len(images):
            raise _bad(
                f"the prompt has {PLACEHOLDER} {wanted} times, but there are {len(images)} images; give one for each",
                "images",
            )
        self._check_images(len(images), "images")
        pictures = iter(await _together([self._picture(url, f"images[{i}]") for i, url in enumerate(images)]))
        made = []
        for texts in pieces:
            segments: list[Segment] = []
            for place, text in enumerate(texts):
                segments += [next(pictures)] if place else []
                segments += [Text(text)] if text else []
            made.append(Document(*segments))
        return made

    async def parts(self, parts: Sequence[TextPart | ImagePart], param: str) -> Document:
        """Text and pictures in order. Raises Refusal."""
        self._check_parts(parts, param)
        urls = {index: part.image_url.url for index, part in enumerate(parts) if isinstance(part, ImagePart)}
        read = [self._picture(url, f"{param}[{index}].image_url.url") for index, url in urls.items()]
        pictures = dict(zip(urls, await _together(read)))
        segments: list[Segment] = []
        for index, part in enumerate(parts):
            if isinstance(part, ImagePart):
                segments.append(pictures[index])
            elif part.text:
                segments.append(Text(part.text))
        return Document(*segments)

    async def _turn(self, message: Message, where: str) -> Turn:
        if message.role == "assistant":
            return Turn("assistant", Document(_only_text(message, where)))
        if isinstance(message.content, str):
            made = Document(message.content)
        else:
            made = await self.parts(message.content, where)
        if not made.text.strip():
            raise _bad("a question needs some text, beside pictures too", where)
        return Turn("user", made)

    async def _picture(self, url: str, where: str) -> Image:
        if self._picture_size is None:
            raise _bad("this model takes no pictures", where)
        return await read_picture(url, self._options, where, self._picture_size)

    def _check_parts(self, parts: Sequence[TextPart | ImagePart], param: str) -> None:
        if len(parts) > self._options.max_parts:
            raise _bad(f"{len(parts)} parts are over the limit of {self._options.max_parts}", param)
        self._check_images(sum(isinstance(part, ImagePart) for part in parts), param)

    def _check_images(self, count: int, param: str) -> None:
        if count > self._options.max_images:
            raise _bad(f"{count} pictures are over the limit of {self._options.max_images}", param)


async def _together(work: Sequence[Coroutine[Any, Any, Made]]) -> list[Made]:
    """The results in order; pictures of other hosts are waited for side by side. When one fails the others end."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one) for one in work]
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return [task.result() for task in tasks]


def _only_text(message: Message, where: str) -> str:
    """The text of a message that may have no pictures, and must not be empty."""
    parts = [TextPart(type="text", text=message.content)] if isinstance(message.content, str) else message.content
    if not all(isinstance(part, TextPart) for part in parts):
        raise _bad(f"only the user can show pictures; the message is the {message.role}'s", where)
    text = "".join(part.text for part in parts if isinstance(part, TextPart))
    if not text.strip():
        raise _bad("the message is empty", where)
    return text


def _bad(message: str, param: str) -> Refusal:
    return Refusal(400, f"{param}: {message}", param=param)
