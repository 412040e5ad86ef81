"""Anchors, chosen anew: a trained network with other pyramid levels, and what that does to it.

H x W pixels of the image, h x w positions of the map, N = h * w, C channels.
"""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from annlib.config import IGNORE_INDEX
from annlib.course.attention import Attention, attention_of, model_input
from annlib.data.scenes import CLASS_NAMES
from annlib.engine.inference import inference_of
from annlib.model.baselines import Baseline, build_model

Levels = tuple[int, ...]


def with_levels(model: Baseline, levels: Levels | None) -> Baseline:
    """The same weights with other anchors; None: every position answers, as in lesson 2.

    Sampling has no weights of its own, so those of the two blocks fit each other. Raises ValueError
    for a network with neither.
    """
    if model.config.head not in ("apnb", "nonlocal"):
        raise ValueError(f"A {model.config.head!r} network has no block that could be anchored.")
    head = "nonlocal" if levels is None else "apnb"
    config = replace(model.config, head=head, pool_scales=levels or ())
    changed = build_model(config, folded=False)
    changed.load_state_dict(model.state_dict())
    return changed.to(next(model.parameters()).device).eval()


def attention_with(model: Baseline, image: np.ndarray, levels: Levels | None) -> Attention:
    """What the model's block does with a picture, uint8 (H, W, 3), on these anchors."""
    return attention_of(with_levels(model, levels), image)["context.attention"]


def fetched(model: Baseline, image: np.ndarray) -> Tensor:
    """What each position fetches, after the output projection.  uint8 (H, W, 3) -> (C, h, w)"""
    caught: list[Tensor] = []
    hook = model.context.attention.register_forward_hook(
        lambda module, inputs, output: caught.append(output[0].cpu())
    )
    try:
        with inference_of(model):
            model(model_input(image).to(next(model.parameters()).device))
    finally:
        hook.remove()
    return caught[0]


def loss_by_class(exact: Tensor, anchored: Tensor, labels: np.ndarray) -> dict[str, float]:
    """How far what is fetched moves, as a share of its length: mean of each class, largest first.

    (C, h, w), (C, h, w), class indices (H, W)
    """
    height, width = exact.shape[1:]
    step_y, step_x = labels.shape[0] // height, labels.shape[1] // width
    classes = labels[step_y // 2 :: step_y, step_x // 2 :: step_x]  # at the middle of each position
    moved, length = (exact - anchored).norm(dim=0), exact.norm(dim=0)
    shares = {}
    for label in np.unique(classes[classes != IGNORE_INDEX]):
        inside = torch.from_numpy(classes == label)
        shares[CLASS_NAMES[label]] = float(moved[inside].sum() / length[inside].sum())
    return dict(sorted(shares.items(), key=lambda item: -item[1]))
