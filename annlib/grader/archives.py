"""The files of a submission: a folder, a file, a zip or a tar, each with a function that reads it.

Nothing is unpacked, so no path can escape; no link is followed.
"""

import io
import os
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from contextlib import nullcontext, suppress
from functools import partial
from itertools import islice
from lzma import LZMAError
from pathlib import Path, PurePath

MOST_BYTES = 20 * 2**20  # of a notebook with its images; ten times as many of an unpacked tar
MOST_FILES, MOST_ARCHIVES = 2000, 5
ARCHIVES, OTHERS = (".zip", ".tar", ".tar.gz", ".tgz"), (".rar", ".7z", ".gz", ".xz", ".bz2")
# Browsers and systems save `A1.ipynb (1)` and `A1.ipynb.txt`, too.
NAME = re.compile(r"(?is)(.+?)(\.(?:ipynb|py|zip|tar|tar\.gz|tgz))( ?\(\d+\))?(?:\.txt|\.json)?")
# What systems leave in folders.
NO_SUBMISSION = re.compile(r"\._.*|\.DS_Store|__MACOSX|\.ipynb_checkpoints|Thumbs\.db|desktop\.ini")
DAMAGED = (zipfile.BadZipFile, tarfile.TarError, RuntimeError, EOFError, OSError, IndexError)
DAMAGED += (zlib.error, LZMAError)
Readers = dict[PurePath, Callable[[], bytes]]


class Unreadable(ValueError):
    """What was handed in is not a notebook; the message is for the student."""


def read(folder: Path, path: Path) -> bytes:
    """A file below the folder. Every part is opened without following links: none can be put there
    between looking and reading."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for part in path.relative_to(folder).parts:
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK  # the last, for a pipe
            inner = os.open(part, flags, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = inner
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError("not an ordinary file")
        if status.st_size > MOST_BYTES:
            raise Unreadable(f"It has {status.st_size / 2**20:,.0f} MiB: clear the outputs.")
        with os.fdopen(os.dup(descriptor), "rb") as file:
            return file.read(MOST_BYTES)
    except OSError as error:
        raise Unreadable("It is a link, or not an ordinary file: hand in the notebook.") from error
    finally:
        os.close(descriptor)


def kind_of(path: PurePath) -> str:
    """Its suffix in small letters, without what browsers and systems add."""
    named = NAME.fullmatch(path.name)
    return (named[2] if named else path.suffix).lower()


def packed(path: PurePath) -> bool:
    return any(kind_of(one) in ARCHIVES for one in path.parents)


def zip_of_tar(data: bytes) -> bytes:
    """The files of a tar as a zip; other bytes as they are."""
    if data.startswith(b"\x1f\x8b"):
        data = zlib.decompressobj(31).decompress(data, 10 * MOST_BYTES)
    if data[257:262] != b"ustar":
        return data
    made = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(data)) as tar, zipfile.ZipFile(made, "w") as archive:
        members = {one.name: one for one in islice(tar, MOST_FILES + 1) if not one.isdir()}
        size = sum(one.size for one in members.values())  # holes take no bytes in a tar
        if size > 10 * MOST_BYTES or not all(one.isfile() for one in members.values()):
            raise OSError("the tar has links, or is too large")
        for name, one in members.items():
            archive.writestr(name, tar.extractfile(one).read())
    return made.getvalue()


def opened_zip(data: bytes) -> Readers:
    """The files in a zip or tar, but for what systems leave there."""
    try:
        data = zip_of_tar(data)
        if data.count(b"PK\1\2") > MOST_FILES:
            raise Unreadable(f"The archive has more than {MOST_FILES} files.")
        held = zipfile.ZipFile(io.BytesIO(data)).infolist()
        entries = {PurePath(e.filename.replace("\\", "/")): e for e in held if not e.is_dir()}
    except DAMAGED as error:
        raise Unreadable(
            "The archive is damaged, has links or is too large: zip it again."
        ) from error
    outside = [name for name in entries if name.is_absolute() or ".." in name.parts]
    if outside or any(stat.S_ISLNK(entry.external_attr >> 16) for entry in entries.values()):
        raise Unreadable("The zip has links, or paths that lead out of it.")

    def read_entry(entry: zipfile.ZipInfo) -> bytes:
        """No longer than its header says or than a notebook may be."""
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive, archive.open(entry) as stream:
                found = stream.read(MOST_BYTES + 1)
        except DAMAGED as error:
            raise Unreadable("The zip is damaged, or locked by a password.") from error
        if len(found) > MOST_BYTES:
            raise Unreadable("The notebook in the zip is far too large: clear the outputs.")
        return found

    return {
        name: partial(read_entry, entry)
        for name, entry in entries.items()
        if not any(map(NO_SUBMISSION.fullmatch, name.parts))
    }


def opened(folder: Path, path: Path) -> tuple[Readers, list[str]]:
    """The ordinary files in it, each with a function that reads it; raises Unreadable. Also the
    names of the archives that were not opened: damaged ones beside a notebook, other kinds"""
    if path.is_dir() and not path.is_symlink():
        below = list(islice(path.rglob("*"), MOST_FILES + 1))
        if len(below) > MOST_FILES:
            raise Unreadable(f"It has more than {MOST_FILES} files: hand in the notebook alone.")
        files = [one for one in sorted(below) if one.is_file() and not one.is_symlink()]
        ours = [one for one in files if not any(map(NO_SUBMISSION.fullmatch, one.parts))]
        held = {one: partial(read, folder, one) for one in ours}
    else:
        held = {path: partial(read, folder, path)}
        if kind_of(path) in ARCHIVES:
            held = opened_zip(held[path]())
    found = any(kind_of(one) == ".ipynb" for one in held)
    for one in [one for one in held if kind_of(one) in ARCHIVES][:MOST_ARCHIVES]:
        with suppress(ValueError) if found else nullcontext():
            held |= {one / name: reader for name, reader in opened_zip(held[one]()).items()}
            del held[one]
    return held, [one.name for one in held if kind_of(one) in (*ARCHIVES, *OTHERS)]
