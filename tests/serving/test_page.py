"""The page's file and its headers: one file, nothing from elsewhere, nothing inline that the policy does not know."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from html.parser import HTMLParser

import pytest

pytest.importorskip("starlette")
pytest.importorskip("httpx")

from starlette.applications import Starlette
from starlette.testclient import TestClient

from kosmos.serving.options import ServeOptions
from kosmos.serving.page import PAGE_FILE, page_routes


def _get(options: ServeOptions) -> tuple[str, dict[str, str]]:
    answer = TestClient(Starlette(routes=page_routes(options))).get("/")
    assert answer.status_code == 200
    return answer.text, dict(answer.headers)


def _hash(text: str, tag: str) -> str:
    (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, flags=re.DOTALL)
    return base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()


def test_the_policy_names_exactly_the_pages_own_style_and_script() -> None:
    text, headers = _get(ServeOptions())
    assert headers["content-security-policy"] == (
        f"default-src 'none'; style-src 'sha256-{_hash(text, 'style')}'; script-src 'sha256-{_hash(text, 'script')}'; "
        "img-src data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    assert headers["content-type"] == "text/html; charset=utf-8"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-cache"


class _Addresses(HTMLParser):
    """What a browser would load or run: addresses, inline styles and handlers."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.inline: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("src", "href", "action", "srcset", "data"):
                self.loaded.append(value or "")
            if name == "style" or name.startswith("on"):
                self.inline.append(f"{tag} {name}")


def test_the_page_loads_nothing_and_has_no_inline_style_or_handler() -> None:
    text = PAGE_FILE.read_text("utf-8")
    found = _Addresses()
    found.feed(text)
    assert found.inline == []
    assert found.loaded
    assert all(address.startswith(("#", "data:image/svg+xml,")) for address in found.loaded)
    assert "@import" not in text and "url(" not in text


def test_the_script_writes_no_html_and_keeps_nothing_beyond_the_tab() -> None:
    text = PAGE_FILE.read_text("utf-8")
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "localStorage", "cookie"):
        assert word not in text


def test_the_page_is_told_the_servers_limits() -> None:
    text, _ = _get(ServeOptions(max_images=3, max_beams=2, api_keys=("secret-key-of-the-test",)))
    (content,) = re.findall(r'<meta name="kosmos-limits" content="([^"]*)">', text)
    limits = json.loads(html.unescape(content))
    assert limits == {
        "max_body_bytes": 32 << 20,
        "max_images": 3,
        "max_image_bytes": 8 << 20,
        "max_image_pixels": 16_000_000,
        "max_new_tokens": 1024,
        "max_beams": 2,
        "max_candidates": 64,
        "key_needed": True,
    }
    assert "secret-key-of-the-test" not in text


def test_the_page_can_be_left_out() -> None:
    assert page_routes(ServeOptions(page=False)) == []


def test_only_get_is_answered() -> None:
    client = TestClient(Starlette(routes=page_routes(ServeOptions())))
    assert client.post("/").status_code == 405
    assert client.head("/").status_code == 200
