"""Inference on whole images, sliding windows, several scales and flips, as mmseg's segmentors do.

Scores at full size are made in pieces (some classes of some rows, over the whole width) and never
stored as a whole, unless logits are asked for. B batch, K classes.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from math import inf
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from annlib.config import IGNORE_INDEX, ModelConfig, Precision, TestConfig
from annlib.model.ann import map_size, resize_bilinear

CPU_PIECE, GPU_PIECE = 2**19, 2**25  # numbers: what fits into a cache; what keeps a GPU busy
CPU_PIXELS, GPU_PIXELS = 2**18, 2**20  # of a batch: more saves a CPU no time, but costs memory
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
Size = Sequence[int]  # height, width
MULTI_SCALE = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)  # of the reference's ms+flip columns

Label = Callable[..., Tensor]  # see make_label_predictor


def choose_device(device: str) -> torch.device:
    """auto takes a GPU if there is one.  Raises ValueError for one that does not exist."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"device is {device!r}. Use 'auto', 'cpu', 'cuda' or 'cuda:1'.") from error
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        said = f"device is {device!r}, but torch finds {torch.cuda.device_count()} CUDA GPUs here. "
        raise ValueError(f"{said}Use 'cpu', or check nvidia-smi, and that torch is built for CUDA.")
    return chosen


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager:
    """Inside, the model computes in that precision; a no-op for float32."""
    exact = precision == "fp32"
    return nullcontext() if exact else torch.autocast(device.type, DTYPES[precision])


class ScoreMap(NamedTuple):
    """Scores that are computed piece by piece."""

    shape: Sequence[int]  # (B, K, H, W)
    dtype: torch.dtype
    device: torch.device
    classes_at_once: int  # in a piece
    piece: Callable[[slice, slice], Tensor]  # classes, rows -> (B, classes, rows, W)

    def pieces(self) -> Iterator[tuple[slice, list[slice]]]:
        """Rows, and the groups of classes of their pieces; of a size that suits the device."""
        batch, num_classes, height, width = self.shape
        numbers = CPU_PIECE if self.device.type == "cpu" else GPU_PIECE
        step = max(1, numbers // (batch * self.classes_at_once * width))
        firsts = range(0, num_classes, self.classes_at_once)
        groups = [slice(k, min(k + self.classes_at_once, num_classes)) for k in firsts]
        for top in range(0, height, step):
            yield slice(top, min(top + step, height)), groups


Score = Callable[[Sequence[Tensor]], list[ScoreMap]]  # images (B, 3, H, W), all of one size


def ready(maps: Tensor) -> ScoreMap:
    """Scores that are computed already.  (B, K, H, W)"""
    maps = maps.contiguous()  # a class in one place
    at_once = 1 if maps.device.type == "cpu" else maps.shape[1]
    return ScoreMap(tuple(maps.shape), maps.dtype, maps.device, at_once, lambda k, r: maps[:, k, r])


def resized(scores: ScoreMap, size: Size, align_corners: bool) -> ScoreMap:
    """Bilinear like `resize_bilinear`: first along the rows, then between them."""
    *shape, height, width = scores.shape
    if (height, width) == tuple(size):
        return scores
    # The row before each new row, and the distance to it, in the precision of torch's interpolation
    # (one rounding after multiplication and sum).
    ratio = (height - 1) / max(size[0] - 1, 1) if align_corners else height / size[0]
    shift = 0.0 if align_corners else 0.5
    place = torch.arange(size[0], dtype=torch.float64) + shift
    place = (place * torch.tensor(ratio, dtype=torch.float32) - shift).float().clamp(min=0)
    before = place.long().clamp(max=height - 1)
    after, weights = (before + 1).clamp(max=height - 1), place - before

    def piece(classes: slice, rows: slice) -> Tensor:
        first, end = int(before[rows.start]), int(after[rows.stop - 1]) + 1
        source = scores.piece(classes, slice(first, end))
        source = resize_bilinear(source, (end - first, size[1]), align_corners)
        near, far = ((part[rows] - first).to(source.device) for part in (before, after))
        weight = weights[rows, None].to(source)
        return source.index_select(2, near).lerp_(source.index_select(2, far), weight)

    return scores._replace(shape=(*shape, *size), piece=piece)


def mean_probability(copies: Sequence[tuple[ScoreMap, bool]]) -> ScoreMap:
    """Mean of the probabilities of several score maps; those marked True are mirror images."""
    num_classes = copies[0][0].shape[1]

    def piece(classes: slice, rows: slice) -> Tensor:
        total: Any = 0
        for scores, mirrored in copies:
            part = scores.piece(slice(0, num_classes), rows).softmax(1)
            total += part.flip(-1) if mirrored else part
        return total.div_(len(copies))[:, classes]

    return copies[0][0]._replace(classes_at_once=num_classes, piece=piece)


def whole(scores: ScoreMap) -> Tensor:
    """All pieces.  -> (B, K, H, W)"""
    maps = torch.empty(scores.shape, dtype=scores.dtype, device=scores.device)
    for rows, groups in scores.pieces():
        for classes in groups:
            maps[:, classes, rows] = scores.piece(classes, rows)
    return maps


def best_classes(scores: ScoreMap) -> Tensor:
    """The class of the highest score, the first of equals.  -> uint8 (B, H, W)"""
    batch, _, height, width = scores.shape
    best = torch.empty(batch, height, width, dtype=torch.uint8, device=scores.device)
    for rows, groups in scores.pieces():
        pieces = (scores.piece(classes, rows) for classes in groups)
        if scores.device.type == "cpu":
            best[:, rows] = first_of_highest(plane for p in pieces for plane in p.unbind(1))
        else:
            best[:, rows] = torch.cat(list(pieces), dim=1).argmax(1)
    return best


def first_of_highest(planes: Iterator[Tensor]) -> Tensor:
    """Index of the highest plane at each position, float32. torch.argmax takes 10 times as long."""
    highest = next(planes).clone()
    number, better = torch.zeros_like(highest), torch.empty_like(highest)
    for index, plane in enumerate(planes, start=1):
        torch.gt(plane, highest, out=better)  # as 0.0 and 1.0: truth values are not vectorised
        torch.maximum(number, better.mul_(index), out=number)
        torch.maximum(highest, plane, out=highest)
    return number


def window_starts(side: int, window: int, stride: int) -> list[int]:
    """First pixels of the windows along one side; the last window is moved back to the edge."""
    last = max(side - window, 0)
    return sorted({min(start, last) for start in range(0, last + stride, stride)})


def times_covered(starts: Sequence[int], window: int, side: int) -> Tensor:
    """How many windows cover each pixel of one side.  -> (side,)"""
    place, begins = torch.arange(side), torch.tensor(starts)[:, None]
    return ((begins <= place) & (place < begins + window)).float().sum(0)


def mean_of_windows(
    windows: Sequence[ScoreMap], tops: Sequence[int], lefts: Sequence[int], size: Size
) -> ScoreMap:
    """Scores of `size` from windows of one size, one at each top and left, row by row."""
    (batch, num_classes, height, width), dtype, device, *_ = windows[0]
    down = times_covered(tops, height, size[0])[:, None].to(device)
    across = times_covered(lefts, width, size[1]).to(device)
    places = [(top, left) for top in tops for left in lefts]

    def piece(classes: slice, rows: slice) -> Tensor:
        shape = batch, classes.stop - classes.start, rows.stop - rows.start, size[1]
        total = torch.zeros(shape, dtype=dtype, device=device)
        for window, (top, left) in zip(windows, places, strict=True):
            start, stop = max(top, rows.start), min(top + height, rows.stop)
            if start < stop:
                place = slice(start - rows.start, stop - rows.start), slice(left, left + width)
                total[:, :, *place] += window.piece(classes, slice(start - top, stop - top))
        return total.div_(down[rows] * across)

    return windows[0]._replace(shape=(batch, num_classes, *size), piece=piece)


def sliding_window(score: Score, window: Size, stride: Size) -> Score:
    """Scores windows instead of whole images, and takes the mean where they overlap."""

    def score_windows(images: Sequence[Tensor]) -> list[ScoreMap]:
        size = images[0].shape[2:]
        tops, lefts = map(window_starts, size, window, stride)
        rows = [slice(top, top + window[0]) for top in tops]
        columns = [slice(left, left + window[1]) for left in lefts]
        windows = score([part[:, :, r, c] for part in images for r in rows for c in columns])
        step = len(tops) * len(lefts)  # windows of each image
        each = (windows[i : i + step] for i in range(0, len(windows), step))
        return [mean_of_windows(part, tops, lefts, size) for part in each]

    return score_windows


@contextmanager
def inference_of(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; the mode of every module is put back afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        for module, training in modes:
            module.training = training


def fit(size: Size, box: Size) -> Size:
    """The largest size of the same aspect inside a box, in either orientation; at least 1."""
    scale = min(max(box) / max(size), min(box) / min(size))
    return max(1, int(size[0] * scale + 0.5)), max(1, int(size[1] * scale + 0.5))


def scales_and_flips(
    score: Score, images: Tensor, base: Size, scales: tuple[float, ...], flip: bool, corners: bool
) -> ScoreMap:
    """Mean probability of scaled and mirrored copies, as tools/test.py --aug-test of mmseg 0.x."""
    size, mirrors, copies = images.shape[2:], (False, True) if flip else (False,), []
    for scale in scales:
        box = int(base[0] * scale), int(base[1] * scale)
        scaled = resize_bilinear(images, fit(size, box), align_corners=False)
        parts = score([scaled.flip(-1) if mirrored else scaled for mirrored in mirrors])
        copies += [(resized(p, size, corners), m) for p, m in zip(parts, mirrors, strict=True)]
    return mean_probability(copies)


def check_test(config: TestConfig) -> None:
    """Raises ValueError for windows that leave gaps, and for scales that are not above 0."""
    window, stride = config.window, config.stride
    if config.mode == "slide" and (window is None or stride is None):
        said = "Sliding (mode='slide') needs window and stride, e.g. (769, 769) and (513, 513): "
        raise ValueError(f"{said}--window 769 769 --stride 513 513.")
    sides = zip(window or (), stride or (), strict=True)
    if config.mode == "slide" and not all(1 <= b <= a for a, b in sides):
        said = f"Windows of {window} with the stride {stride} (height, width) leave pixels out: "
        raise ValueError(f"{said}each stride must be at least 1 and at most the window's side.")
    if not config.scales or not all(0 < scale < inf for scale in config.scales):
        raise ValueError(f"The scales {config.scales} must be numbers above 0, e.g. 0.5 1 1.5.")


def score_images(
    model: nn.Module, config: TestConfig, precision: Precision, images: Tensor
) -> ScoreMap:
    """images (B, 3, H, W) normalised -> logits of their size; several copies: mean probabilities"""
    corners, size = cast(ModelConfig, model.config).align_corners, images.shape[2:]

    def score_model(images: Sequence[Tensor]) -> list[ScoreMap]:
        """Small images in one batch."""
        device, size, scores = images[0].device, images[0].shape[2:], []
        limit = CPU_PIXELS if device.type == "cpu" else GPU_PIXELS
        at_once = max(1, limit // images[0][:, 0].numel())
        for start in range(0, len(images), at_once):
            batch = images[start : start + at_once]
            with autocast(device, precision):
                joint = batch[0] if len(batch) == 1 else torch.cat([*batch])
                maps = model(joint, size=map_size(size)).main
            if not maps.isfinite().all():  # their argmax would be a class like any other
                small = f" {precision} is too small (fp16 ends at 65504; take bf16 or fp32),"
                raise FloatingPointError(
                    f"{int((~maps.isfinite()).sum())} of the network's {maps.numel()} scores are "
                    f"NaN or infinite:{small if precision != 'fp32' else ''} the images hold NaN, "
                    "or the weights do, for example after training with too high a base_lr."
                )
            scores += [resized(ready(part), size, corners) for part in maps.chunk(len(batch))]
        return scores

    score, base = score_model, config.base_size or size
    if config.mode == "slide" and config.window and config.stride:
        score = sliding_window(score_model, config.window, config.stride)
    images = images.to(next(model.parameters()).device)
    if config.scales != (1.0,) or config.flip:
        return scales_and_flips(score, images, base, config.scales, config.flip, corners)
    images = resize_bilinear(images, fit(size, base), align_corners=False)
    return resized(score([images])[0], size, corners)


def make_predictor(
    model: nn.Module, config: TestConfig, precision: Precision = "fp32"
) -> Callable[[Tensor], Tensor]:
    """The function images -> logits of a model, on its device; errors as `check_test`.

    (B, 3, H, W) normalised -> (B, K, H, W); several copies: logarithm of the mean probability
    """
    check_test(config)

    def predict(images: Tensor) -> Tensor:
        with inference_of(model):
            maps = whole(score_images(model, config, precision, images))
            return maps.log_() if config.scales != (1.0,) or config.flip else maps

    return predict


def make_label_predictor(
    model: nn.Module, config: TestConfig, precision: Precision = "fp32"
) -> Label:
    """The function images -> class of every pixel: the argmax of what `make_predictor` gives.

    (B, 3, H, W) normalised -> uint8 (B, H, W), or of the size (height, width) that may be given as
    well; ValueError for more than 255 classes
    """
    check_test(config)
    ours = cast(ModelConfig, model.config)
    if ours.num_classes > IGNORE_INDEX:
        said = f"The network has {ours.num_classes} classes, but a byte holds {IGNORE_INDEX} of "
        raise ValueError(f"{said}them: take the argmax of what make_predictor(...) gives.")

    def label(images: Tensor, size: Size | None = None) -> Tensor:
        with inference_of(model):
            scores = score_images(model, config, precision, images)
            return best_classes(resized(scores, size or scores.shape[2:], ours.align_corners))

    return label
