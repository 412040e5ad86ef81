"""Changes attention (ablate, shuffle, other anchors, other methods) and measures the effect.

B batch, C channels, Cv of values, H x W the image, h x w the map, N = h * w queries, S keys.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from statistics import mean
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, from_numpy, nn
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from annlib.config import IGNORE_INDEX, TestConfig
from annlib.course import attention
from annlib.course.attention import Attention, Projections
from annlib.course.efficient import Method, Size, exact, weights_of
from annlib.data.balloon_town.layout import CLASS_NAMES, HOUSES, Scene
from annlib.data.loader import Transformed, make_loader
from annlib.data.transforms import to_tensors
from annlib.engine.inference import inference_of, make_label_predictor
from annlib.engine.metrics import ConfusionMatrix, evaluate_labels
from annlib.model.ann import ANN, map_size
from annlib.model.baselines import Baseline, NonLocalAttention
from annlib.model.build import build_model

Change = Callable[[Tensor], Tensor]  # what is used instead, of the same shape


@contextmanager
def changed_attention(model: nn.Module, change: Change, block: str | None = None) -> Iterator[None]:
    """Within it, blocks use change(weights), (B, N, S).  block: None for all.  Raises KeyError."""
    blocks = attention.attention_blocks(model)
    if block is not None and block not in blocks:
        raise KeyError(f"No attention block {block!r} in this model; it has {', '.join(blocks)}.")
    with ExitStack() as hooks:  # removes them after an error, too
        for path, one in blocks.items():
            if block in (None, path):
                hooks.enter_context(one.softmax.register_forward_hook(lambda m, i, w: change(w)))
        yield


def without(weights: Tensor, dropped: Tensor) -> Tensor:
    """Rows without some weights; the others keep their ratios, sum 1.  (..., N, S), (..., N, k)"""
    kept = weights.scatter(-1, dropped, 0.0)
    return kept / kept.sum(-1, keepdim=True).clamp(min=1e-30)  # a row may have no weight left


def without_strongest(weights: Tensor, k: int) -> Tensor:
    """Each row without its k largest weights.  (..., N, S) -> (..., N, S)"""
    return without(weights, weights.topk(k, dim=-1).indices)


def without_random(weights: Tensor, k: int, seed: int = 0) -> Tensor:
    """Each row without k random weights of its own.  (..., N, S) -> (..., N, S)"""
    generator = torch.Generator().manual_seed(seed)
    random = torch.rand(weights.shape, generator=generator).to(weights.device)
    return without(weights, random.topk(k, dim=-1).indices)


def with_shuffled_keys(weights: Tensor, seed: int = 0) -> Tensor:
    """The weights if the keys were shuffled, but not the values.  (..., N, S) -> (..., N, S)"""
    # Scores are products of a query with one key each, so shuffled keys shuffle whole columns.
    order = torch.randperm(weights.shape[-1], generator=torch.Generator().manual_seed(seed))
    return weights[..., order.to(weights.device)]


def inpaint(image: np.ndarray, rows: slice, columns: slice) -> np.ndarray:
    """The image with a rectangle in its mean colour.  uint8 (H, W, 3) -> uint8 (H, W, 3)"""
    changed = image.copy()
    changed[rows, columns] = image.mean((0, 1)).round()
    return changed


def shuffled_projections(
    model: nn.Module, image: np.ndarray, seed: int = 0
) -> dict[str, Projections]:
    """Projections of each block for an image, uint8 (H, W, 3), with the keys shuffled."""
    return {
        path: found._replace(keys=with_shuffled_keys(found.keys.T, seed).T)
        for path, found in attention.projections_of(model, image).items()
    }


def score_scenes(model: nn.Module, scenes: Sequence[Scene]) -> ConfusionMatrix:
    """The confusion matrix of all labelled pixels; works inside `changed_attention`."""
    pairs = [(from_numpy(s.image.transpose(2, 0, 1).copy()), from_numpy(s.labels)) for s in scenes]
    samples = make_loader(Transformed(pairs, to_tensors), batch_size=8, training=False)
    return evaluate_labels(make_label_predictor(model, TestConfig()), samples, len(CLASS_NAMES))


class Damage(NamedTuple):
    """Scores with some weights ablated, between 0 and 1."""

    miou: float
    houses: float  # of the pixels that are a house and are predicted as one


WAYS = {"the strongest": without_strongest, "as many at random": without_random}


def measure_damage(
    model: nn.Module, block: str, ks: Sequence[int], scenes: Sequence[Scene]
) -> Iterator[tuple[tuple[str, str, int], Damage]]:
    """The scores with k weights of one block ablated: yields ((block, way, k), damage)."""
    for way, ablate in WAYS.items():
        for k in ks:
            with changed_attention(model, partial(ablate, k=k), block):
                matrix = score_scenes(model, scenes)
            yield (block, way, k), Damage(matrix.scores().miou, matrix.accuracy_among(HOUSES))


def untrained(model: ANN | Baseline, seed: int = 0) -> ANN | Baseline:
    """The same network with random weights, which depend on the seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build_model(model.config).eval()


def with_levels(model: Baseline, levels: tuple[int, ...] | None) -> Baseline:
    """The same weights with other anchors; None: every position is a key, as in lesson 2.

    Raises ValueError for a network with neither block.
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
    y, x = (side // n for side, n in zip(labels.shape, exact.shape[1:], strict=True))
    classes = labels[y // 2 :: y, x // 2 :: x]  # at the middle of each position
    errors, length = (exact - anchored).norm(dim=0), exact.norm(dim=0)
    losses = {}
    for label in np.unique(classes[classes != IGNORE_INDEX]):
        inside = from_numpy(classes == label)
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
        return model.backbone(attention.model_input(image).to(next(model.parameters()).device))


def projections_across(model: ANN, image: np.ndarray, swapped: bool) -> Projections:
    """Projections of the AFNB; swapped: from c4 and c5.  Raises ValueError if widths differ"""
    low, high = low_and_high(model, image)
    if swapped and low.shape[1] != high.shape[1]:
        said = f"c4 has {low.shape[1]} channels, c5 {high.shape[1]}: their roles cannot be swapped."
        raise ValueError(said)
    query_map, key_map = (low, high) if swapped else (high, low)
    block = model.afnb.attention
    with inference_of(model):
        made = block.to_query(query_map), block.to_key(key_map), block.to_value(key_map)
        return attention.project(block, *made, image.shape[:2])


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
        labels = attention.predict_labels(model, scene.image)
        correct, near = labels == scene.labels, near_edges(scene.labels)
        edges.append(correct[near].mean())
        inside.append(correct[~near & (scene.labels != IGNORE_INDEX)].mean())
        answers = [attention.house_answer(labels, scene, house) for house in scene.houses]
        houses += [a == house.label for a, house in zip(answers, scene.houses, strict=True)]
    return Score(float(mean(edges)), float(mean(inside)), mean(map(float, houses)))


class QKV(NamedTuple):
    """Queries, keys and values of a non-local block for one image."""

    query: Tensor  # (1, C, N)
    key: Tensor  # (1, C, N)
    value: Tensor  # (1, Cv, N)
    size: Size
    image_size: Size


class MethodScore(NamedTuple):
    """Of one method: means over the houses, or the scenes, that it was tried on."""

    error: float  # of the attention's output, relative to the non-local block
    on_balloon: float  # fraction of a house's attention on its own balloon
    matched: float  # fraction of houses whose own balloon gets more than any other
    right: float  # fraction of houses that the network classifies correctly


def nonlocal_attention(model: nn.Module) -> NonLocalAttention:
    """The only non-local block of a network.  Raises ValueError if it has another or none."""
    block, *others = attention.attention_blocks(model).values()
    if others or not isinstance(block, NonLocalAttention):
        raise ValueError(
            "Methods replace the attention of a network with one non-local block, which has all N "
            "keys; this network has another or several. Take one with the head 'nonlocal'."
        )
    return block


def capture_qkv(model: nn.Module, image: np.ndarray) -> QKV:
    """Queries, keys and values for an image, uint8 (H, W, 3) RGB, on the CPU."""
    block, size = nonlocal_attention(model), image.shape[:2]
    found = attention.capture_outputs(model, image, {"key": block.to_key, "value": block.to_value})
    key, value = found["key"].flatten(2), found["value"].flatten(2)
    return QKV(key, key, value, map_size(size), size)


@contextmanager
def replaced_attention(model: nn.Module, method: Method) -> Iterator[None]:
    """Within it, the block computes its output by `method`, not by all N x N weights."""
    block = nonlocal_attention(model)
    with attention.capture({"key": block.to_key, "value": block.to_value}) as found:

        def output(module: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
            key, value = found["key"].flatten(2), found["value"].flatten(2)
            return (method(key, key, value).mT.unflatten(2, inputs[0].shape[2:]).to(inputs[0]),)

        with block.to_output.register_forward_pre_hook(output):
            yield


def relative_error(method: Method, one: QKV) -> float:
    """Distance from the output of the non-local block, relative to its length: 0 is the same."""
    wanted = exact(one.query, one.key, one.value)
    return float((method(one.query, one.key, one.value) - wanted).norm() / wanted.norm())


def attention_by(method: Method, one: QKV) -> Attention:
    """The N x N weights that a method amounts to; as maps, rows sum to 1 and none is below 0."""
    weights = weights_of(method, one.query, one.key)[0].clamp(min=0)
    weights = weights / weights.sum(dim=-1, keepdim=True)
    return Attention(weights, one.size, one.image_size, None)


def score_method(model: nn.Module, method: Method, scenes: Sequence[Scene]) -> MethodScore:
    """Scores one method in place of the non-local block, without any further training."""
    errors, matches, num_right = [], [], 0
    for scene in scenes:
        one = capture_qkv(model, scene.image)
        errors.append(relative_error(method, one))
        weights = attention_by(method, one)
        found = [attention.match(weights, scene, house) for house in scene.houses]
        matches += [(each.on_its_balloon, each.is_matched) for each in found]
        with replaced_attention(model, method):
            num_right += attention.count_right(model, [scene])[0]
    on_balloon, matched = np.mean(matches, axis=0).tolist()
    return MethodScore(float(np.mean(errors)), on_balloon, matched, num_right / len(matches))
