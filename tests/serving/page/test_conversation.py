"""Talking: streams, stop, retry, edit, errors in words, scores; nothing that anyone wrote becomes HTML."""

from __future__ import annotations

import pytest

pytest.importorskip("playwright.sync_api")
pytest.importorskip("fastapi")

from playwright.sync_api import Browser, expect

from kosmos.serving.options import ServeOptions
from tests.serving.page.browser import png, visit
from tests.serving.page.scripted_server import (
    Answer,
    Scripted,
    broken_stream,
    failing_stream,
    refuse,
    say,
    scripted_server,
)

EVIL = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>&lt;b&gt;"


def test_an_answer_streams_and_stop_ends_it_on_the_server_too(browser: Browser, server: Scripted) -> None:
    with visit(browser, server.url) as seen:
        server.script(server.text("one ", "two ", pause_s=0.05, endless=True))
        seen.write("go on")
        seen.page.keyboard.press("Enter")
        expect(seen.answer).to_contain_text("one two two")
        expect(seen.page.locator("#log")).to_have_attribute("aria-busy", "true")
        expect(seen.send).to_be_hidden()
        seen.stop.click()
        seen.done()
        assert server.left.wait(10)
        said = seen.answer.inner_text().strip()
        expect(seen.page.locator(".turn .note")).to_contain_text("stopped")
        expect(seen.answer).to_have_text(said)  # nothing comes behind
        expect(seen.editor).to_be_focused()
        # What was said before the stop belongs to the conversation.
        server.script(server.text("three"))
        seen.write("and then?")
        seen.page.keyboard.press("Enter")
        expect(seen.answer).to_have_text("three")
        roles = [(message["role"], message["content"]) for message in server.asked[-1][1]["messages"]]
        assert [role for role, _ in roles] == ["user", "assistant", "user"]
        assert roles[1][1].strip() == said
        assert seen.console == []


def test_a_second_turn_carries_the_first_with_its_picture(browser: Browser, server: Scripted) -> None:
    with visit(browser, server.url) as seen:
        server.script(server.text("A ", "disc."))
        seen.write("What is ")
        seen.paste(png("red"))
        seen.page.keyboard.type("?")
        seen.page.keyboard.press("Enter")
        expect(seen.answer).to_have_text("A disc.")
        expect(seen.page.locator(".note")).to_contain_text("2 tokens")
        seen.done()
        first = server.asked[-1][1]["messages"][0]
        server.script(server.text("Red."))
        seen.write("Which color has it?")
        seen.page.keyboard.press("Enter")
        expect(seen.answer).to_have_text("Red.")
        body = server.asked[-1][1]
        assert body["model"] == "scripted"
        assert body["stream"] is True and body["stream_options"] == {"include_usage": True}
        assert [part["type"] for part in first["content"]] == ["text", "image_url", "text"]
        assert body["messages"] == [
            first,
            {"role": "assistant", "content": "A disc."},
            {"role": "user", "content": [{"type": "text", "text": "Which color has it?"}]},
        ]
        seen.page.get_by_role("button", name="New").click()
        expect(seen.turns).to_have_count(0)
        expect(seen.page.get_by_role("heading", name="Talk in words and pictures")).to_be_visible()
        seen.page.get_by_role("button", name="Bring back the last one").click()
        expect(seen.turns).to_have_count(2)
        expect(seen.answer).to_have_text("Red.")
        assert seen.console == []


def test_retry_draws_with_another_seed_and_says_so_when_nothing_is_drawn(browser: Browser, server: Scripted) -> None:
    with visit(browser, server.url) as seen:
        server.script(server.text("one"), server.text("two"), server.text("three"))
        seen.set(temperature=0.8, top_p=0.9, seed=7, max_tokens=12)
        seen.write("hello")
        seen.page.keyboard.press("Enter")
        expect(seen.answer).to_have_text("one")
        seen.page.get_by_role("button", name="Retry").click()
        expect(seen.answer).to_have_text("two")
        expect(seen.page.locator(".note")).to_contain_text("seed 8")
        bodies = [body for _, body, _ in server.asked]
        assert [body["seed"] for body in bodies] == [7, 8]
        assert all((body["temperature"], body["top_p"], body["max_tokens"]) == (0.8, 0.9, 12) for body in bodies)
        assert bodies[0]["messages"] == bodies[1]["messages"]
        seen.set(temperature=0)
        seen.page.get_by_role("button", name="Retry").click()
        expect(seen.answer).to_have_text("three")
        assert "seed" not in server.asked[-1][1]
        assert seen.turns.count() == 1


def test_without_a_seed_every_draw_has_its_own(browser: Browser, server: Scripted) -> None:
    with visit(browser, server.url) as seen:
        server.script(server.text("one"), server.text("two"))
        seen.set(temperature=1)
        seen.write("hello")
        seen.page.keyboard.press("Enter")
        expect(seen.answer).to_have_text("one")
        seen.page.get_by_role("button", name="Retry").click()
        expect(seen.answer).to_have_text("two")
        first, second = (body["seed"] for _, body, _ in server.asked)
        assert first != second and 0 <= first < 1 << 31


def test_beams_come_at_once_and_settings_hold_to_the_servers_limits(browser: Browser, server: Scripted) -> None:
    with visit(browser, server.url) as seen:
        server.script(say({"choices": [{"message": {"content": " best"}, "finish_reason": "length"}]}))
        seen.set(num_beams=99, length_penalty=-0.5, max_tokens=5000)
        seen.write("hello")
        seen.page.keyboard.press("Enter")
        expect(seen.answer).to_have_text("best")
        expect(seen.page.locator(".note")).to_contain_text("cut at the longest answer")
        body = server.asked[-1][1]
        assert (body["num_beams"], body["length_penalty"], body["max_tokens"]) == (8, -0.5, 1024)
        assert body["stream"] is False and body["temperature"] == 0
        expect(seen.page.locator("#temperature")).to_be_disabled()


def test_an_earlier_message_is_edited_and_what_followed_goes(browser: Browser, server: Scripted) -> None:
    with visit(browser, server.url) as seen:
        server.script(server.text("one"), server.text("two"), server.text("three"))
        for words, answer in (("first ", "one"), ("second", "two")):
            seen.write(words)
            if answer == "one":
                seen.paste(png("red"))
            seen.page.keyboard.press("Enter")
            expect(seen.answer).to_have_text(answer)
            seen.done()
        seen.page.get_by_role("button", name="Edit").first.click()
        expect(seen.page.locator("#editing")).to_be_visible()
        seen.page.keyboard.type(" changed")
        seen.page.keyboard.press("Enter")
        expect(seen.answer).to_have_text("three")
        assert seen.turns.count() == 1
        (message,) = server.asked[-1][1]["messages"]
        assert [part.get("text") for part in message["content"]] == ["first ", None, " changed"]


def test_what_people_and_models_write_stays_text(browser: Browser, server: Scripted) -> None:
    with visit(browser, server.url) as seen:
        server.script(server.text(EVIL[:9], EVIL[9:]))
        seen.editor.focus()
        seen.page.keyboard.insert_text(EVIL)
        seen.page.keyboard.press("Enter")
        expect(seen.answer).to_have_text(EVIL)
        expect(seen.page.locator(".turn .said .words")).to_have_text(EVIL)
        assert seen.page.locator(".turn .words img, .turn script, .turn b").count() == 0
        seen.done()
        server.script(refuse(400, EVIL))
        seen.write("again")
        seen.page.keyboard.press("Enter")
        expect(seen.page.get_by_role("alert")).to_contain_text(EVIL)
        seen.page.get_by_text("Score", exact=True).click()
        server.script(say(_scores(**{EVIL: -1.0, "other": -2.0})))
        seen.page.get_by_label("Candidates, one a line").fill(f"{EVIL}\nother")
        seen.write("which")
        seen.page.keyboard.press("Enter")
        expect(seen.page.locator("tbody th").first).to_contain_text(EVIL)
        assert seen.page.locator("tbody img, .problem img").count() == 0
        assert seen.page.title() == "Kosmos"


def _scores(**sums: float) -> dict[str, object]:
    total = sum(2.718281828459045**value for value in sums.values())
    results = [
        {
            "candidate": name,
            "sum": value,
            "mean": value,
            "num_tokens": 1,
            "probability": 2.718281828459045**value / total,
        }
        for name, value in sums.items()
    ]
    return {"object": "score", "model": "scripted", "results": results, "best": max(sums, key=lambda name: sums[name])}


def test_candidates_are_shown_as_bars(browser: Browser, server: Scripted) -> None:
    with visit(browser, server.url) as seen:
        seen.template("Read a sentiment")
        seen.choose(png("red"))
        server.script(say(_scores(positive=-2.0, negative=-1.0)))
        seen.send.click()
        rows = seen.page.locator("tbody tr")
        expect(rows).to_have_count(2)
        path, body, _ = server.asked[-1]
        assert path == "/v1/score"
        assert body["candidates"] == ["positive", "negative"]
        assert [part.get("text") for part in body["prompt"]] == [
            None,
            " Question: what is the sentiment of the opinion? Answer:",
        ]
        expect(rows.nth(0)).to_contain_text("26.9 %")
        expect(rows.nth(1)).to_contain_text("73.1 %")
        expect(rows.nth(1)).to_have_class("best")
        widths = [rows.nth(row).locator(".fill").evaluate("(bar) => bar.style.width") for row in (0, 1)]
        assert [round(float(width.removesuffix("%")), 1) for width in widths] == [26.9, 73.1]
        assert seen.console == []


def test_two_steps_lead_from_a_description_to_the_verdict(browser: Browser, server: Scripted) -> None:
    with visit(browser, server.url) as seen:
        seen.template("Think in two steps")
        seen.choose(png("red"))
        server.script(server.text(" A warm ", "review."))
        seen.send.click()
        expect(seen.answer).to_have_text("A warm review.")
        assert server.asked[-1][1]["prompt"] == "<image> Introduce this picture in detail:"
        seen.page.get_by_role("button", name="Second step").click()
        server.script(say(_scores(positive=-0.5, negative=-1.5)))
        seen.send.click()
        expect(seen.page.locator("tbody tr")).to_have_count(2)
        assert [part.get("text") for part in server.asked[-1][1]["prompt"]] == [
            None,
            " A warm review. Question: what is the sentiment of the opinion? Answer:",
        ]


@pytest.mark.parametrize(
    ("answer", "title", "detail"),
    [
        (refuse(413, "the body is larger than 10 bytes"), "too big", "larger than 10 bytes"),
        (refuse(429, "64 wait", **{"Retry-After": "3"}), "server is busy", "64 wait Try again in 3 seconds."),
        (refuse(503, "it stops", **{"Retry-After": "1"}), "about to stop", "Try again in 1 second."),
        (refuse(504, "120 s are over"), "longer than the server allows", "120 s"),
        (refuse(500, "a fault"), "Something went wrong", "a fault"),
        (broken_stream("half"), "ended before the answer did", ""),
        (failing_stream("half", "the deadline has passed"), "broke off", "the deadline has passed"),
    ],
    ids=["413", "429", "503", "504", "500", "broken", "failing"],
)
def test_errors_are_said_in_words_and_may_be_tried_again(
    browser: Browser, server: Scripted, answer: Answer, title: str, detail: str
) -> None:
    with visit(browser, server.url) as seen:
        server.script(answer, server.text("better"))
        seen.write("hello")
        seen.page.keyboard.press("Enter")
        alert = seen.page.get_by_role("alert")
        expect(alert).to_contain_text(title)
        expect(alert).to_contain_text(detail)
        alert.get_by_role("button", name="Try again").click()
        expect(seen.answer).to_have_text("better")
        expect(alert).to_have_count(0)


def test_a_server_that_is_gone_is_told(browser: Browser) -> None:
    with scripted_server(ServeOptions()) as lost, visit(browser, lost.url) as seen:
        seen.page.route("**/v1/chat/completions", lambda route: route.abort())
        seen.write("hello")
        seen.page.keyboard.press("Enter")
        expect(seen.page.get_by_role("alert")).to_contain_text("The server cannot be reached.")


def test_a_key_is_asked_for_sent_and_kept_in_the_tab_only(browser: Browser) -> None:
    with scripted_server(ServeOptions(api_keys=("right-key",))) as locked, visit(browser, locked.url) as seen:
        expect(seen.page.locator("#model")).to_have_text("needs an API key")
        assert seen.console == []  # nothing is asked without a key
        locked.script(refuse(401, "no key"), locked.text("welcome"))
        seen.write("hello")
        seen.page.keyboard.press("Enter")
        expect(seen.page.get_by_role("alert")).to_contain_text("The server asks for an API key.")
        seen.page.get_by_role("button", name="Enter the key").click()
        field = seen.page.get_by_label("API key")
        expect(field).to_be_focused()
        seen.page.keyboard.type("right-key")
        field.blur()
        expect(seen.page.locator("#model")).to_have_text("scripted")
        seen.page.keyboard.press("Escape")
        seen.page.get_by_role("button", name="Try again").click()
        expect(seen.answer).to_have_text("welcome")
        assert [key for _, _, key in locked.asked] == [None, "Bearer right-key"]
        assert seen.page.evaluate("[localStorage.length, document.cookie]") == [0, ""]
