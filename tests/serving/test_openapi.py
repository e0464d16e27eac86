from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kosmos.serving.options import ServeOptions
from tests.serving.running import MODEL, running, tiny_engine

pytest.importorskip("fastapi", reason="the extra `serve` is not installed")
httpx = pytest.importorskip("httpx", reason="httpx is not installed")

KEY = "a-key-of-the-tests"


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> Any:
    engine = tiny_engine(tmp_path_factory.mktemp("openapi"))
    options = ServeOptions(api_keys=(KEY,), max_beams=3, max_candidates=5, max_results=2, max_new_tokens=99)
    with running(engine, options) as live:
        answer = httpx.get(f"{live.url}/openapi.json", headers={"Authorization": f"Bearer {KEY}"})
        assert answer.status_code == 200
        return answer.json()


def test_every_endpoint_and_error_is_described(document: Any) -> None:
    assert set(document["paths"]) == {
        *("/health", "/ready", "/metrics", "/v1/models", "/v1/models/{model_id}"),
        *("/v1/chat/completions", "/v1/completions", "/v1/score"),
    }
    error = {"$ref": "#/components/schemas/ErrorAnswer"}
    for path, operations in document["paths"].items():
        for operation in operations.values():
            assert "422" not in operation["responses"]
            for status, answer in operation["responses"].items():
                if int(status) >= 400:
                    assert answer["content"]["application/json"]["schema"] == error, (path, status)
    answers = document["paths"]["/v1/chat/completions"]["post"]["responses"]
    assert {"400", "401", "404", "413", "429", "500", "503", "504"} <= set(answers)
    assert set(answers["200"]["content"]) == {"application/json", "text/event-stream"}


def test_the_servers_own_limits_are_in_it(document: Any) -> None:
    chat = document["components"]["schemas"]["ChatRequest"]["properties"]
    assert chat["model"]["enum"] == [MODEL, None]
    for name, most in (("num_beams", 3), ("n", 2), ("max_tokens", 99), ("max_completion_tokens", 99)):
        (number,) = (choice for choice in chat[name]["anyOf"] if choice["type"] == "integer")
        assert number["maximum"] == most
    assert document["components"]["schemas"]["ScoreRequest"]["properties"]["candidates"]["maxItems"] == 5


def test_what_needs_a_key_says_so(document: Any) -> None:
    assert document["components"]["securitySchemes"] == {"key": {"type": "http", "scheme": "bearer"}}
    assert document["paths"]["/v1/models"]["get"]["security"] == [{"key": []}]
    assert "security" not in document["paths"]["/health"]["get"]


def test_scripts_from_elsewhere_are_not_served(tmp_path: Path) -> None:
    """FastAPI's own pages load theirs from another host."""
    with running(tiny_engine(tmp_path)) as live:
        for path in ("/docs", "/redoc"):
            answer = httpx.get(f"{live.url}{path}")
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
        answer = httpx.get(f"{live.url}/v1/completions")
        assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
