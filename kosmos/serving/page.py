"""The page at `/`: one static file, served with a policy that lets nothing but its own style and script run."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from kosmos.serving.options import ServeOptions

PAGE_FILE = Path(__file__).with_name("page.html")

_EMPTY_LIMITS = '<meta name="kosmos-limits" content="{}">'
# What the page tells before a request is sent that the server would refuse.
_LIMITS = (
    "max_body_bytes",
    "max_images",
    "max_image_bytes",
    "max_image_pixels",
    "max_new_tokens",
    "max_beams",
    "max_candidates",
)


def page_routes(options: ServeOptions) -> list[Route]:
    """`GET /`: the page; no route when `options.page` is off."""
    if not options.page:
        return []
    text = page_text(options)
    body, headers = text.encode(), page_headers(text)

    async def page(request: Request) -> Response:
        return Response(body, media_type="text/html", headers=headers)

    return [Route("/", page, methods=["GET"], name="page", include_in_schema=False)]


def page_text(options: ServeOptions) -> str:
    """The file with the server's limits in its `<meta>`; style and script stay as they are."""
    limits = {name: getattr(options, name) for name in _LIMITS} | {"key_needed": bool(options.api_keys)}
    filled = _EMPTY_LIMITS.replace("{}", html.escape(json.dumps(limits)))
    return PAGE_FILE.read_text("utf-8").replace(_EMPTY_LIMITS, filled)


def page_headers(text: str) -> dict[str, str]:
    """The headers of a page: its Content-Security-Policy and what goes with it."""
    return {
        "Content-Security-Policy": content_security_policy(text),
        "Cache-Control": "no-cache",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }


def content_security_policy(text: str) -> str:
    """Nothing may be loaded or run but the page's own style and script (by their hash), pictures held by the page
    itself, and requests to the server it came from."""
    return "; ".join(
        (
            "default-src 'none'",
            f"style-src {_hashes(text, 'style')}",
            f"script-src {_hashes(text, 'script')}",
            "img-src data: blob:",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )


def _hashes(text: str, tag: str) -> str:
    contents = re.findall(rf"<{tag}>(.*?)</{tag}>", text, flags=re.DOTALL)
    digests = (hashlib.sha256(content.encode()).digest() for content in contents)
    return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
