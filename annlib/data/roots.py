"""Where a benchmark lies on disk, and what is wrong with a folder in which it does not."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from annlib.data.classes import Layout

ARCHIVES = (".zip", ".tar", ".tgz", ".tar.gz")


class Home(NamedTuple):
    """How a layout is known: folders below a root in which it may lie, and a folder in it."""

    places: tuple[str, ...]
    mark: str
    looks: str  # for people


HOMES: dict[Layout, Home] = {
    "cityscapes": Home(
        (".",), "leftImg8bit", "leftImg8bit/{train,val}/CITY and gtFine/{train,val}/CITY"
    ),
    "ade20k": Home(
        (".", "ADEChallengeData2016"),
        "images/training",
        "ADEChallengeData2016/{images,annotations}/{training,validation}",
    ),
    "voc12aug": Home(
        (".", "VOC2012", "VOCdevkit/VOC2012"),
        "JPEGImages",
        "VOCdevkit/VOC2012/{JPEGImages,SegmentationClass,ImageSets}",
    ),
    "folder": Home((".", "train"), "images", "train/{images,labels} and val/{images,labels}"),
}


def locate(root: Path, layout: Layout) -> Path | None:
    """The folder that holds a benchmark's parts, at or below `root`; None if there is none."""
    home = HOMES[layout]
    found = (root / place for place in home.places if (root / place / home.mark).is_dir())
    return next(found, None)


def find_home(root: Path, layout: Layout) -> Path:
    """The same, or a FileNotFoundError that says what the folder holds instead."""
    home = locate(root, layout)
    if home is not None:
        return home
    if not root.is_dir():
        raise FileNotFoundError(
            f"There is no folder {root}. Name the one that holds {layout}: {HOMES[layout].looks}."
        )
    raise FileNotFoundError(
        f"There is no {layout} in {root}: looked for {HOMES[layout].looks}, but the folder holds "
        f"{contents(root)}. {likely_mistake(root, layout)}"
    )


def likely_mistake(root: Path, layout: Layout) -> str:
    """What probably went wrong, as a sentence."""
    if archives(root):
        return packed_there(root)
    nearby = [*root.absolute().parents[:3], *sorted(p for p in root.iterdir() if p.is_dir())]
    for folder in nearby:
        if locate(folder, layout):
            return f"It lies in {folder}: name that folder."
    for other in HOMES:
        if locate(root, other):
            return f"This looks like {'a plain folder' if other == 'folder' else other}."
    return f"How to get it: annlib data prepare {layout} {root}"


def contents(folder: Path, most: int = 6) -> str:
    """The first names in a folder, for a message."""
    names = sorted(p.name + "/" * p.is_dir() for p in folder.iterdir())
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more if names else "nothing"


def archives(root: Path) -> list[Path]:
    """Archives that lie in a folder."""
    if not root.is_dir():
        return []
    return sorted(path for path in root.iterdir() if path.name.lower().endswith(ARCHIVES))


def packed_there(root: Path) -> str:
    """A question about archives that lie there; empty if none does."""
    names = ", ".join(path.name for path in archives(root))
    return f"There lies {names}: was it unpacked, and to the end?" if names else ""


def check_there(paths: Sequence[Path], what: str, root: Path) -> None:
    """Raises FileNotFoundError when files that are listed or belong to a picture are missing."""
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise FileNotFoundError(
            f"{len(missing)} of {len(paths)} {what} are missing, the first is {missing[0]}. "
            f"{packed_there(root)}".rstrip()
        )
