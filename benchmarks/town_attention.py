"""Attention on unseen scenes of Balloon Town: counted over many houses, and read by a linear probe.

To attend to the balloon of its colour, a house's query and the balloon's key must both carry the
colour. The labels depend on a balloon's pattern only, so training may discard its colour: the probe
tells whether it did.
"""

from collections.abc import Iterator, Sequence
from math import nan
from typing import NamedTuple

import numpy as np
import torch
from sklearn.linear_model import Ridge
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from annlib.course.attention import (
    attention_blocks,
    attention_of,
    capture_outputs,
    house_answers,
    match,
    to_query,
)
from annlib.data.balloon_town.dataset import make_scene, repaint
from annlib.data.balloon_town.layout import PAINTS, PATTERNS, Balloon, House, Scene
from annlib.data.datasets import FIRST_VAL_SEED
from annlib.engine.metrics import percent, table

# Scenes that no training and no validation has seen.
FIRST_COUNTED_SEED, FIRST_PROBED_SEED = FIRST_VAL_SEED + 10_000, FIRST_VAL_SEED + 20_000
SCENES_PER_HOUSE = 10  # a scene has three houses: a network that needs more has learned nothing
FITTED, TESTED = 160, 80  # scenes of the probe
RIDGE = 1e-3  # of the probe's penalty, for each sample


class CountedHouse(NamedTuple):
    """One house that the network classified correctly."""

    matched: dict[str, bool]  # by block: its balloon gets more attention than any other balloon
    mass: dict[str, float]  # by block: fraction of the attention on its balloon
    follows: bool  # with its own balloon repainted, the house changes as the pattern says
    stays: bool  # with another balloon repainted, it does not change


class Tally(NamedTuple):
    """Means over all counted houses, between 0 and 1."""

    questions: int  # houses
    matched: dict[str, float]
    mass: dict[str, float]
    follows: float
    stays: float


def count_attention(model: nn.Module, questions: int) -> Tally:
    """Counts houses of unseen scenes until so many were classified correctly.

    Raises ValueError for less than one house, and for a model that is hardly ever correct.
    """
    if questions < 1:
        raise ValueError(f"{questions} houses give no mean: count at least 1.")
    found: list[CountedHouse] = []
    num_scenes = SCENES_PER_HOUSE * questions
    for seed in range(FIRST_COUNTED_SEED, FIRST_COUNTED_SEED + num_scenes):
        found += count_houses(model, make_scene(seed))
        if len(found) >= questions:
            break
    else:
        raise ValueError(
            f"In {num_scenes} scenes this {model.config.head} network classified {len(found)} "
            f"houses correctly; {questions} were to be counted. Was it trained on Balloon Town? "
            "Means over so few would say nothing: train it longer."
        )
    found = found[:questions]
    matched, mass = (
        {
            name: float(np.mean([getattr(one, kind)[name] for one in found]))
            for name in found[0].mass
        }
        for kind in ("matched", "mass")
    )
    follows, stays = np.mean([(one.follows, one.stays) for one in found], axis=0)
    return Tally(questions, matched, mass, float(follows), float(stays))


def count_houses(model: nn.Module, scene: Scene) -> Iterator[CountedHouse]:
    """Each house of a scene that is classified correctly."""
    attends = model.config.head not in ("fcn", "ppm")
    attention = attention_of(model, scene.image) if attends else {}
    for index, answer in enumerate(house_answers(model, scene)):
        house = scene.houses[index]
        if answer != house.label:
            continue
        matches = {name: match(one, scene, house) for name, one in attention.items()}
        own, other = house.decided_by, (house.decided_by + 1) % len(scene.balloons)
        repainted = [
            repaint(scene, balloon, (scene.balloons[balloon].pattern + 1) % len(PATTERNS))
            for balloon in (own, other)
        ]
        yield CountedHouse(
            {name: one.is_matched for name, one in matches.items()},
            {name: one.on_its_balloon for name, one in matches.items()},
            house_answers(model, repainted[0])[index] == repainted[0].houses[index].label,
            house_answers(model, repainted[1])[index] == house.label,
        )


def attention_table(tallies: dict[str, Tally]) -> str:
    """Markdown: one row a block of each network; the counterfactual is the whole network's."""
    header = ["network", "block", "houses", "its balloon first %", "attention on it %",
              "follows its balloon %", "ignores another %"]  # fmt: skip
    rows = []
    for name, one in tallies.items():
        for block in one.matched or {"-": 0}:
            values = (one.matched.get(block, nan), one.mass.get(block, nan), one.follows, one.stays)
            label = block.removesuffix(".attention")
            rows.append([name, label, str(one.questions), *map(percent, values)])
    return table(header, rows)


class Probe(NamedTuple):
    """What one block works with, between 0 and 1; chance for a paint is 1/6."""

    house_paint: float  # accuracy of reading it from the query of a house
    balloon_paint: float  # accuracy of reading it from the key of a balloon
    on_its_balloon: float  # attention of a house, mean over houses
    on_other_balloons: float
    on_itself: float


def probe(model: nn.Module) -> dict[str, Probe]:
    """Reads paints from queries and keys of every attention block, on unseen scenes."""
    scenes = [make_scene(FIRST_PROBED_SEED + i) for i in range(FITTED + TESTED)]
    return {name: probe_block(model, name, scenes) for name in attention_blocks(model)}


def probe_block(model: nn.Module, name: str, scenes: Sequence[Scene]) -> Probe:
    block = attention_blocks(model)[name]
    houses, balloons = ([], []), ([], [])  # (fitted, tested)
    for index, scene in enumerate(scenes):
        layers = {"query": to_query(block), "key": block.to_key}
        maps, split = capture_outputs(model, scene.image, layers), int(index >= FITTED)
        for things, samples, kind in (
            (scene.houses, houses, "query"),
            (scene.balloons, balloons, "key"),
        ):
            for thing in things:
                paint = list(PAINTS).index(thing.paint)
                samples[split].append((mean_over(maps[kind][0], scene, thing), paint))
    masses = []
    for scene in scenes[FITTED:]:
        attention = attention_of(model, scene.image)[name]
        for found in (match(attention, scene, house) for house in scene.houses):
            own = found.on_its_balloon
            masses.append((own, sum(found.balloons) - own, found.own_house))
    return Probe(readable(*houses), readable(*balloons), *np.mean(masses, axis=0).tolist())


def mean_over(features: Tensor, scene: Scene, thing: House | Balloon) -> Tensor:
    """The mean feature on a house or balloon.  (C, h, w) -> (C,)"""
    mask = torch.from_numpy(scene.mask(thing)).float()[None]
    part = adaptive_avg_pool2d(mask, features.shape[1:])
    return (features * part).sum((1, 2)) / part.sum()


def readable(fitted: list[tuple[Tensor, int]], tested: list[tuple[Tensor, int]]) -> float:
    """Accuracy of a ridge regression from features to paints, on scenes it was not fitted to."""
    (x, paints), (new_x, new_paints) = (
        (np.stack([[*features, 1.0] for features, _ in split]), np.array([one for _, one in split]))
        for split in (fitted, tested)
    )
    ridge = Ridge(alpha=RIDGE * len(x), fit_intercept=False)  # the constant is a feature
    scores = ridge.fit(x, np.eye(len(PAINTS))[paints]).predict(new_x)
    return float((scores.argmax(1) == new_paints).mean())


def probe_table(probes: dict[tuple[str, str], tuple[float, Probe]]) -> str:
    """Markdown, one row a block. Keys: (run, block); values: (house accuracy of the run, probe)."""
    header = ["run", "block", "house accuracy", "paint in query %", "paint in key %",
              "on its balloon %", "on others %", "on itself %"]  # fmt: skip
    rows = [
        [run, block.removesuffix(".attention"), f"{accuracy:.3f}", *map(percent, found)]
        for (run, block), (accuracy, found) in probes.items()
    ]
    return table(header, rows)
