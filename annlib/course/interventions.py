"""Attention, changed while a network runs: switch off what it looks at, or deal it out anew.

B batch, N positions that ask, S that answer. A `Change` is a function of the weights of one block;
within `changed_attention` the network works with what it gives back.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from annlib.config import TestConfig
from annlib.course.attention import attention_blocks
from annlib.course.projections import Projections, projections_of
from annlib.data.loading import Transformed, make_loader
from annlib.data.normalise import to_tensors
from annlib.data.scenes import CLASS_NAMES, HOUSES, Scene
from annlib.engine.evaluate import ConfusionMatrix, evaluate_labels
from annlib.engine.inference import labeller
from annlib.model.ann import ANN
from annlib.model.baselines import Baseline, build_model

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
    return evaluate_labels(labeller(model, TestConfig()), samples, len(CLASS_NAMES))


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
