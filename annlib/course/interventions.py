"""Changes attention while a network runs (ablate, shuffle, other anchors) and measures the effect.

B batch, N positions that ask, S that answer. A `Change` is a function of the weights of one block;
within `changed_attention` the network works with what it gives back.

H x W pixels of the image, h x w positions of the map, N = h * w, C channels.

B batch, C channels, H x W pixels of the image, h x w positions of a map, S anchors.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from statistics import mean
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from annlib.config import IGNORE_INDEX, TestConfig
from annlib.course.attention import (
    Attention,
    Projections,
    attention_blocks,
    attention_of,
    model_input,
    projections,
    projections_of,
)
from annlib.course.attention_metrics import house_answer, predict_labels
from annlib.data.balloon_town.layout import CLASS_NAMES, HOUSES, Scene
from annlib.data.loader import Transformed, make_loader
from annlib.data.transforms import to_tensors
from annlib.engine.inference import inference_of, make_label_predictor
from annlib.engine.metrics import ConfusionMatrix, evaluate_labels
from annlib.model.ann import ANN
from annlib.model.baselines import Baseline
from annlib.model.build import build_model

Change = Callable[[Tensor], Tensor]  # weights (B, N, S) -> weights (B, N, S)
SMALLEST = 1e-30  # keeps a row that has nothing left from being divided by zero


@contextmanager
def changed_attention(model: nn.Module, change: Change, block: str | None = None) -> Iterator[None]:
    """Within it, the network uses change(weights) in place of its weights; then no more.

    block: the path of one attention block, as in `attention_blocks`; None changes all of them.
    Raises KeyError for a block that the model does not have.
    """
    blocks = attention_blocks(model)
    if block is not None and block not in blocks:
        raise KeyError(f"No attention block {block!r} in this model; it has {', '.join(blocks)}.")

    def replace(softmax: nn.Module, inputs: tuple[Tensor], weights: Tensor) -> Tensor:
        return change(weights)

    chosen = blocks.values() if block is None else [blocks[block]]
    handles = [one.softmax.register_forward_hook(replace) for one in chosen]
    try:
        yield
    finally:  # after an error, too: a network that stayed changed would falsify all that follows
        for handle in handles:
            handle.remove()


def without(weights: Tensor, dropped: Tensor) -> Tensor:
    """Rows without some of their weights; the others keep their ratios and sum to 1 again.

    (..., N, S), indices (..., N, k) -> (..., N, S)
    """
    kept = weights.scatter(-1, dropped, 0.0)
    return kept / kept.sum(-1, keepdim=True).clamp(min=SMALLEST)


def without_strongest(weights: Tensor, k: int) -> Tensor:
    """Each row without its k strongest.  (..., N, S) -> (..., N, S)"""
    return without(weights, weights.topk(k, dim=-1).indices)


def without_random(weights: Tensor, k: int, seed: int = 0) -> Tensor:
    """Each row without k of its weights, drawn anew for each row.  (..., N, S) -> (..., N, S)"""
    generator = torch.Generator().manual_seed(seed)
    lots = torch.rand(weights.shape, generator=generator).to(weights.device)
    return without(weights, lots.topk(k, dim=-1).indices)


def with_shuffled_keys(weights: Tensor, seed: int = 0) -> Tensor:
    """As if the keys had been shuffled, and the values not.  (..., N, S) -> (..., N, S)

    Scores are products of a query with one key each, so shuffled keys shuffle whole columns.
    """
    order = torch.randperm(weights.shape[-1], generator=torch.Generator().manual_seed(seed))
    return weights[..., order.to(weights.device)]


def shuffled_projections(
    model: nn.Module, image: np.ndarray, seed: int = 0
) -> dict[str, Projections]:
    """Queries and keys of each block for a picture, uint8 (H, W, 3), with the keys shuffled."""
    return {
        path: found._replace(keys=with_shuffled_keys(found.keys.T, seed).T)
        for path, found in projections_of(model, image).items()
    }


def score_scenes(model: nn.Module, scenes: Sequence[Scene]) -> ConfusionMatrix:
    """Counts truth against answer over all labelled pixels; works inside `changed_attention`."""
    pairs = [
        (torch.from_numpy(scene.image.transpose(2, 0, 1).copy()), torch.from_numpy(scene.labels))
        for scene in scenes
    ]
    samples = make_loader(Transformed(pairs, to_tensors), batch_size=8, training=False)
    return evaluate_labels(make_label_predictor(model, TestConfig()), samples, len(CLASS_NAMES))


def house_accuracy(matrix: ConfusionMatrix) -> float:
    """The share of right kinds among pixels that are, and were taken for, some house."""
    return matrix.accuracy_among(HOUSES)


class Damage(NamedTuple):
    """What is left when weights are switched off. Shares between 0 and 1."""

    miou: float
    houses: float  # right kinds among pixels that are, and were taken for, some house


Ways = Mapping[str, Callable[[Tensor, int], Tensor]]  # name -> (weights, k) -> weights
WAYS: Ways = {"the strongest": without_strongest, "as many at random": without_random}


def measure_damage(
    model: nn.Module, block: str, ks: Sequence[int], scenes: Sequence[Scene]
) -> Iterator[tuple[tuple[str, str, int], Damage]]:
    """Scores a model with k weights of one block switched off, in each way, for each k.

    Yields ((block, way, k), damage), so that a caller can show how far it is.
    """
    for way, switch_off in WAYS.items():
        for k in ks:
            with changed_attention(model, partial(switch_off, k=k), block):
                matrix = score_scenes(model, scenes)
            yield (block, way, k), Damage(matrix.scores().miou, house_accuracy(matrix))


def untrained(model: ANN | Baseline, seed: int = 0) -> ANN | Baseline:
    """The same network before its first step: other random numbers for every seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build_model(model.config).eval()


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
    changed = build_model(config)
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


# a map (B, C, h, w) -> the map that is used instead


class Score(NamedTuple):
    """What became of scenes: shares between 0 and 1."""

    edges: float  # right pixels among those near another class
    inside: float  # right pixels among all others
    houses: float  # houses named rightly


def unchanged(maps: Tensor) -> Tensor:
    return maps


@contextmanager
def changed_levels(model: ANN, low: Change = unchanged, high: Change = unchanged) -> Iterator[None]:
    """Within it, the AFNB gets low(c4) and high(c5); the rest of the network is as it was."""
    hook = model.afnb.register_forward_pre_hook(
        lambda block, maps: (low(maps[0]), high(maps[1])),
    )
    try:
        yield
    finally:
        hook.remove()


def coarse(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """A map whose cells, `size` of them, each hold their mean.  (B, C, h, w) -> same"""
    return interpolate(adaptive_avg_pool2d(maps, size), maps.shape[2:], mode="nearest")


def low_and_high(model: ANN, image: np.ndarray) -> tuple[Tensor, Tensor]:
    """c4 and c5 of a picture.  uint8 (H, W, 3) -> (1, Cl, h, w), (1, Ch, h, w)"""
    with inference_of(model):
        return model.backbone(model_input(image).to(next(model.parameters()).device))


def projections_across(model: ANN, image: np.ndarray, swapped: bool) -> Projections:
    """What the AFNB compares, uint8 (H, W, 3); swapped: with c4 asking and c5 answering.

    Raises ValueError where the projections of one map do not fit the other.
    """
    low, high = low_and_high(model, image)
    asks, answers = (low, high) if swapped else (high, low)
    if asks.shape[1] != high.shape[1]:
        raise ValueError(f"c4 has {low.shape[1]} channels, c5 {high.shape[1]}: no role to swap.")
    block = model.afnb.attention
    with inference_of(model):
        return projections(block, block.to_query(asks), block.to_key(answers), image.shape[:2])


def near_edges(labels: np.ndarray, reach: int = 3) -> np.ndarray:
    """Which labelled pixels have another class at most `reach` away.  (H, W) -> bool (H, W)"""
    height, width = labels.shape
    around = np.pad(labels, reach, mode="edge")
    steps = range(2 * reach + 1)
    near = np.zeros(labels.shape, bool)
    for down in steps:
        for right in steps:
            other = around[down : down + height, right : right + width]
            near |= (other != labels) & (other != IGNORE_INDEX)
    return near & (labels != IGNORE_INDEX)


def score(model: ANN, scenes: Sequence[Scene]) -> Score:
    """At edges, elsewhere and on houses: means over scenes."""
    edges, inside, houses = [], [], []
    for scene in scenes:
        labels = predict_labels(model, scene.image)
        right, near = labels == scene.labels, near_edges(scene.labels)
        edges.append(right[near].mean())
        inside.append(right[~near & (scene.labels != IGNORE_INDEX)].mean())
        houses += [house_answer(labels, scene, house) == house.label for house in scene.houses]
    return Score(float(mean(edges)), float(mean(inside)), mean(map(float, houses)))


def strength(maps: Tensor) -> np.ndarray:
    """How strongly each position of a map responds.  (1, C, h, w) -> (h, w)"""
    return torch.linalg.vector_norm(maps[0], dim=0).cpu().numpy()
