"""Replaces trained attention by an approximation and measures the effect.

B batch, C channels of queries and keys, Cv of values, H x W the map, N = H * W.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
from torch import Tensor, nn

from annlib.course.attention import Attention, Size, attention_blocks, capture, capture_outputs
from annlib.course.attention_metrics import count_right, house_answers, match
from annlib.course.efficient import FAMILIES, Method, exact, method_of, share_of_work, weights_of
from annlib.data.balloon_town.layout import Scene
from annlib.model.ann import map_size
from annlib.model.baselines import NonLocalAttention


class QKV(NamedTuple):
    """Queries, keys and values of a non-local block for one image."""

    query: Tensor  # (1, C, N)
    key: Tensor  # (1, C, N)
    value: Tensor  # (1, Cv, N)
    size: Size
    image_size: Size


class Score(NamedTuple):
    """Of one method: means over the houses, or the scenes, that it was tried on."""

    error: float  # of the attention's output, relative to the non-local block
    on_balloon: float  # fraction of a house's attention on its own balloon
    matched: float  # fraction of houses whose own balloon gets more than any other
    right: float  # fraction of houses that the network classifies correctly


def nonlocal_attention(model: nn.Module) -> NonLocalAttention:
    """The only non-local block of a network.  Raises ValueError if it has another or none."""
    blocks = list(attention_blocks(model).values())
    if len(blocks) != 1 or not isinstance(blocks[0], NonLocalAttention):
        raise ValueError(
            "Methods replace the attention of a network with one non-local block, which has all N "
            "keys; this network has another or several. Take one with the head 'nonlocal'."
        )
    return blocks[0]


def capture_qkv(model: nn.Module, image: np.ndarray) -> QKV:
    """Queries, keys and values for an image, uint8 (H, W, 3) RGB, on the CPU."""
    attention, size = nonlocal_attention(model), image.shape[:2]
    found = capture_outputs(model, image, {"key": attention.to_key, "value": attention.to_value})
    key, value = found["key"].flatten(2), found["value"].flatten(2)
    return QKV(key, key, value, map_size(size), size)


@contextmanager
def replaced_attention(model: nn.Module, method: Method) -> Iterator[None]:
    """Within it, the block computes its output by `method`, not by all N x N weights."""
    attention = nonlocal_attention(model)
    with capture({"key": attention.to_key, "value": attention.to_value}) as found:

        def replace(module: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
            key, value = found["key"].flatten(2), found["value"].flatten(2)
            return (method(key, key, value).mT.unflatten(2, inputs[0].shape[2:]).to(inputs[0]),)

        with attention.to_output.register_forward_pre_hook(replace):
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


def score_method(model: nn.Module, method: Method, scenes: Sequence[Scene]) -> Score:
    """Scores one method in place of the non-local block, without any further training."""
    errors, matches, num_right = [], [], 0
    for scene in scenes:
        one = capture_qkv(model, scene.image)
        errors.append(relative_error(method, one))
        attention = attention_by(method, one)
        found = [match(attention, scene, house) for house in scene.houses]
        matches += [(each.on_its_balloon, each.is_matched) for each in found]
        with replaced_attention(model, method):
            num_right += count_right(model, [scene])[0]
    on_balloon, matched = np.mean(matches, axis=0).tolist()
    return Score(float(np.mean(errors)), on_balloon, matched, num_right / len(matches))


def say_method(model: nn.Module, name: str, option: int, scene: Scene, index: int) -> str:
    """The effect of one method on one house of a scene, in words."""
    one, family = capture_qkv(model, scene.image), FAMILIES[name]
    method, house = method_of(name, option, one.size), scene.houses[index]
    found = match(attention_by(method, one), scene, house)
    with replaced_attention(model, method):
        answer = house_answers(model, scene)[index]
    sized = f"{option} {family.unit}" if len(family.options) > 1 else family.unit
    verdict = "correctly" if answer == house.label else "INCORRECTLY"
    work = share_of_work(name, option, one.size, one.key.shape[1])
    return (
        f"{name} ({sized}; what is shrunk: {family.shrinks}). Output: "
        f"{relative_error(method, one):.0%} away from the non-local block. Products: "
        f"{work:.0%} of its work. The {house.paint} house has {found.on_its_balloon:.0%} of its "
        f"attention on its balloon and is classified {verdict}."
    )
