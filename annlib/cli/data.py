"""annlib data: checks, prepares and imitates data sets, and writes scenes of Balloon Town."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, subcommand

from annlib.cli.common import at_least_one


@dataclass(frozen=True)
class WriteScenes:
    """Write images of Balloon Town with their labels into a new folder."""

    folder: Positional[Path]
    """Gets images/, labels/ and classes.txt. Must be empty or new."""
    count: int = 16
    """How many images."""
    first_seed: int = 0
    """The first image's seed; the others follow. Same seed, same image."""

    def run(self) -> None:
        from annlib.data.balloon_town.dataset import write_scenes

        at_least_one("--count", self.count)
        write_scenes(self.folder, self.count, self.first_seed)
        print(f"{self.count} scenes in {self.folder}")


Benchmark = Literal["cityscapes", "ade20k", "voc12aug"]


@dataclass(frozen=True)
class Check:
    """Look a data set over: counts, every pair, label values, classes, and a contact sheet.

    All problems are listed; exit code 1 if there is one.
    """

    name: Positional[Literal["cityscapes", "ade20k", "voc12aug", "camvid", "folder"]]
    """`folder` is one of your own, with a classes.txt."""
    root: Positional[Path]
    """Where it lies."""
    out: Path = Path("check")
    """Folder for the contact sheets."""
    sample: int | None = None
    """Open so many pairs of each split only, evenly spread; all if not given."""

    def run(self) -> None:
        from tqdm import tqdm

        from annlib.data import check
        from annlib.data.datasets import is_one_part, spec_of

        if self.sample is not None:
            at_least_one("--sample", self.sample)
        spec = spec_of("folder", self.root, None if self.name == "folder" else self.name)
        whole = spec.layout == "folder" and is_one_part(self.root, "train")
        checked, bar = [], partial(tqdm, unit="pair", leave=False)
        for split in [""] if whole else ["train", "val"]:
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
        if count := sum(len(found.problems) for found in checked):
            raise ValueError(f"{self.root} has problems, listed above: {count}.")


@dataclass(frozen=True)
class Prepare:
    """Make a benchmark ready: fetch, unpack and convert what can be, verify all of it.

    VOC 2012 and SBD are fetched (3.4 GB); Cityscapes and ADE20K, after the steps that are told.
    Interrupted, the same command goes on.
    """

    name: Positional[Benchmark]
    """Which."""
    root: Positional[Path]
    """Where it lies, or shall lie."""

    def run(self) -> None:
        from annlib.data.prepare import prepare

        counts = prepare(self.name, self.root)
        listed = ", ".join(f"{split} {count} images" for split, count in counts.items())
        print(f"{self.name} is ready in {self.root}: {listed}.")
        print(f"To look it over: annlib data check {self.name} {self.root}")


@dataclass(frozen=True)
class Mimic:
    """Write a small imitation of a benchmark: its folders, file names, label values and sizes.

    To try commands on before the real data are there. Scores on it mean nothing for the real ones.
    """

    name: Positional[Benchmark]
    """Which."""
    root: Positional[Path]
    """An empty or new folder."""
    train: int = 8
    """Images to train on."""
    val: int = 4
    """Images to validate on."""
    size: tuple[int, int] | None = None
    """Height and width, if not those of the real data set (1024 2048, about 500 650, 375 500)."""
    seed: int = 0
    """Same seed, same images."""
    originals: bool = False
    """VOC 2012 and SBD as they are published (needs scipy), not SegmentationClassAug."""

    def run(self) -> None:
        from annlib.data.synthetic import mimic

        mimic(self.name, self.root, self.train, self.val, self.size, self.seed, self.originals)
        print(f"{self.train} + {self.val} images like {self.name} in {self.root}")


@dataclass(frozen=True)
class Data:
    """Real data sets: check one, prepare a benchmark, or write a small imitation of it."""

    what: (
        Annotated[Check, subcommand("check", prefix_name=False)]
        | Annotated[Prepare, subcommand("prepare", prefix_name=False)]
        | Annotated[Mimic, subcommand("mimic", prefix_name=False)]
    )

    def run(self) -> None:
        self.what.run()
