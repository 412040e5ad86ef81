"""A server that misbehaves: the whole file arrives, or none under its name and a way to go on."""

import hashlib
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest
from file_server import Files, serving

from annlib import download as download_module
from annlib.download import download

CONTENT = bytes(range(256)) * 40
DIGEST = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download_module, "WAITS", (0.0, 0.0))
    monkeypatch.setattr(download_module, "TIMEOUT", 0.2)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@contextmanager
def stalling() -> Iterator[str]:
    """A server that sends half of each answer, and then nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        kept, is_over = [], []

        def serve() -> None:
            while not is_over:
                try:
                    connection, _ = server.accept()
                except TimeoutError:
                    continue
                connection.recv(4096)
                head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(CONTENT)}\r\n\r\n"
                connection.sendall(head.encode() + CONTENT[:5000])
                kept.append(connection)

        thread = Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}"
        finally:
            is_over.append(True)
            thread.join()
            for connection in kept:
                connection.close()


@pytest.mark.fault("network: stall, cut-off, HTML, 429, 503, another file")
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"status": 429}, "429: Too Many Requests"),
        ({"status": 503}, "503: Service Unavailable"),
        ({"content": {"/a.bin": b"<!doctype html>log in"}}, "a web page came"),
        ({"content": {"/a.bin": CONTENT[:-1] + b"x"}}, "another file"),
        ({"content": {"/a.bin": b"version https://git-lfs.github.com/spec/v1\n"}}, "another file"),
        ({"drop_after": [0] * 9}, "the connection dropped"),
    ],
    ids=["429", "503", "a page", "another file", "a pointer", "cut off"],
)
def test_no_half_and_no_wrong_file_gets_the_name(tmp_path: Path, change: dict, said: str) -> None:
    path = tmp_path / "a.bin"
    with serving(Files({"/a.bin": CONTENT})) as files:
        right = {key: getattr(files, key) for key in change}
        for key, value in change.items():
            setattr(files, key, value)
        with pytest.raises((ConnectionError, ValueError), match=said):
            download(f"{files.url}/a.bin", path, DIGEST)
        assert not path.exists()
        for key, value in right.items():  # the server is well again
            setattr(files, key, value if key != "drop_after" else [])
        assert download(f"{files.url}/a.bin", path, DIGEST).read_bytes() == CONTENT


@pytest.mark.fault("network: stall, cut-off, HTML, 429, 503, another file")
def test_a_server_that_stalls_is_given_up_and_what_came_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    with stalling() as url, pytest.raises(ConnectionError, match="timed out.*resumes it"):
        download(f"{url}/a.bin", path, DIGEST)
    assert not path.exists() and path.with_name("a.bin.part").read_bytes() == CONTENT[:5000]
    with serving(Files({"/a.bin": CONTENT})) as files:
        assert download(f"{files.url}/a.bin", path, DIGEST).read_bytes() == CONTENT
        assert files.asked == ["bytes=5000-"]
