"""Prepares benchmarks: download what may be downloaded, unpack, verify."""

import os
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from gzip import BadGzipFile
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import NamedTuple

from PIL import Image

from annlib.data.check import evenly, inspect_all, list_split, summarise
from annlib.data.classes import BENCHMARKS, VOC12AUG
from annlib.data.datasets import check_values
from annlib.data.folders import (
    AUGMENTED,
    LISTS,
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


Report = Callable[[str, int, int | None], None]  # what is being done, how much so far, of how much


class Archive(NamedTuple):
    """A file to fetch and the folder that comes out of it. url "" where an account is needed."""

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
BY_HAND: dict[Benchmark, tuple[Archive, ...]] = {
    "cityscapes": (
        Archive("leftImg8bit_trainvaltest.zip", "leftImg8bit"),
        Archive("gtFine_trainvaltest.zip", "gtFine"),
    ),
    "ade20k": (Archive("ADEChallengeData2016.zip", "ADEChallengeData2016"),),
}
STEPS: dict[Benchmark, str] = {
    "cityscapes": """Cityscapes needs an account, so its archives are fetched by hand:
  1. Register at https://www.cityscapes-dataset.com/register/ with the address of a university or
     company, accept the terms, and wait for the confirmation.
  2. From https://www.cityscapes-dataset.com/downloads/ fetch into {root}:
       gtFine_trainvaltest.zip        241 MB
       leftImg8bit_trainvaltest.zip    11 GB
  3. Give this command again: it unpacks both and verifies every file's place. Afterwards there are
       {root}/leftImg8bit/{{train,val,test}}/CITY/*_leftImg8bit.png
       {root}/gtFine/{{train,val,test}}/CITY/*_gtFine_labelIds.png
     with 2975 pictures to train on and 500 to validate. labelTrainIds are not needed.""",
    "ade20k": """ADE20K comes under terms of use, so its archive is fetched by hand:
  1. Read the terms at http://sceneparsing.csail.mit.edu (the full ADE20K, which needs an account,
     has other files: what is meant is the Scene Parsing Benchmark of 2016).
  2. Fetch into {root}:
       http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip    0.9 GB
  3. Give this command again: it unpacks and verifies every file's place. Afterwards there are
       {root}/ADEChallengeData2016/images/{{training,validation}}/*.jpg
       {root}/ADEChallengeData2016/annotations/{{training,validation}}/*.png
     with 20210 pictures to train on and 2000 to validate.""",
}


def prepare(name: Benchmark, root: Path, report: Report) -> dict[str, int]:
    """Makes a benchmark ready below `root`, as far as it is not yet.  -> pictures in each half

    Can be interrupted and repeated: what is done is not done again. Raises FileNotFoundError with
    the steps to take where an account is needed, ValueError when what is there is not whole.
    """
    root.mkdir(parents=True, exist_ok=True)
    if name == "voc12aug":
        prepare_voc(root, report)
    else:
        unpack_what_lies_there(name, root, report)
    return verify(name, root)


def unpack_what_lies_there(name: Benchmark, root: Path, report: Report) -> None:
    """Raises FileNotFoundError with the steps to take for what is missing."""
    missing = []
    for archive in BY_HAND[name]:
        if not (root / archive.folder).exists() and (root / archive.file).is_file():
            unpack_here(archive, root, report)
        if not (root / archive.folder).exists():
            missing.append(archive.file)
    is_the_folder_itself = len(BY_HAND[name]) == 1 and locate(root, name) is not None
    if missing and not is_the_folder_itself:
        steps = STEPS[name].format(root=root)
        raise FileNotFoundError(f"{steps}\nNot there yet: {', '.join(missing)}")


def unpack_here(archive: Archive, root: Path, report: Report) -> None:
    def progress(done: int, total: int | None) -> None:
        report(f"unpacking {archive.file}", done, total)

    unpack(root / archive.file, root, archive.folder, progress)


def fetch(archive: Archive, root: Path, report: Report) -> None:
    """Downloads and unpacks, going on where it was interrupted."""
    download(archive.url, root / archive.file, f"md5:{archive.md5}")
    unpack_here(archive, root, report)


def prepare_voc(root: Path, report: Report) -> None:
    """VOC 2012, SBD, SegmentationClassAug/ and trainaug.txt"""
    if locate(root, "voc12aug") is not None and has_augmented(root):
        return
    need_scipy("Preparing VOC 2012 + aug")  # not only after 3.4 GB have come
    if locate(root, "voc12aug") is None:
        fetch(VOC, root, report)
    home = find_home(root, "voc12aug")
    if find_sbd(home) is None:
        fetch(SBD, root, report)
    write_augmented(home, find_sbd(home), report)


def has_augmented(root: Path) -> bool:
    """Whether there is an augmented list with all its labels as pictures."""
    home = find_home(root, "voc12aug")
    if not any((home / LISTS / name).is_file() for name in AUGMENTED):
        return False
    labels = find_pairs(root, VOC12AUG, "train").labels
    return all(path.suffix == ".png" and path.is_file() for path in labels)


def write_augmented(home: Path, sbd: Path, report: Report) -> None:
    """SegmentationClassAug/NAME.png for what SBD adds, and then the list trainaug.txt."""
    train = read_names(home / LISTS / "train.txt")
    added = sbd_names(sbd, without={*train, *read_names(home / LISTS / "val.txt")})
    folder = home / "SegmentationClassAug"
    folder.mkdir(exist_ok=True)
    for done, name in enumerate(added, 1):
        if not (folder / f"{name}.png").is_file():
            values = read_sbd(sbd / "cls" / f"{name}.mat")
            check_values(values, VOC12AUG, sbd / "cls" / f"{name}.mat")
            Image.fromarray(values.numpy()).save(folder / ".part", "PNG")
            os.replace(folder / ".part", folder / f"{name}.png")
        report("writing SegmentationClassAug", done, len(added))
    (home / LISTS / ".part").write_text("".join(f"{name}\n" for name in (*train, *added)))
    os.replace(home / LISTS / ".part", home / LISTS / "trainaug.txt")


def verify(name: Benchmark, root: Path, num_opened: int = 20) -> dict[str, int]:
    """Counts the pairs, sees that every file is there, and opens some.  -> pictures in each half

    Raises ValueError with the first problem and the number of others.
    """
    counts, problems = {}, []
    (spec,) = (spec for spec in BENCHMARKS if spec.name == name)
    for split in ("train", "val"):
        listing = list_split(root, spec, split)
        counts[split] = len(listing.pairs.images)
        chosen = evenly(counts[split], num_opened)
        summary = summarise(list(inspect_all(listing.pairs, chosen)), listing.pairs.spec)
        problems += [f"{split}: {p}" for p in (*listing.problems, *summary.problems)]
    if problems:
        raise ValueError(
            f"{name} in {root} is not whole ({len(problems)} problems). {problems[0]} "
            f"(All of them: annlib data check {name} {root}.) Delete what was unpacked only in "
            f"part, then: annlib data prepare {name} {root}"
        )
    return counts
