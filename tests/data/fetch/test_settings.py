from __future__ import annotations

import pytest

from kosmos.data.fetch.settings import FetchSettings
from kosmos.errors import ConfigError


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"concurrency": 0}, "concurrency"),
        ({"per_host_rate": 0.0}, "per_host_rate"),
        ({"timeout": float("nan")}, "timeout"),
        ({"retries": -1}, "retries"),
        ({"user_agent": "a\r\nX: y"}, "user_agent"),
        ({"user_agent": ""}, "user_agent"),
    ],
)
def test_settings_that_cannot_work(settings: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        FetchSettings(**settings)  # type: ignore[arg-type]
