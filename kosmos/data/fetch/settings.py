"""How to fetch: limits, politeness, and what may be reached."""

from __future__ import annotations

from dataclasses import dataclass

import kosmos
from kosmos.errors import ConfigError

PORTS = (80, 443, 8080, 8443)


@dataclass(frozen=True)
class FetchSettings:
    """Limits of a fetch. Raises ConfigError for a value that cannot work.

    concurrency           exchanges at a time, over all hosts
    per_host_concurrency  exchanges at a time with one host
    per_host_rate         requests a second to one host; its robots.txt can ask for fewer
    max_bytes             of one answer, after decompression
    timeout               seconds for one try with its redirects, without the waits that politeness asks for
    retries               further tries after a timeout, a broken connection, 429 or 5xx
    patience              longest wait in seconds that a host may ask for (Retry-After, Crawl-delay)
    ports                 none: any
    allow_private         reach loopback and private networks too: for tests and mirrors of one's own
    allow_networks        reach these networks too, as 10.1.0.0/16
    min_size              smallest side of a picture in pixels
    opt_outs              words in X-Robots-Tag that mean no
    """

    user_agent: str = f"kosmos/{kosmos.__version__} (fetches pictures for research; honours robots.txt)"
    concurrency: int = 128
    per_host_concurrency: int = 2
    per_host_rate: float = 2.0
    max_bytes: int = 10 << 20
    timeout: float = 20.0
    retries: int = 1
    backoff: float = 1.0
    patience: float = 60.0
    max_redirects: int = 5
    ports: tuple[int, ...] = PORTS
    allow_private: bool = False
    allow_networks: tuple[str, ...] = ()
    min_size: int = 1
    max_megapixels: float = 16.0
    opt_outs: tuple[str, ...] = ("noai", "noimageai", "noindex", "noimageindex", "none")

    def __post_init__(self) -> None:
        for name in ("concurrency", "per_host_concurrency", "max_bytes", "min_size"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}: must be at least 1, not {getattr(self, name)}")
        for name in ("per_host_rate", "timeout", "max_megapixels"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name}: must be above 0, not {getattr(self, name)}")
        for name in ("retries", "backoff", "patience", "max_redirects"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"{name}: must not be negative, not {getattr(self, name)}")
        agent = self.user_agent
        if not agent or not agent.isascii() or not agent.isprintable() or not self.robots_name:
            raise ConfigError(f"user_agent: {agent!r} must be printable ASCII that starts with a name, as 'name/1.0'")

    @property
    def robots_name(self) -> str:
        """The name that a robots.txt would call us by."""
        return self.user_agent.partition("/")[0].split(" ")[0]
