"""annlib data: checks, prepares and imitates data sets, and renders scenes of Balloon Town."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from annlib.cli.common import at_least_one, escape_letters


@dataclass(frozen=True)
class Check:
    """Check a data set: counts, every pair, label values, classes; draw a contact sheet.

    All problems are listed; exit code 1 if there is one.
    """

    name: Positional[Literal["cityscapes", "ade20k", "voc12aug", "camvid", "folder"]]
    """`folder` is one of your own, with a classes.txt."""
    root: Positional[Path]  # Its folder.
    out: Path = Path("check")  # Folder for the contact sheets.
    sample: int | None = None  # Open only so many pairs of each split, evenly spaced.

    def run(self) -> None:
        from tqdm import tqdm

        from annlib.data import check
        from annlib.data.annotations import recognise
        from annlib.data.datasets import is_one_part, spec_of
        from annlib.data.folders import locate

        escape_letters()  # names of files in another encoding
        at_least_one("--sample", 1 if self.sample is None else self.sample)
        try:
            spec = spec_of("folder", self.root, None if self.name == "folder" else self.name)
            if self.name == "folder" and locate(self.root, "folder") is None:
                raise FileNotFoundError(f"{self.root} holds neither train/images nor images.")
        except FileNotFoundError as error:
            found, hint = recognise(self.root) if self.root.is_dir() else None, ""
            if found and found.samples:
                hint = f" It holds {found.form}: see `annlib data convert {self.root} NEW_FOLDER`."
            raise FileNotFoundError(f"{error}{hint}") from error
        whole = spec.layout == "folder" and is_one_part(self.root, "train")
        checked, bar = [], partial(tqdm, unit="pair", leave=False)
        for split in ("",) if whole else ("train", "val"):
            found = check.check_split(self.root, spec, split, self.sample, bar)
            if checked:
                found.problems.extend(check.in_both(*checked, found))
            checked.append(found)
            print(check.report(found))
            if samples := check.samples(found):
                path = self.out / f"{spec.name}_{split or 'whole'}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                check.contact_sheet(f"{spec.name} {split}", samples, spec).save(path)
                print(f"Contact sheet: {path}\n")
        changed = []
        if (self.root / check.CHECKSUMS).is_file():
            sums = check.read_checksums(self.root / check.CHECKSUMS)
            changed = check.changed_files(self.root, sums)
            print(f"{check.CHECKSUMS}: {len(sums)} files, {len(changed)} changed or missing")
            print("".join(f"- {self.root / name}\n" for name in changed), end="")
        if count := sum(len(found.problems) for found in checked) + len(changed):
            raise ValueError(f"{self.root} has problems, listed above: {count}.")


@dataclass(frozen=True)
class Prepare:
    """Make a benchmark ready: download, unpack, convert and verify it.

    CamVid (180 MB), VOC 2012 and SBD (3.4 GB) are downloaded. For Cityscapes and ADE20K the command
    prints what you have to download first. After an interruption the same command continues.
    """

    name: Positional[Literal["camvid", "cityscapes", "ade20k", "voc12aug"]]  # Which.
    root: Positional[Path]  # Its folder, which may be new.
    source: Annotated[Path | None, arg(name="from")] = None
    """For camvid: a folder that holds it already. Its files are verified and copied."""

    def run(self) -> None:
        from annlib.data.prepare import prepare

        counts = prepare(self.name, self.root, self.source)
        listed = ", ".join(f"{split} {count} images" for split, count in counts.items())
        print(f"{self.name} is ready in {self.root}: {listed}.")
        print(f"To check it: annlib data check {self.name} {self.root}")


@dataclass(frozen=True)
class Mimic:
    """Write a small imitation of a benchmark: its folders, file names, label values and sizes.

    Use it to try commands before you have the real data. Scores on it mean nothing.
    """

    name: Positional[Literal["cityscapes", "ade20k", "voc12aug"]]  # Which.
    root: Positional[Path]  # An empty or new folder.
    train: int = 8  # Images in the training split.
    val: int = 4  # Images in the validation split.
    size: tuple[int, int] | None = None  # Height and width, if not the real ones.
    seed: int = 0  # The same seed gives the same images.
    originals: bool = False  # VOC and SBD as published (needs scipy), not converted ones.

    def run(self) -> None:
        from annlib.data.synthetic import mimic

        mimic(self.name, self.root, self.train, self.val, self.size, self.seed, self.originals)
        print(f"{self.train} + {self.val} images like {self.name} in {self.root}")


@dataclass(frozen=True)
class Scenes:
    """Write scenes of Balloon Town with their labels into a new folder."""

    folder: Positional[Path]  # Gets images/, labels/ and classes.txt. Must be empty or new.
    count: int = 16  # How many scenes.
    first_seed: int = 0  # Seed of the first scene, raised by one for each further scene.

    def run(self) -> None:
        from annlib.data.balloon_town.dataset import write_scenes

        at_least_one("--count", self.count)
        write_scenes(self.folder, self.count, self.first_seed)
        print(f"{self.count} scenes in {self.folder}")


@dataclass(frozen=True)
class Convert:
    """Make a folder to train on from labels as other tools save them.

    COCO and LabelMe JSON, colours (with a class list), palette images of Pascal VOC, ids of
    Cityscapes, masks of 0 and 255, 16-bit images, TIFF and npy; in nested folders, with or without
    splits, also with lists such as train.txt. A file that is not written as our label files are is
    never guessed: the command says what is unclear.
    """

    source: Annotated[Positional[Path], arg(name="from")]
    """The folder as it is. Nothing in it changes."""
    target: Annotated[Positional[Path], arg(name="to")]  # A new or empty folder.
    classes: str | None = None
    """File with lines `name` or `name red green blue`, or a built-in list such as camvid."""
    ignore: tuple[str, ...] = ()  # Classes that do not count, for example void.
    ignore_unknown: bool = False  # Values and colours that the class list lacks do not count.
    shift: int = 0  # Added to label values, for example -1 for labels that begin at 1.
    val_share: float = 0.2  # Share of the images for val, if the data are not divided.
    seed: int = 0  # Of the division.

    def run(self) -> None:
        from annlib.data.convert import convert

        escape_letters()  # as above
        options = (self.classes, self.ignore, self.ignore_unknown, self.shift)
        print(convert(self.source, self.target, *options, self.val_share, self.seed))
        print(f"Written: {self.target}. Look at it: annlib data check folder {self.target}")


COMMANDS = dict(check=Check, convert=Convert, prepare=Prepare, mimic=Mimic, scenes=Scenes)
