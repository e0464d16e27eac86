"""A server's life: the socket before the model, the line when it listens, and an end that keeps what was promised."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable
from types import FrameType

import uvicorn

from kosmos.errors import Interrupted, UsageError
from kosmos.inference.engine import Engine
from kosmos.serving.app import create_app
from kosmos.serving.connections import uvicorn_settings
from kosmos.serving.options import ServeOptions
from kosmos.serving.service import Service

logger = logging.getLogger(__name__)

# How long the connections may take to close once everything was answered, in seconds.
_LAST_BYTES_S = 5
# Connections that may wait for the server to take them.
_BACKLOG = 2048


def bind(options: ServeOptions) -> socket.socket:
    """A socket at host and port that does not listen yet. Raises UsageError when the port is taken."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            options.host, options.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        made = socket.socket(family, kind, protocol)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
    except OSError as error:
        raise _port_taken(options, error) from error
    return made


def listen(bound: socket.socket, options: ServeOptions) -> None:
    """Let clients connect. Raises UsageError when another server, bound as early, listens there already."""
    try:
        bound.listen(_BACKLOG)
    except OSError as error:
        raise _port_taken(options, error) from error


def _port_taken(options: ServeOptions, error: OSError) -> UsageError:
    return UsageError(
        f"cannot listen at {options.host}, port {options.port}: {error.strerror or error}; choose another --port "
        "(0 takes a free one) or --host"
    )


def _silent() -> None:
    return


def serve(engine: Engine, options: ServeOptions, bound: socket.socket, announce: Callable[[], None] = _silent) -> None:
    """Answer requests until SIGTERM or SIGINT, then what was promised. Raises Interrupted when that was not kept.

    announce   called once, when connections are taken and signals begin the drain
    """
    service = Service(engine, options)
    app = create_app(engine, options, service)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="on",
        timeout_graceful_shutdown=_LAST_BYTES_S,
        **uvicorn_settings(options),
    )
    server = DrainingServer(config, service, announce)
    server.run(sockets=[bound])
    if server.num_broken:
        raise Interrupted(
            f"stopped with {server.num_broken} answers unfinished after {options.drain_s:g} s; --drain gives more time"
        )


class DrainingServer(uvicorn.Server):
    """Goes on listening while it drains, so that new requests are told 503 and /ready says so too."""

    def __init__(self, config: uvicorn.Config, service: Service, announce: Callable[[], None] = _silent) -> None:
        super().__init__(config)
        self._announce = announce
        self._service = service
        self._drain_until = 0.0
        self.num_broken = 0

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._announce()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal begins the drain, the second ends it."""
        if self._service.draining:
            self._drain_until = 0.0
            return
        self._drain_until = time.monotonic() + self._service.options.drain_s
        self._service.draining = True

    async def on_tick(self, counter: int) -> bool:
        service = self._service
        if service.draining and not self.should_exit:
            if service.num_promised and time.monotonic() > self._drain_until:
                self.num_broken = service.num_promised
                service.thread.give_up()
                self.should_exit = True
            elif not service.num_promised:
                self.should_exit = True
        return await super().on_tick(counter)
