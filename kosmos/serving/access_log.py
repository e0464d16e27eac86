"""One line of log and one count for every request, whoever answers it; nothing of bodies, queries or keys."""

from __future__ import annotations

import logging
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kosmos.serving.service import Service

logger = logging.getLogger(__name__)

_ENDPOINTS = frozenset(
    {
        "/",
        "/health",
        "/ready",
        "/metrics",
        "/openapi.json",
        "/v1/models",
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/score",
    }
)
_ONE_MODEL = "/v1/models/"


def observed(app: ASGIApp, service: Service) -> ASGIApp:
    """`app`, with what it answers written to the log and the metrics."""

    async def observe(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        started = time.monotonic()
        status = 499  # the client left before there was an answer

        async def note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        service.metrics.active.inc()
        try:
            await app(scope, receive, note)
        except Exception:
            status = 500 if status == 499 else status
            raise
        finally:
            service.metrics.active.dec()
            seconds = time.monotonic() - started
            endpoint = _endpoint(scope["path"])
            service.metrics.answered(endpoint, status, seconds)
            client = (scope.get("client") or ("-", 0))[0]
            logger.info("%s %s %s %d %.3fs", client, scope["method"], endpoint, status, seconds)

    return observe


def _endpoint(path: str) -> str:
    """The route of a path. What a client made up is `other`: it would fill the log and the metrics."""
    if path in _ENDPOINTS:
        return path
    return "/v1/models/{model_id}" if path.startswith(_ONE_MODEL) else "other"
