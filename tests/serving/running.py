"""A server inside the test: real uvicorn on a free port of loopback, a tiny model, and a brake on its steps."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from kosmos.inference.engine import Engine
from kosmos.processor import Processor
from kosmos.serving.options import ServeOptions
from tests.inference.tiny import tiny_model, tiny_tokenizer

if TYPE_CHECKING:  # what follows needs the extra, and a test without it is skipped, not broken
    from kosmos.serving.lifecycle import DrainingServer
    from kosmos.serving.service import Service

MODEL = "tiny"


class Brake:
    """Makes every step of the engine take `seconds`; `while_held` holds it still. `fail` is raised instead once set."""

    def __init__(self, engine: Engine) -> None:
        self._forward = engine.forward_step
        self._free = threading.Event()
        self._free.set()
        self.seconds = 0.0
        self.fail: Exception | None = None
        self.num_steps = 0
        engine.forward_step = self._step  # type: ignore[method-assign]

    def _step(self, token_ids: torch.Tensor, step: Any) -> torch.Tensor:
        self.num_steps += 1
        self._free.wait()
        time.sleep(self.seconds)
        if self.fail is not None:
            raise self.fail
        return self._forward(token_ids, step)

    @contextlib.contextmanager
    def while_held(self) -> Iterator[None]:
        self._free.clear()
        try:
            yield
        finally:
            self._free.set()


@dataclass
class Running:
    """A server that listens."""

    url: str
    engine: Engine
    service: Service
    brake: Brake
    server: DrainingServer

    def wait_until(self, condition: Callable[[], bool], seconds: float = 20.0) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "it did not come to that"
            time.sleep(0.005)


def tiny_engine(folder: Path, max_slots: int = 8) -> Engine:
    tokenizer = tiny_tokenizer(folder)
    model = tiny_model(tokenizer)
    return Engine(model, Processor(tokenizer, model.config), max_slots=max_slots)


@contextlib.contextmanager
def running(engine: Engine, options: ServeOptions | None = None) -> Iterator[Running]:
    """A server of `engine` on a free port, until the end of the block."""
    import uvicorn

    from kosmos.serving.app import create_app
    from kosmos.serving.connections import uvicorn_settings
    from kosmos.serving.lifecycle import DrainingServer, bind
    from kosmos.serving.service import Service

    options = replace(options or ServeOptions(), port=0, model_name=MODEL)
    bound = bind(options)
    service = Service(engine, options)
    app = create_app(engine, options, service)
    config = uvicorn.Config(
        app, log_config=None, access_log=False, lifespan="on", timeout_graceful_shutdown=2, **uvicorn_settings(options)
    )
    server = DrainingServer(config, service)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
    thread.start()
    port = bound.getsockname()[1]
    forward = engine.forward_step
    made = Running(f"http://127.0.0.1:{port}", engine, service, Brake(engine), server)
    try:
        made.wait_until(lambda: server.started or not thread.is_alive())
        yield made
    finally:
        server.should_exit = True
        thread.join(20)
        engine.forward_step = forward  # type: ignore[method-assign]
    assert not thread.is_alive()
