"""Large files from the network: resumed after a break, checked, and in place only when whole."""

import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.error import URLError

from annlib.transfer import Progress, Wanted, fetch

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
