"""Whole image, sliding window, scales and flips: from images to logits of the images' size."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf

import torch
from torch import Tensor, nn

from annlib.config import Precision, TestConfig
from annlib.engine.precision import autocast
from annlib.model.ann import resize_bilinear

Predict = Callable[[Tensor], Tensor]  # images (B, 3, H, W) normalised -> (B, K, H, W)
MULTI_SCALE = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)  # of the reference's ms+flip columns


@contextmanager
def inference_of(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; the mode of every part is put back afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        for module, training in modes:
            module.training = training


def sliding_window(
    predict: Predict, images: Tensor, window: tuple[int, int], stride: tuple[int, int]
) -> Tensor:
    """Mean of the logits of all windows that cover a pixel.  (B, 3, H, W) -> (B, K, H, W)

    Reference: mmseg/models/segmentors/encoder_decoder.py, slide_inference.
    """
    height, width = images.shape[2:]
    total, count = None, torch.zeros(1, 1, height, width, device=images.device)
    for top in window_starts(height, window[0], stride[0]):
        for left in window_starts(width, window[1], stride[1]):
            place = (..., slice(top, top + window[0]), slice(left, left + window[1]))
            logits = predict(images[place])
            if total is None:
                total = logits.new_zeros(*logits.shape[:2], height, width)
            total[place] += logits
            count[place] += 1
    return total.div_(count)


def window_starts(side: int, window: int, stride: int) -> list[int]:
    """First pixels of the windows along one side; the last window is moved back to the edge."""
    last = max(side - window, 0)
    return sorted({min(start, last) for start in range(0, last + stride, stride)})


def scales_and_flips(
    predict: Predict,
    images: Tensor,
    base_size: tuple[int, int],
    scales: tuple[float, ...],
    flip: bool,
    align_corners: bool,
) -> Tensor:
    """Logarithm of the mean probability over scaled and mirrored copies, at the images' size.

    (B, 3, H, W) -> (B, K, H, W). The logarithm changes no argmax and makes them logits again.
    Reference: mmseg/models/segmentors/base.py with tools/test.py --aug-test of release 0.x.
    """
    size = images.shape[2:]
    mirrors = (False, True) if flip else (False,)
    total = None
    for scale in scales:
        box = (int(base_size[0] * scale), int(base_size[1] * scale))
        scaled = resize_bilinear(images, fit(size, box), align_corners=False)
        for mirrored in mirrors:
            part = probabilities(predict, scaled, size, mirrored, align_corners)
            total = part if total is None else total.add_(part)
            del part  # these maps are what fills the memory: none may outlive its use
    return total.div_(len(scales) * len(mirrors)).log_()


def probabilities(
    predict: Predict, images: Tensor, size: tuple[int, int], mirrored: bool, align_corners: bool
) -> Tensor:
    """Of one scaled copy, seen in a mirror or not, at `size`.  (B, 3, h, w) -> (B, K, *size)"""
    maps = predict(images.flip(-1) if mirrored else images)
    maps = resize_bilinear(maps, size, align_corners)
    maps = maps.softmax(1)
    return maps.flip(-1) if mirrored else maps


def fit(size: tuple[int, int], box: tuple[int, int]) -> tuple[int, int]:
    """The largest size of the same aspect inside a box, which may lie on its side; at least 1."""
    scale = min(max(box) / max(size), min(box) / min(size))
    return max(1, int(size[0] * scale + 0.5)), max(1, int(size[1] * scale + 0.5))


def one_pass(model: nn.Module, config: TestConfig) -> Predict:
    """The model on images of the size it tests at: whole, or window by window."""

    def whole(images: Tensor) -> Tensor:
        return model(images).main

    def windows(images: Tensor) -> Tensor:
        return sliding_window(whole, images, config.window, config.stride)

    return windows if config.mode == "slide" else whole


def at_base_size(score: Predict, images: Tensor, config: TestConfig, align_corners: bool) -> Tensor:
    """Brings images to the size (or sizes) of the test and logits back to that of the images."""
    size = images.shape[2:]
    base_size = config.base_size or size
    if config.scales != (1.0,) or config.flip:
        return scales_and_flips(score, images, base_size, config.scales, config.flip, align_corners)
    scaled = fit(size, base_size)
    if scaled == tuple(size):
        return score(images)
    images = resize_bilinear(images, scaled, align_corners=False)
    return resize_bilinear(score(images), size, align_corners)


def check_test(config: TestConfig) -> None:
    """Raises ValueError for windows that leave gaps, and for scales that are none."""
    if config.mode == "slide":
        check_windows(config.window, config.stride)
    if not config.scales or not all(0 < scale < inf for scale in config.scales):
        raise ValueError(f"The scales {config.scales} must be numbers above 0, e.g. 0.5 1 1.5.")


def check_windows(window: tuple[int, int] | None, stride: tuple[int, int] | None) -> None:
    if window is None or stride is None:
        raise ValueError(
            "Sliding (mode='slide') needs window and stride, e.g. (769, 769) and (513, 513): "
            "--window 769 769 --stride 513 513."
        )
    if not all(1 <= step <= side for side, step in zip(window, stride, strict=True)):
        raise ValueError(
            f"Windows of {window} with the stride {stride} (height, width) leave pixels out: each "
            "stride must be at least 1 and at most the window's side."
        )


def predictor(model: nn.Module, config: TestConfig, precision: Precision = "fp32") -> Predict:
    """The function that segments images with a model, on the model's device, without gradients.

    Its argument is (B, 3, H, W) normalised, its result (B, K, H, W) logits of the same size.
    Raises ValueError for a config that cannot be tested with, see `check_test`.
    """
    check_test(config)
    score = one_pass(model, config)

    def predict(images: Tensor) -> Tensor:
        device = next(model.parameters()).device
        with inference_of(model), autocast(device, precision):
            return at_base_size(score, images.to(device), config, model.config.align_corners)

    return predict
