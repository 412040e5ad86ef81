"""A download ends with the whole file in place, or with no file there and a way to go on."""

import errno
import hashlib
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request

import pytest
from file_server import Files, closed_port, serving
from full_disk import disk_with_room_for
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from annlib import download as download_module
from annlib.download import SafeRedirects, check_hash, download, home

CONTENT = bytes(range(256)) * 40  # 10 KiB
SHA256 = f"sha256:{hashlib.sha256(CONTENT).hexdigest()[:8]}"
MD5 = f"md5:{hashlib.md5(CONTENT).hexdigest()}"


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download_module, "CHUNK", 1000)
    monkeypatch.setattr(download_module, "WAITS", (0.0, 0.0))
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
    """What is in the folder of the download."""
    return sorted(other.name for other in path.parent.iterdir() if other.suffix != ".lock")


@pytest.mark.parametrize("expected", [SHA256, MD5])
def test_file_arrives_whole_and_alone(files: Files, path: Path, expected: str) -> None:
    assert download(f"{files.url}/a.bin", path, expected) == path
    assert path.read_bytes() == CONTENT
    assert [p.name for p in path.parent.iterdir()] == ["a.bin"]
    assert files.agents == ["annlib"]


def test_bar_shows_how_much_has_come(
    files: Files, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    download(f"{files.url}/a.bin", path, SHA256)
    assert "a.bin: 100%" in capsys.readouterr().err
    download(f"{files.url}/a.bin", path, SHA256)  # what is here already needs no bar
    assert capsys.readouterr().err == ""


def test_file_that_is_there_is_not_asked_for_and_its_folder_not_written(
    files: Files, path: Path
) -> None:
    download(f"{files.url}/a.bin", path, SHA256)
    path.parent.chmod(0o500)
    assert download(f"{files.url}/a.bin", path, SHA256) == path
    path.parent.chmod(0o700)
    assert len(files.asked) == 1


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.integers(1, len(CONTENT)), max_size=3))
def test_dropped_connections_lose_and_repeat_no_byte(
    tmp_path_factory: pytest.TempPathFactory, drops: list[int]
) -> None:
    path = tmp_path_factory.mktemp("drops") / "a.bin"
    with serving(Files({"/a.bin": CONTENT}, drop_after=list(drops))) as files:
        download(f"{files.url}/a.bin", path, SHA256)
    came, asked = 0, [None]
    for drop in drops:
        if came + drop >= len(CONTENT):
            break
        came += drop
        asked.append(f"bytes={came}-")
    assert (path.read_bytes(), files.asked) == (CONTENT, asked)


def test_length_unknown_to_the_server_does_not_matter(files: Files, path: Path) -> None:
    files.length = False
    assert download(f"{files.url}/a.bin", path, SHA256).read_bytes() == CONTENT


def test_download_goes_on_where_the_last_one_ended(
    files: Files, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download_module, "WAITS", ())
    files.drop_after = [3000, 1500, 0]
    with pytest.raises(ConnectionError, match="after 4500 of 10240 bytes.*same command resumes it"):
        download(f"{files.url}/a.bin", path, SHA256)
    assert names(path) == ["a.bin.part"]
    download(f"{files.url}/a.bin", path, SHA256)
    assert files.asked[-1] == "bytes=4500-"
    assert (path.read_bytes(), names(path)) == (CONTENT, ["a.bin"])


def test_server_without_ranges_sends_all_of_it_again(files: Files, path: Path) -> None:
    files.ranges, files.drop_after = False, [3000]
    download(f"{files.url}/a.bin", path, SHA256)
    assert (path.read_bytes(), files.asked) == (CONTENT, [None, "bytes=3000-"])


@pytest.mark.parametrize(
    "part", [CONTENT[1:3001], CONTENT + b"more"], ids=["another version", "too long"]
)
def test_part_that_does_not_fit_is_given_up(files: Files, path: Path, part: bytes) -> None:
    path.parent.mkdir()
    path.with_name("a.bin.part").write_bytes(part)
    with pytest.raises(ValueError, match="damaged or another file"):
        download(f"{files.url}/a.bin", path, SHA256)
    assert names(path) == []
    download(f"{files.url}/a.bin", path, SHA256)
    assert path.read_bytes() == CONTENT


def test_bytes_from_another_place_are_not_taken_for_the_file(files: Files, path: Path) -> None:
    files.wrong_range, files.drop_after = True, [3000]
    with pytest.raises(ValueError, match="damaged or another file"):
        download(f"{files.url}/a.bin", path, SHA256)
    assert names(path) == []


def test_part_that_is_whole_only_has_to_be_named(files: Files, path: Path) -> None:
    path.parent.mkdir()
    path.with_name("a.bin.part").write_bytes(CONTENT)
    download(f"{files.url}/a.bin", path, SHA256)
    assert (path.read_bytes(), files.asked) == (CONTENT, [f"bytes={len(CONTENT)}-"])


@pytest.mark.parametrize(
    ("content_type", "content"),
    [("text/html; charset=utf-8", b"Please log in"), ("application/zip", b"\n<!DOCTYPE html><p>")],
)
def test_web_page_is_refused_and_harms_no_part(
    files: Files, path: Path, content_type: str, content: bytes
) -> None:
    path.parent.mkdir()
    path.with_name("a.bin.part").write_bytes(CONTENT[:3])
    files.content["/a.bin"], files.content_type, files.ranges = content, content_type, False
    with pytest.raises(ConnectionError, match="a web page came .*login page or a proxy") as error:
        download(f"{files.url}/a.bin", path, SHA256)
    assert f"put it at {path}" in str(error.value)
    assert path.with_name("a.bin.part").read_bytes() == CONTENT[:3]


@pytest.mark.parametrize(
    ("status", "told"),
    [(404, "404: Not Found"), (403, "403: Forbidden"), (503, "503: Service Unavailable")],
)
def test_refusal_says_what_from_where_and_what_to_do(
    files: Files, path: Path, status: int, told: str
) -> None:
    files.status = status
    with pytest.raises(ConnectionError, match=f"a.bin could not be fetched from .*{told}") as error:
        download(f"{files.url}/a.bin", path, SHA256)
    assert f"{files.url}/a.bin" in str(error.value) and f"put it at {path}" in str(error.value)


@pytest.mark.parametrize(("status", "tries"), [(503, 3), (429, 3), (404, 1)])
def test_busy_server_is_asked_again_a_few_times(
    files: Files, path: Path, status: int, tries: int
) -> None:
    files.status = status
    with pytest.raises(ConnectionError):
        download(f"{files.url}/a.bin", path, SHA256)
    assert len(files.asked) == tries


def test_file_system_without_locks_is_no_obstacle(
    files: Files, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(lock: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(download_module.FileLock, "acquire", refuse)
    assert download(f"{files.url}/a.bin", path, SHA256).read_bytes() == CONTENT


def test_folder_that_cannot_be_made_names_the_way_to_another(files: Files, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="set ANNLIB_HOME to a folder"):
        download(f"{files.url}/a.bin", tmp_path / "file/below/a.bin", SHA256)


@pytest.mark.parametrize("expected", [SHA256[:-1] + "x", "md5:" + "0" * 32])
def test_wrong_hash_leaves_no_file_in_place(files: Files, path: Path, expected: str) -> None:
    actual = SHA256[-8:] if expected.startswith("sha256") else MD5[4:]
    with pytest.raises(
        ValueError, match=f"begins with {actual}, not with {expected[-8:]}|{actual}"
    ):
        download(f"{files.url}/a.bin", path, expected)
    assert names(path) == []


def test_damaged_file_that_was_there_is_refused_and_left_alone(files: Files, path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"mine")
    with pytest.raises(
        ValueError, match="a.bin is damaged or another file: .* Delete it and fetch"
    ):
        download(f"{files.url}/a.bin", path, SHA256)
    assert (path.read_bytes(), files.asked) == (b"mine", [])


def test_hash_is_that_of_the_standard(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()  # of no bytes, as FIPS 180-4 and RFC 1321 have it
    assert check_hash(tmp_path / "empty", "sha256:e3b0").startswith("e3b0c44298fc1c14")
    assert check_hash(tmp_path / "empty", "md5:") == "d41d8cd98f00b204e9800998ecf8427e"


@pytest.mark.parametrize("host", ["127.0.0.1", "nowhere.invalid"])
def test_offline_says_what_from_where_and_where_to_put_it(path: Path, host: str) -> None:
    url = f"http://{host}:{closed_port()}/a.bin"
    with pytest.raises(ConnectionError, match=f"a.bin could not be fetched from {url}") as e:
        download(url, path, SHA256)
    assert f"on another machine, put it at {path}" in str(e.value)


def test_server_that_says_nothing_is_given_up(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download_module, "TIMEOUT", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/a.bin"
        with pytest.raises(ConnectionError, match="timed out"):
            download(url, path, SHA256)


def test_redirect_that_drops_the_encryption_is_refused() -> None:
    handler = SafeRedirects()
    after = "https://b/a.bin"
    assert (
        handler.redirect_request(Request("https://a"), None, 302, "", {}, after).full_url == after
    )
    with pytest.raises(URLError, match="redirects to http://b/a.bin, which is not encrypted"):
        handler.redirect_request(Request("https://a"), None, 302, "", {}, "http://b/a.bin")


@pytest.mark.parametrize("room", [4321, len(CONTENT) - 1])
def test_full_disk_keeps_what_came_and_goes_on(files: Files, path: Path, room: int) -> None:
    with (
        disk_with_room_for(room),
        pytest.raises(OSError, match="File too large: .*part. Free") as e,
    ):
        download(f"{files.url}/a.bin", path, SHA256)
    assert (e.value.errno, len(files.asked)) == (errno.EFBIG, 1)
    kept = path.with_name("a.bin.part").read_bytes()
    assert kept == CONTENT[: len(kept)] and len(kept) >= room - 1000
    download(f"{files.url}/a.bin", path, SHA256)
    assert (path.read_bytes(), files.asked) == (CONTENT, [None, f"bytes={len(kept)}-"])


def test_processes_that_want_the_same_file_fetch_it_once(files: Files, path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: download(f"{files.url}/a.bin", path, SHA256), range(4)))
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
