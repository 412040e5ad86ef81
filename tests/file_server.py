"""A server of files that can misbehave in the ways that real ones do."""

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


@dataclass
class Files:
    """What is served, and how. The attributes may be changed while the server runs."""

    content: dict[str, bytes]  # by path, "/a.bin"
    ranges: bool = True
    status: int = 200  # another one is answered without content
    content_type: str = "application/octet-stream"
    length: bool = True  # whether the length is told
    wrong_range: bool = False
    drop_after: list[int] = field(default_factory=list)  # bytes after which each answer breaks off
    asked: list[str | None] = field(default_factory=list)  # the ranges asked for
    agents: list[str] = field(default_factory=list)
    url: str = ""


@contextmanager
def serving(files: Files) -> Iterator[Files]:
    """Inside, the files are at `files.url`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self, files)

        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        files.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield files
        finally:
            server.shutdown()
            thread.join()


def answer(request: BaseHTTPRequestHandler, files: Files) -> None:
    asked = request.headers["Range"]
    files.asked.append(asked)
    files.agents.append(request.headers["User-Agent"])
    if files.status != 200:
        request.send_error(files.status)
        return
    content = files.content.get(request.path)
    if content is None:
        request.send_error(404)
        return
    start = int(re.match(r"bytes=(\d+)-", asked)[1]) if asked and files.ranges else 0
    if start and start >= len(content):
        request.send_response(416)
        request.send_header("Content-Range", f"bytes */{len(content)}")
        request.send_header("Content-Length", "0")
        request.end_headers()
        return
    send(request, files, content, start)


def send(request: BaseHTTPRequestHandler, files: Files, content: bytes, start: int) -> None:
    request.send_response(206 if start else 200)
    if start:
        start = 1 if files.wrong_range else start
        told = f"bytes {start}-{len(content) - 1}/{len(content)}"
        request.send_header("Content-Range", told)
    for name, value in (
        ("Content-Type", files.content_type),
        ("Content-Length", len(content) - start if files.length else None),
    ):
        if value is not None:
            request.send_header(name, str(value))
    request.end_headers()
    rest = content[start:]
    request.wfile.write(rest[: files.drop_after.pop(0)] if files.drop_after else rest)


def closed_port() -> int:
    """A port at which nobody answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]
