"""The page in a real browser: what a person does there, and what is heard from the console."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import PIL.Image
import PIL.ImageDraw
from playwright.sync_api import Browser, FilePayload, Locator, Page, expect

_CLIP = """async (encoded) => {
  const bytes = Uint8Array.from(atob(encoded), (letter) => letter.charCodeAt(0));
  await navigator.clipboard.write([new ClipboardItem({ "image/png": new Blob([bytes], { type: "image/png" }) })]);
}"""
_DRAGGED = """([encoded, name]) => {
  const bytes = Uint8Array.from(atob(encoded), (letter) => letter.charCodeAt(0));
  const dragged = new DataTransfer();
  dragged.items.add(new File([bytes], name, { type: "image/png" }));
  return dragged;
}"""


def png(color: str, size: tuple[int, int] = (64, 48)) -> bytes:
    """A disc of one color on white."""
    picture = PIL.Image.new("RGB", size, "white")
    PIL.ImageDraw.Draw(picture).ellipse((size[0] // 4, size[1] // 8, size[0] * 3 // 4, size[1] * 7 // 8), fill=color)
    return encoded(picture)


def encoded(picture: PIL.Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def decoded(url: str) -> PIL.Image.Image:
    """The picture of a `data:` URL."""
    head, _, data = url.partition(",")
    assert head.startswith("data:image/") and head.endswith(";base64")
    return PIL.Image.open(io.BytesIO(base64.b64decode(data)))


def picture_file(name: str, data: bytes) -> FilePayload:
    return {"name": name, "mimeType": "image/png", "buffer": data}


class Visit:
    """One visit to the page; `console` holds what the browser complained of."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.console: list[str] = []
        page.on("console", lambda message: self._hear(message.type, message.text))
        page.on("pageerror", lambda error: self.console.append(f"error: {error}"))
        self.editor = page.get_by_role("textbox", name="Message")
        self.send = page.locator("#send")
        self.stop = page.get_by_role("button", name="Stop")
        self.status = page.locator("#status")
        self.turns = page.locator(".turn")

    def _hear(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.console.append(f"{kind}: {text}")

    @property
    def answer(self) -> Locator:
        """The words of the last answer."""
        return self.page.locator(".turn .answer .words").last

    def write(self, text: str) -> None:
        """Type at the end of the message."""
        self.editor.focus()
        self.page.keyboard.press("Control+End")
        self.page.keyboard.type(text)

    def paste(self, picture: bytes) -> None:
        """Through the browser's own clipboard, where the cursor is."""
        shown = self.page.locator("#composer .chip img").count()
        self.page.evaluate(_CLIP, base64.b64encode(picture).decode())
        self.page.keyboard.press("Control+V")
        expect(self.page.locator("#composer .chip img")).to_have_count(shown + 1)

    def offer(self, name: str, data: bytes) -> None:
        """Choose a file of this name, whatever the page makes of it."""
        with self.page.expect_file_chooser() as chooser:
            self.page.get_by_role("button", name="Picture", exact=True).click()
        chooser.value.set_files([picture_file(name, data)])

    def choose(self, *pictures: bytes) -> None:
        """Through the file chooser, all called cat.png."""
        shown = self.page.locator("#composer .chip img").count()
        with self.page.expect_file_chooser() as chooser:
            self.page.get_by_role("button", name="Picture", exact=True).click()
        chooser.value.set_files([picture_file("cat.png", data) for data in pictures])
        expect(self.page.locator("#composer .chip img")).to_have_count(shown + len(pictures))

    def drop(self, picture: bytes, target: Locator, x: float, y: float) -> None:
        """A file dropped at a place of the window, in pixels."""
        dragged = self.page.evaluate_handle(_DRAGGED, [base64.b64encode(picture).decode(), "dropped.png"])
        for kind in ("dragenter", "dragover", "drop"):
            target.dispatch_event(kind, {"dataTransfer": dragged, "clientX": x, "clientY": y, "bubbles": True})

    def set(self, **settings: object) -> None:
        """Settings by their id, as a person changes them."""
        self.page.get_by_role("button", name="Settings").click()
        for name, value in settings.items():
            field = self.page.locator(f"#{name}")
            field.fill(str(value))
            field.blur()
        self.page.keyboard.press("Escape")

    def template(self, name: str, examples: int = 0) -> None:
        self.page.get_by_role("button", name="Templates").click()
        dialog = self.page.get_by_role("dialog", name="Prompts of the paper")
        dialog.get_by_label("Shown before the question").select_option(str(examples))
        dialog.get_by_role("button", name=name).click()

    def done(self) -> None:
        """Wait until no answer is coming any more."""
        expect(self.page.locator("#log")).to_have_attribute("aria-busy", "false")
        expect(self.send).to_be_visible()


@contextmanager
def visit(browser: Browser, url: str, *, width: int = 1100, height: int = 820, **settings: Any) -> Iterator[Visit]:
    """A fresh window at the page; `settings` are playwright's of a context."""
    context = browser.new_context(viewport={"width": width, "height": height}, **settings)
    context.grant_permissions(["clipboard-read", "clipboard-write"], origin=url)
    context.set_default_timeout(15_000)
    try:
        visited = Visit(context.new_page())
        visited.page.goto(url)
        yield visited
    finally:
        context.close()
