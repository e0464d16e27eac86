"""The loader: the stream of steps, its rows made in line or by worker processes ahead of the training.

Each worker runs some of the lanes and sends, step by step, their rows with the lanes' states after them; what is made
ahead is simply made again after a resume. Workers are started by `spawn`, ignore Ctrl-C (the trainer decides when to
stop), and end when the trainer does, however that ends. When one dies, the next step raises at once.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import pickle
import queue
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, NoReturn, Protocol

import torch

from kosmos.config import DataConfig
from kosmos.data.rows import ProcessorLike, RowMaker, Share, SourceRows
from kosmos.data.stream import Stream, build_stream, lanes_of_rank
from kosmos.errors import DataError, KosmosError

# Steps made ahead: one is being used, one waits; more only costs memory when both sides are steady.
STEPS_AHEAD = 3

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def open_stream(
    config: DataConfig,
    processor: ProcessorLike,
    seed: int,
    state: dict[str, Any] | None = None,
    rank: int = 0,
    world_size: int = 1,
) -> Stream:
    """The stream of a mixture, from its beginning or from a saved state; `config.workers` says who makes its rows.

    Raises what `build_stream` raises; with workers, what concerns the files at the first step.
    """
    # A rank beyond the last micro-batch has no rows, and its stream nothing to wait for.
    if config.workers == 0 or not any(lanes_of_rank(config, rank, world_size).values()):
        return build_stream(config, processor, seed, state, rank, world_size)

    def open_rows(share: Share, sources: dict[str, Any] | None) -> Workers:
        parts = [deal(share, number, config.workers) for number in range(config.workers)]
        return Workers(
            [Part(config, processor, seed, part, _states_of(sources, part)) for part in parts if any(part.values())]
        )

    return Stream(config, processor.tokenizer.pad_id, open_rows, state, rank, world_size)


def deal(share: Share, number: int, workers: int) -> Share:
    """The lanes of worker `number`."""
    return {name: lanes[number::workers] for name, lanes in share.items()}


def _states_of(sources: dict[str, Any] | None, share: Share) -> dict[str, Any] | None:
    """Of a stream's state, what the lanes of `share` need."""
    if sources is None:
        return None
    return {
        name: state | {"lanes": {str(lane): state["lanes"][str(lane)] for lane in share[name]}}
        for name, state in sources.items()
    }


class MakesRows(Protocol):
    """What a worker runs, once it is there: something to be sent to a process of its own."""

    def __call__(self) -> Iterator[dict[str, SourceRows]]: ...


@dataclass(frozen=True)
class Part:
    """Opens some lanes where it is called."""

    config: DataConfig
    processor: ProcessorLike
    seed: int
    share: Share
    sources: dict[str, Any] | None

    def __call__(self) -> Iterator[dict[str, SourceRows]]:
        maker = RowMaker(self.config, self.processor, self.seed, self.share)
        if self.sources is not None:
            maker.load_state(self.sources)
        return maker


class Workers:
    """The rows of several parts, each made by a process of its own."""

    def __init__(self, parts: list[Part] | list[MakesRows], steps_ahead: int = STEPS_AHEAD) -> None:
        self._workers: list[_Worker] = []
        try:
            # All begin to import before the first is waited for.
            for _ in parts:
                self._workers.append(_Worker(steps_ahead))
            for worker, part in zip(self._workers, parts, strict=True):
                worker.give(part)
        except BaseException:
            self.close()
            raise

    def __iter__(self) -> Workers:
        return self

    def __next__(self) -> dict[str, SourceRows]:
        made: dict[str, SourceRows] = {}
        missing = list(self._workers)
        try:
            while missing:
                # Whatever comes first: rows, or the end of any of the processes.
                wait([w.pipe for w in missing] + [w.process.sentinel for w in self._workers])
                for worker in [w for w in missing if w.pipe.poll()]:
                    missing.remove(worker)
                    for name, rows in worker.receive().items():
                        made.setdefault(name, SourceRows()).add(rows)
                for worker in self._workers:
                    if not worker.process.is_alive() and not (worker in missing and worker.pipe.poll()):
                        worker.died()
        except BaseException:
            self.close()
            raise
        return made

    def close(self) -> None:
        """End the processes; safe to call again."""
        for worker in self._workers:
            worker.close()

    @property
    def pids(self) -> list[int]:
        return [worker.process.pid or 0 for worker in self._workers]


class _Worker:
    def __init__(self, steps_ahead: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, sender = context.Pipe(duplex=False)
        order, self._order = context.Pipe(duplex=False)
        self.process = context.Process(target=_work, args=(order, sender, steps_ahead), daemon=True)
        # Signals are for the trainer alone, from the first moment of the process on.
        with _signals_blocked():
            self.process.start()
        sender.close()
        order.close()

    def give(self, part: Part | MakesRows) -> None:
        """Say what to make. Not with the start: that would wait for ever for a process that dies before it reads."""
        try:
            self._order.send(part)
        except OSError:
            self.died()
        finally:
            self._order.close()

    def receive(self) -> dict[str, SourceRows]:
        try:
            answer = pickle.loads(self.pipe.recv_bytes())
        except (EOFError, OSError):
            answer = None
        if answer is None:
            self.died()
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def died(self) -> NoReturn:
        self.process.join(timeout=5)
        code = self.process.exitcode
        raise DataError(f"a data process died (exit code {code}); resume, or set data.workers: 0 to see why")

    def close(self) -> None:
        self.pipe.close()
        self._order.close()
        if self.process.is_alive():
            self.process.kill()  # it only reads, and ignores the gentler signals
        self.process.join(timeout=5)


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


def _work(order: Connection, sender: Connection, steps_ahead: int) -> None:
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
        rows = order.recv()()
        while not gone.is_set():
            _put(ready, pickle.dumps(next(rows), protocol=5), gone)
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
