"""Downloads a file: resumed after a break, checked by its hash, in place only when whole."""

import errno
import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from ssl import SSLError
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, Request, build_opener

from filelock import FileLock
from tqdm import tqdm

TIMEOUT = 30.0  # seconds without a byte until a connection counts as dropped
CHUNK = 2**18  # bytes
WAITS = (1.0, 2.0, 4.0, 8.0)  # seconds before the tries that follow one without progress
BUSY = (429, 500, 502, 503, 504)  # answers of a server that may answer better later
NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)  # some network drives
NETWORK = (URLError, ConnectionError, TimeoutError, SSLError, HTTPException)


def home() -> Path:
    """Where fetched files are kept: $ANNLIB_HOME, or the folder annlib in the user's cache."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.environ.get("ANNLIB_HOME") or f"{cache}/annlib").expanduser()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Inside, no other process makes the same file: torchrun starts several together."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        hint = f"{error.strerror}. Downloads may lie elsewhere: set ANNLIB_HOME to a folder"
        raise type(error)(error.errno, hint, str(path.parent)) from error
    lock = FileLock(f"{path}.lock")
    try:
        lock.acquire()
    except (OSError, NotImplementedError) as error:
        if getattr(error, "errno", errno.ENOSYS) not in NO_LOCKS:
            raise
        yield  # the hash still tells whether the file is whole
        return
    with lock:
        yield
        Path(f"{path}.lock").unlink(missing_ok=True)  # not after an error: others may wait for it


def check_hash(path: Path, expected: str) -> str:
    """The hash of a file, which begins as expected ("sha256:2cccc1ad"), else ValueError."""
    algorithm, _, start = expected.partition(":")
    with path.open("rb") as file:
        actual = hashlib.file_digest(file, algorithm).hexdigest()
    if not actual.startswith(start):
        raise ValueError(
            f"{path} is damaged or another file: its {algorithm} begins with "
            f"{actual[: len(start)]}, not with {start}. Delete it and fetch it again."
        )
    return actual


class SafeRedirects(HTTPRedirectHandler):
    def redirect_request(self, request, file, code, message, headers, url):
        if request.type == "https" and not url.startswith("https:"):
            raise URLError(f"it redirects to {url}, which is not encrypted")
        return super().redirect_request(request, file, code, message, headers, url)


def fetch(url: str, part: Path, start: int) -> None:
    """Appends to the `start` bytes in `part` what one connection brings."""
    headers = {"User-Agent": "annlib"}  # some servers refuse Python's own name
    request = Request(url, headers=headers | ({"Range": f"bytes={start}-"} if start else {}))
    with build_opener(SafeRedirects).open(request, timeout=TIMEOUT) as response:

        def read() -> bytes:
            try:
                return response.read1(CHUNK)  # what is there, although the rest may stall
            except OSError as error:  # no route to the host, say: of the network, not of the disk
                raise ConnectionError(str(error)) from error

        sent, chunk = response.headers, read()
        if not (sent["Content-Range"] or "").startswith(f"bytes {start}-"):
            start = 0  # a server without ranges sends all of it
        total = start + int(told) if (told := sent["Content-Length"] or "").isdecimal() else None
        is_page = start == 0 and chunk.lstrip()[:9].lower().startswith((b"<!doctype", b"<html"))
        if is_page or sent.get_content_type() == "text/html":
            raise URLError("a web page came instead of the file, from a login page or a proxy")
        with (
            part.open("ab" if start else "wb") as file,
            tqdm(desc=part.stem, total=total, initial=start, unit="B", unit_scale=True) as bar,
        ):
            while chunk:
                bar.update(file.write(chunk))
                chunk = read()
    if total and (size := part.stat().st_size) < total:
        raise ConnectionError(f"the connection dropped after {size} of {total} bytes")


def download(url: str, path: Path, expected: str | None) -> Path:
    """The file of that address at `path`, fetched with a progress bar if it is not there yet.

    expected: see `check_hash`; None for a file that is packed again for each request, whose content
    the caller verifies. What came before a break is kept in `path` + ".part" and resumed. Raises
    ConnectionError with a way to go on, OSError for a full disk, ValueError for another hash.
    """
    if path.exists():
        if expected:
            check_hash(path, expected)
        return path
    part, waits = path.with_name(f"{path.name}.part"), iter(WAITS)
    with locked(path):
        while not path.exists():  # or another process was faster
            before = part.stat().st_size if part.exists() else 0
            try:
                fetch(url, part, before)
            except NETWORK as error:
                code = getattr(error, "code", None)
                if isinstance(error, HTTPError):
                    error.close()
                if part.exists() and part.stat().st_size > before:
                    waits = iter(WAITS)
                    continue  # the connection dropped, but brought something
                is_passing = code in BUSY or isinstance(error, (ConnectionError, TimeoutError))
                if is_passing and (wait := next(waits, None)) is not None:
                    time.sleep(wait)
                    continue
                if code != 416:  # the part is whole: its hash tells
                    raise ConnectionError(
                        f"{path.name} could not be fetched from {url}: {error}. What came so far "
                        "is kept, and the same command resumes it. Or fetch the file on another "
                        f"machine, put it at {path}, and give the same command."
                    ) from error
            except OSError as error:
                text = f"{error.strerror}: {part}. Free some space; what came is kept."
                raise OSError(error.errno, text) from error
            try:
                if expected:
                    check_hash(part, expected)
            except ValueError as error:
                part.unlink()
                raise ValueError(f"{error} (What came was deleted.)") from None
            os.replace(part, path)
    return path
