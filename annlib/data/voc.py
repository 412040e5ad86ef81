"""Pascal VOC 2012 with the labels of SBD: who is in training, and where the labels lie.

VOC labels 1,464 training pictures; SBD (Hariharan et al., ICCV 2011) adds 9,118 that are neither
in VOC's training nor in its validation list: 10,582 in all. Torchvision's SBDataset offers another
selection (train_noval, 5,623 pictures) and its VOCSegmentation none with both.
"""

from pathlib import Path
from typing import NamedTuple

LISTS = Path("ImageSets/Segmentation")
AUGMENTED = ("trainaug.txt", "aug.txt")  # either the whole training list, or what comes on top
SBD_PLACES = ("benchmark_RELEASE/dataset", "VOCaug/dataset")


class Lists(NamedTuple):
    """Names of training pictures, without suffix."""

    train: list[str]  # what to train on; no picture of val is in it
    leaked: list[str]  # pictures of val that a training list names, and that were taken out
    own: list[str]  # the part of `train` that VOC itself labels


def read_names(path: Path) -> list[str]:
    """A name on each line; `/JPEGImages/NAME.jpg /SegmentationClassAug/NAME.png` will do, too."""
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no {path}: it lists pictures of VOC 2012, one name a line. It is part of "
            "VOCtrainval_11-May-2012.tar; was that unpacked only in part?"
        )
    lines = path.read_text(encoding="utf-8").splitlines()
    return [Path(line.split()[0]).stem for line in lines if line.strip()]


def find_sbd(home: Path) -> Path | None:
    """SBD's folder with cls/, train.txt and val.txt, in or up to two folders above VOC2012."""
    for folder in (home, home.parent, home.parent.parent):
        for place in SBD_PLACES:
            if (folder / place / "cls").is_dir():
                return folder / place
    return None


def read_lists(home: Path) -> Lists:
    """Names of pictures to train on, of VOC 2012 and of what SBD adds.

    Raises FileNotFoundError when there is no augmented list and no SBD to make one from.
    """
    val = read_names(home / LISTS / "val.txt")
    train = read_names(home / LISTS / "train.txt")
    added, sbd = [], find_sbd(home)
    listed = next((home / LISTS / n for n in AUGMENTED if (home / LISTS / n).is_file()), None)
    if listed is not None:
        added = read_names(listed)
    elif sbd is not None:
        added = sbd_names(sbd, without={*train, *val})
    else:
        raise FileNotFoundError(
            f"{home} is VOC 2012 without its augmented training list: no {' or '.join(AUGMENTED)} "
            f"in {LISTS}, and no {SBD_PLACES[0]} beside VOCdevkit. Training needs both (10,582 "
            "pictures, VOC alone has 1,464): annlib data prepare voc12aug ROOT gets them."
        )
    held_out = set(val)
    names = list(dict.fromkeys(train + added))
    leaked = [name for name in names if name in held_out]
    return Lists([name for name in names if name not in held_out], leaked, train)


def sbd_names(sbd: Path, without: set[str]) -> list[str]:
    """Pictures of both lists of SBD, which divides them in its own way, sorted by name."""
    names = {*read_names(sbd / "train.txt"), *read_names(sbd / "val.txt")}
    return sorted(names - without)


def label_files(home: Path, lists: Lists) -> list[Path]:
    """The labels of each name of `train`, sorted by name: VOC's own, or what SBD adds.

    VOC's have a border of 255 and come first. Where there are none, the path where they should be.
    """
    sbd, own = find_sbd(home), set(lists.own)
    paths = []
    for name in sorted(lists.train):
        places = [home / "SegmentationClass" / f"{name}.png"]
        places.append(home / "SegmentationClassAug" / f"{name}.png")
        if sbd is not None:
            places.append(sbd / "cls" / f"{name}.mat")
        expected = places[0] if name in own else places[-1]
        paths.append(next((path for path in places if path.is_file()), expected))
    return paths
