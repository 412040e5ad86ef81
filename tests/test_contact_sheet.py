"""The contact sheet: every pair and every class that occurs is on it, in the right colour."""

import numpy as np
import pytest
import torch

from annlib.data.check import IGNORED, Labelled, contact_sheet
from annlib.data.classes import ADE20K, CITYSCAPES, DatasetSpec


def sample(height: int, width: int, classes: list[int]) -> Labelled:
    """Grey, with one block of each class."""
    labels = torch.tensor(classes, dtype=torch.uint8).repeat_interleave(-(-width // len(classes)))
    labels = labels[:width].expand(height, width)
    image = torch.full((3, height, width), 77, dtype=torch.uint8)
    return Labelled("name", image, labels)


def colours(samples: list[Labelled], spec: DatasetSpec) -> dict[tuple[int, ...], int]:
    """Colour -> how many pixels of the sheet have it."""
    found = contact_sheet("title", samples, spec).getcolors(2**24)
    return {colour: count for count, colour in found}


def test_labels_and_legend_are_drawn_in_the_colours_of_their_classes() -> None:
    found = colours([sample(20, 30, [0, 13, 255])], CITYSCAPES)
    for colour in (CITYSCAPES.palette[0], CITYSCAPES.palette[13], IGNORED):
        assert found[colour] > 20 * 10 + 100  # a third of the labels, and a field of the legend
    assert CITYSCAPES.palette[8] not in found
    assert found[77, 77, 77] >= 600  # the picture is small enough to be shown as it is


@pytest.mark.parametrize("size", [(1024, 2048), (500, 375), (9, 900), (900, 9), (1, 1)])
def test_pictures_of_every_shape_fit(size: tuple[int, int]) -> None:
    found = colours([sample(*size, [3])] * 3, CITYSCAPES)
    assert found[77, 77, 77] and found[CITYSCAPES.palette[3]]


def test_a_hundred_and_fifty_classes_have_a_legend() -> None:
    found = colours([sample(150, 300, list(range(150)))], ADE20K)
    assert set(ADE20K.palette) <= set(found)


def test_captions_are_written() -> None:
    with_name, without = (
        np.array(contact_sheet("title", [s], CITYSCAPES))
        for s in (sample(8, 9, [0]), sample(8, 9, [0])._replace(caption=""))
    )
    assert (with_name != without).sum() > 50
