"""What the reference's network is asked for, the way its own tools ask."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from annlib.config import IGNORE_INDEX, TrainConfig
from annlib.engine.train import poly_lr


def sizes(size: tuple[int, int], picture_size: tuple[int, int] | None = None) -> dict[str, Any]:
    """What the reference wants to know about a network's input, and the picture it was made of."""
    whole = {"img_shape": size, "pad_shape": size, "padding_size": [0, 0, 0, 0]}
    return whole | {"ori_shape": picture_size or size}


def samples(labels: Tensor) -> list[Any]:
    """The labels of a batch in its own wrapping.  (B, H, W)"""
    from mmengine.structures import PixelData
    from mmseg.structures import SegDataSample

    size = tuple(labels.shape[1:])
    wrapped = [SegDataSample(metainfo=sizes(size)) for _ in labels]
    for sample, one in zip(wrapped, labels, strict=True):
        sample.gt_sem_seg = PixelData(data=one[None])
    return wrapped


def reference_logits(model: nn.Module, images: Tensor) -> Tensor:
    """(B, 3, H, W) -> (B, K, H, W)"""
    return model.encode_decode(images, [sizes(tuple(images.shape[2:]))] * len(images))


def reference_steps(
    model: nn.Module, images: Tensor, labels: Tensor, config: TrainConfig
) -> Iterator[Tensor]:
    """Losses of a training on one batch, over and over, by our recipe and its optimiser.

    (B, 3, H, W), (B, H, W) -> scalars. Its loss measures the share of right pixels as well.
    """
    optimizer = torch.optim.SGD(
        model.parameters(),
        lr=config.base_lr,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
    )
    wrapped = samples(labels)
    model.train()
    for number in range(config.iterations):
        for group in optimizer.param_groups:
            group["lr"] = poly_lr(number, config)
        optimizer.zero_grad(set_to_none=True)
        loss, _ = model.parse_losses(model.loss(images, wrapped))
        loss.backward()
        optimizer.step()
        yield loss.detach()


def reference_classes(model: nn.Module, images: Tensor, size: tuple[int, int]) -> Tensor:
    """The whole of its test on the input that its pipeline made of a picture of `size`.

    (1, 3, h, w) -> class indices (*size)
    """
    from mmseg.structures import SegDataSample

    sample = SegDataSample(metainfo=sizes(tuple(images.shape[2:]), size))
    return model.predict(images, [sample])[0].pred_sem_seg.data[0]


def reference_post_processing(
    model: nn.Module, logits: Tensor, input_size: tuple[int, int], size: tuple[int, int]
) -> Tensor:
    """What follows its classifier.  (1, K, H/8, W/8) -> class indices (*size)"""
    from mmseg.structures import SegDataSample

    about = sizes(input_size, size)
    scores = model.decode_head.predict_by_feat(logits, [about])
    (sample,) = model.postprocess_result(scores, [SegDataSample(metainfo=about)])
    return sample.pred_sem_seg.data[0]


def reference_areas(classes: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Of each class: intersection, union, prediction, labels.  2 x (H, W) -> pixels (4, K)"""
    from mmseg.evaluation import IoUMetric

    return torch.stack(IoUMetric.intersect_and_union(classes, labels, num_classes, IGNORE_INDEX))
