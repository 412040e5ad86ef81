"""Windows, scales and flips, on predictors simple enough to know the answer."""

import weakref
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import TINY, wake
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from annlib.config import TestConfig
from annlib.engine.inference import (
    MULTI_SCALE,
    at_base_size,
    fit,
    inference_of,
    predictor,
    resize_bilinear,
    scales_and_flips,
    sliding_window,
    window_starts,
)
from annlib.model.ann import ANN

few = settings(max_examples=50, deadline=None)
SIDE = st.integers(1, 40)
SLIDE = TestConfig(mode="slide", window=(17, 25), stride=(9, 11))


def brightness(images: Tensor) -> Tensor:
    """A predictor that looks at one pixel only.  (B, 3, H, W) -> (B, 2, H, W)"""
    return torch.stack([images.sum(1), -images[:, 0]], dim=1)


class Living(TorchDispatchMode):
    """Counts the bytes of the tensors made inside that are alive at once."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self.seen: set[int] = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(tensor, Tensor):
                self.add(tensor.untyped_storage())
        return result

    def add(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key in self.seen:
            return
        self.seen.add(key)
        self.now += storage.nbytes()
        self.most = max(self.most, self.now)
        weakref.finalize(storage, self.remove, key, storage.nbytes())

    def remove(self, key: int, num_bytes: int) -> None:
        self.seen.discard(key)
        self.now -= num_bytes


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
    covered = {start + offset for start in starts for offset in range(window)}
    assert covered >= set(range(side))


@few
@given(height=st.integers(5, 30), width=st.integers(5, 30))
def test_windows_of_a_pixelwise_predictor_make_no_difference(height: int, width: int) -> None:
    images = torch.randn(2, 3, height, width)
    logits = sliding_window(brightness, images, window=(7, 9), stride=(4, 5))
    torch.testing.assert_close(logits, brightness(images))


def test_one_window_as_large_as_the_image_is_the_whole_image() -> None:
    images, model = torch.randn(1, 3, 17, 25), wake(ANN(TINY))
    whole = predictor(model, TestConfig())(images)
    assert torch.equal(predictor(model, replace(SLIDE, window=(17, 25)))(images), whole)


def test_overlap_is_the_mean_of_the_windows() -> None:
    numbers = iter(range(2))
    images = torch.zeros(1, 3, 4, 6)
    logits = sliding_window(lambda part: part[:, :1] + next(numbers), images, (4, 4), (4, 2))
    assert logits[0, 0, 0].tolist() == [0, 0, 0.5, 0.5, 1, 1]


def test_mirrored_copies_change_nothing_for_a_pixelwise_predictor() -> None:
    images = torch.randn(2, 3, 5, 8)
    merged = scales_and_flips(brightness, images, (5, 8), (1.0,), True, False)
    torch.testing.assert_close(merged, brightness(images).log_softmax(1))


def test_scales_and_flips_give_probabilities() -> None:
    images, config = torch.randn(2, 3, 33, 57), TestConfig(scales=(0.5, 1.5), flip=True)
    probabilities = predictor(wake(ANN(TINY)), config)(images).exp()
    torch.testing.assert_close(probabilities.sum(1), torch.ones(2, 33, 57))


def test_mirrored_image_gives_the_mirrored_result_with_flips() -> None:
    predict = predictor(wake(ANN(TINY)), TestConfig(flip=True))
    images = torch.randn(1, 3, 33, 57)
    torch.testing.assert_close(predict(images.flip(-1)), predict(images).flip(-1))


@few
@given(height=SIDE, width=SIDE, box_height=SIDE, box_width=SIDE)
def test_fitted_size_lies_in_the_box_and_touches_it(
    height: int, width: int, box_height: int, box_width: int
) -> None:
    size, box = fit((height, width), (box_height, box_width)), (box_height, box_width)
    assert max(size) <= max(box)
    assert min(size) <= min(box)
    assert max(size) == max(box) or min(size) == min(box)


@pytest.mark.parametrize("align_corners", [False, True])
def test_base_size_is_what_the_network_sees(align_corners: bool) -> None:
    model = wake(ANN(replace(TINY, align_corners=align_corners))).eval()
    images = torch.randn(1, 3, 33, 57)
    seen = resize_bilinear(images, fit((33, 57), (20, 30)), align_corners=False)
    expected = resize_bilinear(model(seen).main, (33, 57), align_corners)
    assert torch.equal(predictor(model, TestConfig(base_size=(20, 30)))(images), expected)


@pytest.mark.parametrize("align_corners", [False, True])
def test_scale_is_applied_to_the_base_size(align_corners: bool) -> None:
    model = wake(ANN(replace(TINY, align_corners=align_corners))).eval()
    images = torch.randn(1, 3, 33, 57)
    predict = predictor(model, TestConfig(base_size=(40, 60), scales=(0.5,)))
    expected = predictor(model, TestConfig(base_size=(20, 30)))(images).log_softmax(1)
    torch.testing.assert_close(predict(images), expected)


@pytest.mark.parametrize("config", [SLIDE, TestConfig(base_size=(20, 30)), TestConfig(flip=True)])
def test_logits_have_the_size_of_the_images(config: TestConfig) -> None:
    assert predictor(ANN(TINY), config)(torch.randn(2, 3, 33, 57)).shape == (2, 5, 33, 57)


@pytest.mark.parametrize("training", [False, True])
def test_mode_of_the_model_is_put_back(training: bool) -> None:
    model = ANN(TINY).train(training)
    predictor(model, TestConfig())(torch.randn(1, 3, 9, 17))
    assert all(module.training is training for module in model.modules())


def test_mode_of_the_model_is_put_back_after_an_error() -> None:
    model = ANN(TINY)
    with pytest.raises(RuntimeError):
        predictor(model, TestConfig())(torch.randn(1, 4, 9, 17))
    assert model.training


def test_frozen_parts_stay_frozen() -> None:
    model = ANN(TINY)
    model.backbone.stem.eval()
    with inference_of(model):
        pass
    assert not model.backbone.stem.training
    assert model.reduce.training


def test_predictions_carry_no_gradient() -> None:
    assert not predictor(ANN(TINY), TestConfig())(torch.randn(1, 3, 9, 17)).requires_grad


def test_slide_without_window_is_refused_with_an_example() -> None:
    with pytest.raises(ValueError, match="needs window and stride"):
        predictor(ANN(TINY), TestConfig(mode="slide"))


@pytest.mark.parametrize("stride", [(18, 11), (9, 26), (0, 11), (9, -1)])
def test_windows_that_leave_gaps_are_refused(stride: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=r"Windows of \(17, 25\) .* leave pixels out"):
        predictor(ANN(TINY), replace(SLIDE, stride=stride))


@pytest.mark.parametrize("scales", [(), (0.0,), (1.0, -0.5), (float("nan"),), (float("inf"),)])
def test_scales_that_are_none_are_refused(scales: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="must be numbers above 0"):
        predictor(ANN(TINY), TestConfig(scales=scales))


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_gives_nearly_the_same_in_single_precision(precision: str) -> None:
    torch.manual_seed(0)
    model, images = wake(ANN(TINY)), torch.randn(1, 3, 33, 57)
    exact = predictor(model, TestConfig())(images)
    rounded = predictor(model, TestConfig(), precision)(images)
    assert rounded.dtype == torch.float32
    assert not torch.equal(rounded, exact)
    torch.testing.assert_close(rounded, exact, atol=0.05 * float(exact.abs().max()), rtol=0)


@pytest.mark.parametrize("flip", [False, True])
def test_maps_of_earlier_passes_are_given_up(flip: bool) -> None:
    """Twelve passes over 150 classes at 1024 x 2048 would not fit into any memory."""
    made: list[weakref.ref] = []

    def predict(images: Tensor) -> Tensor:
        assert [ref for ref in made if ref() is not None] == []
        logits = brightness(images)
        made.append(weakref.ref(logits))
        return logits

    scales_and_flips(predict, torch.randn(1, 3, 9, 11), (9, 11), MULTI_SCALE, flip, False)
    assert len(made) == len(MULTI_SCALE) * (1 + flip)


def test_at_most_three_full_maps_exist_at_once() -> None:
    """The sum, the resized logits and their probabilities."""
    images, size = torch.randn(1, 3, 40, 60), (40, 60)
    config = TestConfig(scales=(0.1, 0.2), flip=True)
    with Living() as living:
        at_base_size(lambda x: torch.randn(1, 50, *x.shape[2:]), images, config, False)
    full = 50 * size[0] * size[1] * 4
    assert living.most / full < 3.3
