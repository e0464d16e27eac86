"""Writing: pictures inside the text, where the cursor is; what is sent is what was written, in its order."""

from __future__ import annotations

import base64
from typing import Any

import pytest

pytest.importorskip("playwright.sync_api")
pytest.importorskip("fastapi")

import PIL.Image
from playwright.sync_api import Browser, expect

from kosmos.serving.options import ServeOptions
from tests.serving.page.browser import Visit, decoded, encoded, png, visit
from tests.serving.page.scripted_server import Scripted, say, scripted_server

RED, BLUE = png("red"), png("blue")


def _order(content: list[dict[str, Any]]) -> list[str]:
    """Texts as they are, pictures as the color of their middle."""
    return [part["text"] if part["type"] == "text" else _color(part["image_url"]["url"]) for part in content]


def _color(url: str) -> str:
    picture = decoded(url).convert("RGB")
    red, green, blue = picture.getpixel((picture.width // 2, picture.height // 2))  # type: ignore[misc]
    return {(255, 0, 0): "(red)", (0, 0, 255): "(blue)", (0, 128, 0): "(green)"}[(red, green, blue)]


def _sent(seen: Visit, server: Scripted) -> list[str]:
    """Send the message; the parts that the server got of it."""
    server.script(server.text("yes"))
    seen.send.click()
    expect(seen.answer).to_have_text("yes")
    seen.done()
    (_, body, _) = server.asked[-1]
    return _order(body["messages"][-1]["content"])


def test_a_picture_pasted_in_mid_sentence_stands_where_the_cursor_was(browser: Browser, server: Scripted) -> None:
    with visit(browser, server.url) as seen:
        seen.write("is the left or the right one larger?")
        seen.page.keyboard.press("Home")
        for _ in range(len("is the left ")):
            seen.page.keyboard.press("ArrowRight")
        seen.paste(RED)
        seen.page.keyboard.type("here ")
        assert _sent(seen, server) == ["is the left ", "(red)", "here or the right one larger?"]
        assert seen.console == []


def test_pictures_are_pasted_dropped_and_chosen_in_any_order(browser: Browser, server: Scripted) -> None:
    with visit(browser, server.url) as seen:
        seen.editor.focus()
        seen.paste(RED)
        seen.page.keyboard.type("first, ")
        seen.choose(BLUE, png("green"))
        seen.page.keyboard.type("last")
        box = seen.editor.bounding_box()
        assert box is not None
        seen.drop(BLUE, seen.editor, box["x"] + box["width"] - 5, box["y"] + 35)
        expect(seen.page.locator("#composer .chip img")).to_have_count(4)
        assert _sent(seen, server) == ["(red)", "first, ", "(blue)", "(green)", "last", "(blue)"]
        assert seen.console == []


def test_the_same_file_can_be_chosen_twice(browser: Browser, server: Scripted) -> None:
    with visit(browser, server.url) as seen:
        seen.choose(RED)
        assert seen.page.locator("#files").input_value() == ""
        seen.choose(RED)
        seen.page.keyboard.type("twice")
        assert _sent(seen, server) == ["(red)", "(red)", "twice"]
        urls = [part["image_url"]["url"] for part in server.asked[-1][1]["messages"][-1]["content"][:2]]
        assert urls == ["data:image/png;base64," + base64.b64encode(RED).decode()] * 2  # a small picture as it is


def test_a_chosen_file_goes_where_the_cursor_was_before_the_button(browser: Browser, server: Scripted) -> None:
    with visit(browser, server.url) as seen:
        seen.write("ab")
        seen.page.keyboard.press("ArrowLeft")
        seen.choose(RED)
        seen.page.keyboard.type("c")
        assert _sent(seen, server) == ["a", "(red)", "cb"]


def test_only_the_plain_text_of_what_is_pasted_is_taken(browser: Browser, server: Scripted) -> None:
    with visit(browser, server.url) as seen:
        seen.editor.focus()
        seen.page.evaluate(
            """async () => { await navigator.clipboard.write([new ClipboardItem({
              "text/html": new Blob(["<b>bold</b><img src='x'>"], { type: "text/html" }),
              "text/plain": new Blob(["plain\\r\\n\\r\\nwords <b>"], { type: "text/plain" }) })]); }"""
        )
        seen.page.keyboard.press("Control+V")
        expect(seen.editor).to_contain_text("words <b>")
        assert seen.editor.locator("b, img").count() == 0
        assert _sent(seen, server) == ["plain\n\nwords <b>"]


def test_lines_and_removed_pictures(browser: Browser, server: Scripted) -> None:
    with visit(browser, server.url) as seen:
        seen.write("one")
        seen.paste(RED)
        seen.page.keyboard.press("Backspace")
        expect(seen.page.locator("#composer .chip")).to_have_count(0)
        seen.paste(BLUE)
        seen.page.get_by_role("button", name="Remove the picture").click()
        seen.page.keyboard.type(" and")
        seen.page.keyboard.press("Shift+Enter")
        seen.page.keyboard.type("two")
        assert _sent(seen, server) == ["one and\ntwo"]


def test_a_large_picture_is_made_smaller_before_it_is_sent(browser: Browser, server: Scripted) -> None:
    large = encoded(PIL.Image.effect_noise((1600, 800), 90))
    assert len(large) > 1 << 20
    with visit(browser, server.url) as seen:
        seen.choose(large)
        seen.page.keyboard.type("large")
        server.script(server.text("yes"))
        seen.send.click()
        expect(seen.answer).to_have_text("yes")
        sent = decoded(server.asked[-1][1]["messages"][-1]["content"][0]["image_url"]["url"])
        assert (sent.format, sent.size) == ("JPEG", (1024, 512))


def test_what_is_too_much_or_no_picture_is_said_in_words(browser: Browser, server: Scripted) -> None:
    options = ServeOptions(max_images=2, max_image_bytes=20_000, max_body_bytes=30_000)
    noise = encoded(PIL.Image.effect_noise((400, 400), 90).convert("RGB"))
    with scripted_server(options) as small, visit(browser, small.url) as seen:
        seen.offer("noise.png", noise)
        expect(seen.status).to_contain_text("noise.png is too big:")
        expect(seen.status).to_contain_text("the server takes 0.0 MB")
        seen.offer("bad.png", b"not a picture")
        expect(seen.status).to_contain_text("bad.png is no picture that this browser can read")
        seen.choose(RED, BLUE)
        seen.offer("third.png", RED)
        expect(seen.status).to_have_text("A message holds at most 2 pictures.")
        seen.write("x" * 10)
        seen.page.keyboard.insert_text("word " * 8000)
        seen.send.click()
        expect(seen.page.get_by_role("alert")).to_contain_text("Too big to send.")
        assert small.asked == []
        assert seen.console == []


def test_an_empty_message_is_not_sent(browser: Browser, server: Scripted) -> None:
    with visit(browser, server.url) as seen:
        server.script(server.text("yes"))
        seen.send.click()
        expect(seen.status).to_have_text("Write something, or put in a picture.")
        seen.choose(RED)
        seen.send.click()
        expect(seen.status).to_have_text("Say something to the picture, too.")
        assert server.asked == []
        assert seen.turns.count() == 0


def test_what_a_template_displaces_can_be_brought_back(browser: Browser, server: Scripted) -> None:
    with visit(browser, server.url) as seen:
        seen.write("my ")
        seen.paste(RED)
        seen.page.keyboard.type("words")
        seen.template("Name the object")
        seen.page.get_by_role("button", name="Bring back what I wrote").click()
        expect(seen.page.get_by_role("radio", name="Chat")).to_be_checked()
        assert _sent(seen, server) == ["my ", "(red)", "words"]


def test_a_caption_with_two_examples_is_the_papers_prompt(browser: Browser, server: Scripted) -> None:
    with visit(browser, server.url) as seen:
        seen.template("Caption a picture", examples=2)
        seen.send.click()
        expect(seen.status).to_have_text("5 places of the template are still open.")
        expect(seen.page.get_by_role("button", name="+ example 1")).to_be_focused()
        seen.choose(RED, BLUE, png("green"))
        seen.page.get_by_label("caption 1").fill("a red disc")
        seen.page.get_by_label("caption 2").fill("a blue disc")
        server.script(say({"choices": [{"text": " a green disc", "finish_reason": "stop"}]}))
        seen.page.keyboard.press("Enter")
        expect(seen.answer).to_have_text("a green disc")
        seen.done()
        path, body, _ = server.asked[-1]
        assert path == "/v1/completions"
        assert body["prompt"] == "<image> An image of a red disc<image> An image of a blue disc<image> An image of"
        assert [_color(url) for url in body["images"]] == ["(red)", "(blue)", "(green)"]
        assert (body["num_beams"], body["temperature"], body["stream"]) == (5, 0, False)
        # The five beams were the template's: what is written next is answered as before.
        assert _sent_next(seen, server) == {"stream": True, "temperature": 0}
        assert seen.console == []


def _sent_next(seen: Visit, server: Scripted) -> dict[str, Any]:
    server.script(server.text("streamed"))
    seen.write("and")
    seen.send.click()
    expect(seen.answer).to_have_text("streamed")
    body = server.asked[-1][1]
    return {name: body[name] for name in ("stream", "temperature", "num_beams", "seed") if name in body}


def test_the_iq_test_asks_about_each_candidate(browser: Browser, server: Scripted) -> None:
    with visit(browser, server.url) as seen:
        seen.template("IQ test")
        seen.choose(*[RED] * 3, *[BLUE] * 5, png("green"))
        sums = {"(blue)": -3.0, "(green)": -1.0}
        server.script(
            lambda body: say({"results": [{"candidate": "Yes", "sum": sums[_order(body["prompt"])[5]]}]})(body),
        )
        seen.send.click()
        rows = seen.page.locator("tbody tr")
        expect(rows).to_have_count(6)
        seen.done()
        assert [body["candidates"] for _, body, _ in server.asked] == [["Yes"]] * 6
        assert all(path == "/v1/score" for path, _, _ in server.asked)
        orders = sorted(_order(body["prompt"]) for _, body, _ in server.asked)
        given = ["Here are three images:", "(red)", "(red)", "(red)", " The following image is:"]
        assert orders == sorted([given + [color, " Is it correct?"] for color in ["(blue)"] * 5 + ["(green)"]])
        expect(rows.nth(5)).to_have_class("best")
        expect(rows.nth(5)).to_contain_text("59.6 %")  # 1 / (1 + 5 exp(-2))
        assert seen.console == []
