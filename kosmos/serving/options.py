"""What a server allows. Everything that opens a door is off by default."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ServeOptions:
    """Limits and doors of one server; sizes in bytes, times in seconds.

    host, port       where to listen; port 0 takes a free one
    model_name       the id that requests name and /v1/models lists
    api_keys         keys that requests must carry one of; none: no key is asked for
    max_body_bytes, body_timeout_s   of one request's body
    max_parts, max_messages, max_images, max_image_bytes, max_image_pixels   of one request
    max_new_tokens, max_beams, max_results, max_candidates   the most that a request may ask for
    max_choices      answers to all prompts of a request together: n times the prompts
    queue_size       requests that may wait; one more is answered 429
    deadline_s       from a request's arrival to its last token
    drain_s          how long the promised answers may take after SIGTERM
    remote_hosts     https hosts that `image_url` may name; none: `data:` URLs only
    remote_timeout_s   for one remote picture
    cors_origins     origins whose pages may call the server; none: no other page
    log_prompts      write prompts to the log
    page             serve the chat page at /
    max_connections  open at once
    host_names       further names the server may be called by while it listens on loopback, as behind a proxy
    max_header_bytes, header_timeout_s   of one request's line and headers
    write_timeout_s  for a client to read on; one that stops reading is cut off
    max_waiting_body_bytes   of all bodies held at once; a request beyond it is answered 503
    """

    host: str = "127.0.0.1"
    port: int = 8000
    model_name: str = "kosmos"
    api_keys: tuple[str, ...] = ()
    max_body_bytes: int = 32 << 20
    body_timeout_s: float = 20.0
    max_parts: int = 256
    max_messages: int = 128
    max_images: int = 16
    max_image_bytes: int = 8 << 20
    max_image_pixels: int = 16_000_000
    max_new_tokens: int = 1024
    max_beams: int = 8
    max_results: int = 8
    max_candidates: int = 64
    max_choices: int = 64
    queue_size: int = 64
    deadline_s: float = 120.0
    drain_s: float = 30.0
    remote_hosts: tuple[str, ...] = ()
    remote_timeout_s: float = 10.0
    cors_origins: tuple[str, ...] = ()
    log_prompts: bool = False
    page: bool = True
    max_connections: int = 256
    host_names: tuple[str, ...] = ()
    max_header_bytes: int = 16 << 10
    header_timeout_s: float = 10.0
    write_timeout_s: float = 30.0
    max_waiting_body_bytes: int = 256 << 20
