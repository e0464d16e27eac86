"""The process that HTML is parsed in: `python -m kosmos.data.web.extraction_process CPU_SECONDS MEMORY_BYTES`.

Whatever a page does to the parsers, it does it here. The kernel ends this process when a page takes too long, even
inside a parser's C code. It reads requests from stdin and writes answers to stdout, each a length and JSON.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import resource
import signal
import struct
import sys
import time
from typing import Any, BinaryIO

REQUEST = struct.Struct(">II")  # bytes of the JSON, bytes of the page
ANSWER = struct.Struct(">I")
# A page that waits instead of computing is ended too, but much later: on a busy machine computing takes its time.
_WALL_FACTOR, _WALL_SECONDS = 12, 120


def answer(request: dict[str, Any], page: bytes) -> dict[str, Any]:
    """What one request asks for: the language of a page, or its text and pictures."""
    from kosmos.data.web.extraction import decode_page, extract_page, is_in_language, plain_text

    html = decode_page(page, request["charset"])
    if request["what"] == "language":
        return {"found": is_in_language(plain_text(html), request["language"])}
    extracted = extract_page(html)
    return {"text": extracted.text, "pictures": extracted.pictures, "furniture": extracted.furniture}


def serve(requests: BinaryIO, answers: BinaryIO, cpu_seconds: float) -> None:
    """Answer until the requests end. An exception of the parsers is an answer as well."""
    # Loading the libraries is not the first page's fault.
    for library in ("lxml.html", "resiliparse.extract.html2text", "resiliparse.parse.lang", "trafilatura"):
        importlib.import_module(library)
    while len(head := requests.read(REQUEST.size)) == REQUEST.size:
        length, page_length = REQUEST.unpack(head)
        request = json.loads(requests.read(length))
        page = requests.read(page_length)
        start = time.process_time_ns()
        signal.setitimer(signal.ITIMER_PROF, cpu_seconds)
        signal.setitimer(signal.ITIMER_REAL, max(cpu_seconds * _WALL_FACTOR, _WALL_SECONDS))
        try:
            said = answer(request, page)
        except Exception as error:  # parsers raise many kinds; the caller counts the page
            said = {"error": type(error).__name__}
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        said["cpu"] = (time.process_time_ns() - start) // 1000
        # Lone surrogates of broken pages do not reach the caller.
        data = json.dumps(said, ensure_ascii=False).encode("utf-8", "replace")
        answers.write(ANSWER.pack(len(data)) + data)
        answers.flush()


def main(cpu_seconds: str, memory_bytes: str) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's; the end of its requests ends us
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(ValueError, OSError):  # not every system can limit it; then only time is
        resource.setrlimit(resource.RLIMIT_AS, (int(memory_bytes), int(memory_bytes)))
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not stand among the answers
    serve(sys.stdin.buffer, answers, float(cpu_seconds))


if __name__ == "__main__":
    main(*sys.argv[1:])
