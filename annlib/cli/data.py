"""annlib data: checks, prepares and imitates data sets, and writes scenes of Balloon Town."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, subcommand

from annlib.cli.common import at_least_one

if TYPE_CHECKING:
    from tqdm import tqdm

    from annlib.data.classes import DatasetSpec


@dataclass(frozen=True)
class WriteScenes:
    """Write pictures of Balloon Town with their labels into a new folder."""

    folder: Positional[Path]
    """Gets images/, labels/ and classes.txt. Must be empty or new."""
    count: int = 16
    """How many pictures."""
    first_seed: int = 0
    """The first picture's seed; the others follow. Same seed, same picture."""

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
    """Open so many pairs of each half only, evenly spread; all if not given."""

    def run(self) -> None:
        from annlib.data.datasets import is_one_part, spec_of

        if self.sample is not None:
            at_least_one("--sample", self.sample)
        spec = spec_of("folder", self.root, None if self.name == "folder" else self.name)
        whole = spec.layout == "folder" and is_one_part(self.root, "train")
        count = sum(self.check(spec, split) for split in ([""] if whole else ["train", "val"]))
        if count:
            raise ValueError(f"{self.root} has problems, listed above: {count}.")

    def check(self, spec: "DatasetSpec", split: str) -> int:
        """Reports on one half.  -> how many problems it has"""
        from tqdm import tqdm

        from annlib.data.check import (
            choose_samples,
            contact_sheet,
            evenly,
            inspect_all,
            list_split,
            report,
            summarise,
        )

        listing = list_split(self.root, spec, split)
        indices = evenly(len(listing.pairs.images), self.sample)
        opened = inspect_all(listing.pairs, indices)
        found = list(tqdm(opened, desc=split, total=len(indices), unit="pair", leave=False))
        training = split != "val" and 0 < len(found) == len(listing.pairs.images)
        summary = summarise(found, listing.pairs.spec, training)
        print(report(listing, summary, spec))
        samples = choose_samples(listing.pairs, indices, found)
        if samples:
            path = self.out / f"{spec.name}_{split or 'whole'}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            contact_sheet(f"{spec.name} {split}", samples, spec).save(path)
            print(f"Contact sheet: {path}\n")
        return len(listing.problems) + len(summary.problems)


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

        bars = Bars()
        try:
            counts = prepare(self.name, self.root, bars)
        finally:
            bars.close()
        listed = ", ".join(f"{split} {count} pictures" for split, count in counts.items())
        print(f"{self.name} is ready in {self.root}: {listed}.")
        print(f"To look it over: annlib data check {self.name} {self.root}")


class Bars:
    """A progress bar for each thing that is being done, one after the other."""

    def __init__(self) -> None:
        self.bar: tqdm | None = None

    def __call__(self, what: str, done: int, total: int | None) -> None:
        from tqdm import tqdm

        if self.bar is None or self.bar.desc != f"{what}: ":
            self.close()
            self.bar = tqdm(desc=what, total=total, unit_scale=True)
        self.bar.update(done - self.bar.n)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()


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
    """Pictures to train on."""
    val: int = 4
    """Pictures to validate on."""
    size: tuple[int, int] | None = None
    """Height and width, if not those of the real data set (1024 2048, about 500 650, 375 500)."""
    seed: int = 0
    """Same seed, same pictures."""
    originals: bool = False
    """VOC 2012 and SBD as they are published (needs scipy), not SegmentationClassAug."""

    def run(self) -> None:
        from annlib.data.synthetic import mimic

        mimic(self.name, self.root, self.train, self.val, self.size, self.seed, self.originals)
        print(f"{self.train} + {self.val} pictures like {self.name} in {self.root}")


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
