"""Whole image, sliding window, scales and flips: from images to logits of the images' size."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from annlib.config import TestConfig
from annlib.model.ann import resize_bilinear

Predict = Callable[[Tensor], Tensor]  # images (B, 3, H, W) normalised -> (B, K, H, W)


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
    return total / count


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
    total = torch.zeros((), device=images.device)
    for scale in scales:
        box = (int(base_size[0] * scale), int(base_size[1] * scale))
        scaled = resize_bilinear(images, fit(size, box), align_corners=False)
        for mirrored in mirrors:
            logits = predict(scaled.flip(-1) if mirrored else scaled)
            logits = logits.flip(-1) if mirrored else logits
            total = total + resize_bilinear(logits, size, align_corners).softmax(1)
    return (total / (len(scales) * len(mirrors))).log()


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


def predictor(model: nn.Module, config: TestConfig) -> Predict:
    """The function that segments images with a model, on the model's device, without gradients.

    Its argument is (B, 3, H, W) normalised, its result (B, K, H, W) logits of the same size.
    """
    if config.mode == "slide" and not (config.window and config.stride):
        raise ValueError(
            "TestConfig(mode='slide') needs window and stride, e.g. (769, 769), (513, 513)."
        )
    score = one_pass(model, config)

    def predict(images: Tensor) -> Tensor:
        images = images.to(next(model.parameters()).device)
        with inference_of(model):
            return at_base_size(score, images, config, model.config.align_corners)

    return predict
