"""A linear probe: can a paint be read from the features that attention compares?

To find the balloon of its colour, a house's query and the balloon's key must both carry the colour.
The labels ask a balloon for its pattern only, so training may well throw its colour away.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, one_hot

from annlib.course.attention import attention_blocks, attention_of, model_input
from annlib.course.attention_metrics import match
from annlib.data.balloon_town.dataset import make_scene
from annlib.data.balloon_town.layout import PAINTS, Balloon, House, Scene
from annlib.data.datasets import FIRST_VAL_SEED
from annlib.engine.inference import inference_of
from annlib.engine.metrics import percent, table
from annlib.model.asymmetric import AsymmetricAttention
from annlib.model.baselines import NonLocalAttention

FIRST_PROBED_SEED = FIRST_VAL_SEED + 20_000
FITTED, TESTED = 160, 80  # scenes
RIDGE = 1e-3


class Probe(NamedTuple):
    """What one block works with. Shares between 0 and 1; chance for a paint is 1/6."""

    house_paint: float  # read from the query of a house
    balloon_paint: float  # read from the key of a balloon
    on_its_balloon: float  # attention of a house, mean over houses
    on_other_balloons: float
    on_itself: float


def probe(model: nn.Module) -> dict[str, Probe]:
    """Reads paints from queries and keys of every attention block, on unseen scenes."""
    model.eval()
    scenes = [make_scene(FIRST_PROBED_SEED + i) for i in range(FITTED + TESTED)]
    return {name: probe_block(model, name, scenes) for name in attention_blocks(model)}


def probe_block(model: nn.Module, name: str, scenes: Sequence[Scene]) -> Probe:
    block = attention_blocks(model)[name]
    houses, balloons = ([], []), ([], [])  # (fitted, tested)
    for index, scene in enumerate(scenes):
        half = int(index >= FITTED)
        queries, keys = outputs_of(model, [query_projection(block), block.to_key], scene)
        for house in scene.houses:
            houses[half].append((mean_over(queries, scene, house), paint_index(house)))
        for balloon in scene.balloons:
            balloons[half].append((mean_over(keys, scene, balloon), paint_index(balloon)))
    return Probe(readable(*houses), readable(*balloons), *masses(model, name, scenes[FITTED:]))


def query_projection(block: NonLocalAttention | AsymmetricAttention) -> nn.Module:
    """The layer that makes queries: the keys' own, except in the AFNB."""
    if isinstance(block, NonLocalAttention) or block.to_query is None:
        return block.to_key
    return block.to_query


def outputs_of(model: nn.Module, modules: Sequence[nn.Module], scene: Scene) -> list[Tensor]:
    """What each module gives for a scene.  -> (C, h, w) each"""
    caught: dict[nn.Module, Tensor] = {}
    handles = [
        module.register_forward_hook(lambda m, _, output: caught.update({m: output[0]}))
        for module in set(modules)
    ]
    try:
        with inference_of(model):
            model(model_input(scene.image))
    finally:
        for handle in handles:
            handle.remove()
    return [caught[module] for module in modules]


def mean_over(features: Tensor, scene: Scene, thing: House | Balloon) -> Tensor:
    """The mean feature on a house or balloon.  (C, h, w) -> (C,)"""
    mask = torch.from_numpy(scene.mask(thing)).float()[None]
    share = adaptive_avg_pool2d(mask, features.shape[1:])
    return (features * share).sum((1, 2)) / share.sum()


def paint_index(thing: House | Balloon) -> int:
    return list(PAINTS).index(thing.paint)


def readable(fitted: list[tuple[Tensor, int]], tested: list[tuple[Tensor, int]]) -> float:
    """Accuracy of a ridge regression from features to paints, on scenes it was not fitted to."""
    x, y = with_constant(fitted), torch.tensor([paint for _, paint in fitted])
    targets = one_hot(y, len(PAINTS)).double()
    weights = torch.linalg.solve(x.T @ x + RIDGE * len(x) * torch.eye(x.shape[1]), x.T @ targets)
    guesses = (with_constant(tested) @ weights).argmax(1)
    return float((guesses == torch.tensor([paint for _, paint in tested])).double().mean())


def with_constant(samples: list[tuple[Tensor, int]]) -> Tensor:
    x = torch.stack([features for features, _ in samples]).double()
    return torch.cat([x, torch.ones(len(x), 1)], dim=1)


def masses(model: nn.Module, name: str, scenes: Sequence[Scene]) -> tuple[float, float, float]:
    """Mean share of a house's attention on its balloon, on the others, on itself."""
    rows = []
    for scene in scenes:
        attention = attention_of(model, scene.image)[name]
        for found in (match(attention, scene, house) for house in scene.houses):
            mine = found.on_its_balloon
            rows.append((mine, sum(found.balloons) - mine, found.own_house))
    return tuple(torch.tensor(rows).mean(0).tolist())


def probe_table(probes: dict[tuple[str, str], tuple[float, Probe]]) -> str:
    """Markdown, one row a block. Keys: (run, block); values: (house accuracy of the run, probe)."""
    header = ["run", "block", "house accuracy", "paint in query %", "paint in key %",
              "on its balloon %", "on others %", "on itself %"]  # fmt: skip
    rows = [
        [run, block.removesuffix(".attention"), f"{accuracy:.3f}", *map(percent, found)]
        for (run, block), (accuracy, found) in probes.items()
    ]
    return table(header, rows)
