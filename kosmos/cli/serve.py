"""Answer requests over HTTP: OpenAI's chat and completions, scores, and a page to talk with.

examples:
  kosmos serve runs/demo
  kosmos serve runs/demo --port 0 --no-page
  kosmos serve runs/demo --host 0.0.0.0 --api-key-file keys.txt
  curl http://127.0.0.1:8000/v1/completions -H 'Content-Type: application/json' -d '{"prompt": "A dog is"}'

It listens on this machine only, fetches nothing, and logs no prompts, unless an option says otherwise. Keys come from
--api-key-file (one a line) or the variable KOSMOS_API_KEY; without any, other machines are not let in. SIGTERM and
Ctrl-C finish what was promised (exit code 0; 4 when --drain seconds did not suffice). See docs/serving.md.
"""

from __future__ import annotations

import argparse
import importlib.util
import logging
import os
from pathlib import Path

from kosmos.cli.engine_options import add_engine_options, open_engine
from kosmos.cli.user_modules import import_modules
from kosmos.errors import ConfigError, StorageError, UsageError
from kosmos.serving.options import ServeOptions

KEY_VARIABLE = "KOSMOS_API_KEY"
_PACKAGES = ("fastapi", "uvicorn", "h11", "prometheus_client")
_DEFAULT = ServeOptions()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, metavar="RUN", help="a run directory, a step, or a model folder")
    where = parser.add_argument_group("where")
    where.add_argument("--host", default=_DEFAULT.host, help=f"default: {_DEFAULT.host}, this machine only")
    where.add_argument("--port", type=int, default=_DEFAULT.port, help=f"default: {_DEFAULT.port}; 0: a free one")
    where.add_argument("--model-name", metavar="ID", help="the id in requests (default: the folder's name)")
    doors = parser.add_argument_group("doors, all closed by default")
    doors.add_argument("--api-key-file", type=Path, metavar="FILE", help="keys that requests must carry, one a line")
    doors.add_argument("--allow-image-host", action="append", default=[], metavar="HOST", help="https host of pictures")
    doors.add_argument("--cors-origin", action="append", default=[], metavar="ORIGIN", help="whose pages may call")
    doors.add_argument("--host-name", action="append", default=[], metavar="NAME", help="a name that a proxy calls by")
    doors.add_argument("--log-prompts", action="store_true", help="write prompts to the log")
    doors.add_argument("--no-page", action="store_true", help="serve no page at /")
    limits = parser.add_argument_group("limits")
    limits.add_argument("--max-slots", type=int, default=64, metavar="N", help="prompts answered at once (64)")
    limits.add_argument("--queue-size", type=int, default=_DEFAULT.queue_size, metavar="N", help="that wait (64)")
    limits.add_argument("--max-new-tokens", type=int, default=_DEFAULT.max_new_tokens, metavar="N", help="1024")
    limits.add_argument("--max-beams", type=int, default=_DEFAULT.max_beams, metavar="N", help="8")
    limits.add_argument("--max-images", type=int, default=_DEFAULT.max_images, metavar="N", help="of a request (16)")
    limits.add_argument("--max-body-mib", type=int, default=_DEFAULT.max_body_bytes >> 20, metavar="N", help="32")
    limits.add_argument("--max-connections", type=int, default=_DEFAULT.max_connections, metavar="N", help="256")
    limits.add_argument("--header-timeout", type=float, default=_DEFAULT.header_timeout_s, metavar="S", help="10")
    limits.add_argument("--body-timeout", type=float, default=_DEFAULT.body_timeout_s, metavar="S", help="20")
    limits.add_argument("--deadline", type=float, default=_DEFAULT.deadline_s, metavar="S", help="of a request (120)")
    limits.add_argument("--drain", type=float, default=_DEFAULT.drain_s, metavar="S", help="after SIGTERM (30)")
    add_engine_options(parser)


def run(args: argparse.Namespace) -> int:
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(f"the server needs {', '.join(missing)}: pip install 'kosmos[serve]'")
    options = _options(args)
    import_modules(args.modules)
    from kosmos.document import Document
    from kosmos.serving.guards import refuse_unsafe
    from kosmos.serving.lifecycle import bind, listen, serve

    refuse_unsafe(options)
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.WARNING)
    logging.getLogger("kosmos.serving").setLevel(logging.INFO)
    with bind(options) as bound:
        host, port = bound.getsockname()[:2]
        engine = open_engine(args, max_slots=args.max_slots)
        engine.generate([Document()], 2)  # packs the weights, and shows that the model runs
        listen(bound, options)  # before the model answers, so that a second server on the port is told early
        address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        page = f"page {address}/, " if options.page else ""
        line = f"kosmos serve: {options.model_name}: {page}OpenAI base URL {address}/v1; Ctrl-C stops"
        serve(engine, options, bound, announce=lambda: print(line, flush=True))
    return 0


def _options(args: argparse.Namespace) -> ServeOptions:
    for name, least in (
        ("port", 0),
        ("queue_size", 1),
        ("max_new_tokens", 1),
        ("max_beams", 1),
        ("max_images", 0),
        ("max_body_mib", 1),
        ("max_connections", 1),
    ):
        if getattr(args, name) < least:
            raise UsageError(f"--{name.replace('_', '-')} is {getattr(args, name)}; it must be at least {least}")
    if args.port > 65535:
        raise UsageError(f"--port is {args.port}; ports end at 65535")
    for name in ("deadline", "drain", "header_timeout", "body_timeout"):
        if not getattr(args, name) > 0:
            raise UsageError(f"--{name.replace('_', '-')} is {getattr(args, name)}; it must be above 0")
    return ServeOptions(
        host=args.host,
        port=args.port,
        model_name=args.model_name or args.run.resolve().name,
        api_keys=_keys(args.api_key_file),
        max_body_bytes=args.max_body_mib << 20,
        body_timeout_s=args.body_timeout,
        header_timeout_s=args.header_timeout,
        max_connections=args.max_connections,
        max_images=args.max_images,
        max_new_tokens=args.max_new_tokens,
        max_beams=args.max_beams,
        queue_size=args.queue_size,
        deadline_s=args.deadline,
        drain_s=args.drain,
        remote_hosts=tuple(args.allow_image_host),
        cors_origins=tuple(args.cors_origin),
        host_names=tuple(args.host_name),
        log_prompts=args.log_prompts,
        page=not args.no_page,
    )


def _keys(file: Path | None) -> tuple[str, ...]:
    """The keys of the file and of the variable.

    Raises UsageError for a wrong path or a file without a key, StorageError for one that cannot be read.
    """
    keys = [os.environ[KEY_VARIABLE].strip()] if os.environ.get(KEY_VARIABLE, "").strip() else []
    if file is not None:
        try:
            lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            raise UsageError(f"{file}: cannot read the keys: {error.strerror}; --api-key-file names a file") from error
        except (OSError, UnicodeDecodeError) as error:
            raise StorageError(f"{file}: cannot read the keys: {getattr(error, 'strerror', None) or error}") from error
        found = [line for line in lines if line]
        if not found:
            raise ConfigError(f"{file}: there is no key in it; write one on a line")
        keys += found
    return tuple(keys)
