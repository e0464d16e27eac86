"""Connections that cannot be held for nothing: seconds for the headers, for reading on, a cap on their number.

uvicorn waits for the headers of a first request for ever, and for a client that stops reading as well. h11 is its
strict parser: a body's length stated twice in two ways is refused there.
"""

from __future__ import annotations

import asyncio
import json
from http import HTTPStatus
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from kosmos.serving.options import ServeOptions
from kosmos.serving.refusals import Refusal


def uvicorn_settings(options: ServeOptions) -> dict[str, Any]:
    """The arguments of `uvicorn.Config` that keep the server safe."""
    return {
        "http": bounded_protocol(options),
        "ws": "none",
        "h11_max_incomplete_event_size": options.max_header_bytes,
        "timeout_keep_alive": max(1, int(options.header_timeout_s)),
        "server_header": False,
        "proxy_headers": False,  # a client's word about its own address
    }


def bounded_protocol(options: ServeOptions) -> type[H11Protocol]:
    """A protocol class of uvicorn with the limits of `options`."""

    class BoundedProtocol(H11Protocol):
        """h11 with a timer on the headers, one on a client that stops reading, and a cap on connections."""

        _header_timer: asyncio.TimerHandle | None = None
        _write_timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            if len(self.connections) > options.max_connections:
                self._refuse(
                    Refusal(
                        503,
                        "too many connections; try again shortly",
                        type="server_error",
                        code="overloaded",
                        headers={"Retry-After": "1"},
                    )
                )
            else:
                self._await_headers()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_timers()
            super().connection_lost(exc)

        def handle_events(self) -> None:
            before = self.cycle
            super().handle_events()
            if self.cycle is not before:  # a request's headers are complete
                self._stop_header_timer()
            elif self._between_requests() and self.conn.trailing_data[0]:
                self._await_headers()  # the first bytes of a further request

        def on_response_complete(self) -> None:
            super().on_response_complete()
            if not self.transport.is_closing() and self._between_requests() and self.conn.trailing_data[0]:
                self._await_headers()

        def pause_writing(self) -> None:
            super().pause_writing()
            if self._write_timer is None:
                self._write_timer = self.loop.call_later(options.write_timeout_s, self.transport.abort)

        def resume_writing(self) -> None:
            super().resume_writing()
            if self._write_timer is not None:
                self._write_timer.cancel()
                self._write_timer = None

        def send_400_response(self, msg: str) -> None:
            self._refuse(Refusal(400, "this is no HTTP request that can be read in one way", code="bad_request"))

        def _unsupported_upgrade_warning(self) -> None:
            """A stranger's wish for a websocket is no warning to whoever runs the server."""

        def _between_requests(self) -> bool:
            return self.conn.their_state is h11.IDLE

        def _await_headers(self) -> None:
            if self._header_timer is None:
                self._header_timer = self.loop.call_later(options.header_timeout_s, self._headers_late)

        def _headers_late(self) -> None:
            self._header_timer = None
            if not self.transport.is_closing():
                seconds = options.header_timeout_s
                self._refuse(Refusal(408, f"the headers took more than {seconds:g} s", code="header_timeout"))

        def _stop_header_timer(self) -> None:
            if self._header_timer is not None:
                self._header_timer.cancel()
                self._header_timer = None

        def _stop_timers(self) -> None:
            self._stop_header_timer()
            if self._write_timer is not None:
                self._write_timer.cancel()
                self._write_timer = None

        def _refuse(self, refusal: Refusal) -> None:
            """Answer below the application, and close."""
            self._stop_timers()
            content = json.dumps(refusal.body()).encode()
            headers = [
                ("content-type", "application/json"),
                ("content-length", str(len(content))),
                ("connection", "close"),
                *refusal.headers.items(),
            ]
            if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                events = (
                    h11.Response(status_code=refusal.status, headers=headers, reason=HTTPStatus(refusal.status).phrase),
                    h11.Data(data=content),
                    h11.EndOfMessage(),
                )
                for event in events:
                    self.transport.write(self.conn.send(event))
            self.transport.close()

    return BoundedProtocol
