"""Archives -> folders: all at once or not at all, and never outside the folder meant."""

import os
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from gzip import BadGzipFile
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

Progress = Callable[[int, int | None], None]  # bytes so far, bytes in all


def unpack(archive: Path, root: Path, folder: str, progress: Progress) -> None:
    """Puts `folder` of a zip or tar archive at root/folder, once all of it is there.

    Raises ValueError for an archive that is damaged, holds no such folder, or reaches outside;
    OSError when the disk is full (then nothing is left behind) or the folder is there already.
    """
    target = root / folder
    if target.exists():
        raise FileExistsError(
            f"{target} is there already, but not all of what {archive.name} puts there: delete it "
            "(or move it away), then give the same command."
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with TemporaryDirectory(dir=root, prefix=".unpacking-") as temporary:
            extract = extract_zip if archive.suffix == ".zip" else extract_tar
            extract(archive, Path(temporary), progress)
            if not (Path(temporary) / folder).is_dir():
                raise ValueError(f"{archive} holds no folder {folder}: it is another archive.")
            os.replace(Path(temporary) / folder, target)
    except (tarfile.TarError, zipfile.BadZipFile, BadGzipFile, EOFError, zlib.error) as error:
        reason = str(error).partition("\n")[0].rstrip(":")  # tarfile tells all that it has tried
        raise ValueError(
            f"{archive} cannot be unpacked ({reason}). It may be cut off or another file: delete "
            "it, fetch it again, and give the same command."
        ) from error
    except OSError as error:
        raise OSError(
            error.errno,
            f"{archive} could not be unpacked into {root} ({error.strerror or error}); what there "
            "was of it is removed. Make room, then give the same command.",
        ) from error


def extract_tar(archive: Path, folder: Path, progress: Progress) -> None:
    total = archive.stat().st_size
    with archive.open("rb") as file, tarfile.open(fileobj=file) as tar:
        for member in tar:
            tar.extract(member, folder, filter="data")  # refuses paths and links that lead outside
            progress(file.tell(), total)
    progress(total, total)  # after the last member, an archive may be filled up


def extract_zip(archive: Path, folder: Path, progress: Progress) -> None:
    with zipfile.ZipFile(archive) as zipped:
        members = zipped.infolist()
        done, total = 0, sum(member.file_size for member in members)
        for member in members:
            path = PurePosixPath(member.filename.replace("\\", "/"))
            if path.is_absolute() or ".." in path.parts:
                raise ValueError(f"{archive} holds {member.filename}, which leads outside: unsafe.")
            zipped.extract(member, folder)
            done += member.file_size
            progress(done, total)
