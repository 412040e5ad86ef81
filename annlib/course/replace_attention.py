"""Replaces trained attention by an approximation and measures the effect.

B batch, C channels of queries and keys, Cv of values, H x W the map, N = H * W.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from statistics import mean
from typing import NamedTuple

import numpy as np
from torch import Tensor, nn

from annlib.course.attention import Attention, attention_blocks, model_input
from annlib.course.attention_metrics import house_answers, match
from annlib.course.efficient import (
    FAMILIES,
    Method,
    Size,
    exact,
    method_of,
    share_of_work,
    weights_of,
)
from annlib.data.balloon_town.layout import Scene
from annlib.engine.inference import inference_of
from annlib.model.ann import map_size
from annlib.model.baselines import NonLocalAttention


class QKV(NamedTuple):
    """What a block asks with, in one picture."""

    query: Tensor  # (1, C, N)
    key: Tensor  # (1, C, N)
    value: Tensor  # (1, Cv, N)
    size: Size
    image_size: Size


class Score(NamedTuple):
    """Of one method: means over the houses, or the scenes, that it was tried on."""

    error: float  # of what is fetched, relative to the non-local block
    on_balloon: float  # share of a house's attention on its own balloon
    matched: float  # share of houses whose own balloon gets more than any other
    right: float  # share of houses that the network names rightly


def nonlocal_attention(model: nn.Module) -> NonLocalAttention:
    """The one non-local block of a network.  Raises ValueError if it has another or none."""
    blocks = list(attention_blocks(model).values())
    if len(blocks) != 1 or not isinstance(blocks[0], NonLocalAttention):
        raise ValueError("Only a network with one non-local block, all N keys of it, can be asked.")
    return blocks[0]


@contextmanager
def watched(attention: NonLocalAttention) -> Iterator[dict[str, Tensor]]:
    """Within it, every forward leaves {"key": (B, C, N), "value": (B, Cv, N)}; query is key."""
    kept: dict[str, Tensor] = {}

    def keep_as(name: str):
        def keep(module: nn.Module, inputs: tuple[Tensor], maps: Tensor) -> None:
            kept[name] = maps.flatten(2)

        return keep

    parts = {"key": attention.to_key, "value": attention.to_value}
    handles = [part.register_forward_hook(keep_as(name)) for name, part in parts.items()]
    try:
        yield kept
    finally:
        for handle in handles:
            handle.remove()


def capture_qkv(model: nn.Module, image: np.ndarray) -> QKV:
    """Queries, keys and values of a picture, uint8 (H, W, 3) RGB, on the CPU."""
    attention, device = nonlocal_attention(model), next(model.parameters()).device
    with inference_of(model), watched(attention) as kept:
        model(model_input(image).to(device))
    key, value = (kept[name].to("cpu", copy=True) for name in ("key", "value"))
    return QKV(key, key, value, map_size(image.shape[:2]), image.shape[:2])


@contextmanager
def plugged(model: nn.Module, method: Method) -> Iterator[None]:
    """Within it, the block fetches by `method` what it else would fetch by all N x N weights."""
    attention = nonlocal_attention(model)
    with watched(attention) as kept:

        def replace(module: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
            context = method(kept["key"], kept["key"], kept["value"])
            return (context.mT.unflatten(2, inputs[0].shape[2:]),)

        handle = attention.to_output.register_forward_pre_hook(replace)
        try:
            yield
        finally:
            handle.remove()


def relative_error(method: Method, one: QKV) -> float:
    """How far what is fetched is from what the non-local block fetches: 0 same, 1 as far as 0."""
    wanted = exact(one.query, one.key, one.value)
    got = method(one.query, one.key, one.value)
    return float((got - wanted).norm() / wanted.norm())


def attention_by(method: Method, one: QKV) -> Attention:
    """The N x N weights that a method acts by, as a picture of attention.

    Some methods give weights below 0, which a picture cannot show: they count as 0 here, and what
    is left of a row is divided by its sum.
    """
    weights = weights_of(method, one.query, one.key)[0].clamp(min=0)
    weights = weights / weights.sum(dim=-1, keepdim=True)
    return Attention(weights, one.size, one.image_size, None)


def score_method(model: nn.Module, method: Method, scenes: Sequence[Scene]) -> Score:
    """Tries one method in place of the non-local block, without any further training."""
    errors, matches, verdicts = [], [], []
    for scene in scenes:
        one = capture_qkv(model, scene.image)
        errors.append(relative_error(method, one))
        attention = attention_by(method, one)
        matches += [match(attention, scene, house) for house in scene.houses]
        with plugged(model, method):
            answers = house_answers(model, scene)
        verdicts += [a == h.label for a, h in zip(answers, scene.houses, strict=True)]
    return Score(
        mean(errors),
        mean(found.on_its_balloon for found in matches),
        mean(found.is_matched for found in matches),
        mean(verdicts),
    )


def say_method(model: nn.Module, name: str, option: int, scene: Scene, index: int) -> str:
    """What one method does with one house of a scene, in words."""
    one, family = capture_qkv(model, scene.image), FAMILIES[name]
    method, channels = method_of(name, option, one.size), one.key.shape[1]
    house = scene.houses[index]
    found = match(attention_by(method, one), scene, house)
    with plugged(model, method):
        answer = house_answers(model, scene)[index]
    sized = f"{option} {family.unit}" if len(family.options) > 1 else family.unit
    verdict = "rightly" if answer == house.label else "WRONGLY"
    work = share_of_work(name, option, one.size, channels)
    return (
        f"{name} ({sized}; what is shrunk: {family.shrinks}). Fetched: "
        f"{relative_error(method, one):.0%} away from the non-local block. Products: "
        f"{work:.0%} of its work. The {house.paint} house has {found.on_its_balloon:.0%} of its "
        f"attention on its balloon and is named {verdict}."
    )
