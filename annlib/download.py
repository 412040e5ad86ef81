"""Downloads large files: resumed after a break, checked by hash, in place only when whole."""

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import BinaryIO, NamedTuple
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

Progress = Callable[[int, int | None], None]  # bytes so far, bytes in all if the server says so
TIMEOUT = 30.0  # seconds without a byte until a connection counts as dropped
CHUNK = 2**18
MIB = 2**20


class Wanted(NamedTuple):
    """A file, where it comes from, and what lies beside it meanwhile."""

    url: str
    path: Path

    def beside(self, ending: str) -> Path:
        """.part: what came so far. .tag: which version that is of. .bad: had a wrong checksum."""
        return self.path.with_name(self.path.name + ending)

    @property
    def by_hand(self) -> str:
        return (
            f"Where there is no way to the server: fetch {self.url} on another machine, put the "
            f"file at {self.path}, and try again."
        )

    def resumable_at(self) -> int:
        """How many bytes are here of a version that the server can be asked about."""
        part, tag = self.beside(".part"), self.beside(".tag")
        known = part.exists() and tag.exists() and tag.read_text(encoding="utf-8")
        return part.stat().st_size if known else 0


def fetch(wanted: Wanted, progress: Progress) -> None:
    """Brings the part as far as this connection goes.

    Raises ConnectionError when it breaks off, and another attempt is worth it; URLError when there
    is none; FileNotFoundError or PermissionError as the server answers; OSError for a full disk;
    ValueError for a web page.
    """
    start = wanted.resumable_at()
    response = ask(wanted, start)
    if response is None:
        return
    with response:
        start = offset(response, wanted, start)
        length = response.headers["Content-Length"]
        total = start + int(length) if length else None
        chunk = read_some(response)
        refuse_page(response, chunk if start == 0 else b"", wanted)
        if start == 0:
            keep_version(response, wanted)
        done = append(response, chunk, start, total, wanted, progress)
    if total is not None and done < total:
        raise ConnectionError(f"the connection was dropped after {done} of {total} bytes")


def ask(wanted: Wanted, start: int) -> HTTPResponse | None:
    """Opens the file at byte `start`, if it is still the same. None: nothing comes after that."""
    headers = {"User-Agent": "annlib"}  # some servers turn Python's own name away
    if start:
        version = wanted.beside(".tag").read_text(encoding="utf-8")
        headers |= {"Range": f"bytes={start}-", "If-Range": version}
    try:
        return urlopen(Request(wanted.url, headers=headers), timeout=TIMEOUT)
    except HTTPError as error:
        with error:
            if error.code == 416 and error.headers["Content-Range"] == f"bytes */{start}":
                return None
            raise refusal(error, wanted) from error
    except URLError:
        raise  # nobody answers at all
    except (OSError, HTTPException) as error:
        raise ConnectionError(f"no answer ({error})") from error


def refusal(error: HTTPError, wanted: Wanted) -> OSError:
    """What a status code means."""
    said = f"{wanted.url}: the server says {error.code} {error.reason}"
    if error.code == 416:
        return misfit(wanted)
    if error.code >= 500 or error.code == 429:
        return ConnectionError(said)
    if error.code in (404, 410):
        return FileNotFoundError(f"{said}. The file may have moved. {wanted.by_hand}")
    return PermissionError(f"{said}. {wanted.by_hand}")


def misfit(wanted: Wanted) -> ConnectionError:
    """The part is given up; the next attempt begins anew."""
    wanted.beside(".part").unlink()
    return ConnectionError("what was here does not fit what is there")


def offset(response: HTTPResponse, wanted: Wanted, start: int) -> int:
    """Where the bytes that come belong: 0 if the file has changed, or the server has no ranges."""
    if response.status != 206:
        return 0
    if not (response.headers["Content-Range"] or "").startswith(f"bytes {start}-"):
        raise misfit(wanted)
    return start


def read_some(response: HTTPResponse) -> bytes:
    try:
        return response.read(CHUNK)
    except (OSError, HTTPException) as error:
        raise ConnectionError(f"the connection was dropped ({error})") from error


def refuse_page(response: HTTPResponse, first: bytes, wanted: Wanted) -> None:
    """Raises ValueError for a web page, which no file that we want is."""
    begins_as_page = first.lstrip()[:9].lower().startswith((b"<!doctype", b"<html"))
    if begins_as_page or response.headers.get_content_type() == "text/html":
        raise ValueError(
            f"{wanted.url} should be the file {wanted.path.name}, but a web page came: a login "
            f"page or a proxy answered. Open the address in a browser to see what it asks for. "
            f"{wanted.by_hand}"
        )


def keep_version(response: HTTPResponse, wanted: Wanted) -> None:
    """Notes which version of the file a new part is of; without a note it is not resumed."""
    version = response.headers["ETag"] or ""
    if not version.startswith('"'):  # a weak one promises no equal bytes
        version = response.headers["Last-Modified"] or ""
    wanted.beside(".tag").write_text(version, encoding="utf-8")


def append(
    response: HTTPResponse,
    chunk: bytes,
    done: int,
    total: int | None,
    wanted: Wanted,
    progress: Progress,
) -> int:
    """Writes `chunk` and all that follows it behind `done` bytes.  -> bytes there are now"""
    with wanted.beside(".part").open("ab" if done else "wb", buffering=0) as file:
        while chunk:
            write_all(file, chunk, total, wanted)
            done += len(chunk)
            progress(done, total)
            chunk = read_some(response)
        os.fsync(file.fileno())
    return done


def write_all(file: BinaryIO, chunk: bytes, total: int | None, wanted: Wanted) -> None:
    """Raises OSError when the disk is full, say; what was written before is kept."""
    rest = memoryview(chunk)
    try:
        while rest:
            rest = rest[file.write(rest) :]
    except OSError as error:
        whole = f"; the whole file has {total / MIB:.1f} MiB" if total else ""
        raise OSError(
            error.errno,
            f"Could not write {wanted.beside('.part')}: {error.strerror}. The "
            f"{file.tell() / MIB:.1f} MiB that came are kept{whole}. Free some space there, try "
            "again, and the download goes on from where it was.",
        ) from error


try:
    import fcntl
except ImportError:  # Windows: there, do not fetch one file from two processes at once
    fcntl = None

WAITS = (1.0, 2.0, 4.0, 8.0)  # seconds before each new attempt


def home() -> Path:
    """Where fetched files are kept: $ANNLIB_HOME, or the folder annlib in the user's cache."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.environ.get("ANNLIB_HOME") or f"{cache}/annlib").expanduser()


def download(
    url: str,
    path: Path,
    sha256_start: str = "",
    md5: str = "",
    progress: Progress | None = None,
) -> Path:
    """The file of that address at `path`, fetched if it is not there yet.

    sha256_start, md5: how the checksum begins, in hexadecimal digits. What came of an interrupted
    download is kept in `path` + ".part", and the next call goes on from there. Raises
    ConnectionError without a network, FileNotFoundError or PermissionError as the server answers,
    OSError for a full disk, ValueError for a web page instead of a file, or a wrong checksum.
    """
    wanted = Wanted(url, Path(path))
    if wanted.path.exists():
        refuse_wrong(wanted.path, wanted, sha256_start, md5)
        return wanted.path
    with alone(wanted.path):
        if not wanted.path.exists():  # or another process was faster
            fetch_patiently(wanted, progress or ignore)
            part = wanted.beside(".part")
            refuse_wrong(part, wanted, sha256_start, md5)
            os.replace(part, wanted.path)
            wanted.beside(".tag").unlink(missing_ok=True)
    return wanted.path


def ignore(done: int, total: int | None) -> None:
    pass


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Inside, no other process makes the same file: torchrun starts several at once."""
    make_folder(path.parent)
    lock = path.with_name(path.name + ".lock")
    with lock.open("w") as file:
        if fcntl:
            with suppress(OSError):  # a file system without locks: the checksum remains
                fcntl.flock(file, fcntl.LOCK_EX)
        yield
    lock.unlink(missing_ok=True)  # not after an error: others may wait for it


def make_folder(folder: Path) -> None:
    """With all above it. Raises OSError that says how to choose another for the cache."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(
            error.errno,
            f"There can be no folder {folder} for what is fetched: {error.strerror}. The cache may "
            "lie elsewhere: set ANNLIB_HOME to a folder that can be written.",
        ) from error


def fetch_patiently(wanted: Wanted, progress: Progress) -> None:
    """Goes on after a dropped connection, a few times. Raises ConnectionError after the last."""
    for attempt, wait in enumerate((*WAITS, None)):
        try:
            return fetch(wanted, progress)
        except (ConnectionError, URLError) as error:
            nobody_there = attempt == 0 and isinstance(error, URLError)
            if nobody_there or wait is None:
                raise given_up(wanted, error) from error
        time.sleep(wait)


def given_up(wanted: Wanted, error: ConnectionError | URLError) -> ConnectionError:
    reason = f"no connection ({error.reason})" if isinstance(error, URLError) else str(error)
    part, kept = wanted.beside(".part"), ""
    if part.exists():
        kept = f"What came is kept in {part}, and the next attempt goes on from there. "
    return ConnectionError(
        f"{wanted.path.name} could not be fetched from {wanted.url}: {reason}. {kept}"
        f"{wanted.by_hand}"
    )


def refuse_wrong(found: Path, wanted: Wanted, sha256_start: str, md5: str) -> None:
    """Raises ValueError for a file with another checksum, and moves it aside."""
    for kind, expected in (("SHA-256", sha256_start), ("MD5", md5)):
        actual = checksum(found, kind) if expected else ""
        if not actual.startswith(expected.lower()):
            bad = wanted.beside(".bad")
            os.replace(found, bad)
            raise ValueError(
                f"{wanted.path.name} is not the file it should be: its {kind} begins with "
                f"{actual[: len(expected)]}, expected was {expected}. It was damaged on the way, "
                f"or is another file. It lies in {bad} now, where nothing uses it. Try again to "
                "fetch it anew; if this repeats, from another network."
            )


def checksum(path: Path, kind: str) -> str:
    """kind: SHA-256 or MD5.  -> hexadecimal digits"""
    with path.open("rb") as file:
        return hashlib.file_digest(file, kind.replace("-", "").lower()).hexdigest()
