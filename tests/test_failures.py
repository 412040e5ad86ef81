"""The list of the images that a network fails on most."""

import torch

from annlib.data.classes import CAMVID
from annlib.engine.metrics import (
    MOST_SHOWN,
    ConfusionMatrix,
    ImageScore,
    most_confused,
    score_of,
    worst_images,
)


def image(index: int, right: int, *wrong: tuple[int, int, int]) -> ImageScore:
    """With `right` pixels of sky found, and (label, prediction, pixels) confused."""
    matrix = ConfusionMatrix(CAMVID.num_classes)
    matrix.add_entries([[0, 0, right], *map(list, wrong)])
    return score_of(index, f"image{index}", matrix)


def names_in(page: str) -> list[str]:
    return [line.split()[1] for line in page.splitlines() if line.startswith("| image")][1:]


def test_worst_come_first_and_equals_in_order() -> None:
    images = [image(i, right, (0, 1, 10)) for i, right in enumerate([9, 5, 80, 5])]
    assert names_in(worst_images(images, CAMVID)) == [f"image{i}" for i in (1, 3, 0, 2)]


def test_list_is_short_and_says_of_how_many() -> None:
    page = worst_images([image(i, i + 1) for i in range(50)], CAMVID)
    assert len(names_in(page)) == MOST_SHOWN
    assert page.startswith(f"# The worst {MOST_SHOWN} of 50 images\n")


def test_images_without_a_label_cannot_be_wrong() -> None:
    empty = score_of(0, "image0", ConfusionMatrix(CAMVID.num_classes))
    assert (empty.miou, empty.pixel_accuracy, empty.counts) == (None, None, [])
    assert names_in(worst_images([empty, image(1, 5)], CAMVID)) == ["image1"]


def test_most_confused_pair_is_named_with_its_share_and_direction() -> None:
    text = most_confused(image(0, 50, (8, 9, 10), (9, 8, 40)), CAMVID)
    assert text == "pedestrian classified as car: 40.00 % of the pixels"


def test_perfect_image_has_nothing_confused() -> None:
    assert most_confused(image(0, 50), CAMVID) == "nothing"


def test_score_of_a_image_is_that_of_its_matrix() -> None:
    matrix = ConfusionMatrix(11)
    matrix.update(torch.randint(11, (5, 7)), torch.randint(11, (5, 7)))
    score = score_of(3, "name", matrix)
    assert (score.index, score.name) == (3, "name")
    assert score.miou == matrix.scores().miou
    assert score.pixel_accuracy == matrix.scores().pixel_accuracy
