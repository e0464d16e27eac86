"""For everyone: by keyboard alone, with a screen reader's labels, on a phone, in light and dark, without motion."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

pytest.importorskip("playwright.sync_api")
pytest.importorskip("fastapi")

from playwright.sync_api import Browser, expect

from tests.serving.page.browser import Visit, png, visit
from tests.serving.page.scripted_server import Scripted, refuse, say

SCORES = {
    "results": [
        {"candidate": "positive", "sum": -0.2, "mean": -0.2, "num_tokens": 1, "probability": 0.8},
        {"candidate": "negative", "sum": -1.6, "mean": -1.6, "num_tokens": 1, "probability": 0.2},
    ],
    "best": "positive",
}


@pytest.fixture(scope="module")
def axe() -> str:
    """axe-core, as PyPI's axe-playwright-python brings it."""
    found = importlib.util.find_spec("axe_playwright_python")
    if found is None or found.origin is None:
        pytest.skip("needs axe-core (the extra dev: axe-playwright-python)")
    return (Path(found.origin).parent / "axe.min.js").read_text("utf-8")


def _violations(seen: Visit) -> list[str]:
    """Serious and critical violations of what is on screen: rule, and the element."""
    found = seen.page.evaluate("async () => (await axe.run()).violations")
    return [
        f"{violation['id']}: {node['html'][:200]}"
        for violation in found
        if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1100, 375])
def test_axe_finds_no_serious_violation(browser: Browser, server: Scripted, axe: str, scheme: str, width: int) -> None:
    phone = width < 500
    with visit(browser, server.url, width=width, color_scheme=scheme, has_touch=phone, is_mobile=phone) as seen:
        seen.page.add_init_script(axe)  # not bound by the page's policy
        seen.page.reload()
        assert _violations(seen) == []
        server.script(server.text("A disc."), refuse(429, "full", **{"Retry-After": "2"}), say(SCORES))
        seen.write("What is ")
        seen.paste(png("red"))
        assert _violations(seen) == []
        seen.send.click()
        expect(seen.answer).to_have_text("A disc.")
        seen.done()
        seen.write("and now?")
        seen.send.click()
        expect(seen.page.get_by_role("alert")).to_be_visible()
        seen.template("Read a sentiment", examples=1)
        assert _violations(seen) == []
        seen.choose(png("red"), png("blue"))
        seen.page.get_by_label("positive or negative").fill("positive")
        seen.send.click()
        expect(seen.page.locator("tbody tr")).to_have_count(2)
        seen.page.wait_for_timeout(600)  # the bars have grown
        assert _violations(seen) == []
        seen.template("IQ test")
        assert _violations(seen) == []
        for name in ("Templates", "Settings"):
            seen.page.get_by_role("button", name=name).click()
            assert _violations(seen) == []
            seen.page.keyboard.press("Escape")


def test_everything_works_by_keyboard_alone(browser: Browser, server: Scripted) -> None:
    with visit(browser, server.url) as seen:
        press, focused = seen.page.keyboard.press, seen.page.locator(":focus")
        press("Tab")
        expect(focused).to_have_text("Skip to the message")
        press("Enter")
        expect(seen.editor).to_be_focused()
        # Before the message: what to do with it; behind: the tools.
        press("Shift+Tab")
        expect(focused).to_have_attribute("value", "chat")
        press("ArrowRight")
        expect(seen.page.get_by_role("radio", name="Continue")).to_be_checked()
        press("ArrowLeft")
        press("Tab")
        expect(seen.editor).to_be_focused()
        server.script(server.text("on ", pause_s=0.05, endless=True))
        seen.page.keyboard.type("hello")
        press("Enter")
        expect(seen.answer).to_contain_text("on on")
        press("Escape")
        seen.done()
        expect(seen.page.locator(".note")).to_contain_text("stopped")
        names = []
        for _ in range(3):
            press("Tab")
            names.append(seen.page.evaluate("document.activeElement.innerText.trim()"))
        assert names == ["Picture", "Templates", "Send"]
        press("Shift+Tab")
        press("Enter")
        dialog = seen.page.get_by_role("dialog", name="Prompts of the paper")
        expect(dialog).to_be_visible()
        while seen.page.evaluate("document.activeElement.tagName") != "SELECT":
            press("Tab")
        press("Tab")
        press("Tab")
        expect(focused).to_contain_text("Answer a question")
        press("Enter")
        expect(dialog).to_be_hidden()
        expect(seen.page.get_by_role("button", name="+ picture")).to_be_focused()
        seen.paste(png("red"))
        expect(seen.page.get_by_role("textbox", name="question", exact=True)).to_be_focused()
        server.script(server.text(" A disc."))
        seen.page.keyboard.type("What is it?")
        press("Enter")
        expect(seen.answer).to_have_text("A disc.")
        assert server.asked[-1][1]["prompt"] == "<image> Question: What is it? Answer:"
        assert seen.console == []


def test_the_stream_is_announced_and_pictures_have_words(browser: Browser, server: Scripted) -> None:
    with visit(browser, server.url) as seen:
        log = seen.page.get_by_role("log", name="Conversation")
        expect(log).to_have_attribute("aria-live", "polite")
        server.script(server.text("on ", pause_s=0.05, endless=True))
        seen.choose(png("red"))
        expect(seen.page.get_by_role("img", name="Picture: cat.png")).to_have_count(1)
        expect(seen.status).to_have_text("cat.png added.")
        seen.page.keyboard.type("go on")
        seen.send.click()
        expect(log).to_have_attribute("aria-busy", "true")  # read out once it is whole
        expect(log.get_by_role("img", name="Picture: cat.png")).to_have_count(1)
        seen.stop.click()
        expect(log).to_have_attribute("aria-busy", "false")


@pytest.mark.parametrize("width", [320, 375])
def test_a_phone_needs_no_sideways_scrolling(browser: Browser, server: Scripted, width: int) -> None:
    with visit(browser, server.url, width=width, height=667, has_touch=True, is_mobile=True) as seen:
        server.script(server.text("Averylongwordwithoutanybreak" * 8), say(SCORES))
        seen.write("Compare ")
        seen.paste(png("red", (900, 90)))
        seen.paste(png("blue", (90, 900)))
        seen.send.click()
        expect(seen.answer).to_contain_text("Averylong")
        seen.done()
        seen.page.get_by_role("button", name="New").click()
        seen.page.get_by_text("Score", exact=True).click()
        seen.page.get_by_label("Candidates, one a line").fill("positive\n" + "averylongcandidate" * 5)
        seen.write("which?")
        seen.send.click()
        expect(seen.page.locator("tbody tr")).to_have_count(2)
        seen.template("Read a sentiment", examples=2)
        inside = "[document.documentElement.scrollWidth, document.querySelector('#log').scrollWidth]"
        assert max(seen.page.evaluate(inside)) <= width
        box = seen.send.bounding_box()
        assert box is not None and box["x"] + box["width"] <= width and box["y"] + box["height"] <= 667
        for small in seen.page.get_by_role("button").all():
            found = small.bounding_box()
            assert found is None or min(found["width"], found["height"]) >= 24  # WCAG 2.2, target size


def test_dark_is_dark_and_motion_can_be_reduced(browser: Browser, server: Scripted) -> None:
    lightness = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).map(Number)"
    shown = {}
    for scheme in ("light", "dark"):
        with visit(browser, server.url, color_scheme=scheme, reduced_motion="reduce") as seen:
            shown[scheme] = max(seen.page.evaluate(lightness))
            server.script(server.text("on ", pause_s=0.05, endless=True))
            seen.write("hello")
            seen.send.click()
            expect(seen.answer).to_have_class("words waiting")
            style = "(words) => getComputedStyle(words, '::after').animationName"
            assert seen.answer.evaluate(style) == "none"
            seen.stop.click()
    assert shown["light"] > 200 and shown["dark"] < 50
