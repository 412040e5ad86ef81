"""A download ends with the whole file in place, or with no file there and a way to go on."""

import errno
import hashlib
import os
import resource
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError

import pytest
from file_server import Files, closed_port, serving
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from annlib import download as download_module
from annlib.download import alone, download, home

CONTENT = bytes(range(256)) * 40  # 10 KiB
SHA256, MD5 = hashlib.sha256(CONTENT).hexdigest(), hashlib.md5(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def small_and_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download_module, "WAITS", (0.0, 0.0, 0.0))
    monkeypatch.setattr(download_module, "CHUNK", 1000)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def files() -> Iterator[Files]:
    with serving(Files({"/a.bin": CONTENT})) as files:
        yield files


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "a.bin"


def names(path: Path) -> list[str]:
    """What lies in the folder of the download."""
    return sorted(other.name for other in path.parent.iterdir())


def test_file_arrives_whole_and_alone(files: Files, path: Path) -> None:
    assert download(f"{files.url}/a.bin", path, SHA256[:8], MD5) == path
    assert path.read_bytes() == CONTENT
    assert names(path) == ["a.bin"]


def test_progress_counts_to_the_length(files: Files, path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    download(f"{files.url}/a.bin", path, progress=lambda *counts: seen.append(counts))
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})
    assert seen[-1] == (len(CONTENT), len(CONTENT))


def test_file_that_is_there_is_not_asked_for(files: Files, path: Path) -> None:
    download(f"{files.url}/a.bin", path)
    assert download(f"{files.url}/a.bin", path, SHA256[:8]) == path
    assert len(files.asked) == 1


def test_server_is_told_who_asks(files: Files, path: Path) -> None:
    download(f"{files.url}/a.bin", path)
    assert files.agents == ["annlib"]


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.integers(0, len(CONTENT)), max_size=3))
def test_dropped_connections_lose_and_repeat_no_byte(
    tmp_path_factory: pytest.TempPathFactory, drops: list[int]
) -> None:
    path = tmp_path_factory.mktemp("drops") / "a.bin"
    with serving(Files({"/a.bin": CONTENT}, drop_after=list(drops))) as files:
        download(f"{files.url}/a.bin", path)
    came, asked = 0, [None]
    for drop in drops:
        if came + drop >= len(CONTENT):
            break
        came += drop
        asked.append(f"bytes={came}-" if came else None)
    assert (path.read_bytes(), files.asked) == (CONTENT, asked)


def test_length_unknown_to_the_server_is_no_obstacle(files: Files, path: Path) -> None:
    files.length = False
    totals: list[int | None] = []
    download(f"{files.url}/a.bin", path, progress=lambda done, total: totals.append(total))
    assert (path.read_bytes(), set(totals)) == (CONTENT, {None})


def test_download_goes_on_where_the_last_one_ended(files: Files, path: Path) -> None:
    files.drop_after = [3000, 1000, 500, 0]
    with pytest.raises(ConnectionError, match="after 4500 of 10240 bytes.*kept in .*a.bin.part"):
        download(f"{files.url}/a.bin", path)
    assert "a.bin" not in names(path)
    download(f"{files.url}/a.bin", path, SHA256[:8])
    assert files.asked[-1] == "bytes=4500-"
    assert (path.read_bytes(), names(path)) == (CONTENT, ["a.bin"])


@pytest.mark.parametrize(
    ("etag", "modified"),
    [('"1"', None), (None, "Fri, 05 Jun 2020 09:52:11 GMT"), ('W/"1"', "Fri, 05 Jun 2020")],
)
def test_resumed_file_must_be_the_same(
    files: Files, path: Path, etag: str | None, modified: str | None
) -> None:
    files.etag, files.modified = etag, modified
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(download_module, "WAITS", ())
        files.drop_after = [3000]
        with pytest.raises(ConnectionError):
            download(f"{files.url}/a.bin", path)
    files.etag, files.modified = '"2"', "Sat, 06 Jun 2020 00:00:00 GMT"
    files.content["/a.bin"] = CONTENT[::-1]
    download(f"{files.url}/a.bin", path)
    assert path.read_bytes() == CONTENT[::-1]


def test_server_without_ranges_sends_all_of_it_again(files: Files, path: Path) -> None:
    files.ranges, files.drop_after = False, [3000]
    download(f"{files.url}/a.bin", path)
    assert (path.read_bytes(), files.asked) == (CONTENT, [None, "bytes=3000-"])


@pytest.mark.parametrize("etag", [None, 'W/"1"'])
def test_file_without_a_version_is_asked_for_from_the_start(
    files: Files, path: Path, etag: str | None
) -> None:
    files.etag, files.drop_after = etag, [3000]
    download(f"{files.url}/a.bin", path)
    assert (path.read_bytes(), files.asked) == (CONTENT, [None, None])


def test_bytes_from_another_place_are_not_appended(files: Files, path: Path) -> None:
    files.wrong_range, files.drop_after = True, [3000]
    download(f"{files.url}/a.bin", path)
    assert path.read_bytes() == CONTENT


def test_part_that_is_whole_only_has_to_be_named(files: Files, path: Path) -> None:
    path.parent.mkdir()
    path.with_name("a.bin.part").write_bytes(CONTENT)
    path.with_name("a.bin.tag").write_text('"1"')
    download(f"{files.url}/a.bin", path, SHA256[:8])
    assert (path.read_bytes(), files.asked) == (CONTENT, [f"bytes={len(CONTENT)}-"])


def test_part_that_is_too_long_is_given_up(files: Files, path: Path) -> None:
    path.parent.mkdir()
    path.with_name("a.bin.part").write_bytes(CONTENT + b"more")
    path.with_name("a.bin.tag").write_text('"1"')
    download(f"{files.url}/a.bin", path, SHA256[:8])
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("content_type", "content"),
    [("text/html; charset=utf-8", b"Please log in"), ("application/zip", b"\n<!DOCTYPE html><p>")],
)
def test_web_page_is_refused_and_harms_no_part(
    files: Files, path: Path, content_type: str, content: bytes
) -> None:
    path.parent.mkdir()
    path.with_name("a.bin.part").write_bytes(CONTENT[:3000])
    path.with_name("a.bin.tag").write_text('"0"')
    files.content["/a.bin"], files.content_type = content, content_type
    with pytest.raises(ValueError, match="login page or a proxy answered") as error:
        download(f"{files.url}/a.bin", path)
    assert f"put the file at {path}" in str(error.value)
    assert path.with_name("a.bin.part").read_bytes() == CONTENT[:3000]


@pytest.mark.parametrize(
    ("status", "kind", "told"),
    [
        (404, FileNotFoundError, "404 Not Found. The file may have moved"),
        (403, PermissionError, "403 Forbidden"),
        (503, ConnectionError, "503 Service Unavailable"),
    ],
)
def test_refusal_says_what_from_where_and_what_to_do(
    files: Files, path: Path, status: int, kind: type, told: str
) -> None:
    files.status = status
    with pytest.raises(kind, match=told) as error:
        download(f"{files.url}/a.bin", path)
    assert f"fetch {files.url}/a.bin on another machine, put the file at {path}" in str(error.value)


def test_overloaded_server_is_asked_again(files: Files, path: Path) -> None:
    files.status, files.failures = 503, 2
    download(f"{files.url}/a.bin", path)
    assert (path.read_bytes(), len(files.asked)) == (CONTENT, 3)


@pytest.mark.parametrize("checksums", [(SHA256[:7] + "x", ""), ("", "0" * 32)])
def test_wrong_checksum_leaves_no_file_in_place(
    files: Files, path: Path, checksums: tuple[str, str]
) -> None:
    with pytest.raises(ValueError, match="is not the file it should be") as error:
        download(f"{files.url}/a.bin", path, *checksums)
    actual = SHA256[:8] if checksums[0] else MD5
    assert f"begins with {actual}, expected was {checksums[0] or checksums[1]}" in str(error.value)
    assert "a.bin" not in names(path)
    assert path.with_name("a.bin.bad").read_bytes() == CONTENT


def test_after_a_wrong_checksum_the_file_is_fetched_anew(files: Files, path: Path) -> None:
    files.content["/a.bin"] = CONTENT[:-1] + b"?"
    with pytest.raises(ValueError, match="Try again"):
        download(f"{files.url}/a.bin", path, SHA256[:8])
    files.content["/a.bin"] = CONTENT
    download(f"{files.url}/a.bin", path, SHA256[:8])
    assert (path.read_bytes(), files.asked) == (CONTENT, [None, None])


def test_damaged_file_that_was_there_is_moved_aside(files: Files, path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"mine")
    with pytest.raises(ValueError, match=r"It lies in .*a\.bin\.bad now"):
        download(f"{files.url}/a.bin", path, SHA256[:8])
    assert (names(path), path.with_name("a.bin.bad").read_bytes()) == (["a.bin.bad"], b"mine")


@pytest.mark.parametrize("host", ["127.0.0.1", "nowhere.invalid"])
def test_offline_says_what_from_where_and_where_to_put_it(
    path: Path, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(download_module.time, "sleep", waits.append)
    url = f"http://{host}:{closed_port()}/a.bin"
    with pytest.raises(
        ConnectionError, match="a.bin could not be fetched from .*no connection"
    ) as e:
        download(url, path)
    assert f"fetch {url} on another machine, put the file at {path}, and try again" in str(e.value)
    assert waits == []  # who is offline wants to know at once


def test_network_that_is_away_for_a_while_is_waited_for(
    files: Files, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    troubles = [ConnectionError("dropped"), URLError("no route to host")]

    def shaky(wanted: download_module.Wanted, progress: download_module.Progress) -> None:
        if troubles:
            raise troubles.pop(0)
        download_module.fetch(wanted, progress)

    monkeypatch.setattr(download_module, "fetch", shaky)
    download(f"{files.url}/a.bin", path)
    assert path.read_bytes() == CONTENT


def test_server_that_says_nothing_is_given_up(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download_module, "TIMEOUT", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/a.bin"
        with pytest.raises(ConnectionError, match="no answer .*timed out"):
            download(url, path)


@contextmanager
def disk_with_room_for(num_bytes: int) -> Iterator[None]:
    """Inside, the system lets no file grow larger."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("room", [4321, len(CONTENT) - 1])
def test_full_disk_keeps_what_came_and_goes_on(files: Files, path: Path, room: int) -> None:
    with disk_with_room_for(room), pytest.raises(OSError, match="a.bin.part: File too large") as e:
        download(f"{files.url}/a.bin", path)
    assert e.value.errno == errno.EFBIG
    assert "Free some space" in str(e.value)
    assert path.with_name("a.bin.part").read_bytes() == CONTENT[:room]
    download(f"{files.url}/a.bin", path)
    assert (path.read_bytes(), files.asked) == (CONTENT, [None, f"bytes={room}-"])


def test_full_disk_is_not_taken_for_a_dropped_connection(
    files: Files, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device") as error:
        download(f"{files.url}/a.bin", path)
    assert (error.value.errno, len(files.asked)) == (errno.ENOSPC, 1)


def test_processes_that_want_the_same_file_fetch_it_once(files: Files, path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: download(f"{files.url}/a.bin", path, SHA256[:8]), range(4)))
    assert (path.read_bytes(), len(files.asked), names(path)) == (CONTENT, 1, ["a.bin"])


def test_home_is_where_the_user_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANNLIB_HOME", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert home() == tmp_path / ".cache" / "annlib"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert home() == tmp_path / "xdg" / "annlib"
    monkeypatch.setenv("ANNLIB_HOME", "~/mine")
    assert home() == tmp_path / "mine"


def test_folder_that_cannot_be_made_names_the_way_to_another(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with (
        pytest.raises(OSError, match="no folder .*file/cache .*ANNLIB_HOME"),
        alone(tmp_path / "file" / "cache" / "weights.pth"),
    ):
        pass
