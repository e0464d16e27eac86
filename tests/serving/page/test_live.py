"""The page with the real server and a tiny model: what is shown is what the engine says to the same parts."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("playwright.sync_api")
pytest.importorskip("fastapi")

from playwright.sync_api import Browser, expect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kosmos.chat_format import Turn, chat_document
from kosmos.document import Document, Image
from kosmos.inference.engine import Engine
from kosmos.inference.generation import Decoding
from kosmos.processor import Processor
from kosmos.serving.app import create_app
from kosmos.serving.options import ServeOptions
from kosmos.serving.page import content_security_policy, page_text
from tests.inference.tiny import tiny_model, tiny_tokenizer
from tests.serving.page.browser import png, visit
from tests.serving.page.scripted_server import running

RED, BLUE = png("red"), png("blue")


class Slow:
    """Keeps back each event of a stream, so that a person could read along, and stop it."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.pause_s = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def slowly(message: Message) -> None:
            if self.pause_s and message["type"] == "http.response.body":
                await asyncio.sleep(self.pause_s)
            await send(message)

        await self.app(scope, receive, slowly)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    folder: Path = tmp_path_factory.mktemp("page")
    tokenizer = tiny_tokenizer(folder)
    model = tiny_model(tokenizer, max_positions=512)
    return Engine(model, Processor(tokenizer, model.config), max_slots=8)


@pytest.fixture(scope="module")
def slow(engine: Engine) -> Slow:
    return Slow(create_app(engine, ServeOptions(model_name="tiny")))


@pytest.fixture(scope="module")
def url(slow: Slow) -> Iterator[str]:
    with running(slow) as address:
        yield address


def _says(engine: Engine, *turns: Document, **decoding: object) -> str:
    """What the engine answers to a conversation of user, assistant, user, ..."""
    roles = [Turn("assistant" if index % 2 else "user", turn) for index, turn in enumerate(turns)]
    options = Decoding.from_fields(decoding)
    return engine.generate([chat_document(roles)], options=options)[0].text.strip()


def test_a_conversation_about_two_pictures(browser: Browser, url: str, engine: Engine) -> None:
    with visit(browser, url) as seen:
        expect(seen.page.locator("#model")).to_have_text("tiny")
        seen.set(max_tokens=12)
        seen.write("what is  and the cat?")
        seen.page.keyboard.press("Home")
        for _ in range(len("what is ")):
            seen.page.keyboard.press("ArrowRight")
        seen.paste(RED)
        seen.page.keyboard.press("Enter")
        seen.done()
        first = Document("what is ", Image(RED), " and the cat?")
        answer = _says(engine, first, max_new_tokens=12)
        assert answer and answer != _says(engine, Document("what is and the cat?"), max_new_tokens=12)
        expect(seen.answer).to_have_text(answer)
        expect(seen.page.locator(".note").last).to_contain_text("12 tokens")
        # A second turn about the first picture, with another beside it.
        seen.choose(BLUE)
        seen.page.keyboard.type(" is it the same?")
        seen.page.keyboard.press("Enter")
        seen.done()
        second = Document(Image(BLUE), " is it the same?")
        expect(seen.answer).to_have_text(_says(engine, first, Document(answer), second, max_new_tokens=12))
        assert seen.turns.count() == 2
        assert seen.console == []


def test_a_stream_is_stopped_drawn_again_and_gone_on_with(browser: Browser, url: str, slow: Slow) -> None:
    with visit(browser, url) as seen:
        seen.set(temperature=1, max_tokens=400)
        seen.write("the red cat and")
        slow.pause_s = 0.05
        seen.page.keyboard.press("Enter")
        expect(seen.answer).to_have_text(re.compile(r"\w+ .*\w"))
        seen.stop.click()
        seen.done()
        slow.pause_s = 0.0
        expect(seen.page.locator(".note")).to_contain_text("stopped")
        first = seen.page.locator(".note").inner_text()
        seen.set(max_tokens=20)
        seen.page.get_by_role("button", name="Retry").click()
        seen.done()
        expect(seen.page.locator(".note")).to_contain_text("seed")
        assert first.split("seed")[1] != seen.page.locator(".note").inner_text().split("seed")[1]
        seen.write("and the dogs?")
        seen.page.keyboard.press("Enter")
        seen.done()
        assert seen.turns.count() == 2
        expect(seen.page.locator(".problem")).to_have_count(0)
        assert seen.console == []


def test_a_prompt_is_continued_by_beams(browser: Browser, url: str, engine: Engine) -> None:
    with visit(browser, url) as seen:
        seen.template("Caption a picture", examples=1)
        seen.choose(RED, BLUE)
        seen.page.get_by_label("caption 1").fill("the red cat")
        seen.set(max_tokens=8)
        seen.send.click()
        seen.done()
        prompt = Document(Image(RED), "An image of the red cat", Image(BLUE), "An image of")
        (best,) = engine.generate([prompt], options=Decoding(max_new_tokens=8, num_beams=5))
        expect(seen.answer).to_have_text(best.text.strip())
        assert seen.console == []


def test_candidates_are_scored(browser: Browser, url: str, engine: Engine) -> None:
    with visit(browser, url) as seen:
        seen.template("Choose an answer")
        seen.choose(RED)
        seen.page.get_by_role("textbox", name="question", exact=True).fill("is it red?")
        seen.page.get_by_label("Candidates, one a line").fill("Yes\nNo\nthe red cat")
        seen.send.click()
        rows = seen.page.locator("tbody tr")
        expect(rows).to_have_count(3)
        prompt = Document(Image(RED), "Question: is it red? Answer:")
        (scores,) = engine.score([prompt], [[" Yes", " No", " the red cat"]])
        for row, score in enumerate(scores):
            expect(rows.nth(row).locator("td").last).to_have_text(f"{score.sum:.2f}")
        best = max(range(3), key=lambda row: scores[row].sum)
        expect(rows.nth(best)).to_have_class("best")
        assert seen.console == []


def test_the_guards_leave_the_pages_own_policy(browser: Browser, url: str) -> None:
    with visit(browser, url) as seen:
        headers = seen.page.request.get(url).headers
        assert headers["content-security-policy"] == content_security_policy(page_text(ServeOptions()))
        assert headers["x-content-type-options"] == "nosniff"


def test_the_servers_own_refusal_is_shown(browser: Browser, url: str) -> None:
    with visit(browser, url) as seen:
        seen.editor.focus()
        seen.page.keyboard.insert_text("the red cat " * 300)
        seen.page.keyboard.press("Enter")
        alert = seen.page.get_by_role("alert")
        expect(alert).to_contain_text("The server could not take this request.")
        expect(alert).to_contain_text("512")
        assert seen.console == [
            "error: Failed to load resource: the server responded with a status of 400 (Bad Request)"
        ]
