"""Where the lessons and data of the project are; writes a file or a folder whole or not at all."""

import errno
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON. Raises ValueError for a key that comes twice."""
    if len(found := dict(pairs)) < len(pairs):
        raise ValueError(f"one of its keys {', '.join(found)} comes twice")
    return found


def read_json(path: Path) -> Any:
    """The content of a JSON file; ValueError for damage, and a key that comes twice."""
    try:
        return json.loads(path.read_bytes(), object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        said = f"{path} is not JSON: {error}. (A frequent cause: a comma after the last entry.)"
        raise ValueError(said) from error


def message_of(error: Exception) -> str:
    """The text of an error, without a KeyError's quotes and an OSError's number."""
    if isinstance(error, KeyError):
        return str(error.args[0])
    if isinstance(error, OSError) and error.strerror:
        folder = ". A file belongs there: move this folder away" * (error.errno == errno.EISDIR)
        return f"{error.filename}: {error.strerror}{folder}" if error.filename else error.strerror
    if isinstance(error, ModuleNotFoundError):
        package = error.name.partition(".")[0]
        return f"{package} is not installed, but needed here: pip install -e '.[course]'"
    return str(error)


def need(package: str, what: str, remedy: str) -> ModuleType:
    """An optional package. Raises ValueError where it is missing.  what: it is, and is for"""
    try:
        return import_module(package)
    except ModuleNotFoundError as error:
        raise ValueError(f"{what} is not installed: {remedy}") from error


def first_bytes(path: Path) -> bytes:
    """At most 300 of them; none where there is no file."""
    if not path.is_file():
        return b""
    with path.open("rb") as file:
        return file.read(300)


def what_came_instead(start: bytes) -> str:
    """A sentence on the file whose first bytes these are, if it is a stand-in for another one."""
    if start.startswith(b"version https://git-lfs"):
        return " It is a Git LFS pointer, not the file itself: get that by `git lfs pull`."
    if start.lstrip(b"\xef\xbb\xbf \t\r\n")[:9].lower().startswith((b"<!doctype", b"<html")):
        return " It is a web page, such as of a login or an error: download the file itself."
    if start.startswith(b"PK") and b".xml" in start:
        return " It is a workbook (.xlsx): save it as CSV."
    if start.startswith(b"PK") and b".npy" in start:
        return " It holds numpy arrays (.npz)."
    if start[4:8] == b"ftyp" and start[8:11] in (b"hei", b"hev", b"mif"):
        return " It is a photo in Apple's format HEIC: save it as JPEG or PNG."
    if start.startswith(b"\x89HDF"):
        return " It is an HDF5 file (.h5), such as of Keras."
    return ""


PACKAGE = Path(str(files("annlib")))
# Holds data/ and notebooks/: a checkout, or their copy in an installed wheel.
PROJECT = PACKAGE / "project" if (PACKAGE / "project").is_dir() else PACKAGE.parent
IS_CHECKOUT = PACKAGE.parent == PROJECT


def in_project(path: Path) -> Path:
    """The path itself if it exists, else that of the project's file, if that exists."""
    return path if path.exists() or not (PROJECT / path).exists() else PROJECT / path


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a whole new file over an older one, which stays if it cannot be written (OSError)."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        kept = "The older file there is untouched." if path.exists() else "Nothing was written."
        said = f"Could not write {path} ({len(content) / 2**20:.1f} MiB): {error.strerror}. {kept}"
        said += " Free some space or choose another folder, then try again."
        raise OSError(error.errno, said) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextmanager
def all_or_nothing(folder: Path) -> Iterator[Path]:
    """A folder to fill that takes its name when all is written; FileExistsError if it is in use."""
    folder = Path(folder).absolute()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{folder} is not an empty folder: name a new one, or empty it.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as temporary:
        partial = Path(temporary) / folder.name
        partial.mkdir()
        yield partial
        if folder.exists():
            folder.rmdir()  # empty: some systems rename onto nothing only
        partial.rename(folder)
