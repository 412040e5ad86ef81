"""Opens what one student handed in, a file, a folder or a zip: names, and a way to read each.

Nothing is unpacked, so no path can escape; no link is followed.
"""

import lzma
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

MOST_BYTES = 20 * 2**20  # of a notebook, pictures and all
Readers = dict[Path, Callable[[], bytes]]
DAMAGED = (
    *(zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError),
    *(zlib.error, lzma.LZMAError),
)


class Unreadable(ValueError):
    """What was handed in is no notebook; the message is for the student."""


def opened(path: Path) -> Readers:
    """The ordinary files in it, each with a function that reads it; raises Unreadable."""
    mode = path.lstat().st_mode
    if stat.S_ISDIR(mode):
        return {one: partial(read, one) for one in files_below(path)}
    if not stat.S_ISREG(mode):
        raise Unreadable("It is a link or no ordinary file. Hand in the notebook itself.")
    return opened_zip(path) if path.suffix.lower() == ".zip" else {path: partial(read, path)}


def files_below(folder: Path) -> Iterator[Path]:
    """Ordinary files, without following links out of the folder."""
    for path in sorted(folder.rglob("*")):
        inside = (part for part in (path, *path.parents) if part.is_relative_to(folder))
        linked = any(part.is_symlink() for part in inside)
        if not linked and path.is_file() and ".ipynb_checkpoints" not in path.parts:
            yield path


def read(path: Path) -> bytes:
    if path.stat().st_size > MOST_BYTES:
        raise Unreadable(f"It has {path.stat().st_size / 2**20:,.0f} MiB: clear the outputs.")
    return path.read_bytes()


def opened_zip(path: Path) -> Readers:
    """The files in a zip, but for further zips and what macOS adds."""
    if path.stat().st_size > MOST_BYTES:
        raise Unreadable(f"It has {path.stat().st_size / 2**20:,.0f} MiB: clear the outputs.")
    try:
        with zipfile.ZipFile(path) as archive:
            entries = {Path(e.filename): e for e in archive.infolist() if not e.is_dir()}
    except (zipfile.BadZipFile, NotImplementedError, EOFError, IndexError) as error:
        raise Unreadable("The zip is damaged.") from error
    outside = [name for name in entries if name.is_absolute() or ".." in name.parts]
    if outside or any(stat.S_ISLNK(entry.external_attr >> 16) for entry in entries.values()):
        raise Unreadable("The zip has links, or paths that lead out of it.")
    return {
        name: partial(read_from_zip, path, entry)
        for name, entry in entries.items()
        if not name.name.startswith("._") and name.suffix.lower() != ".zip"
    }


def read_from_zip(path: Path, entry: zipfile.ZipInfo) -> bytes:
    """An entry, no longer than its header says or than a notebook may be."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open(entry) as stream:
            data = stream.read(MOST_BYTES + 1)
    except DAMAGED as error:
        raise Unreadable("The zip is damaged, or locked by a password.") from error
    if len(data) > MOST_BYTES:
        raise Unreadable("The notebook in the zip is far too large: clear the outputs.")
    return data
