"""Which pictures a network fails on most, and what it takes for what there."""

from collections.abc import Sequence

from annlib.data.classes import DatasetSpec
from annlib.engine.scored import PictureScore
from annlib.engine.tables import percent, table

MOST_SHOWN = 20


def worst_pictures(pictures: Sequence[PictureScore], spec: DatasetSpec) -> str:
    """A Markdown page: the pictures of lowest mIoU, each with its most confused pair of classes."""
    scored = [picture for picture in pictures if picture.miou is not None]
    worst = sorted(scored, key=lambda picture: (picture.miou, picture.index))[:MOST_SHOWN]
    rows = [
        [
            picture.name,
            percent(picture.miou),
            percent(picture.pixel_accuracy),
            most_confused(picture, spec),
        ]
        for picture in worst
    ]
    header = ["picture", "mIoU %", "pixels right %", "most confused"]
    return (
        f"# The worst {len(worst)} of {len(scored)} pictures\n\n"
        "mIoU is the mean over the classes that a picture has, or was thought to have.\n\n"
        f"{table(header, rows)}\n"
    )


def most_confused(picture: PictureScore, spec: DatasetSpec) -> str:
    """The pair with most pixels, for example "car taken for bus: 12.50 % of the pixels"."""
    wrong = [entry for entry in picture.counts if entry[0] != entry[1]]
    if not wrong:
        return "nothing"
    label, prediction, count = max(wrong, key=lambda entry: entry[2])
    share = count / sum(entry[2] for entry in picture.counts)
    names = spec.class_names
    return f"{names[label]} taken for {names[prediction]}: {percent(share)} % of the pixels"
