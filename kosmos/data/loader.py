"""The loader: the stream of steps made in line, or by one process of its own ahead of the training.

The process sends each step with the state after it, so what it made ahead is simply made again after a resume. It
is started by `spawn`, ignores Ctrl-C (the trainer decides when to stop), and ends when the trainer does, however
that ends. When it dies, the next step raises at once.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import pickle
import queue
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from typing import Any

import torch

from kosmos.batch import Batch, ModalityInputs
from kosmos.config import DataConfig
from kosmos.data.stream import ProcessorLike, Step, StepStream, build_stream
from kosmos.errors import DataError, KosmosError

# Steps made ahead: one is being used, one waits; more only costs memory when both sides are steady.
STEPS_AHEAD = 3

_SIGNALS = (signal.SIGINT, signal.SIGTERM)

StreamFactory = Callable[[], StepStream]


def open_stream(
    config: DataConfig, processor: ProcessorLike, seed: int, state: dict[str, Any] | None = None
) -> StepStream:
    """The stream of a mixture, from its beginning or from a saved state; `config.workers` says who makes it.

    Raises what `build_stream` raises; with a worker, at the first step.
    """
    factory = InLine(config, processor, seed, state)
    return WorkerStream(factory) if config.workers else factory()


class InLine:
    """Builds the stream where it is called; it can be sent to another process."""

    def __init__(self, config: DataConfig, processor: ProcessorLike, seed: int, state: dict[str, Any] | None) -> None:
        self._arguments = (config, processor, seed)
        self._state = state

    def __call__(self) -> StepStream:
        stream = build_stream(*self._arguments)
        if self._state is not None:
            stream.load_state(self._state)
        return stream


class WorkerStream:
    """The steps of `factory()`, made by a process of its own."""

    def __init__(self, factory: StreamFactory, steps_ahead: int = STEPS_AHEAD) -> None:
        context = multiprocessing.get_context("spawn")
        self._steps, sender = context.Pipe(duplex=False)
        self._process = context.Process(target=_work, args=(factory, sender, steps_ahead), daemon=True)
        # Signals are for the trainer alone, from the first moment of the process on.
        with _signals_blocked():
            self._process.start()
        sender.close()

    def __iter__(self) -> WorkerStream:
        return self

    def __next__(self) -> Step:
        # Whatever comes first: a step, or the end of the process.
        wait([self._steps, self._process.sentinel])
        try:
            answer = pickle.loads(self._steps.recv_bytes()) if self._steps.poll() else None
        except (EOFError, OSError):
            answer = None
        if answer is None:
            self._process.join(timeout=5)
            code = self._process.exitcode
            self.close()
            raise DataError(f"the data process died (exit code {code}); resume, or set data.workers: 0 to see why")
        if isinstance(answer, BaseException):
            self.close()
            raise answer
        return _unpack(answer)

    def close(self) -> None:
        """End the process; safe to call again."""
        self._steps.close()
        if self._process.is_alive():
            self._process.kill()  # it only reads, and ignores the gentler signals
        self._process.join(timeout=5)

    @property
    def pid(self) -> int | None:
        """The process's id."""
        return self._process.pid


@contextlib.contextmanager
def _signals_blocked() -> Iterator[None]:
    """A process started within inherits that SIGINT and SIGTERM wait."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(factory: StreamFactory, sender: Connection, steps_ahead: int) -> None:
    """The process: makes steps while a thread sends them, at most `steps_ahead` of them waiting."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    torch.set_num_threads(1)
    ready: queue.Queue[bytes] = queue.Queue(maxsize=max(1, steps_ahead))
    gone = threading.Event()

    def send() -> None:
        try:
            while data := ready.get():
                sender.send_bytes(data)
        except OSError:  # the trainer is gone: so is this process's purpose
            gone.set()

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    try:
        stream = factory()
        while not gone.is_set():
            _put(ready, pickle.dumps(_pack(next(stream)), protocol=5), gone)
    except BaseException as error:
        _put(ready, pickle.dumps(_portable(error)), gone)
    _put(ready, b"", gone)
    thread.join()


def _put(ready: queue.Queue[bytes], data: bytes, gone: threading.Event) -> None:
    while not gone.is_set():
        with contextlib.suppress(queue.Full):
            ready.put(data, timeout=1)
            return


def _portable(error: BaseException) -> BaseException:
    """An error that can be sent: the project's own as they are, others by what they say."""
    if isinstance(error, KosmosError):
        return error
    return RuntimeError(f"the data process failed: {type(error).__name__}: {error}")


def _pack(step: Step) -> Step:
    """Tensors as arrays: they are copied through the pipe, not shared through files that a kill leaves behind."""
    return replace(step, batches=[_convert(batch, lambda tensor: tensor.numpy()) for batch in step.batches])


def _unpack(step: Step) -> Step:
    return replace(step, batches=[_convert(batch, torch.from_numpy) for batch in step.batches])


def _convert(batch: Batch, change: Callable[[Any], Any]) -> Batch:
    return replace(
        batch,
        token_ids=change(batch.token_ids),
        supervised=change(batch.supervised),
        segment_ids=None if batch.segment_ids is None else change(batch.segment_ids),
        inputs={
            name: ModalityInputs(change(inputs.features), change(inputs.slots)) for name, inputs in batch.inputs.items()
        },
    )
