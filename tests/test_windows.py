"""Where windows lie, and the mean of them against a loop."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pixelwise import brightness, scoring
from torch import Tensor

from annlib.engine import inference
from annlib.engine.inference import sliding_window, times_covered, whole, window_starts

few = settings(max_examples=50, deadline=None)
SIDE = st.integers(1, 40)


@few
@given(side=SIDE, window=SIDE, stride=SIDE)
def test_windows_are_placed_like_the_references_grid(side: int, window: int, stride: int) -> None:
    count = max(side - window + stride - 1, 0) // stride + 1
    ends = [min(number * stride + window, side) for number in range(count)]
    assert window_starts(side, window, stride) == [max(end - window, 0) for end in ends]


@few
@given(side=SIDE, window=SIDE, data=st.data())
def test_windows_cover_every_pixel(side: int, window: int, data: st.DataObject) -> None:
    stride = data.draw(st.integers(1, window))
    starts = window_starts(side, window, stride)
    covered = [sum(s <= pixel < s + window for s in starts) for pixel in range(side)]
    assert times_covered(starts, window, side).tolist() == covered
    assert min(covered) >= 1


@few
@given(height=st.integers(5, 30), width=st.integers(5, 30))
def test_windows_of_a_pixelwise_predictor_make_no_difference(height: int, width: int) -> None:
    images = torch.randn(2, 3, height, width)
    (scores,) = sliding_window(scoring(brightness), window=(7, 9), stride=(4, 5))([images])
    torch.testing.assert_close(whole(scores), brightness(images))


def test_overlap_is_the_mean_of_the_windows() -> None:
    numbers = iter(range(2))
    score = sliding_window(scoring(lambda part: part[:, :1] + next(numbers)), (4, 4), (4, 2))
    (scores,) = score([torch.zeros(1, 3, 4, 6)])
    assert whole(scores)[0, 0, 0].tolist() == [0, 0, 0.5, 0.5, 1, 1]


@pytest.mark.parametrize("numbers", [1, 100, 2**19])
def test_mean_of_the_windows_equals_a_loop(monkeypatch: pytest.MonkeyPatch, numbers: int) -> None:
    monkeypatch.setattr(inference, "CPU_PIECE", numbers)
    torch.manual_seed(0)
    images, maps = torch.randn(2, 3, 20, 33), []

    def noise(part: Tensor) -> Tensor:
        maps.append(torch.randn(2, 4, *part.shape[2:]))
        return maps[-1]

    (scores,) = sliding_window(scoring(noise), (7, 9), (5, 6))([images])
    total, count = torch.zeros(2, 4, 20, 33), torch.zeros(20, 33)
    left = iter(maps)
    for top in window_starts(20, 7, 5):
        for start in window_starts(33, 9, 6):
            total[:, :, top : top + 7, start : start + 9] += next(left)
            count[top : top + 7, start : start + 9] += 1
    assert torch.equal(whole(scores), total / count)


def test_windows_of_several_images_stay_apart() -> None:
    images = [torch.randn(1, 3, 20, 33) for _ in range(3)]
    scores = sliding_window(scoring(brightness), (7, 9), (5, 6))(images)
    for found, image in zip(scores, images, strict=True):
        torch.testing.assert_close(whole(found), brightness(image))


def test_windows_are_not_copied() -> None:
    images, windows = torch.randn(1, 3, 20, 33), []
    sliding_window(scoring(lambda part: windows.append(part) or part), (7, 9), (5, 6))([images])
    assert len(windows) == 20
    assert {part.untyped_storage().data_ptr() for part in windows} == {images.data_ptr()}
