"""What the server promises: a bounded queue, deadlines, an end when the client leaves, a drain, a life after errors."""

from __future__ import annotations

import asyncio
import http.client
import json
import logging
import random
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from kosmos.document import Document
from kosmos.inference.engine import Engine
from kosmos.inference.generation import Decoding
from kosmos.serving.options import ServeOptions
from tests.serving.running import MODEL, Running, running, tiny_engine

pytest.importorskip("fastapi", reason="the extra `serve` is not installed")
openai = pytest.importorskip("openai", reason="the openai client is not installed")


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    return tiny_engine(tmp_path_factory.mktemp("promises"), max_slots=4)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    return tiny_engine(tmp_path_factory.mktemp("plain"))


@contextmanager
def client_of(live: Running) -> Iterator[Any]:
    with openai.OpenAI(base_url=f"{live.url}/v1", api_key="none", max_retries=0, timeout=30) as made:
        yield made


def long(client: Any, prompt: str = "an image of", **fields: Any) -> Any:
    """A request of 100 tokens."""
    extra = {"min_tokens": 100, **fields.pop("extra_body", {})}
    return client.completions.create(model=MODEL, prompt=prompt, max_tokens=100, extra_body=extra, **fields)


def fill(live: Running, pool: ThreadPoolExecutor, client: Any) -> list[Future[Any]]:
    """All four slots at work, slowly."""
    live.brake.seconds = 0.02
    jobs = [pool.submit(long, client) for _ in range(4)]
    live.wait_until(lambda: live.service.thread.num_slots_used == 4)
    live.brake.seconds = 0.0
    return jobs


def get(live: Running, path: str) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(live.url.removeprefix("http://"), timeout=10)
    connection.request("GET", path)
    answer = connection.getresponse()
    made = answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    connection.close()
    return made


def send(live: Running, path: str, body: dict[str, Any]) -> socket.socket:
    """A request on a socket of its own, to be closed in the midst of the answer."""
    host, port = live.url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)), 10)
    data = json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    )
    connection.sendall(head.encode() + data)
    return connection


def test_a_full_queue_is_told_at_once(engine: Engine) -> None:
    """Four slots and a queue of two: the seventh is refused with Retry-After, and comes through later."""
    with running(engine, ServeOptions(queue_size=2)) as live, client_of(live) as client, ThreadPoolExecutor(8) as pool:
        jobs = fill(live, pool, client)
        with live.brake.while_held():
            jobs += [pool.submit(long, client) for _ in range(2)]
            live.wait_until(lambda: live.service._num_waiting == 2)
            with pytest.raises(openai.RateLimitError) as refused:
                long(client)
            assert refused.value.code == "queue_full"
            assert 1 <= int(refused.value.response.headers["retry-after"]) <= 30
            figures = get(live, "/metrics")[2].decode()
            assert "kosmos_queue_length 2.0" in figures
        texts = {job.result().choices[0].text for job in jobs}
        assert len(texts) == 1
        assert long(client).choices[0].text in texts


def test_more_slots_than_there_are_are_waited_for(engine: Engine, plain: Engine) -> None:
    """Three draws each on four slots: one after the other, none fails."""
    options = Decoding(10, temperature=1.0, seed=3, num_results=3)
    expected = [one.text for one in plain.generate([Document("the red")], options=options)[0].all]
    with running(engine) as live, client_of(live) as client, ThreadPoolExecutor(6) as pool:

        def draws(_: int) -> list[str]:
            made = client.completions.create(model=MODEL, prompt="the red", n=3, temperature=1.0, seed=3, max_tokens=10)
            return [choice.text for choice in made.choices]

        assert list(pool.map(draws, range(6))) == [expected] * 6
        with pytest.raises(openai.BadRequestError) as never:
            client.completions.create(model=MODEL, prompt="the red", n=5, temperature=1.0)
        assert never.value.code == "request_too_large"


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_frees_its_slot(engine: Engine, stream: bool) -> None:
    body = {"prompt": "an image of", "max_tokens": 100, "min_tokens": 100, "stream": stream}
    with running(engine) as live:
        live.brake.seconds = 0.02
        with send(live, "/v1/completions", body):
            live.wait_until(lambda: live.brake.num_steps > 3)
            assert live.service.thread.num_slots_used == 1
        live.wait_until(lambda: live.service.thread.num_slots_used == 0)
        steps = live.brake.num_steps
        assert steps < 90
        live.wait_until(lambda: live.service.num_promised == 0)
        assert engine.pool.num_free == 4


def test_a_client_that_leaves_the_queue_is_not_answered(engine: Engine) -> None:
    body = {"prompt": "an image of", "max_tokens": 100, "min_tokens": 100}
    with running(engine) as live, client_of(live) as client, ThreadPoolExecutor(4) as pool:
        jobs = fill(live, pool, client)
        with live.brake.while_held():
            with send(live, "/v1/completions", body):
                live.wait_until(lambda: live.service._num_waiting == 1)
            live.wait_until(lambda: live.service._num_waiting == 0)
        for job in jobs:
            assert job.result().usage.completion_tokens == 100
        assert live.service.metrics.registry.get_sample_value("kosmos_tokens_total", {"kind": "generated"}) == 400


def test_clients_that_come_and_leave_at_random_leave_nothing(engine: Engine, plain: Engine) -> None:
    """Every kind of request, broken off at any moment: afterwards all slots are free and answers are right."""
    draw = random.Random(5)
    kinds: list[tuple[str, dict[str, Any]]] = [
        ("/v1/completions", {}),
        ("/v1/completions", {"stream": True, "logprobs": 2}),
        ("/v1/completions", {"num_beams": 3}),
        ("/v1/completions", {"n": 2, "temperature": 1.0}),
        ("/v1/completions", {"echo": True, "logprobs": 1}),
        ("/v1/score", {"candidates": ["cat", "dogs, a"]}),
    ]
    with running(engine) as live, client_of(live) as client:
        live.brake.seconds = 0.001
        for _ in range(60):
            path, fields = draw.choice(kinds)
            more = {} if path == "/v1/score" else {"max_tokens": draw.choice([3, 40])}
            with send(live, path, {"prompt": draw.choice(["the red", "an image of"]), **more, **fields}):
                time.sleep(draw.choice([0.0, 0.005, 0.03]))
        live.wait_until(lambda: live.service.num_promised == 0 and live.service.thread.num_slots_used == 0)
        assert live.service._num_waiting == 0
        assert engine.pool.num_free == 4
        made = client.completions.create(model=MODEL, prompt="the red", max_tokens=8)
        assert made.choices[0].text == plain.generate([Document("the red")], 8)[0].text
        assert (
            live.service.metrics.registry.get_sample_value(
                "kosmos_requests_total", {"endpoint": "/v1/completions", "status": "500"}
            )
            is None
        )


@pytest.mark.parametrize("fields", [{}, {"extra_body": {"num_beams": 3, "early_stopping": "never"}}])
def test_the_deadline(engine: Engine, fields: dict[str, Any]) -> None:
    with running(engine, ServeOptions(deadline_s=0.3)) as live, client_of(live) as client:
        live.brake.seconds = 0.05
        with pytest.raises(openai.InternalServerError) as late:
            long(client, **fields)
        assert (late.value.status_code, late.value.code) == (504, "deadline_exceeded")
        live.wait_until(lambda: live.service.thread.num_slots_used == 0)
        live.brake.seconds = 0.0
        assert client.completions.create(model=MODEL, prompt="the", max_tokens=2).usage.completion_tokens >= 1


@pytest.mark.parametrize("stream", [False, True])
def test_the_deadline_spans_the_pictures(engine: Engine, monkeypatch: pytest.MonkeyPatch, stream: bool) -> None:
    from kosmos.serving import prompts

    async def never(*_: Any) -> Any:
        await asyncio.sleep(60)

    monkeypatch.setattr(prompts, "read_picture", never)
    content = [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "data:"}}]
    with running(engine, ServeOptions(deadline_s=0.2)) as live, client_of(live) as client:
        with pytest.raises(openai.InternalServerError) as late:
            client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": content}], stream=stream)
        assert (late.value.status_code, late.value.code) == (504, "deadline_exceeded")
        live.wait_until(lambda: live.service.num_promised == live.service._num_waiting == 0)


def test_tokens_of_beams_are_counted(engine: Engine) -> None:
    with running(engine) as live, client_of(live) as client:
        made = client.completions.create(model=MODEL, prompt="the", max_tokens=5, n=2, extra_body={"num_beams": 2})
        figure = live.service.metrics.registry.get_sample_value
        assert figure("kosmos_tokens_total", {"kind": "generated"}) == made.usage.completion_tokens > 0


def test_a_stream_that_is_cut_ends_with_the_error(engine: Engine) -> None:
    with running(engine, ServeOptions(deadline_s=0.4)) as live, client_of(live) as client:
        live.brake.seconds = 0.05
        pieces = []
        with pytest.raises(openai.APIError) as late:
            for chunk in long(client, stream=True):
                pieces.append(chunk.choices[0].text)
        assert late.value.code == "deadline_exceeded"
        assert len(pieces) > 1


def test_beams_and_rows_do_not_starve_each_other(engine: Engine) -> None:
    """Short ones of either kind are done while a long one of the other goes on."""
    with running(engine) as live, client_of(live) as client, ThreadPoolExecutor(1) as pool:
        live.brake.seconds = 0.01
        beams = {"num_beams": 2, "early_stopping": "never"}
        for first, second in (({}, beams), (beams, {})):
            job = pool.submit(long, client, extra_body=first)
            live.wait_until(lambda: live.service.thread.num_slots_used == 1)
            short = client.completions.create(model=MODEL, prompt="two dogs", max_tokens=4, extra_body=second)
            assert short.usage.completion_tokens >= 1
            score = client.post("/score", body={"prompt": "the", "candidates": ["cat", "dogs, a"]}, cast_to=object)
            assert len(score["results"]) == 2
            assert not job.done()
            assert job.result().usage.completion_tokens == 100


def test_an_error_of_the_engine_is_one_requests_end(
    engine: Engine, plain: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    with running(engine) as live, client_of(live) as client:
        live.brake.fail = RuntimeError("secret detail of the machine")
        with pytest.raises(openai.InternalServerError) as broken:
            long(client)
        assert (broken.value.status_code, broken.value.code) == (500, "internal_error")
        assert "secret" not in broken.value.response.text
        assert "Traceback" not in broken.value.response.text
        assert "secret detail" in caplog.text
        with pytest.raises(openai.InternalServerError):
            long(client, extra_body={"num_beams": 2})
        live.brake.fail = None
        made = client.completions.create(model=MODEL, prompt="the red", max_tokens=8)
        assert made.choices[0].text == plain.generate([Document("the red")], 8)[0].text
        assert get(live, "/health")[0] == 200
    assert engine.pool.num_free == 4


def test_a_lack_of_memory_halves_the_batch(engine: Engine, plain: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than two rows or prompts together do not fit: all are answered, two at a time."""
    prompts = ["an image of", "the red", "two dogs,", "what is"]
    expected = [one.text for one in plain.generate([Document(prompt) for prompt in prompts], 10)]
    forward, read = engine.forward_step, engine.prefill_rows

    def step(token_ids: Any, at: Any) -> Any:
        if len(token_ids) > 2:
            raise MemoryError
        return forward(token_ids, at)

    def prefill(documents: Any, rows: Any) -> Any:
        if len(rows) > 2:
            raise MemoryError
        return read(documents, rows)

    monkeypatch.setattr(engine, "forward_step", step)
    monkeypatch.setattr(engine, "prefill_rows", prefill)
    before = engine.num_halvings
    with running(engine) as live, client_of(live) as client:
        made = client.completions.create(model=MODEL, prompt=prompts, max_tokens=10)
        assert [choice.text for choice in made.choices] == expected
        assert engine.num_halvings > before
        live.brake.fail = MemoryError()
        with pytest.raises(openai.InternalServerError) as alone:
            long(client)
        assert (alone.value.status_code, alone.value.code) == (503, "out_of_memory")


def test_a_drain_keeps_what_was_promised(engine: Engine) -> None:
    """Those at work and in the queue are answered; meanwhile /ready is 503 and new ones are told to go elsewhere."""
    with running(engine, ServeOptions(drain_s=20)) as live, client_of(live) as client, ThreadPoolExecutor(6) as pool:
        assert get(live, "/ready")[0] == 200
        jobs = fill(live, pool, client)
        with live.brake.while_held():
            jobs.append(pool.submit(long, client))
            streamed = pool.submit(lambda: "".join(chunk.choices[0].text for chunk in long(client, stream=True)))
            live.wait_until(lambda: live.service.num_promised == 6)
            live.server.handle_exit(signal.SIGTERM, None)
            status, _, body = get(live, "/ready")
            assert (status, json.loads(body)["error"]["code"]) == (503, "shutting_down")
            with pytest.raises(openai.InternalServerError) as refused:
                long(client)
            assert refused.value.status_code == 503
            assert refused.value.response.headers["retry-after"] == "20"
            assert get(live, "/health")[0] == 200
        assert {job.result().choices[0].text for job in jobs} == {streamed.result()}
        live.wait_until(lambda: live.server.should_exit)
        assert live.server.num_broken == 0


def test_a_drain_has_an_end(engine: Engine) -> None:
    with running(engine, ServeOptions(drain_s=0.2)) as live, client_of(live) as client, ThreadPoolExecutor(1) as pool:
        live.brake.seconds = 0.05
        job = pool.submit(long, client)
        live.wait_until(lambda: live.service.thread.num_slots_used == 1)
        live.server.handle_exit(signal.SIGTERM, None)
        with pytest.raises(openai.InternalServerError) as broken:
            job.result()
        assert (broken.value.status_code, broken.value.code) == (503, "shutting_down")
        assert live.server.num_broken == 1


def test_figures_and_log_name_no_content(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with running(engine) as live, client_of(live) as client:
        client.completions.create(model=MODEL, prompt="the red cat", max_tokens=5, extra_body={"min_tokens": 5})
        with pytest.raises(openai.NotFoundError):
            client.get("/secret-path?key=value", cast_to=object)
        with pytest.raises(openai.BadRequestError):
            client.completions.create(model=MODEL, prompt="a", max_tokens=-1)
        _, headers, body = get(live, "/metrics")
        figure = live.service.metrics.registry.get_sample_value
        assert headers["content-type"].startswith("text/plain; version=0.0.4")
        completions = {"endpoint": "/v1/completions"}
        assert figure("kosmos_requests_total", {**completions, "status": "200"}) == 1
        assert figure("kosmos_requests_total", {**completions, "status": "400"}) == 1
        assert figure("kosmos_requests_total", {"endpoint": "other", "status": "404"}) == 1
        assert figure("kosmos_tokens_total", {"kind": "generated"}) == 5
        assert figure("kosmos_tokens_total", {"kind": "prompt"}) == len(engine.encode(Document("the red cat")))
        assert figure("kosmos_time_to_first_token_seconds_count") == 1
        assert figure("kosmos_batch_rows_sum") == 5
        for name in ("kosmos_queue_length 0.0", "kosmos_request_seconds_bucket"):
            assert name in body.decode()
    lines = [record.getMessage() for record in caplog.records if record.name == "kosmos.serving.access_log"]
    assert any("POST /v1/completions 200" in line for line in lines)
    assert not any(
        "red" in record.getMessage() or "secret" in record.getMessage()
        for record in caplog.records
        if record.name.startswith("kosmos")
    )


def test_prompts_are_logged_when_asked_for(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with running(engine, ServeOptions(log_prompts=True)) as live, client_of(live) as client:
        client.completions.create(model=MODEL, prompt="the red cat", max_tokens=1)
    assert "the red cat" in caplog.text


def test_rows_join_while_others_run(engine: Engine) -> None:
    """Requests that come one after the other are in one batch: fewer steps than one by one."""
    with running(engine) as live, client_of(live) as client, ThreadPoolExecutor(4) as pool:
        live.brake.seconds = 0.005
        jobs = []
        for _ in range(4):
            steps = live.brake.num_steps
            jobs.append(pool.submit(long, client))
            live.wait_until(lambda: live.brake.num_steps > steps + 3)  # noqa: B023
        assert len({job.result().choices[0].text for job in jobs}) == 1
        assert live.brake.num_steps < 200  # 99 each alone


def test_threads_end_with_the_server(engine: Engine) -> None:
    with running(engine) as live, client_of(live) as client:
        client.completions.create(model=MODEL, prompt="a", max_tokens=1)
    assert not live.service.thread.is_alive
    assert "kosmos-engine" not in {thread.name for thread in threading.enumerate()}
