"""What training does to a pair: image and labels stay together, and the reference's cases hold."""

import colorsys
import pickle
from collections import Counter

import numpy as np
import pytest
import torch
from golden_rules import arrays, golden
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from annlib.config import IGNORE_INDEX, DataConfig
from annlib.data import transforms
from annlib.data.io import MEAN, STD
from annlib.data.transforms import (
    ColorJitter,
    Pad,
    RandomCrop,
    RandomFlip,
    RandomResize,
    chance,
    normalise,
    randint,
    resize,
    scale_saturation,
    to_tensors,
    to_uint8,
    training_transform,
    turn_hue,
    uniform,
)
from annlib.engine.inference import fit

few = settings(max_examples=40, deadline=None)
SIDE = st.integers(1, 15)
SIZE = st.tuples(SIDE, st.integers(2, 40))  # torch 2.14 shrinks no uint8 image to one pixel
REFERENCE = golden()["transforms"]


def numpys_dice(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """The reference's random numbers in the place of torch's."""
    random = np.random.RandomState(seed)
    monkeypatch.setattr(transforms, "uniform", random.uniform)
    monkeypatch.setattr(transforms, "chance", lambda probability: bool(random.randint(2)))
    monkeypatch.setattr(transforms, "randint", lambda low, high: int(random.randint(low, high + 1)))


def coordinates(height: int, width: int) -> tuple[Tensor, Tensor]:
    """A pair in which every pixel tells its row and column, twice."""
    row, column = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    image = torch.stack([row, column, torch.zeros_like(row)]).byte()
    return image, (16 * row + column).byte()


def told_by_image(image: Tensor) -> Tensor:
    return 16 * image[0] + image[1]


@few
@given(height=SIDE, width=SIDE, seed=st.integers(0, 99))
def test_flip_keeps_labels_on_their_pixels(height: int, width: int, seed: int) -> None:
    torch.manual_seed(seed)
    image, labels = RandomFlip()(*coordinates(height, width))
    assert torch.equal(labels, told_by_image(image))
    assert labels[0, 0] in (0, width - 1)


@few
@given(height=SIDE, width=SIDE, crop=st.tuples(SIDE, SIDE), seed=st.integers(0, 99))
def test_crop_keeps_labels_on_their_pixels(
    height: int, width: int, crop: tuple[int, int], seed: int
) -> None:
    torch.manual_seed(seed)
    image, labels = RandomCrop(crop)(*coordinates(height, width))
    assert torch.equal(labels, told_by_image(image))
    assert labels.shape == (min(height, crop[0]), min(width, crop[1]))
    assert torch.equal(labels - labels[0, 0], coordinates(*labels.shape)[1])


@few
@given(height=SIDE, width=SIDE, size=st.tuples(SIDE, SIDE))
def test_padding_lies_right_and_below(height: int, width: int, size: tuple[int, int]) -> None:
    image, labels = coordinates(height, width)
    padded, padded_labels = Pad(size)(image.float() + 1, labels.long())
    assert torch.equal(padded[:, :height, :width], image.float() + 1)
    assert torch.equal(padded_labels[:height, :width], labels.long())
    outside = (padded == 0).all(0)
    assert torch.equal(outside, padded_labels == IGNORE_INDEX)
    assert labels.numel() + int(outside.sum()) == max(height, size[0]) * max(width, size[1])


@few
@given(height=SIDE, width=SIDE, size=SIZE)
def test_resized_labels_stay_within_half_a_pixel(
    height: int, width: int, size: tuple[int, int]
) -> None:
    image, labels = resize(*coordinates(height, width), list(size))
    assert labels.shape == image.shape[1:] == size
    for told, label, old, new in zip(
        image[:2].float(), (labels // 16, labels % 16), (height, width), size, strict=True
    ):
        # half a pixel of either grid, and half a grey level of rounding
        assert (told - label.float()).abs().max() <= 0.5 * max(1, old / new) + 0.5 + 0.5


@few
@given(size=SIZE)
def test_resizing_invents_no_label(size: tuple[int, int]) -> None:
    labels = torch.tensor([[0, 7, 255], [3, 250, 1]], dtype=torch.uint8)
    _, resized = resize(torch.zeros(3, 2, 3, dtype=torch.uint8), labels, list(size))
    assert set(resized.flatten().tolist()) <= set(labels.flatten().tolist())


@pytest.mark.parametrize("case", REFERENCE["random_resize"])
def test_random_sizes_are_the_references(case: dict) -> None:
    base_size = tuple(reversed(case["base_scale"]))
    assert RandomResize(base_size).size_of(case["img_hw"], case["ratio"]) == case["out_hw"]


def test_sizes_in_training_and_testing_follow_one_rule() -> None:
    for size in ((1, 1), (1, 900), (37, 5), (480, 640)):
        for box in ((128, 192), (192, 128), (7, 9)):
            assert tuple(RandomResize(box).size_of(size, 1.0)) == fit(size, box)


@pytest.mark.parametrize("case", REFERENCE["random_crop"]["cases"])
def test_windows_are_the_references(case: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    numpys_dice(monkeypatch, case["seed"])
    labels = torch.zeros(200, 300, dtype=torch.uint8)
    labels[:, 150:], labels[120:], labels[:20, :20] = 1, 255, 2
    row, column = torch.meshgrid(torch.arange(200), torch.arange(300), indexing="ij")
    image, _ = RandomCrop((64, 96))(torch.stack([row, column]), labels)
    assert image[:, 0, 0].tolist() == [case["offset_h"], case["offset_w"]]


def is_varied_slowly(labels: Tensor) -> bool:
    counts = Counter(label for label in labels.flatten().tolist() if label != IGNORE_INDEX)
    return len(counts) > 1 and 4 * max(counts.values()) < 3 * sum(counts.values())


@few
@given(labels=st.lists(st.sampled_from([0, 1, 5, 254, 255]), min_size=1, max_size=24))
def test_window_is_varied_when_no_class_fills_three_quarters(labels: list[int]) -> None:
    window = torch.tensor(labels, dtype=torch.uint8)[None]
    assert RandomCrop((8, 8)).is_varied(window) == is_varied_slowly(window)


@pytest.mark.parametrize(("num_bad", "num_draws"), [(0, 1), (4, 5), (10, 11), (99, 11)])
def test_eleventh_window_is_taken_as_it_comes(
    num_bad: int, num_draws: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    verdicts, draws = iter([False] * num_bad + [True]), []
    crop = RandomCrop((4, 4))
    monkeypatch.setattr(crop, "is_varied", lambda labels: next(verdicts))
    monkeypatch.setattr(transforms, "randint", lambda low, high: draws.append(0) or 0)
    crop(*coordinates(9, 9))
    assert len(draws) == 2 * num_draws  # a row and a column of each window


def test_half_of_the_images_are_mirrored() -> None:
    torch.manual_seed(0)
    first = [float(RandomFlip()(*coordinates(1, 2))[1][0, 0]) for _ in range(2000)]
    assert np.mean(first) == pytest.approx(0.5, abs=0.04)


@few
@given(old=SIZE, new=SIZE)
def test_labels_are_resized_as_torchvision_does(old: tuple[int, int], new: tuple[int, int]) -> None:
    from torchvision.transforms.v2.functional import InterpolationMode, resize_image

    _, labels = coordinates(*old)
    _, resized = resize(*coordinates(*old), list(new))
    assert torch.equal(resized, resize_image(labels[None], list(new), InterpolationMode.NEAREST)[0])


@pytest.mark.parametrize("capability", ["AVX2", "DEFAULT"])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_images_are_resized_as_torchvision_does(
    monkeypatch: pytest.MonkeyPatch, capability: str, dtype: torch.dtype
) -> None:
    from torchvision.transforms.v2.functional import resize_image

    for module in (transforms, torch.backends.cpu):
        monkeypatch.setattr(module, "get_cpu_capability", lambda: capability)
    image = torch.randint(256, (9, 13, 3), dtype=torch.uint8).permute(2, 0, 1).to(dtype)
    for size in ((5, 7), (20, 31), (9, 13), (4, 30)):
        found, _ = resize(image, torch.zeros(9, 13).byte(), list(size))
        assert torch.equal(found, resize_image(image, list(size), antialias=False))
        assert found.dtype == dtype


@few
@given(size=SIZE, seed=st.integers(0, 99))
def test_layout_of_an_image_in_memory_changes_no_pixel(size: tuple[int, int], seed: int) -> None:
    transform = training_transform(DataConfig("folder", (12, 17), (14, 21), batch_size=1))
    image, labels = coordinates(*size)
    by_pixels = image.permute(1, 2, 0).contiguous().permute(2, 0, 1)
    found = []
    for layout in (image, by_pixels):
        torch.manual_seed(seed)
        found.append(transform(layout, labels))
    assert all(torch.equal(*parts) for parts in zip(*found, strict=True))


@few
@given(size=SIZE, seed=st.integers(0, 99))
def test_transform_leaves_the_pair_that_it_is_given_alone(size: tuple[int, int], seed: int) -> None:
    """It may be kept in memory for the next epoch."""
    pair = coordinates(*size)
    torch.manual_seed(seed)
    training_transform(DataConfig("folder", (12, 17), None, batch_size=1))(*pair)
    assert all(torch.equal(*parts) for parts in zip(pair, coordinates(*size), strict=True))


@few
@given(height=SIDE, width=st.integers(1, 60), seed=st.integers(0, 99))
def test_every_image_is_brought_to_the_size_of_the_crop(height: int, width: int, seed: int) -> None:
    torch.manual_seed(seed)
    config = DataConfig("folder", crop_size=(12, 17), base_size=(14, 21), batch_size=1)
    image, labels = training_transform(config)(*coordinates(height, min(width, 15)))
    assert (image.shape, labels.shape) == ((3, 12, 17), (12, 17))
    assert image.isfinite().all()


@few
@given(height=SIDE, width=st.integers(2, 15), seed=st.integers(0, 99))
def test_whole_training_transform_keeps_labels_on_their_pixels(
    height: int, width: int, seed: int
) -> None:
    """Row and column, told by red and green in steps of 16, are those that the label tells."""
    torch.manual_seed(seed)
    config = DataConfig("folder", (12, 17), (14, 21), batch_size=1, color_jitter=False)
    image, labels = coordinates(height, width)
    image, labels = training_transform(config)(16 * image, labels)
    told = (image * STD + MEAN)[:2, labels != IGNORE_INDEX] / 16
    labels = labels[labels != IGNORE_INDEX]
    smallest = RandomResize((14, 21)).size_of((height, width), 0.5)
    for axis, label, old, new in zip(
        told, (labels // 16, labels % 16), (height, width), smallest, strict=True
    ):
        # half a pixel of either grid, and half a grey level of rounding, a 32nd of a pixel
        assert (axis - label).abs().max() <= 0.5 * max(1, old / new) + 0.5 + 1 / 32 + 1e-4


def test_scenes_are_only_mirrored() -> None:
    config = DataConfig("balloon_town", None, None, batch_size=8, color_jitter=False)
    pair = coordinates(4, 6)
    torch.manual_seed(0)
    seen = {training_transform(config)(*pair)[1].flatten()[0].item() for _ in range(20)}
    assert seen == {0, 5}


def test_training_transform_survives_the_trip_to_a_spawned_worker() -> None:
    config = DataConfig("folder", crop_size=(12, 17), base_size=(14, 21), batch_size=1)
    here = training_transform(config)
    there = pickle.loads(pickle.dumps(here))
    pairs = []
    for transform in (here, there):
        torch.manual_seed(0)
        pairs.append(transform(*coordinates(13, 15)))
    assert all(torch.equal(*parts) for parts in zip(*pairs, strict=True))


PIXELS = torch.arange(3 * 4 * 5, dtype=torch.uint8).reshape(3, 4, 5) * 4


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.int64])
def test_pixels_of_0_to_255_are_normalised_the_same_in_every_type(dtype: torch.dtype) -> None:
    torch.testing.assert_close(normalise(PIXELS.to(dtype)).float(), normalise(PIXELS))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (PIXELS / 255, r"float32 values from 0 to 0\.925\d+, .* 0\.\.1: .* 255 \* image"),
        (PIXELS.double() / 236, "float64 values from 0 to 1, .*looks like 0..1: give uint8"),
        (normalise(PIXELS), r"values from -2\.1\d* to .*give them as read, not yet normalised"),
        (PIXELS.int() * 257, "int32 values from 0 to 60652, but pixels are 0..255"),
        (PIXELS > 9, "is bool"),
        (torch.where(PIXELS > 9, PIXELS, torch.nan), "holds NaN"),
        (torch.where(PIXELS > 9, PIXELS, torch.inf), "from .* to inf, but pixels are"),
    ],
)
def test_pixels_of_another_range_are_refused(image: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        normalise(image)


def test_a_black_image_is_black_in_both_ranges() -> None:
    black = torch.zeros(3, 4, 5)
    assert torch.equal(normalise(black), normalise(black.to(torch.uint8)))


# Colours

PHOTOMETRIC = REFERENCE["photometric"]["cases"]
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
    drawn = PHOTOMETRIC[seed]
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


def test_tensors_can_be_turned_back_into_the_image() -> None:
    tensor, indices = to_tensors(IMAGE, LABELS)
    assert torch.equal((tensor * STD + MEAN).round().byte(), IMAGE)
    assert torch.equal(indices.byte(), LABELS)


# Random numbers


@pytest.mark.parametrize("probability", [0.5, 0.2])
def test_chance_is_as_large_as_it_says(probability: float) -> None:
    torch.manual_seed(0)
    draws = [chance(probability) for _ in range(2000)]
    assert np.mean(draws) == pytest.approx(probability, abs=0.04)


def test_whole_numbers_are_drawn_with_both_ends() -> None:
    torch.manual_seed(0)
    assert {randint(-18, 17) for _ in range(2000)} == set(range(-18, 18))


def test_uniform_numbers_fill_their_range() -> None:
    torch.manual_seed(0)
    draws = np.array([uniform(-32, 32) for _ in range(2000)])
    assert -32 <= draws.min() < -31 < 31 < draws.max() < 32
    assert abs(draws.mean()) < 2
