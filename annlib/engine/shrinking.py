"""A published experiment with every side divided: the same work in small, for a CPU or a test."""

from dataclasses import replace

from annlib.config import Experiment

Size = tuple[int, int]  # height, width

PICTURES: dict[str, Size] = {  # a typical picture of each data set; Cityscapes has this size only
    "cityscapes": (1024, 2048),
    "ade20k": (512, 683),
    "voc12aug": (375, 500),
}
MOST = 16  # crops of 512 become 32: less would leave a map of one or two positions


def shrunk_size(size: Size, factor: int) -> Size:
    """An odd side is one more than an even one: 769 = 8 * 96 + 1 becomes 8 * 12 + 1 = 97."""
    height, width = ((side - side % 2) // factor + side % 2 for side in size)
    return height, width


def shrunk(experiment: Experiment, factor: int) -> Experiment:
    """Crop, window, stride and base sizes divided by `factor`; network and recipe as they are.

    Raises ValueError for a factor that leaves no picture, or would enlarge it.
    """
    if not 1 <= factor <= MOST:
        raise ValueError(
            f"Sides are to be divided by {factor} (--shrink): give a whole number of 1 (the "
            f"published sizes) to {MOST}."
        )

    def small(size: Size | None) -> Size | None:
        return None if size is None else shrunk_size(size, factor)

    data, test = experiment.data, experiment.test
    return replace(
        experiment,
        data=replace(data, crop_size=small(data.crop_size), base_size=small(data.base_size)),
        test=replace(
            test,
            window=small(test.window),
            stride=small(test.stride),
            base_size=small(test.base_size),
        ),
    )


def picture_size(experiment: Experiment, factor: int) -> Size:
    """Height and width of a typical picture that the experiment is tested on."""
    return shrunk_size(PICTURES[experiment.data.dataset], factor)
