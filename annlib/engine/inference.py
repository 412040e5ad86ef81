"""Whole image, sliding window, scales and flips: from images to scores of the images' size."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import inf

import torch
from torch import Tensor, nn

from annlib.config import IGNORE_INDEX, Precision, TestConfig
from annlib.engine.precision import autocast
from annlib.engine.score_maps import (
    ScoreMap,
    best_classes,
    mean_probability,
    ready,
    resized,
    whole,
)
from annlib.engine.windows import Score, check_windows, sliding_window
from annlib.model.ann import map_size, resize_bilinear

Predict = Callable[[Tensor], Tensor]  # images (B, 3, H, W) normalised -> logits (B, K, H, W)
Label = Callable[[Tensor], Tensor]  # images (B, 3, H, W) normalised -> classes uint8 (B, H, W)
MULTI_SCALE = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)  # of the reference's ms+flip columns
CPU_PIXELS, GPU_PIXELS = 2**18, 2**20  # of a batch: more saves a CPU no time, but costs memory


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


def scorer(model: nn.Module, precision: Precision) -> Score:
    """The model on images (B, 3, H, W), several at once where they are small."""

    def score(images: Sequence[Tensor]) -> list[ScoreMap]:
        size, device = images[0].shape[2:], images[0].device
        limit = CPU_PIXELS if device.type == "cpu" else GPU_PIXELS
        at_once = max(1, limit // images[0][:, 0].numel())
        scores = []
        for start in range(0, len(images), at_once):
            batch = images[start : start + at_once]
            with autocast(device, precision):
                maps = model(joined(batch), size=map_size(size)).main
            scores += [ready(part) for part in maps.chunk(len(batch))]
        return [resized(part, size, model.config.align_corners) for part in scores]

    return score


def joined(batch: Sequence[Tensor]) -> Tensor:
    """One batch of several; a copy only where there are several."""
    return batch[0] if len(batch) == 1 else torch.cat(batch)


def scales_and_flips(
    score: Score,
    images: Tensor,
    base_size: tuple[int, int],
    scales: tuple[float, ...],
    flip: bool,
    align_corners: bool,
) -> ScoreMap:
    """The mean probability over scaled and mirrored copies, at the images' size.

    Reference: mmseg/models/segmentors/base.py with tools/test.py --aug-test of release 0.x.
    """
    size = images.shape[2:]
    mirrors = (False, True) if flip else (False,)
    copies = []
    for scale in scales:
        box = (int(base_size[0] * scale), int(base_size[1] * scale))
        scaled = resize_bilinear(images, fit(size, box), align_corners=False)
        parts = score([scaled.flip(-1) if mirrored else scaled for mirrored in mirrors])
        parts = [resized(part, size, align_corners) for part in parts]
        copies += zip(parts, mirrors, strict=True)
    return mean_probability(copies)


def fit(size: tuple[int, int], box: tuple[int, int]) -> tuple[int, int]:
    """The largest size of the same aspect inside a box, which may lie on its side; at least 1."""
    scale = min(max(box) / max(size), min(box) / min(size))
    return max(1, int(size[0] * scale + 0.5)), max(1, int(size[1] * scale + 0.5))


def at_base_size(score: Score, images: Tensor, config: TestConfig, align_corners: bool) -> ScoreMap:
    """Brings images to the size (or sizes) of the test and scores back to that of the images."""
    size = tuple(images.shape[2:])
    base_size = config.base_size or size
    if averages(config):
        return scales_and_flips(score, images, base_size, config.scales, config.flip, align_corners)
    images = resize_bilinear(images, fit(size, base_size), align_corners=False)
    return resized(score([images])[0], size, align_corners)


def averages(config: TestConfig) -> bool:
    """Whether the scores are mean probabilities of several copies, not logits."""
    return config.scales != (1.0,) or config.flip


def check_test(config: TestConfig) -> None:
    """Raises ValueError for windows that leave gaps, and for scales that are none."""
    if config.mode == "slide":
        check_windows(config.window, config.stride)
    if not config.scales or not all(0 < scale < inf for scale in config.scales):
        raise ValueError(f"The scales {config.scales} must be numbers above 0, e.g. 0.5 1 1.5.")


def score_images(
    model: nn.Module, config: TestConfig, precision: Precision
) -> Callable[[Tensor], ScoreMap]:
    """images (B, 3, H, W) normalised -> their scores, at their size, on the model's device"""
    check_test(config)
    score = scorer(model, precision)
    if config.mode == "slide":
        score = sliding_window(score, config.window, config.stride)

    def scores_of(images: Tensor) -> ScoreMap:
        images = images.to(next(model.parameters()).device)
        return at_base_size(score, images, config, model.config.align_corners)

    return scores_of


def predictor(model: nn.Module, config: TestConfig, precision: Precision = "fp32") -> Predict:
    """The function that segments images with a model, on the model's device, without gradients.

    Its argument is (B, 3, H, W) normalised, its result (B, K, H, W) logits of the same size; of
    scales and flips, the logarithm of the mean probability. For classes alone see `labeller`.
    Raises ValueError for a config that cannot be tested with, see `check_test`.
    """
    scores_of = score_images(model, config, precision)

    def predict(images: Tensor) -> Tensor:
        with inference_of(model):
            maps = whole(scores_of(images))
            return maps.log_() if averages(config) else maps

    return predict


def labeller(model: nn.Module, config: TestConfig, precision: Precision = "fp32") -> Label:
    """The function that tells the class of every pixel: the argmax of what `predictor` gives.

    Its argument is (B, 3, H, W) normalised, its result uint8 (B, H, W) class indices. Scores are
    made and compared piece by piece: less time, and no memory for a map of all of them.
    Raises ValueError for a config that cannot be tested with, and for more than 255 classes.
    """
    scores_of = score_images(model, config, precision)
    if model.config.num_classes > IGNORE_INDEX:
        raise ValueError(
            f"The network has {model.config.num_classes} classes, but a byte holds {IGNORE_INDEX} "
            "of them: take the argmax of what predictor(...) gives."
        )

    def label(images: Tensor) -> Tensor:
        with inference_of(model):
            return best_classes(scores_of(images))

    return label
