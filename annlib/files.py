"""Where the lessons and data of the project are; writes a file or a folder whole or not at all."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory

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
        raise OSError(
            error.errno,
            f"Could not write {path} ({len(content) / 2**20:.1f} MiB): {error.strerror}. {kept} "
            "Free some space or choose another folder, then try again.",
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextmanager
def all_or_nothing(folder: Path) -> Iterator[Path]:
    """A folder to fill that takes its name when all is written; FileExistsError if it is in use."""
    folder = Path(folder).absolute()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(
            f"{folder} is not an empty folder, and what is to be written would mix with what is in "
            "it: name a new folder, or empty this one."
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as temporary:
        partial = Path(temporary) / folder.name
        partial.mkdir()
        yield partial
        if folder.exists():
            folder.rmdir()  # empty: some systems rename onto nothing only
        partial.rename(folder)
