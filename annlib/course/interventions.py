"""Changes attention while a network runs (ablate, shuffle, other anchors) and measures the effect.

B batch, C channels, H x W pixels of the image, h x w positions of the feature map, N = h * w query
positions, S keys.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from statistics import mean
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from annlib.config import IGNORE_INDEX, TestConfig
from annlib.course import attention
from annlib.course.attention import Attention, Projections, model_input
from annlib.course.attention_metrics import house_answer, predict_labels
from annlib.data.balloon_town.layout import CLASS_NAMES, HOUSES, Scene
from annlib.data.loader import Transformed, make_loader
from annlib.data.transforms import to_tensors
from annlib.engine.inference import inference_of, make_label_predictor
from annlib.engine.metrics import ConfusionMatrix, evaluate_labels
from annlib.model.ann import ANN
from annlib.model.baselines import Baseline
from annlib.model.build import build_model

Change = Callable[[Tensor], Tensor]  # what is used instead, of the same shape
SMALLEST = 1e-30  # keeps a row without any weight left from being divided by zero


@contextmanager
def changed_attention(model: nn.Module, change: Change, block: str | None = None) -> Iterator[None]:
    """Within it, blocks use change(weights), (B, N, S).  block: None for all.  Raises KeyError."""
    blocks = attention.attention_blocks(model)
    if block is not None and block not in blocks:
        raise KeyError(f"No attention block {block!r} in this model; it has {', '.join(blocks)}.")
    with ExitStack() as hooks:  # removes them after an error, too
        for path, one in blocks.items():
            if block in (None, path):
                hook = one.softmax.register_forward_hook(lambda module, inputs, w: change(w))
                hooks.enter_context(hook)
        yield


def without(weights: Tensor, dropped: Tensor) -> Tensor:
    """Rows without some weights; the others keep their ratios, sum 1.  (..., N, S), (..., N, k)"""
    kept = weights.scatter(-1, dropped, 0.0)
    return kept / kept.sum(-1, keepdim=True).clamp(min=SMALLEST)


def without_strongest(weights: Tensor, k: int) -> Tensor:
    """Each row without its k largest weights.  (..., N, S) -> (..., N, S)"""
    return without(weights, weights.topk(k, dim=-1).indices)


def without_random(weights: Tensor, k: int, seed: int = 0) -> Tensor:
    """Each row without k random weights of its own.  (..., N, S) -> (..., N, S)"""
    generator = torch.Generator().manual_seed(seed)
    random = torch.rand(weights.shape, generator=generator).to(weights.device)
    return without(weights, random.topk(k, dim=-1).indices)


def with_shuffled_keys(weights: Tensor, seed: int = 0) -> Tensor:
    """The weights if the keys were shuffled, but not the values.  (..., N, S) -> (..., N, S)

    Scores are products of a query with one key each, so shuffled keys shuffle whole columns.
    """
    order = torch.randperm(weights.shape[-1], generator=torch.Generator().manual_seed(seed))
    return weights[..., order.to(weights.device)]


def shuffled_projections(
    model: nn.Module, image: np.ndarray, seed: int = 0
) -> dict[str, Projections]:
    """Queries and shuffled keys of each block for an image, uint8 (H, W, 3)."""
    return {
        path: found._replace(keys=with_shuffled_keys(found.keys.T, seed).T)
        for path, found in attention.projections_of(model, image).items()
    }


def score_scenes(model: nn.Module, scenes: Sequence[Scene]) -> ConfusionMatrix:
    """The confusion matrix of all labelled pixels; works inside `changed_attention`."""
    pairs = [
        (torch.from_numpy(scene.image.transpose(2, 0, 1).copy()), torch.from_numpy(scene.labels))
        for scene in scenes
    ]
    samples = make_loader(Transformed(pairs, to_tensors), batch_size=8, training=False)
    return evaluate_labels(make_label_predictor(model, TestConfig()), samples, len(CLASS_NAMES))


def house_accuracy(matrix: ConfusionMatrix) -> float:
    """The fraction of correct kinds among pixels that are a house and are predicted as one."""
    return matrix.accuracy_among(HOUSES)


class Damage(NamedTuple):
    """Scores with some weights ablated, between 0 and 1."""

    miou: float
    houses: float  # house_accuracy


WAYS = {"the strongest": without_strongest, "as many at random": without_random}


def measure_damage(
    model: nn.Module, block: str, ks: Sequence[int], scenes: Sequence[Scene]
) -> Iterator[tuple[tuple[str, str, int], Damage]]:
    """The scores with k weights of one block ablated: yields ((block, way, k), damage)."""
    for way, ablate in WAYS.items():
        for k in ks:
            with changed_attention(model, partial(ablate, k=k), block):
                matrix = score_scenes(model, scenes)
            yield (block, way, k), Damage(matrix.scores().miou, house_accuracy(matrix))


def untrained(model: ANN | Baseline, seed: int = 0) -> ANN | Baseline:
    """The same network with random weights, which depend on the seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build_model(model.config).eval()


def with_levels(model: Baseline, levels: tuple[int, ...] | None) -> Baseline:
    """The same weights with other anchors; None: every position is a key, as in lesson 2.

    Pooling has no weights of its own, so those of the two blocks fit each other. Raises ValueError
    for a network with neither.
    """
    if model.config.head not in ("apnb", "nonlocal"):
        raise ValueError(f"A {model.config.head!r} network has no block that could use anchors.")
    head = "nonlocal" if levels is None else "apnb"
    changed = build_model(replace(model.config, head=head, pool_scales=levels or ()))
    changed.load_state_dict(model.state_dict())
    return changed.to(next(model.parameters()).device).eval()


def attention_with(model: Baseline, image: np.ndarray, levels: tuple[int, ...] | None) -> Attention:
    """The attention of the model's block for an image, uint8 (H, W, 3), with these anchors."""
    return attention.attention_of(with_levels(model, levels), image)["context.attention"]


def attention_output(model: Baseline, image: np.ndarray) -> Tensor:
    """The output of the attention at each position.  uint8 (H, W, 3) -> (C, h, w)"""
    return attention.capture_outputs(model, image, {"": model.context.attention})[""][0]


def loss_by_class(exact: Tensor, anchored: Tensor, labels: np.ndarray) -> dict[str, float]:
    """Mean relative error with anchors by class, largest first.  (C, h, w), (C, h, w), (H, W)"""
    y, x = (
        side // positions for side, positions in zip(labels.shape, exact.shape[1:], strict=True)
    )
    classes = labels[y // 2 :: y, x // 2 :: x]  # at the middle of each position
    errors, length = (exact - anchored).norm(dim=0), exact.norm(dim=0)
    losses = {}
    for label in np.unique(classes[classes != IGNORE_INDEX]):
        inside = torch.from_numpy(classes == label)
        losses[CLASS_NAMES[label]] = float(errors[inside].sum() / length[inside].sum())
    return dict(sorted(losses.items(), key=lambda item: -item[1]))


UNCHANGED = nn.Identity()


@contextmanager
def changed_levels(model: ANN, low: Change = UNCHANGED, high: Change = UNCHANGED) -> Iterator[None]:
    """Within it, the AFNB gets low(c4) and high(c5), each (B, C, h, w)."""
    with model.afnb.register_forward_pre_hook(lambda block, maps: (low(maps[0]), high(maps[1]))):
        yield


def coarse(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """A map whose cells, `size` of them, each hold their mean.  (B, C, h, w) -> same"""
    return interpolate(adaptive_avg_pool2d(maps, size), maps.shape[2:], mode="nearest")


def low_and_high(model: ANN, image: np.ndarray) -> tuple[Tensor, Tensor]:
    """c4 and c5 of an image.  uint8 (H, W, 3) -> (1, Cl, h, w), (1, Ch, h, w)"""
    with inference_of(model):
        return model.backbone(model_input(image).to(next(model.parameters()).device))


def projections_across(model: ANN, image: np.ndarray, swapped: bool) -> Projections:
    """Queries and keys of the AFNB; swapped: from c4 and c5.  Raises ValueError if widths differ"""
    low, high = low_and_high(model, image)
    if swapped and low.shape[1] != high.shape[1]:
        raise ValueError(
            f"c4 has {low.shape[1]} channels, c5 {high.shape[1]}: their roles cannot be swapped."
        )
    query_map, key_map = (low, high) if swapped else (high, low)
    block = model.afnb.attention
    with inference_of(model):
        query, key = block.to_query(query_map), block.to_key(key_map)
        return attention.project(block, query, key, image.shape[:2])


def near_edges(labels: np.ndarray, reach: int = 3) -> np.ndarray:
    """The labelled pixels with another class at most `reach` away.  (H, W) -> bool (H, W)"""
    around, side = np.pad(labels, reach, mode="edge"), 2 * reach + 1
    others = np.lib.stride_tricks.sliding_window_view(around, (side, side))
    near = (others != labels[..., None, None]) & (others != IGNORE_INDEX)
    return near.any((2, 3)) & (labels != IGNORE_INDEX)


class Score(NamedTuple):
    """Accuracies, between 0 and 1."""

    edges: float  # of pixels near another class
    inside: float  # of all other pixels
    houses: float  # of whole houses


def score(model: ANN, scenes: Sequence[Scene]) -> Score:
    """At edges, elsewhere and on houses: means over scenes."""
    edges, inside, houses = [], [], []
    for scene in scenes:
        labels = predict_labels(model, scene.image)
        correct, near = labels == scene.labels, near_edges(scene.labels)
        edges.append(correct[near].mean())
        inside.append(correct[~near & (scene.labels != IGNORE_INDEX)].mean())
        houses += [house_answer(labels, scene, house) == house.label for house in scene.houses]
    return Score(float(mean(edges)), float(mean(inside)), mean(map(float, houses)))


def strength(maps: Tensor) -> np.ndarray:
    """The norm of the features at each position.  (1, C, h, w) -> (h, w)"""
    return torch.linalg.vector_norm(maps[0], dim=0).cpu().numpy()
