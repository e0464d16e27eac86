"""The application: routes, errors in OpenAI's form, the OpenAPI document; guarded from outside."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from typing import Any, Protocol

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp

from kosmos import __version__
from kosmos.inference.engine import Engine
from kosmos.serving.access_log import observed
from kosmos.serving.chat_completions import ChatCompletions
from kosmos.serving.completions import Completions
from kosmos.serving.guards import guard
from kosmos.serving.openapi import error_answers, openapi_document
from kosmos.serving.options import ServeOptions
from kosmos.serving.page import page_routes
from kosmos.serving.refusals import Refusal, internal_error
from kosmos.serving.schemas import (
    ChatCompletion,
    ChatRequest,
    Completion,
    CompletionRequest,
    Form,
    Health,
    Model,
    ModelList,
    ScoreAnswer,
    ScoreRequest,
)
from kosmos.serving.scoring import Scoring
from kosmos.serving.service import Service, Ticket
from kosmos.serving.streaming import Answer, ClientLeft, EventStream, while_there
from kosmos.serving.validation import as_refusal

logger = logging.getLogger(__name__)


class Work(Protocol):
    """One request on its way through the engine."""

    async def submit(self) -> None: ...
    async def whole(self) -> dict[str, Any]: ...


class StreamedWork(Work, Protocol):
    def chunks(self) -> AsyncIterator[dict[str, Any] | None]: ...


def create_app(engine: Engine, options: ServeOptions, service: Service | None = None) -> ASGIApp:
    """The whole server as an ASGI application; its lifespan starts and ends the engine's thread.

    Raises UsageError and ConfigError for options that are unsafe or cannot work.
    """
    service = Service(engine, options) if service is None else service
    api = FastAPI(
        title="kosmos",
        version=__version__,
        docs_url=None,  # they load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,  # to wherever the Host header says
        lifespan=_lifespan(service),
        default_response_class=Answer,
        routes=list(page_routes(options)),
    )
    _add_errors(api)
    _add_state(api, service)
    _add_models(api, service)
    _add_work(api, service)
    api.openapi = lambda: openapi_document(api, options)  # type: ignore[method-assign]
    return observed(guard(api, options), service)


def _lifespan(service: Service) -> Callable[[FastAPI], Any]:
    @asynccontextmanager
    async def lifespan(api: FastAPI) -> AsyncIterator[None]:
        service.start()
        try:
            yield
        finally:
            service.stop()

    return lifespan


def _add_errors(api: FastAPI) -> None:
    def refuse(refusal: Refusal) -> Response:
        return Answer(refusal.body(), refusal.status, refusal.headers)

    @api.exception_handler(Refusal)
    async def refused(request: Request, error: Refusal) -> Response:
        return refuse(error)

    @api.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        return refuse(as_refusal(error))

    @api.exception_handler(HTTPException)
    async def unknown(request: Request, error: HTTPException) -> Response:
        told = {404: "there is nothing at this address; see /openapi.json", 405: "this address takes another method"}
        message = told.get(error.status_code, str(error.detail))
        code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code)
        return refuse(Refusal(error.status_code, message, code=code, headers=error.headers or {}))

    @api.exception_handler(ClientLeft)
    async def left(request: Request, error: ClientLeft) -> Response:
        return Response(status_code=499)  # nobody reads it; the access log does

    @api.exception_handler(Exception)
    async def broken(request: Request, error: Exception) -> Response:
        return refuse(internal_error())


def _add_state(api: FastAPI, service: Service) -> None:
    @api.get("/health", response_model=Health, responses=error_answers(503))
    async def health() -> Response:
        """Whether the process and its engine are alive."""
        if not service.thread.is_alive:
            raise Refusal(503, "the engine's thread has ended; restart the server", type="server_error")
        return Answer({"status": "ok"})

    @api.get("/ready", response_model=Health, responses=error_answers(503))
    async def ready() -> Response:
        """Whether new requests are taken."""
        if service.draining or not service.thread.is_alive:
            raise Refusal(503, "the server is shutting down", type="server_error", code="shutting_down")
        return Answer({"status": "ready"})

    @api.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    async def metrics() -> Response:
        """Figures in Prometheus' text format."""
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _add_models(api: FastAPI, service: Service) -> None:
    name = service.options.model_name
    model = {"id": name, "object": "model", "created": service.created, "owned_by": "kosmos"}

    @api.get("/v1/models", response_model=ModelList)
    async def models() -> Response:
        """The one model of this server."""
        return Answer({"object": "list", "data": [model]})

    @api.get("/v1/models/{model_id}", response_model=Model, responses=error_answers(404))
    async def one_model(model_id: str) -> Response:
        """The model, by its id."""
        if model_id != name:
            raise Refusal(404, f"there is no model of that id; it is called '{name}'", code="model_not_found")
        return Answer(model)


def _add_work(api: FastAPI, service: Service) -> None:
    answers = error_answers(400, 404, 408, 413, 415, 429, 500, 503, 504)

    @api.post("/v1/chat/completions", response_model=ChatCompletion, responses=answers)
    async def chat_completions(form: ChatRequest, request: Request) -> Response:
        """The answer to a chat's last message; with `stream` as server-sent events."""
        return await _respond(service, request, form, lambda ticket: ChatCompletions(service, form, ticket))

    @api.post("/v1/completions", response_model=Completion, responses=answers)
    async def completions(form: CompletionRequest, request: Request) -> Response:
        """What follows a prompt; with `stream` as server-sent events."""
        return await _respond(service, request, form, lambda ticket: Completions(service, form, ticket))

    @api.post("/v1/score", response_model=ScoreAnswer, responses=answers)
    async def score(form: ScoreRequest, request: Request) -> Response:
        """Log-probabilities of candidates as what follows a prompt."""
        _log_prompt(service, form)
        with service.ticket() as ticket:
            return Answer(await while_there(request, _whole(Scoring(service, form, ticket), ticket)))


async def _respond(
    service: Service, request: Request, form: ChatRequest | CompletionRequest, make: Callable[[Ticket], StreamedWork]
) -> Response:
    """The whole answer, or its stream once the prompt was read: until then an error has a status of its own."""
    _log_prompt(service, form)
    with ExitStack() as stack:
        ticket = stack.enter_context(service.ticket())
        work = make(ticket)
        if not form.stream:
            return Answer(await while_there(request, _whole(work, ticket)))
        chunks = work.chunks()

        async def begin() -> None:
            await _submit(work, ticket)
            await anext(chunks)

        await while_there(request, begin())
        return EventStream(chunks, on_end=stack.pop_all().close)


async def _submit(work: Work, ticket: Ticket) -> None:
    async with ticket.in_time():
        await work.submit()


async def _whole(work: Work, ticket: Ticket) -> dict[str, Any]:
    await _submit(work, ticket)
    return await work.whole()


def _log_prompt(service: Service, form: Form) -> None:
    if service.options.log_prompts:
        logger.info("prompt: %.2000s", form.model_dump_json(exclude_none=True))  # not whole pictures
