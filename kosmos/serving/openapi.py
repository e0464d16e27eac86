"""The OpenAPI document: FastAPI's, with our errors in place of its own and what this server's options say."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from kosmos.serving.options import ServeOptions
from kosmos.serving.schemas import ErrorAnswer

_WHAT = {
    400: "the request is wrong, or asks for more than a limit",
    401: "an API key is needed",
    403: "a page of another origin may not call the server",
    404: "no such model",
    408: "the body took too long",
    413: "the body or a picture is too large",
    415: "the body is not JSON",
    421: "the server is not known by this name",
    429: "the queue is full; Retry-After says when to try again",
    431: "the headers are too long",
    500: "internal error",
    502: "a remote picture could not be fetched",
    503: "shutting down, or out of memory",
    504: "the deadline passed",
}


def error_answers(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The errors of a route, for its documentation."""
    return {status: {"model": ErrorAnswer, "description": _WHAT[status]} for status in statuses}


def openapi_document(api: FastAPI, options: ServeOptions) -> dict[str, Any]:
    """The document, made once."""
    if api.openapi_schema is None:
        made = get_openapi(title=api.title, version=api.version, routes=api.routes, description=__doc__)
        for path, operations in made["paths"].items():
            for operation in operations.values():
                _correct(path, operation, options)
        schemas = made["components"]["schemas"]
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        for form in ("ChatRequest", "CompletionRequest", "ScoreRequest"):
            schemas[form]["properties"]["model"] = {"enum": [options.model_name, None], "title": "Model"}
        schemas["ScoreRequest"]["properties"]["candidates"]["maxItems"] = options.max_candidates
        schemas["CompletionRequest"]["properties"]["names"]["anyOf"][0]["maxItems"] = options.max_candidates
        for form in ("ChatRequest", "CompletionRequest"):
            properties = schemas[form]["properties"]
            for name, most in (
                ("n", options.max_results),
                ("num_beams", options.max_beams),
                ("max_tokens", options.max_new_tokens),
                ("max_completion_tokens", options.max_new_tokens),
            ):
                for choice in properties.get(name, {"anyOf": ()})["anyOf"]:
                    if choice.get("type") == "integer":
                        choice["maximum"] = most
        if options.api_keys:
            made["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        api.openapi_schema = made
    return api.openapi_schema


def _correct(path: str, operation: dict[str, Any], options: ServeOptions) -> None:
    responses = operation["responses"]
    responses.pop("422", None)
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorAnswer"}}}
    open_to_all = path in ("/health", "/ready")
    for status in (400, 403, 421, 431) if open_to_all else (400, 401, 403, 421, 431):
        if status != 401 or options.api_keys:
            responses.setdefault(str(status), {"description": _WHAT[status], "content": error})
    if options.api_keys and not open_to_all:
        operation["security"] = [{"key": []}]
    if path in ("/v1/chat/completions", "/v1/completions"):
        # Of one event, as OpenAPI 3.2 has it; its data is a chunk as JSON, or [DONE].
        event = {"type": "object", "properties": {"data": {"type": "string"}}, "required": ["data"]}
        responses["200"]["content"]["text/event-stream"] = {"itemSchema": event}
    if path == "/metrics":
        responses["200"]["content"] = {"text/plain": {"schema": {"type": "string"}}}
    if options.remote_hosts and path.startswith("/v1/") and "requestBody" in operation:
        responses.setdefault("502", {"description": _WHAT[502], "content": error})
