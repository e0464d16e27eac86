"""Refusals: every error that the server answers has OpenAI's form."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

_NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class Refusal(Exception):
    """A request that is answered with an error.

    status    the HTTP status
    message   one line for people: what is wrong, where, what to do
    type      OpenAI's word for the kind of error
    code      a short name that programs can test for
    param     the field of the request that is wrong, as `messages[0].content[2]`
    headers   headers of the answer, such as Retry-After
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] = _NO_HEADERS,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.type = type
        self.code = code
        self.param = param
        self.headers = dict(headers)

    def body(self) -> dict[str, Any]:
        """The JSON of the answer."""
        return {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}


def internal_error() -> Refusal:
    """What clients are told of a fault of ours; the log has the rest."""
    return Refusal(500, "internal error; the server's log has more", type="server_error", code="internal_error")


def too_late() -> Refusal:
    """For a request whose deadline has passed."""
    return Refusal(
        504,
        "the deadline passed before the answer was complete: ask for fewer tokens, or try again later",
        type="timeout_error",
        code="deadline_exceeded",
    )
