"""Figures for Prometheus. Requests are counted by route, never by the path that a client wrote."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """The figures of one server, in a registry of their own. Threads may use it together."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self._requests = Counter(
            "kosmos_requests", "Requests answered, by endpoint and status", ["endpoint", "status"], registry=registry
        )
        self._seconds = Histogram(
            "kosmos_request_seconds",
            "From a request to its answer's end",
            ["endpoint"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._tokens = Counter("kosmos_tokens", "Tokens read and generated", ["kind"], registry=registry)
        self._first = Histogram(
            "kosmos_time_to_first_token_seconds",
            "From a request to its first token",
            buckets=_SECONDS,
            registry=registry,
        )
        self._rows = Histogram(
            "kosmos_batch_rows", "Rows that decode together, at each step", buckets=_ROWS, registry=registry
        )
        self.waiting = Gauge("kosmos_queue_length", "Requests that wait for the engine", registry=registry)
        self.active = Gauge("kosmos_requests_active", "Requests that are being answered", registry=registry)

    def answered(self, endpoint: str, status: int, seconds: float) -> None:
        self._requests.labels(endpoint, str(status)).inc()
        self._seconds.labels(endpoint).observe(seconds)

    def read(self, num_tokens: int) -> None:
        self._tokens.labels("prompt").inc(num_tokens)

    def generated(self, num_tokens: int) -> None:
        self._tokens.labels("generated").inc(num_tokens)

    def first_token(self, seconds: float) -> None:
        self._first.observe(seconds)

    def batch_rows(self, count: int) -> None:
        self._rows.observe(count)

    def text(self) -> bytes:
        """All figures in Prometheus' text format."""
        return generate_latest(self.registry)
