"""Colours: those of the reference up to rounding, and back again after normalising."""

import colorsys

import numpy as np
import pytest
import torch
from dice import numpys_dice
from golden_rules import arrays, golden
from hypothesis import given, settings
from hypothesis import strategies as st

from annlib.data import transforms
from annlib.data.transforms import (
    MEAN,
    STD,
    ColorJitter,
    normalise,
    scale_saturation,
    to_tensors,
    to_uint8,
    turn_hue,
)

few = settings(max_examples=60, deadline=None)
REFERENCE = golden()["transforms"]["photometric"]["cases"]
IMAGE = torch.arange(3 * 9 * 9).reshape(3, 9, 9).byte()
LABELS = torch.arange(81).reshape(9, 9).byte()


@pytest.mark.parametrize("seed", range(16))
def test_colours_are_the_references(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    numpys_dice(monkeypatch, seed)
    stored = arrays("photometric")
    image = stored["input"].flip(-1).permute(2, 0, 1)  # BGR -> RGB
    jittered, _ = ColorJitter()(image, torch.zeros(8, 10))
    expected = stored[f"seed{seed}"].flip(-1).permute(2, 0, 1)
    difference = (jittered.int() - expected.int()).abs().float()
    drawn = REFERENCE[seed]
    # OpenCV keeps hue in steps of 2 degrees and saturation in 255ths; brightness, contrast: exact.
    rounding = 5 if {"saturation_alpha", "hue_delta"} & drawn.keys() else 0
    assert difference.max() <= rounding
    assert difference.mean() <= 0.12 * rounding


def test_hue_is_turned_by_the_references_range(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = set()
    monkeypatch.setattr(transforms, "chance", lambda probability: True)
    monkeypatch.setattr(transforms, "randint", lambda *bounds: asked.add(bounds) or 0)
    ColorJitter()(IMAGE, LABELS)
    assert asked == {(-18, 17)}  # NumPy's randint(-18, 18) leaves out the 18


def test_jitter_leaves_labels_alone() -> None:
    assert ColorJitter()(IMAGE, LABELS)[1] is LABELS


@few
@given(rgb=st.tuples(*[st.integers(0, 255)] * 3), factor=st.floats(0.5, 1.5))
def test_saturation_is_scaled_as_in_hsv(rgb: tuple[int, int, int], factor: float) -> None:
    hue, saturation, value = colorsys.rgb_to_hsv(*rgb)
    expected = colorsys.hsv_to_rgb(hue, min(1, saturation * factor), value)
    pixel = torch.tensor(rgb, dtype=torch.uint8)[:, None, None]
    ours = scale_saturation(pixel, factor).flatten().tolist()
    assert ours == pytest.approx(expected, abs=0.51)


@few
@given(rgb=st.tuples(*[st.integers(0, 255)] * 3), degrees=st.floats(-36, 36))
def test_hue_is_turned_as_in_hsv(rgb: tuple[int, int, int], degrees: float) -> None:
    hue, saturation, value = colorsys.rgb_to_hsv(*rgb)
    expected = colorsys.hsv_to_rgb((hue + degrees / 360) % 1, saturation, value)
    pixel = torch.tensor(rgb, dtype=torch.uint8)[:, None, None]
    assert turn_hue(pixel, degrees).flatten().tolist() == pytest.approx(expected, abs=0.51)


def test_all_hues_are_turned_to_the_next() -> None:
    """Around the circle in steps of 60 degrees, grey stays grey."""
    colours = [(9, 3, 3), (9, 9, 3), (3, 9, 3), (3, 9, 9), (3, 3, 9), (9, 3, 9), (7, 7, 7)]
    image = torch.tensor(colours, dtype=torch.uint8).T[:, None]
    expected = torch.tensor([*colours[1:6], colours[0], colours[6]], dtype=torch.uint8).T[:, None]
    assert torch.equal(turn_hue(image, 60), expected)


@few
@given(values=st.lists(st.floats(-400, 700, width=32), min_size=1))
def test_bytes_are_cut_off_as_the_reference_does(values: list[float]) -> None:
    expected = np.clip(np.array(values, np.float32), 0, 255).astype(np.uint8)
    assert to_uint8(torch.tensor(values)).tolist() == expected.tolist()


@pytest.mark.parametrize("strip", [1, 4, 100])
@pytest.mark.parametrize("seed", range(4))
def test_colours_do_not_depend_on_strips(
    strip: int, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    numpys_dice(monkeypatch, seed)
    expected = ColorJitter()(IMAGE, LABELS)[0]
    monkeypatch.setattr(transforms, "STRIP", strip)
    numpys_dice(monkeypatch, seed)
    assert torch.equal(ColorJitter()(IMAGE, LABELS)[0], expected)


def test_normalising_is_the_formula() -> None:
    for channel, (mean, std) in enumerate([(123.675, 58.395), (116.28, 57.12), (103.53, 57.375)]):
        expected = (IMAGE[channel].double() - mean) / std
        torch.testing.assert_close(normalise(IMAGE)[channel].double(), expected)


def test_tensors_can_be_turned_back_into_the_picture() -> None:
    tensor, indices = to_tensors(IMAGE, LABELS)
    assert torch.equal((tensor * STD + MEAN).round().byte(), IMAGE)
    assert torch.equal(indices.byte(), LABELS)
